"""One batch and streams: exact p-values, false alarms at most as stated, shifts are found."""

import json
import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.drift.bands import UniformBands
from torchattacks_ext.numerics.drift.kernels import mmd_test
from torchattacks_ext.numerics.drift.martingale import ConformalMartingale
from torchattacks_ext.numerics.drift.ranks import ks_by_feature, ks_distance, ks_test


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
    plain = [stats.ks_2samp(x[:, j], y[:, j]) for j in range(5)]
    assert found.p_value.tolist() == [one.pvalue for one in plain]
    assert np.allclose(found.distance, [one.statistic for one in plain], atol=1e-12)
    assert (found.adjusted >= found.p_value).all()


@pytest.mark.parametrize(
    "looks, runs", [(200, 100), pytest.param(10_000, 400, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", ["martingale", "bands"])
def test_clean_streams_alarm_at_most_as_often_as_stated(kind, looks, runs):
    # false alarm of this test: <= 1e-3, at a seed that is fixed
    level, alarms, rng = 0.05, 0, np.random.default_rng(4)
    for run in range(runs):
        reference, stream = rng.normal(size=100), rng.normal(size=looks)
        if kind == "martingale":  # it asks itself after every number
            alarms += ConformalMartingale(reference, level, seed=run).look(stream)
            continue
        drift = UniformBands(reference, level)
        alarms += any(drift.look(one) for one in stream[:, None])
    assert alarms <= stats.binom.ppf(0.999, runs, level)


def test_products_of_e_values_against_one_reference_alarm_in_many_clean_streams():
    """Why no such product is here: permutation p-values of batches share the reference.

    "The batches are higher" and "they are lower", a product each of e = 1 / (2 sqrt(p)); their mean
    would alarm in 1 % of clean streams if the p-values were independent.
    """
    rng, alarms, runs = np.random.default_rng(5), 0, 60
    signs = np.concatenate([np.full(30, -1 / 30), np.full(300, 1 / 300)])
    for _ in range(runs):
        reference, log_e = rng.normal(size=30), np.zeros(2)
        relabelled = rng.permuted(np.tile(signs, (199, 1)), axis=1)
        for _ in range(100):
            pooled = np.concatenate([reference, rng.normal(size=300)])
            gaps = relabelled @ pooled - pooled @ signs
            p = np.array([1 + (gaps >= 0).sum(), 1 + (gaps <= 0).sum()]) / 200
            log_e -= np.log(2 * np.sqrt(p))
            if np.exp(log_e).mean() >= 100:
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


def test_ks_is_scipys_distance_and_its_p_values_are_valid_with_ties():
    # false alarm of this test: <= 1e-6
    rng, runs, level = np.random.default_rng(9), 300, 0.1
    x, y = rng.normal(size=60), rng.normal(size=25) + 0.4
    exact = stats.ks_2samp(x, y)
    found = ks_test(x, y, permutations=1999)
    assert found.distance == pytest.approx(exact.statistic, abs=1e-12)
    assert ks_distance(x, y) == pytest.approx(exact.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(exact.pvalue, abs=0.04)
    low = 0
    for seed in range(runs):
        pooled = rng.integers(0, 4, 45).astype(float)
        low += ks_test(pooled[:30], pooled[30:], permutations=39, seed=seed)[1] <= level
    assert low <= stats.binom.ppf(1 - 1e-6, runs, level)
    assert ks_test([0.0] * 9, [0.0] * 5, permutations=19) == (0.0, 1.0)


def test_the_bandwidth_of_many_rows_does_not_know_their_sample():
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(2100, 2)), 9 * rng.normal(size=(400, 2))
    found = mmd_test(x, y, permutations=1).bandwidth
    pooled = np.concatenate([x, y])[rng.permutation(2500)[:600]]
    gaps = np.linalg.norm(pooled[:, None] - pooled[None], axis=2)
    whole = np.median(gaps[np.triu_indices(600, 1)])
    assert found == pytest.approx(whole, rel=0.1)  # of the reference alone: 1.7


class Ranks(ConformalMartingale):
    def _step(self, rank):
        self.ranks = [*getattr(self, "ranks", []), rank]
        super()._step(rank)


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_on_the_grid_are_uniform_and_independent(ties):
    # false alarm of this test: <= 1e-6 each
    rng = np.random.default_rng(11)
    numbers = rng.normal(size=1500).round(1 if ties else 9)
    drift = Ranks(numbers[:300], 0.01)
    drift.look(numbers[300:])
    ranks = np.array(drift.ranks)
    assert stats.kstest(ranks, "uniform").pvalue > 1e-6
    assert abs(stats.spearmanr(ranks[1:], ranks[:-1]).pvalue) > 1e-6


@pytest.mark.parametrize("clean", [100, 3000])
def test_a_late_change_is_found_about_as_soon_as_an_early_one(clean):
    rng = np.random.default_rng(12)
    drift = ConformalMartingale(rng.normal(size=500), 0.01)
    assert not drift.look(rng.normal(size=clean))
    assert drift.look(rng.normal(size=200) + 1)
    assert drift.alarm_at - clean < 90


@pytest.mark.parametrize("kind", [ConformalMartingale, UniformBands])
def test_a_process_goes_on_from_its_state_and_stays_small(kind):
    rng = np.random.default_rng(13)
    reference, stream = rng.normal(size=200), rng.normal(size=600)
    whole, now = kind(reference, 0.01), kind(reference, 0.01)
    sizes = []
    for part in np.split(stream, 6):
        whole.look(part)
        later = kind(reference, 0.01)
        later.restore(json.loads(json.dumps(now.state())))
        later.look(part)
        now = later
        sizes.append(len(json.dumps(now.state())))
    assert now.state() == whole.state()
    assert sizes[-1] < 12_000
    for wrong in ({}, {**now.state(), "n": -3}, {**now.state(), "n": "x"}):
        with pytest.raises(InputError, match="no state"):
            kind(reference, 0.01).restore(wrong)


def test_the_memory_of_the_martingale_does_not_grow_with_its_numbers():
    rng = np.random.default_rng(14)
    drift = ConformalMartingale(rng.normal(size=200), 0.01)
    drift.look(rng.normal(size=4000))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    drift.look(rng.normal(size=4000))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000  # 4,000 numbers would be 128,000


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
