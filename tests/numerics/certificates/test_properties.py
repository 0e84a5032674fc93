"""Do radii follow the classifier when it is scaled, turned, renamed or shared?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.numerics.certificates.eigen import Pairs
from torchattacks_ext.numerics.certificates.mixture import Mixture
from torchattacks_ext.numerics.certificates.radii import METHODS, Method, latent_radii

DOUBLE = torch.float64
Draw = Callable[..., Any]


def points(gaussians: Any, n: int, seed: int) -> Tensor:
    found: Tensor = gaussians.sample(n, torch.Generator().manual_seed(seed))
    return found


def radii(mixture: Mixture, z: Tensor, method: Method = "exact") -> Tensor:
    return latent_radii(Pairs(mixture), z, method).radius


def close(one: Tensor, two: Tensor, rel: float = 1e-9) -> bool:
    return torch.allclose(one, two, rtol=rel, atol=0)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 6), d=st.integers(1, 6))
def test_the_three_methods_are_in_order(drawn: Draw, seed: int, k: int, d: int) -> None:
    gaussians = drawn("general", k, d, seed)
    z, pairs = points(gaussians, 20, seed), Pairs(gaussians.mixture())
    exact, pairwise, paper = (
        latent_radii(pairs, z, m).radius for m in ("exact", "pairwise", "paper")
    )
    assert bool((exact >= pairwise).all() and (pairwise >= paper).all())
    assert bool((paper > 0).all())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
def test_scaling_the_space_scales_the_radii(
    drawn: Draw, method: Method, scale: float
) -> None:
    """Means and points by a, covariances by a^2: every score moves by one constant."""
    gaussians = drawn("general", 4, 5, 1)
    z = points(gaussians, 50, 2)
    wide = replace(
        gaussians,
        means=gaussians.means * scale,
        covariances=gaussians.covariances * scale**2,
    )
    one, two = (
        radii(x.mixture(), y, method) for x, y in ((gaussians, z), (wide, scale * z))
    )
    assert close(scale * one, two)


@pytest.mark.parametrize("method", METHODS)
def test_turning_the_space_changes_nothing(drawn: Draw, method: Method) -> None:
    gaussians = drawn("anisotropic", 4, 5, 3)
    z = points(gaussians, 50, 4)
    source = torch.Generator().manual_seed(5)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=source, dtype=DOUBLE))[0]
    turned = replace(
        gaussians,
        means=gaussians.means @ turn.T,
        covariances=turn @ gaussians.covariances @ turn.T,
    )
    assert close(
        radii(gaussians.mixture(), z, method),
        radii(turned.mixture(), z @ turn.T, method),
    )


@pytest.mark.parametrize("method", METHODS)
def test_renaming_the_classes_renames_the_labels(drawn: Draw, method: Method) -> None:
    gaussians = drawn("general", 5, 4, 6)
    z = points(gaussians, 50, 7)
    order = torch.tensor([3, 0, 4, 1, 2])
    renamed = replace(
        gaussians,
        means=gaussians.means[order],
        covariances=gaussians.covariances[order],
        priors=gaussians.priors[order],
    )
    one = latent_radii(Pairs(gaussians.mixture()), z, method)
    two = latent_radii(Pairs(renamed.mixture()), z, method)
    assert torch.equal(one.label, order[two.label])
    assert close(one.radius, two.radius)


def test_one_covariance_is_margin_over_twice_the_slope(drawn: Draw) -> None:
    gaussians = drawn("shared", 4, 6, 8)
    z = points(gaussians, 100, 9)
    precision, means, _ = gaussians.quadratics()
    scores = gaussians.scores(z)
    own = scores.argmax(1)
    m = scores.max(1, keepdim=True).values - scores
    slope = (means[own].unsqueeze(1) - means) @ precision[0]
    ratio = m / (2 * slope.norm(dim=2))
    truth = ratio.scatter(1, own.unsqueeze(1), torch.inf).amin(1)
    for form in ("shared", "full"):
        for method in ("exact", "pairwise"):
            assert close(radii(gaussians.mixture(form), z, method), truth, 2e-9)


def test_with_equal_priors_the_size_of_a_shared_covariance_is_no_matter(
    drawn: Draw,
) -> None:
    gaussians = replace(
        drawn("shared", 3, 4, 10), priors=torch.full((3,), 1 / 3).double()
    )
    z = points(gaussians, 50, 11)
    wide = replace(gaussians, covariances=9 * gaussians.covariances)
    assert close(
        radii(gaussians.mixture("shared"), z), radii(wide.mixture("shared"), z)
    )


@pytest.mark.parametrize("family", ["spherical", "diag"])
def test_the_least_form_says_what_the_full_one_says(drawn: Draw, family: str) -> None:
    gaussians = drawn(family, 4, 5, 12)
    z = points(gaussians, 100, 13)
    for method in METHODS:
        one = radii(gaussians.mixture(family), z, method)
        assert close(one, radii(gaussians.mixture("full"), z, method))


@pytest.mark.parametrize("family", ["general", "diag"])
@pytest.mark.parametrize("k", [3, 40])
def test_pruning_changes_no_radius(drawn: Draw, family: str, k: int) -> None:
    """40 classes: bounds are Weyl's, and the rounds many."""
    gaussians = drawn(family, k, 4, 14)
    z = points(gaussians, 120, 15)
    form = "diag" if family == "diag" else "full"
    pruned, whole = (
        latent_radii(Pairs(gaussians.mixture(form)), z, prune=prune)
        for prune in (True, False)
    )
    assert close(pruned.radius, whole.radius, 1e-12)
    assert bool((whole.solved == k - 1).all())
    assert float(pruned.solved.double().mean()) < (k - 1) / 2 + 1


