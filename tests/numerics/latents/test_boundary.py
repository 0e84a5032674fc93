"""Are the distances that an encoder is trained on the distances to the boundaries?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.latents.boundary import boundary_distances

Heads = tuple[Tensor, Tensor, Tensor]


def _head(k: int, d: int, seed: int, spread: float = 0.3) -> Heads:
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(k, d)) * 3
    factors = np.eye(d) + spread * rng.normal(size=(k, d, d))
    biases = rng.normal(size=k)
    return torch.from_numpy(means), torch.from_numpy(factors), torch.from_numpy(biases)


def swept(z: Tensor, own: int, other: int, head: Heads, rays: int = 20_001) -> float:
    """The signed distance in 2-D: the nearest root of the quadratic along each of many rays."""
    means, factors, biases = (part.numpy() for part in head)

    def score(k: int, x: np.ndarray) -> np.ndarray:
        return biases[k] - ((x - means[k]) @ factors[k].T) ** 2 @ np.ones(2)

    angle = np.linspace(0, 2 * math.pi, rays)
    u, x = np.stack([np.cos(angle), np.sin(angle)], 1), z.numpy()
    p = [f.T @ f for f in factors]
    m = float(score(own, x) - score(other, x))
    g = 2 * u @ (p[other] @ (x - means[other]) - p[own] @ (x - means[own]))
    w = np.einsum("ni,ij,nj->n", u, p[other] - p[own], u)
    root = np.sqrt(np.maximum(g * g - 4 * w * m, 0))
    t = np.concatenate([(-g - root) / (2 * w), (-g + root) / (2 * w)])
    t = t[np.tile(g * g >= 4 * w * m, 2) & (t > 0)]
    return math.copysign(t.min(), m) if len(t) else math.inf


def _points(head: Heads, n: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    y = torch.from_numpy(rng.integers(0, len(head[0]), n))
    return head[0][y] + torch.from_numpy(rng.normal(size=(n, head[0].shape[1]))), y


def test_the_distance_is_that_of_a_sweep() -> None:
    """Both signs, boundaries curved both ways; the sweep is exact to 1e-7 here."""
    head = _head(4, 2, seed=1)
    z, y = _points(head, 40, seed=2)
    found = boundary_distances(z, y, *head, steps=60)
    settled, seen = 0, set()
    for i in range(len(z)):
        for other in set(range(4)) - {int(y[i])}:
            true = swept(z[i], int(y[i]), other, head)
            gap = float(found[i, other]) - true
            assert abs(float(found[i, other])) >= abs(true) - 1e-6  # never nearer
            settled += abs(gap) < 1e-5
            seen.add(true > 0)
    assert settled >= 0.95 * 120 and seen == {True, False}


def test_three_steps_are_nearly_enough() -> None:
    """Within 2 % for nine of ten pairs, and flat boundaries at once."""
    head = _head(4, 6, seed=3, spread=0.2)
    z, y = _points(head, 60, seed=4)
    few, many = (boundary_distances(z, y, *head, steps=n) for n in (3, 40))
    off = (few / many - 1).abs()
    assert float(off.quantile(0.9)) < 0.02
    flat = head[0], head[1][:1].expand(4, 6, 6), head[2]
    once, twice = (boundary_distances(z, y, *flat, steps=n) for n in (1, 5))
    torch.testing.assert_close(once, twice)


def test_the_gradient_is_that_of_the_distance() -> None:
    """Differences of the settled distance along a direction in the latents and all Gaussians."""
    head = _head(3, 3, seed=5, spread=0.2)
    z, y = _points(head, 4, seed=6)
    inputs = [part.requires_grad_(True) for part in (z, *head)]
    rng = np.random.default_rng(7)
    for one in range(len(inputs)):
        ways = [torch.zeros_like(part) for part in inputs]
        ways[one] = torch.from_numpy(rng.normal(size=tuple(inputs[one].shape)))

        def at(t: float) -> Tensor:
            z, *head = (part + t * way for part, way in zip(inputs, ways))
            found = boundary_distances(z, y, head[0], head[1], head[2], steps=80)
            return found.clamp(max=100).sum()

        slopes = torch.autograd.grad(at(0.0), inputs)
        told = float(sum((s * w).sum() for s, w in zip(slopes, ways)))
        with torch.no_grad():
            seen = float(at(1e-5) - at(-1e-5)) / 2e-5
        assert told == pytest.approx(seen, rel=1e-5), one


def test_the_own_class_has_no_boundary() -> None:
    """A large constant, and no gradient."""
    head = _head(3, 2, seed=7)
    z, y = _points(head, 5, seed=8)
    z.requires_grad_(True)
    found = boundary_distances(z, y, *head)
    own = found.gather(1, y[:, None])
    assert bool((own == 1e4).all())
    (grad,) = torch.autograd.grad(own.sum(), z)
    assert float(grad.abs().max()) == 0.0


def test_extreme_latents_stay_finite() -> None:
    """On a mean, far out, and beyond a boundary by far: no NaN, also in the gradient."""
    means, factors, biases = _head(3, 2, seed=9)
    head = means.float(), factors.float(), biases.float()
    z = torch.stack([head[0][0], head[0][1] * 1e4, -head[0][2] * 1e3]).requires_grad_()
    found = boundary_distances(z, torch.tensor([0, 2, 2]), *head)
    (grad,) = torch.autograd.grad(found.sum(), z)
    assert bool(found.isfinite().all()) and bool(grad.isfinite().all())
    alike = head[0][:1].expand(3, 2), head[1][:1].expand(3, 2, 2), torch.zeros(3)
    same = boundary_distances(z, torch.tensor([0, 1, 2]), *alike)
    assert float(same.detach()[0, 1]) == 0.0  # equal rivals: on the boundary everywhere


def test_wrong_shapes_are_refused() -> None:
    """Naming all of them."""
    means, factors, biases = _head(3, 2, seed=0)
    z, y = torch.zeros(2, 2).double(), torch.tensor([0, 1])
    for wrong in (
        (z[:, :1], y, means, factors, biases),
        (z, y[:1], means, factors, biases),
        (z, y, means, factors[:2], biases),
        (z, y, means, factors, biases[:1]),
    ):
        with pytest.raises(InputError, match="expected"):
            boundary_distances(*wrong)
