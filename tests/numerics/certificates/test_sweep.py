"""Is any radius larger than the true distance? Rays in the plane, descents in 64 dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext.numerics.certificates.eigen import Pairs
from torchattacks_ext.numerics.certificates.radii import METHODS, latent_radii

DOUBLE = torch.float64
FAMILIES = ["general", "shared", "spherical", "anisotropic", "diag"]
TIGHT = 1 - 1e-6
FORMS = {"shared": "shared", "spherical": "spherical", "diag": "diag"}

Draw = Callable[..., Any]


def planar(draw: Draw, sweep: Draw, family: str, k: int, n: int, seed: int) -> int:
    """Checks n random points of one classifier in the plane; how many it looked at."""
    gaussians = draw(family, k, 2, seed)
    z = gaussians.sample(n, torch.Generator().manual_seed(seed + 1))
    true = sweep(gaussians, z)
    pairs = Pairs(gaussians.mixture(FORMS.get(family, "full")))
    found = {method: latent_radii(pairs, z, method) for method in METHODS}
    exact, pairwise, paper = (found[x].radius for x in ("exact", "pairwise", "paper"))
    assert bool((exact < true).all()), "a radius reaches the rival"
    assert bool((exact >= pairwise).all() and (pairwise >= paper).all())
    assert bool((paper > 0).all())
    inside = true.isfinite()
    assert bool((exact[inside] >= TIGHT * true[inside]).all())
    prediction = gaussians.scores(z).argmax(1)
    assert all(torch.equal(x.label, prediction) for x in found.values())
    return len(z)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("k", [2, 10])
def test_no_radius_exceeds_the_truth_in_the_plane(
    drawn: Draw, ray_sweep: Draw, family: str, k: int
) -> None:
    planar(drawn, ray_sweep, family, k, 200, seed=10 * k)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_no_radius_exceeds_the_truth_in_the_plane_in_20_000_points(
    drawn: Draw, ray_sweep: Draw, family: str
) -> None:
    n = sum(
        planar(drawn, ray_sweep, family, k, 500, seed)
        for seed, k in enumerate((2, 2, 3, 3, 4, 6, 8, 10), start=100)
    )
    assert n == 4000


# ---------------------------------------------------------------------- 64 dimensions
def descended(m: Tensor, g: Tensor, w: Tensor, source: torch.Generator) -> Tensor:
    """Least distances (P,) that descents on the sphere of directions find: points of the rival.

    m (P,), g (P, d), w (P, d, d); 10 starts each, among them -g and the bottom of w.
    """
    d = g.shape[1]
    bottom = torch.linalg.eigh(w)[1][:, :, :2].mT
    down = -torch.nn.functional.normalize(g).unsqueeze(1)
    random = torch.randn(len(m), 3, d, generator=source, dtype=DOUBLE)
    rays = torch.cat([down, random, bottom, -bottom, bottom + down], dim=1)
    rays = torch.nn.functional.normalize(rays, dim=2)
    t, bent = first_root(m, g, w, rays)
    size = torch.full_like(t, 0.5)
    for _ in range(100):
        # at the nearest point the step is normal to the edge: d || -(g + W d)
        edge = g.unsqueeze(1) + t.nan_to_num(posinf=1e3).unsqueeze(2) * bent
        normal = -torch.nn.functional.normalize(edge, dim=2)
        new = rays + size.unsqueeze(2) * (normal - rays)
        new = torch.nn.functional.normalize(new, dim=2)
        t_new, bent_new = first_root(m, g, w, new)
        better = t_new < t
        rays = torch.where(better.unsqueeze(2), new, rays)
        bent = torch.where(better.unsqueeze(2), bent_new, bent)
        t = torch.where(better, t_new, t)
        size = torch.where(better, (size * 1.3).clamp(max=1.0), size * 0.5)
    return t.amin(1)


def first_root(m: Tensor, g: Tensor, w: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest t > 0 (P, S) on rays (P, S, d) with m + 2 t g.u + t^2 u.W u <= 0, and W u."""
    bent = rays @ w
    slope, bend = (rays @ g.unsqueeze(2))[..., 0], (rays * bent).sum(2)
    inside = slope.square() - m.unsqueeze(1) * bend
    below = inside.clamp(min=0).sqrt() - slope
    far = (inside < 0) | (below <= 0)
    return (m.unsqueeze(1) / below).masked_fill(far, math.inf), bent


def ratios(draw: Draw, family: str, k: int, n: int, seed: int) -> Tensor:
    """(n,) radius / what descents find, in 64 dimensions."""
    gaussians = draw(family, k, 64, seed)
    source = torch.Generator().manual_seed(seed + 1)
    z = gaussians.sample(n, source)
    found = latent_radii(Pairs(gaussians.mixture(FORMS.get(family, "full"))), z)
    precision, means, _ = gaussians.quadratics()
    scores = gaussians.scores(z)
    own = scores.argmax(1)
    assert torch.equal(own, found.label)
    rows, rival = (own.unsqueeze(1) != torch.arange(k)).nonzero().T
    steps = torch.einsum("cde,nce->ncd", precision, z.unsqueeze(1) - means)
    m = scores[rows, own[rows]] - scores[rows, rival]
    g = steps[rows, rival] - steps[rows, own[rows]]
    w = precision[rival] - precision[own[rows]]
    return found.radius / descended(m, g, w, source).reshape(n, k - 1).amin(1)


def check_ratios(found: Tensor) -> None:
    assert bool((found < 1).all()), "a point of a rival lies inside a radius"
    # or the descents are no test: they reach the edge almost everywhere
    assert float((found > 1 - 1e-5).double().mean()) > 0.9


@pytest.mark.parametrize("family", ["general", "anisotropic"])
def test_no_radius_exceeds_what_descents_find_in_64_dimensions(
    drawn: Draw, family: str
) -> None:
    check_ratios(ratios(drawn, family, 3, 25, seed=3))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("k", "n"), [(3, 85), (10, 15)])
def test_no_radius_exceeds_what_descents_find_in_500_points(
    drawn: Draw, family: str, k: int, n: int
) -> None:
    check_ratios(ratios(drawn, family, k, n, seed=4 * k))
