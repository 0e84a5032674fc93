"""Is each pair decomposed once, and only when it is needed? Cache, bounds, measured errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from torchattacks_ext.numerics.certificates import eigen, radii
from torchattacks_ext.numerics.certificates.eigen import Pairs
from torchattacks_ext.numerics.certificates.radii import latent_radii

Draw = Callable[..., Any]


def test_one_decomposition_serves_both_directions(drawn: Draw) -> None:
    gaussians = drawn("general", 3, 5, 1)
    pairs = Pairs(gaussians.mixture())
    pairs.learn(0, 2)
    pairs.learn(2, 0)
    assert pairs.n_decompositions == 1
    precision, _, _ = gaussians.quadratics()
    for k, i in ((0, 2), (2, 0)):
        true = torch.linalg.eigvalsh(precision[i] - precision[k])
        assert pairs.low[k, i] <= true[0] and pairs.high[k, i] >= true[-1]
        assert float(pairs.low[k, i]) == pytest.approx(float(true[0]), rel=1e-9)


def test_weyl_bounds_hold_before_a_pair_is_known(drawn: Draw) -> None:
    gaussians = drawn("anisotropic", 6, 5, 2)
    pairs = Pairs(gaussians.mixture())
    precision, _, _ = gaussians.quadratics()
    true = torch.linalg.eigvalsh(precision.unsqueeze(0) - precision.unsqueeze(1))
    assert bool(
        (pairs.low <= true[..., 0]).all() and (pairs.high >= true[..., -1]).all()
    )
    assert not bool(pairs.known[0, 1]) and bool(pairs.known[1, 1])
    before = pairs.low.clone()
    pairs.learn_all(torch.arange(6))
    assert bool((pairs.low >= before - 1e-9).all()) and bool(pairs.known.all())


def test_the_oldest_pairs_are_forgotten_and_made_again(drawn: Draw) -> None:
    gaussians = drawn("general", 5, 6, 3)
    size = (6 * 6 + 6) * 8
    pairs = Pairs(gaussians.mixture(), cache_bytes=3 * size)
    for a, b in ((0, 1), (0, 2), (0, 3), (0, 1), (0, 4)):
        pairs.pair(a, b)
    assert pairs.n_decompositions == 4
    pairs.pair(0, 1)  # used last but one: still there
    assert pairs.n_decompositions == 4
    pairs.pair(0, 2)  # the oldest: gone
    assert pairs.n_decompositions == 5
    z = gaussians.sample(100, torch.Generator().manual_seed(4))
    whole = latent_radii(Pairs(gaussians.mixture()), z).radius
    assert torch.equal(latent_radii(pairs, z).radius, whole)


def test_a_second_call_decomposes_nothing(drawn: Draw) -> None:
    gaussians = drawn("general", 6, 4, 5)
    pairs = Pairs(gaussians.mixture())
    z = gaussians.sample(50, torch.Generator().manual_seed(6))
    latent_radii(pairs, z)
    assert pairs.n_decompositions == 15
    latent_radii(pairs, z, "paper")
    assert pairs.n_decompositions == 15


def test_of_many_classes_only_near_pairs_are_decomposed(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 classes have 780 pairs; twenty latents need few of them."""
    gaussians = drawn("general", 40, 3, 7)
    pairs = Pairs(gaussians.mixture())
    z = gaussians.means[:20]
    latent_radii(pairs, z)
    assert 0 < pairs.n_decompositions < 250


def test_a_bad_decomposition_is_measured(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eigenvalues that LAPACK overstates by 1e-3 cost tightness, never truth."""
    gaussians = drawn("general", 3, 4, 8)
    z = gaussians.sample(100, torch.Generator().manual_seed(9))
    right = latent_radii(Pairs(gaussians.mixture()), z).radius
    good = torch.linalg.eigh

    def bad(matrix: torch.Tensor) -> Any:
        values, vectors = good(matrix)
        return values + 1e-3, vectors

    monkeypatch.setattr(eigen.torch.linalg, "eigh", bad)
    wrong = latent_radii(Pairs(gaussians.mixture()), z).radius
    assert bool((wrong <= right).all()) and bool((wrong < right * (1 - 1e-6)).any())


def test_one_covariance_needs_none(drawn: Draw) -> None:
    for family in ("shared", "spherical", "diag"):
        gaussians = drawn(family, 4, 3, 10)
        pairs = Pairs(gaussians.mixture(family))
        for method in ("paper", "pairwise", "exact"):
            latent_radii(pairs, gaussians.means, method)
        assert pairs.n_decompositions == 0


def test_latents_of_one_class_are_taken_together(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cache holds few pairs, chunks in random order would decompose each anew."""
    gaussians = drawn("general", 12, 4, 11)
    z = gaussians.sample(600, torch.Generator().manual_seed(12))
    monkeypatch.setattr(radii, "MOST_EIGENSOLVES", 0)
    whole = latent_radii(Pairs(gaussians.mixture()), z)
    monkeypatch.setattr(radii, "_CHUNK", 8 * 12 * 4 * 20)  # 20 rows a chunk
    tight = Pairs(gaussians.mixture(), cache_bytes=14 * (4 * 4 + 4) * 8)
    found = latent_radii(tight, z)
    assert torch.equal(found.label, whole.label)
    assert torch.allclose(found.radius, whole.radius, rtol=1e-12)
    assert tight.n_decompositions < 3 * 66 < 600
