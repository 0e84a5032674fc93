"""Diagnostics of Gaussians, what a fit costs, and the corrected localisation."""

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.latents.gaussian import (
    distance_test,
    fit_divergence,
    mardia,
    pooled_divergence,
)
from torchattacks_ext.numerics.latents.localisation import (
    delta_of,
    localised,
    log_volume,
    overlap_bound,
    overlap_sampled,
)


def test_mardia_accepts_gaussians_and_refuses_normalised_ones():
    # false alarm of this test: about 1e-6 (five p-values below 2e-7)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(800, 6)) @ rng.normal(size=(6, 6))
    seen = mardia(z)
    assert min(seen.skewness_p, seen.kurtosis_p) > 2e-7
    sphere = rng.normal(size=(1000, 16))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    assert mardia(sphere).kurtosis_p < 1e-20
    wide = rng.normal(size=(1000, 128))
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    assert mardia(wide).kurtosis_p < 1e-85


def test_mardia_is_its_definition_and_moves_with_no_linear_map():
    z = np.random.default_rng(1).normal(size=(40, 3)) ** 3
    gap = z - z.mean(0)
    g = gap @ np.linalg.inv(gap.T @ gap / 40) @ gap.T
    seen = mardia(z)
    assert seen.skewness == pytest.approx((g**3).mean(), rel=1e-9)
    assert seen.kurtosis == pytest.approx((np.diag(g) ** 2).mean(), rel=1e-9)
    assert mardia(z @ np.diag([1, 5, 0.1])).skewness == pytest.approx(seen.skewness)


def test_distance_test():
    z = np.random.default_rng(0).normal(size=(500, 4))
    assert distance_test(z, np.zeros(4), np.eye(4)) > 1e-6
    assert distance_test(z * 1.5, np.zeros(4), np.eye(4)) < 1e-20


def test_the_cost_of_a_fit_is_the_wishart_value():
    assert fit_divergence(128, 1300) == pytest.approx(3.83, abs=5e-3)
    assert fit_divergence(128, 5000) == pytest.approx(0.876, abs=5e-4)
    assert pooled_divergence(128, 5000, 50_000) == pytest.approx(0.095, abs=5e-4)
    assert pooled_divergence(128, 1300, 1_300_000) == pytest.approx(0.053, abs=1e-3)
    assert fit_divergence(4, 6) == np.inf
    # what Pinsker leaves of a share is less by that much: more than all of it
    costs = fit_divergence(128, 1300), fit_divergence(128, 5000)
    costs += pooled_divergence(128, 5000, 50_000), pooled_divergence(
        128, 1300, 1_300_000
    )
    losses = [np.sqrt(cost / 2) for cost in costs]
    assert losses == pytest.approx([1.38, 0.66, 0.22, 0.16], abs=5e-3)


def test_the_cost_of_a_fit_is_what_fits_cost():
    d, n, runs = 3, 40, 1500
    rng = np.random.default_rng(0)
    found = np.empty(runs)
    for i in range(runs):
        z = rng.normal(size=(n, d))
        m, s = z.mean(0), np.cov(z.T, bias=True)
        inner = np.linalg.inv(s)
        found[i] = 0.5 * (np.trace(inner) + m @ inner @ m - d + np.linalg.slogdet(s)[1])
    error = found.std() / np.sqrt(runs)
    assert abs(found.mean() - fit_divergence(d, n)) < 5 * error  # 6e-7 by luck


def test_localisation_reference_values():
    assert localised(128, 0.05) == pytest.approx(
        (12.4661429822, 191.0406134474), abs=1e-9
    )
    assert log_volume(2, 2.0) == pytest.approx(2.5310242470, abs=1e-9)
    assert delta_of(2, 2.0) == pytest.approx(1 - 0.8647, abs=5e-5)


def test_the_share_of_another_class_is_never_too_small():
    eye, far = np.eye(2), [4.0, 0.0]
    # the published formula, 0.1259, lies below both truths
    assert stats.ncx2.cdf(9, 2, 16) == pytest.approx(0.1259, abs=5e-5)
    assert overlap_bound(far, 4 * eye, [0, 0], eye, 3.0) == pytest.approx(
        0.209232, abs=1e-6
    )
    assert overlap_bound(far, eye, [0, 0], eye, 3.0) == pytest.approx(
        stats.ncx2.cdf(9, 2, 16), abs=1e-12
    )
    truth = 0.300914
    assert overlap_bound(far, np.diag([4, 0.25]), [0, 0], eye, 3.0) >= truth
    sampled = overlap_sampled(far, np.diag([4, 0.25]), [0, 0], eye, 3.0, n=200_000)
    assert truth <= sampled < truth + 0.01


def test_refusals():
    with pytest.raises(InputError, match="n > d"):
        mardia(np.zeros((3, 3)))
    with pytest.raises(InputError, match="fewer dimensions"):
        mardia(np.ones((9, 2)) * np.arange(9)[:, None])
    with pytest.raises(ConfigError, match="positive definite"):
        overlap_bound([0, 0], -np.eye(2), [1, 0], np.eye(2), 1.0)
