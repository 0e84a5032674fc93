"""Do several Gaussians a class, and reject regions, keep every promise?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.certificates.eigen import Pairs
from torchattacks_ext.numerics.certificates.mixture import Mixture
from torchattacks_ext.numerics.certificates.radii import METHODS, latent_radii

DOUBLE = torch.float64
Draw = Callable[..., Any]


def walked(
    mixture: Mixture, z: Tensor, n_rays: int, n_steps: int, reach: float
) -> Tensor:
    """Least distance (N,) at which the class changes on a grid of rays and steps in the plane."""
    angles = torch.arange(n_rays, dtype=DOUBLE) * (2 * math.pi / n_rays)
    rays = torch.stack([angles.cos(), angles.sin()], dim=1)
    sizes = torch.linspace(0, reach, n_steps + 1, dtype=DOUBLE)[1:]
    steps = (sizes[:, None, None] * rays).reshape(-1, 2)
    label, found = mixture.scores(z).argmax(1), []
    for i in range(len(z)):
        other = mixture.scores(z[i] + steps).argmax(1) != label[i]
        far = steps.norm(dim=1).masked_fill(~other, math.inf)
        found.append(far.min())
    return torch.stack(found)


@pytest.mark.parametrize("family", ["general", "spherical", "shared", "diag"])
def test_no_radius_exceeds_the_truth_with_several_components(
    drawn: Draw, family: str
) -> None:
    gaussians = drawn(family, 3, 2, 30, owners=3)
    z = gaussians.sample(30, torch.Generator().manual_seed(31))
    mixture = gaussians.mixture("full" if family == "general" else family)
    pairs = Pairs(mixture)
    exact, pairwise, paper = (
        latent_radii(pairs, z, m) for m in ("exact", "pairwise", "paper")
    )
    true = walked(mixture, z, 120, 60, reach=3.0)
    assert torch.equal(exact.label, gaussians.owners[gaussians.scores(z).argmax(1)])
    assert bool((exact.radius < true + 1e-12).all())
    assert bool((exact.radius >= pairwise.radius).all())
    assert bool((pairwise.radius >= paper.radius).all() and (paper.radius > 0).all())
    # where one own component answers alone, the radius is the distance
    near = true < 3
    assert float((exact.radius / true)[near].median()) > 0.95


def test_a_class_in_two_halves_of_one_gaussian_is_that_gaussian(drawn: Draw) -> None:
    """Two equal components of half the weight: the largest is the whole, less 2 log 2 for all."""
    gaussians = drawn("general", 3, 4, 32)
    z = gaussians.sample(50, torch.Generator().manual_seed(33))
    whole = gaussians.mixture()
    twice = Mixture(
        whole.means.repeat_interleave(2, 0),
        whole.factors.repeat_interleave(2, 0),
        whole.biases.repeat_interleave(2, 0),
        torch.arange(3).repeat_interleave(2),
        whole.reject.repeat_interleave(2, 0),
    )
    for method in METHODS:
        one, two = (latent_radii(Pairs(m), z, method) for m in (whole, twice))
        assert torch.equal(one.label, two.label)
        assert torch.allclose(one.radius, two.radius, rtol=1e-12)


def test_classes_may_have_different_numbers_of_components(drawn: Draw) -> None:
    gaussians = drawn("spherical", 4, 2, 34)
    mixture = gaussians.mixture("spherical")
    odd = Mixture(
        mixture.means,
        mixture.factors,
        mixture.biases,
        torch.tensor([0, 1, 0, 0]),
        mixture.reject,
    )
    z = gaussians.sample(30, torch.Generator().manual_seed(35))
    found = latent_radii(Pairs(odd), z)
    scores = mixture.scores(z)
    assert torch.equal(odd.scores(z)[:, 1], scores[:, 1])
    assert torch.equal(odd.scores(z)[:, 0], scores[:, [0, 2, 3]].amax(1))
    true = walked(odd, z, 120, 60, reach=3.0)
    assert bool((found.radius < true + 1e-12).all())


# ---------------------------------------------------------------------- reject regions
def test_the_edge_of_a_ball_is_its_radius_less_the_way_from_the_mean() -> None:
    means = torch.tensor([[0.0, 0.0], [50.0, 0.0]], dtype=DOUBLE)
    one = torch.ones(2, dtype=DOUBLE)
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.5], [3.5, 0.0]], dtype=DOUBLE)
    eye = torch.eye(2, dtype=DOUBLE)
    for factors in (
        one,
        one.expand(2, 2).clone(),
        eye[None].clone(),
        eye.expand(2, 2, 2),
    ):
        mixture = Mixture(means, factors, 0 * one, torch.arange(2), 3 * one)
        found = latent_radii(Pairs(mixture), z)
        assert found.radius.tolist() == pytest.approx([3, 2, 0.5, 0], rel=2e-9)
        assert found.label.tolist() == [0, 0, 0, -1]
        assert bool((found.radius[:3] <= torch.tensor([3, 2, 0.5])).all())


def test_no_radius_leaves_the_region(drawn: Draw) -> None:
    gaussians = drawn("anisotropic", 3, 2, 36)
    mixture = gaussians.mixture(reject=2.0)
    z = gaussians.sample(200, torch.Generator().manual_seed(37))
    found = latent_radii(Pairs(mixture), z)
    free = latent_radii(Pairs(gaussians.mixture()), z)
    angles = torch.arange(360, dtype=DOUBLE) * (2 * math.pi / 360)
    rays = torch.stack([angles.cos(), angles.sin()], dim=1)
    precision, means, _ = gaussians.quadratics()
    own = gaussians.scores(z).argmax(1)
    for i in range(len(z)):
        step = z[i] - means[own[i]] + found.radius[i] * (1 - 1e-9) * rays
        far = torch.einsum("rd,de,re->r", step, precision[own[i]], step)
        inside = bool((far <= 4).all())
        assert inside or int(found.label[i]) == -1
    assert bool((found.radius <= free.radius).all())
    assert 0.1 < float((found.label < 0).double().mean()) < 0.9
    assert bool((found.radius < free.radius)[found.label >= 0].any())


def test_a_reject_region_with_several_components_is_refused(drawn: Draw) -> None:
    with pytest.raises(ConfigError, match="one component a class"):
        drawn("general", 2, 2, 38, owners=2).mixture(reject=2.0)
