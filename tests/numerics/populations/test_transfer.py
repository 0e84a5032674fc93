"""Shares under another law: reference values, the best inversion, coverage of the lower bound."""

import math

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.populations.transfer import (
    binary_kl,
    kl_from_classifier,
    kl_lower_bound,
    kl_transfer,
)

REFERENCE = {
    0.01: (0.829289321881, 0.800249479947, 0.855049564977),
    0.1: (0.676393202250, 0.591515669824, 0.743133598290),
    1.0: (0.192893218813, 0.104939902379, 0.310782773455),
}


@pytest.mark.parametrize("eps", REFERENCE)
def test_reference_values(eps):
    assert kl_transfer(0.9, eps) == pytest.approx(REFERENCE[eps], abs=1e-11)


def test_more_reference_values():
    assert kl_transfer(0.99, 0.5).inversion == pytest.approx(0.778221312291, abs=1e-11)
    edge = 1.593624260040  # Bretagnolle and Huber beat Pinsker only beyond it
    for eps, better in ((edge - 1e-6, False), (edge + 1e-6, True)):
        found = kl_transfer(0.999, eps)
        assert (found.bretagnolle_huber > found.pinsker) == better
    assert kl_lower_bound(800, 1000, 0.9, side="below") == pytest.approx(
        0.02904, abs=5e-6
    )


def test_what_is_left_is_never_below_0():
    found = kl_transfer(0.9, 2.0)
    assert found[:2] == (0, 0) and found.inversion > 0
    assert kl_transfer(0.0, 0.1) == (0, 0, 0)


def test_the_inversion_dominates_and_is_attained():
    for q in (0.0, 0.2, 0.9, 1.0):
        for eps in (0.0, 1e-6, 0.05, 0.7, 5.0):
            found = kl_transfer(q, eps)
            assert found.inversion >= max(found[:2]) - 1e-12
            assert 0 <= found.inversion <= q
            if 0 < found.inversion < q:
                assert binary_kl(found.inversion, q) == pytest.approx(eps, rel=1e-6)
                assert binary_kl(found.inversion, q) >= eps * (1 - 1e-9)


@pytest.mark.parametrize("p, q", [(0.8, 0.9), (0.9, 0.9), (0.97, 0.9)])
def test_the_lower_bound_covers(p, q):
    # false alarm of this test: <= 1e-6
    runs, level, n = 4000, 0.05, 300
    hits = np.random.default_rng(0).binomial(n, p, runs)
    bounds = {int(k): kl_lower_bound(int(k), n, q, level) for k in set(hits.tolist())}
    wrong = sum(bounds[k] > binary_kl(p, q) + 1e-12 for k in hits.tolist())
    assert wrong <= stats.binom.ppf(1 - 1e-6, runs, level)


def test_a_classifier_of_two_samples():
    assert kl_from_classifier(510, 1000) == 0
    sure = kl_from_classifier(1000, 1000)
    assert 1.9 < sure <= 2.0
    a = stats.beta.ppf(0.05, 900, 101)
    assert kl_from_classifier(900, 1000) == pytest.approx(2 * (2 * a - 1) ** 2)


def test_the_bound_of_a_classifier_covers():
    # N(0, 1) and N(1, 1): KL = 1/2; the best classifier. False alarm of this test: <= 1e-6
    runs, level, n = 4000, 0.05, 300
    hits = np.random.default_rng(0).binomial(n, stats.norm.cdf(0.5), runs)
    known = {int(k): kl_from_classifier(int(k), n, level) for k in set(hits.tolist())}
    tight = (
        2 * (2 * stats.norm.cdf(0.5) - 1) ** 2
    )  # by Pinsker no more than this is reached
    assert tight < 0.5
    wrong = sum(known[k] > tight for k in hits.tolist())
    assert 0 < wrong <= stats.binom.ppf(1 - 1e-6, runs, level)


def test_domains():
    with pytest.raises(ConfigError, match="q=1.5"):
        kl_transfer(1.5, 0.1)
    with pytest.raises(ConfigError, match="eps_kl=-1"):
        kl_transfer(0.5, -1)
    with pytest.raises(ConfigError, match="side='left'"):
        kl_lower_bound(1, 2, 0.5, side="left")
    assert binary_kl(0.3, 0.0) == math.inf
