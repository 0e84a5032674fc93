"""Is a point moved to the nearest one of ball and box, and is a change the longest way up?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext.engines.own.ball import Ball
from torchattacks_ext.numerics.norms import norm_of, per_row

from .conftest import nearest_naive

RADII = [
    ("Linf", 0.1),
    ("L2", 0.3),
    ("L2", 1.5),
    ("L1", 1.0),
    ("L1", 8.0),
    ("L1", 60.0),
]


def points(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Images with many pixels at 0 and 1, and points near and far from them."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(30, 1, 8, 8, generator=draw, dtype=torch.float64) * 1.6 - 0.3
    change = torch.randn(30, 1, 8, 8, generator=draw, dtype=torch.float64)
    images = images.clamp(0, 1).to(dtype)
    return images, images + per_row(torch.logspace(-3, 1, 30), change).to(
        dtype
    ) * change.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm, eps", RADII)
def test_nearest_naive_finds_the_same(
    norm: Any, eps: float, dtype: torch.dtype
) -> None:
    images, far = points(dtype)
    ball = Ball(images, torch.full((30,), eps, dtype=torch.float64), norm)
    found = ball.into(far)
    want = torch.stack([nearest_naive(x, u, eps, norm) for x, u in zip(images, far)])
    assert float((found - want).abs().max()) < 2e-6
    assert float(norm_of(found.double() - images.double(), norm).max()) <= eps * (
        1 + 1e-6
    )
    assert ((found >= 0) & (found <= 1)).all() and found.dtype == dtype
    assert float((ball.into(found) - found).abs().max()) < 1e-6
    assert not ball.beyond(found).any() and (eps > 8 or ball.beyond(far).any())


@pytest.mark.parametrize("norm, eps", RADII)
def test_no_row_knows_of_the_others(norm: Any, eps: float) -> None:
    images, far = points(torch.float32)
    radius = eps * torch.linspace(0.01, 1, 30, dtype=torch.float64)
    found, length = Ball(images, radius, norm).into(far), radius.flip(0)
    changes = Ball(images, radius, norm).climb(far - 0.5, images, length)
    for row in range(0, 30, 7):
        one = slice(row, row + 1)
        ball = Ball(images[one], radius[one], norm)
        assert torch.equal(ball.into(far[one]), found[one])
        change = ball.climb(far[one] - 0.5, images[one], length[one])
        assert torch.equal(change, changes[one])


@pytest.mark.parametrize("norm, eps", [("L2", 0.4), ("L1", 0.5), ("L1", 4.0)])
def test_no_other_change_rises_more(norm: Any, eps: float) -> None:
    """In L1 within the box too; in L2 among pixels that do not press against it."""
    images, far = points(torch.float64)
    slope, length = far - images, torch.full((30,), eps, dtype=torch.float64)
    ball = Ball(images, length, norm)
    change = ball.climb(slope, images, length)
    gain = (change * slope).flatten(1).sum(1)
    assert (norm_of(change, norm) <= eps * (1 + 1e-9)).all() and (gain > 0).all()
    draw = torch.Generator().manual_seed(1)
    for scale in (0.1, 1.0, 10.0):
        noise = torch.randn(images.shape, generator=draw, dtype=torch.float64)
        other = ball.into(images + scale * slope.sign() * noise.abs() ** 3) - images
        assert ((other * slope).flatten(1).sum(1) <= gain + 1e-12).all()
    if norm == "L1":
        assert float((images + change - ball.into(images + change)).abs().max()) < 1e-6
