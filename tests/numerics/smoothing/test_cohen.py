"""Radii from counts: the formula's values, the published logs, and what is refused."""

import numpy as np
import pytest
from scipy import special, stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.binomial import lower_bound
from torchattacks_ext.numerics.smoothing.cohen import (
    fewest_draws,
    smoothed_radius,
    votes_p_value,
)

REFERENCE = [
    # hits, n, Clopper-Pearson lower bound, Phi^-1 of it
    (100_000, 100_000, 0.9999309248, 3.8114565634),
    (99_000, 100_000, 0.9889893404, 2.2899999552),
    (60_000, 100_000, 0.5952010473, 0.2409447922),
    (990, 1000, 0.9760361872, 1.9780095821),
]


@pytest.mark.parametrize("hits, n, bound, value", REFERENCE)
def test_reference_values_to_1e_9(hits, n, bound, value):
    assert abs(float(lower_bound(hits, n, 0.001)) - bound) < 1e-9
    found = float(smoothed_radius(hits, n, 0.001, 1.0))
    exact = float(special.ndtri(stats.beta.ppf(0.001, hits, n - hits + 1)))
    assert value - 1e-9 < found <= exact


@pytest.mark.parametrize(
    "sigma, radius", [(0.12, 0.457), (0.25, 0.953), (0.5, 1.91), (1.0, 3.81)]
)
def test_all_hits_give_the_largest_published_radii(sigma, radius):
    found = float(smoothed_radius(100_000, 100_000, 0.001, sigma))
    assert float(f"{found:.3g}") == radius


@pytest.mark.parametrize("sigma", ["0.12", "0.25", "0.50", "1.00"])
def test_every_published_radius_is_one_of_the_formula(tax_data, sigma):
    logs = np.load(tax_data / "smoothing_certify" / "cifar10_resnet110.npz")
    log = logs[f"cohen10000_sigma{sigma}"].astype(float)
    radius = log[log[:, 2] >= 0, 3]
    counts = np.arange(50_000, 100_001)
    known = smoothed_radius(counts, 100_000, 0.001, float(sigma))
    digit = np.where(radius < 1, 5e-4, 5e-3)  # half of the last one, three are given
    place = np.searchsorted(known, radius).clip(1, len(known) - 1)
    gap = np.minimum(abs(known[place] - radius), abs(known[place - 1] - radius))
    assert (gap <= digit * (1 + 1e-3)).all()
    assert radius.max() - known[-1] == pytest.approx(0, abs=digit[radius.argmax()])
    assert (log[log[:, 2] < 0, 3] == 0).all()


def test_the_radius_grows_with_hits_and_is_0_up_to_a_half():
    hits = np.arange(0, 1001)
    radius = smoothed_radius(hits, 1000, 0.01, 0.5)
    assert (np.diff(radius) >= 0).all() and (radius[:501] == 0).all()
    assert (radius > 0).sum() == 1000 - np.flatnonzero(radius > 0)[0] + 1


@pytest.mark.parametrize("level", [0.3, 0.05, 0.001, 1e-9])
def test_fewest_draws_is_the_least(level):
    n = fewest_draws(level)
    assert smoothed_radius(n, n, level, 1.0) > 0
    assert n == 1 or smoothed_radius(n - 1, n - 1, level, 1.0) == 0


def test_votes_p_value_is_the_two_sided_binomial_test():
    for top, second in [(10, 0), (60, 40), (7, 7), (5000, 4900), (1, 0)]:
        exact = stats.binomtest(top, top + second, 0.5).pvalue
        assert float(votes_p_value(top, second)) == pytest.approx(exact, rel=1e-9)


def test_bad_settings_name_value_and_remedy():
    with pytest.raises(ConfigError, match="sigma=0.* > 0"):
        smoothed_radius(1, 1, 0.001, 0)
    with pytest.raises(ConfigError, match="swapped"):
        votes_p_value(3, 4)