def test_rows_do_not_depend_on_their_batch(drawn: Draw) -> None:
    gaussians = drawn("general", 4, 5, 16)
    z = points(gaussians, 60, 17)
    pairs = Pairs(gaussians.mixture())
    whole = latent_radii(pairs, z)
    parts = [latent_radii(pairs, part) for part in z.split(7)]
    assert torch.equal(whole.label, torch.cat([p.label for p in parts]))
    assert close(whole.radius, torch.cat([p.radius for p in parts]), 1e-12)


# ---------------------------------------------------------------------- edges
def test_ties_and_rows_without_numbers_abstain(drawn: Draw) -> None:
    gaussians = replace(
        drawn("spherical", 2, 2, 0),
        means=torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=DOUBLE),
        covariances=torch.eye(2, dtype=DOUBLE).expand(2, 2, 2),
        priors=torch.full((2,), 0.5, dtype=DOUBLE),
    )
    z = torch.tensor(
        [[0.0, 3.0], [torch.nan, 0.0], [torch.inf, 0.0], [-1.0, 0.0]], dtype=DOUBLE
    )
    for form in ("shared", "spherical", "diag", "full"):
        for method in METHODS:
            found = latent_radii(Pairs(gaussians.mixture(form)), z, method)
            assert found.label.tolist() == [-1, -1, -1, 0]
            assert found.prediction.tolist()[1:] == [-1, -1, 0]
            assert found.radius[:3].tolist() == [0, 0, 0]
            assert float(found.radius[3]) == pytest.approx(1.0, rel=2e-9)


def test_an_identical_rival_leaves_no_radius(drawn: Draw) -> None:
    gaussians = drawn("general", 3, 4, 18)
    twice = replace(
        gaussians,
        **{
            name: getattr(gaussians, name)[[0, 0, 1]]
            for name in ("means", "covariances", "priors")
        },
    )
    z = gaussians.means[:1]
    assert latent_radii(Pairs(twice.mixture()), z).label.tolist() == [-1]


def test_points_at_the_edge_of_float64_are_not_certified(drawn: Draw) -> None:
    """A margin below what rounding may have added is none."""
    gaussians = drawn("shared", 2, 3, 19)
    precision, means, biases = gaussians.quadratics()
    middle = means.mean(0)
    slope = precision[0] @ (means[0] - means[1])
    m = (gaussians.scores(middle[None])[:, 0] - gaussians.scores(middle[None])[:, 1])[0]
    edge = middle - m / (2 * slope @ slope) * slope
    for step in (0.0, 1e-17, -1e-16, 1e-16):
        found = latent_radii(Pairs(gaussians.mixture()), (edge + step)[None])
        assert found.label.tolist() == [-1] and found.radius.tolist() == [0]


def test_the_answer_stays_just_inside_the_radius(drawn: Draw) -> None:
    """Steps of (1 - 1e-6) R towards the nearest rival, and all around, flip no label."""
    gaussians = drawn("anisotropic", 4, 8, 20)
    mixture, z = gaussians.mixture(), points(gaussians, 200, 21)
    found = latent_radii(Pairs(mixture), z)
    flips = 0
    for seed in range(30):
        source = torch.Generator().manual_seed(seed)
        turn = torch.randn(z.shape, generator=source, dtype=DOUBLE, requires_grad=True)
        ball = (1 - 1e-6) * found.radius.unsqueeze(1)
        for _ in range(4):  # power steps towards a smaller margin
            inside = z + ball * torch.nn.functional.normalize(turn)
            scores = mixture.scores(inside)
            own = scores.gather(1, found.label.unsqueeze(1))
            rest = scores.scatter(1, found.label.unsqueeze(1), -torch.inf).amax(1)
            flips += int((mixture.scores(inside).argmax(1) != found.label).sum())
            (slope,) = torch.autograd.grad((own[:, 0] - rest).sum(), turn)
            unit = torch.nn.functional.normalize
            turn = (unit(turn.detach()) - 0.7 * unit(slope)).requires_grad_()
    assert flips == 0
