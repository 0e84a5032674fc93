"""One batch and streams: exact p-values, false alarms at most as stated, shifts are found."""

import math

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.drift.bands import UniformBands
from torchattacks_ext.numerics.drift.kernels import mmd_test
from torchattacks_ext.numerics.drift.martingale import ConformalMartingale
from torchattacks_ext.numerics.drift.ranks import ks_by_feature


def test_mmd_is_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    h = 1.3

    def mean(a, b):
        return np.mean(
            [[math.exp(-((p - q) ** 2).sum() / (2 * h * h)) for q in b] for p in a]
        )

    found = mmd_test(x, y, permutations=9, bandwidth=h)
    assert found.statistic == pytest.approx(
        mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-6
    )
    assert found.bandwidth == h


def test_mmd_p_values_of_equal_laws_are_valid():
    # false alarm of this test: <= 1e-6
    rng, runs, level = np.random.default_rng(1), 400, 0.1
    p = [
        mmd_test(
            *np.split(rng.normal(size=(30, 2)), [20]), permutations=39, seed=i
        ).p_value
        for i in range(runs)
    ]
    assert sum(one <= level for one in p) <= stats.binom.ppf(1 - 1e-6, runs, level)
    assert min(p) >= 1 / 40


def test_mmd_finds_a_shift_and_equal_rows_are_no_shift():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(100, 4)), rng.normal(size=(60, 4)) + 0.8
    assert mmd_test(x, y, permutations=199).p_value == 1 / 200
    same = np.ones((10, 2))
    assert mmd_test(same, same, permutations=19).p_value == 1.0


def test_ks_by_feature_names_the_feature():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(200, 5)), rng.normal(size=(80, 5))
    y[:, 3] *= 4
    found = ks_by_feature(x, y)
    assert np.flatnonzero(found.adjusted < 1e-3).tolist() == [3]
    assert found.p_value[0] == stats.ks_2samp(x[:, 0], y[:, 0]).pvalue
    assert (found.adjusted >= found.p_value).all()


def streams(make, runs, looks, seed):
    rng, alarms = np.random.default_rng(seed), 0
    for run in range(runs):
        drift = make(rng.normal(size=100), run)
        alarms += drift.look(rng.normal(size=looks))
    return alarms


@pytest.mark.parametrize(
    "looks, runs", [(200, 120), pytest.param(10_000, 400, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", ["martingale", "bands"])
def test_clean_streams_alarm_at_most_as_often_as_stated(kind, looks, runs):
    # false alarm of this test: <= 1e-6
    level = 0.05

    def make(reference, run):
        if kind == "bands":
            return UniformBands(reference, level)
        return ConformalMartingale(reference, level, seed=run)

    alarms = streams(make, runs, looks, 4)
    assert alarms <= stats.binom.ppf(1 - 1e-6, runs, level)


def test_products_of_e_values_against_one_reference_alarm_in_many_clean_streams():
    """Why no such product is here: p-values of batches share the reference."""
    rng, level, alarms, runs = np.random.default_rng(5), 0.01, 0, 60
    for _ in range(runs):
        reference, log_e = rng.normal(size=100), 0.0
        mean, sd = reference.mean(), reference.std(ddof=1)
        for _ in range(100):
            batch = rng.normal(size=900)
            z = (batch.mean() - mean) / (sd * math.sqrt(1 / 100 + 1 / 900))
            p = 2 * stats.norm.sf(abs(z))
            log_e += math.log(
                0.5 / math.sqrt(max(p, 1e-300))
            )  # a calibrator of p-values
            if log_e >= -math.log(level):
                alarms += 1
                break
    assert alarms / runs > 0.3


@pytest.mark.parametrize("kind", ["martingale", "bands"])
def test_a_shifted_stream_alarms_soon_and_stays_alarmed(kind):
    rng = np.random.default_rng(6)
    reference = rng.normal(size=1000)
    drift = (
        UniformBands(reference, 0.01)
        if kind == "bands"
        else ConformalMartingale(reference, 0.01)
    )
    assert not drift.look(rng.normal(size=300))
    for _ in range(15):
        drift.look(rng.normal(size=100) + 1)
    assert 300 < drift.alarm_at < 1800
    assert drift.look(rng.normal(size=10))


def test_bands_do_not_grow_and_do_not_depend_on_how_the_stream_is_cut():
    rng = np.random.default_rng(7)
    reference, stream = rng.normal(size=500), rng.normal(size=900)
    one, many = UniformBands(reference, 0.05), UniformBands(reference, 0.05)
    one.look(stream)
    for part in np.split(stream, 9):
        many.look(part)
    assert (one.n, one.distance) == (many.n, many.distance)
    exact = stats.ks_2samp(reference, stream).statistic
    assert one.distance <= exact + 1e-12 and one.distance > 0.5 * exact


def test_ties_and_discrete_scores_raise_no_alarm():
    rng = np.random.default_rng(8)
    drift = ConformalMartingale(rng.integers(0, 3, 200).astype(float), 0.01)
    assert not drift.look(rng.integers(0, 3, 500).astype(float))
    bands = UniformBands(np.zeros(50), 0.01)
    assert not bands.look(np.zeros(1000))
    assert bands.look(np.ones(1000))


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="n >= 2"):
        mmd_test(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="NaN"):
        ks_by_feature(np.full((3, 2), np.nan), np.zeros((3, 2)))
    with pytest.raises(InputError, match="2 features, the batch 3"):
        mmd_test(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(InputError, match="empty"):
        UniformBands([], 0.05)
    with pytest.raises(InputError, match="finite"):
        ConformalMartingale([1.0], 0.05).look([math.nan])
