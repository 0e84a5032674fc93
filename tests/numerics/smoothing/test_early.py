"""One radius by early stopping: its level by the exact law and by draws, and the published logs."""

import numpy as np
import pytest
from scipy import special, stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.binomial import lower_bound
from torchattacks_ext.numerics.rates.operating import operating
from torchattacks_ext.numerics.smoothing.early import radius_test

N, LEVEL = 100_000, 0.001


def walk(table, p_fail, seed):
    """Which images are proved, and their draws, if they fail at rates p_fail (M,)."""
    rng = np.random.default_rng(seed)
    misses, drawn = np.zeros((2, len(p_fail)), dtype=np.int64)
    proved, live = np.zeros(len(p_fail), bool), np.ones(len(p_fail), bool)
    before = 0
    for look, n in enumerate(table.looks.tolist()):
        misses[live] += rng.binomial(n - before, p_fail[live])
        drawn[live], before = n, n
        verdict = table.decide(look, misses)
        proved |= live & (verdict == 1)
        live &= ~table.over(look, misses)
    return proved, drawn


@pytest.mark.parametrize("eps, sigma", [(0.5, 0.5), (0.25, 0.25), (1.0, 0.5)])
def test_a_false_radius_is_given_with_at_most_the_level_exactly(eps, sigma):
    table = radius_test(eps, sigma, LEVEL, 5000)
    edge = float(special.ndtr(-eps / sigma))  # p exactly on the boundary
    for p_fail in (table.tolerance, edge, edge * 1.05, 0.5):
        assert operating(table, p_fail)[0] <= LEVEL
    assert operating(table, table.tolerance / 2)[0] > 0.95


def test_a_false_radius_is_given_with_at_most_the_level_in_draws():
    # false alarm of this test: <= 1e-6
    table, runs = radius_test(0.5, 0.5, 0.01, 5000), 20_000
    proved, _ = walk(table, np.full(runs, table.tolerance), 0)
    assert proved.sum() <= stats.binom.ppf(1 - 1e-6, runs, 0.01)


def test_the_edge_is_on_the_safe_side_of_the_formula():
    table = radius_test(0.5, 0.25, LEVEL, 1000)
    assert table.tolerance < float(special.ndtr(-2.0))
    assert table.tolerance == pytest.approx(float(special.ndtr(-2.0)), rel=1e-9)


def test_settings_that_could_prove_nothing_are_refused():
    with pytest.raises(ConfigError, match="eps=10 cannot be proved"):
        radius_test(10.0, 0.5, LEVEL, 1000)
    with pytest.raises(ConfigError, match="n=9 draws prove no radius"):
        radius_test(0.1, 0.5, LEVEL, 9)
    with pytest.raises(ConfigError, match="give_up"):
        radius_test(0.1, 0.5, LEVEL, 1000, 0.6)


def test_published_logs_need_a_twentieth_of_the_draws(tax_data):
    logs = np.load(tax_data / "smoothing_certify" / "cifar10_resnet110.npz")
    log = logs["cohen10000_sigma0.50"].astype(float)
    radius, abstained = log[:, 3], log[:, 2] < 0
    counts = np.arange(N // 2, N + 1)
    known = 0.5 * special.ndtri(lower_bound(counts, N, LEVEL))
    hits = counts[np.searchsorted(known, radius).clip(0, len(counts) - 1)]
    p_fail = np.where(abstained, 0.5, 1 - hits / N)
    proved, drawn = walk(radius_test(0.5, 0.5, LEVEL, N), p_fail, 0)
    published = int((radius >= 0.5).sum())
    assert published == 4677
    assert abs(int(proved.sum()) - published) <= 0.01 * published
    assert (N + 100) / (drawn.mean() + 100) >= 20
