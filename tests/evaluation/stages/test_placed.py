"""Are candidates placed as by clipping, projecting and measuring each of them?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.evaluation.stages.placed import placed
from torchattacks_ext.numerics.norms import beyond, clip_, norm_of, project
from torchattacks_ext.numerics.unit import Unit


def naive(
    images: Tensor, raw: Tensor, unit: Unit, eps: float, norm: Any
) -> dict[str, Any]:
    """Every step for every row, whatever the candidates are."""
    whole = torch.isfinite(raw)
    boxed = torch.where(whole, unit.back(raw), images)
    inside = project(images, boxed, eps, norm, unit.bounds)
    boxed = clip_(boxed.clone(), unit.bounds)
    return {
        "inside": inside,
        "boxed": boxed,
        "length": norm_of(inside - images, norm).double().numpy(),
        "far": norm_of(boxed - images, norm).double().numpy(),
        "there": beyond(images, boxed, eps, norm).nonzero().flatten(),
        "odd": (~whole.flatten(1).all(1)).numpy(),
    }


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), None])
@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("odd", [False, True])
def test_they_are_as_the_slow_twin_places_them(
    norm: str, bounds: Any, size: float, odd: bool
) -> None:
    draw = torch.Generator().manual_seed(0)
    unit, eps = Unit(bounds), {"Linf": 0.1, "L2": 0.4, "L1": 2.0}[norm]
    images = torch.rand(9, 1, 5, 5, generator=draw)
    step = torch.randn(9, 1, 5, 5, generator=draw)
    step *= size * eps / norm_of(step, norm)[:, None, None, None]  # type: ignore
    moved = images + step
    raw = unit.of(moved) if size < 3 else moved  # those far away leave the box
    if odd:
        raw[2, 0, 0, 0], raw[5, 0, 1, 1], raw[6] = torch.nan, torch.inf, -torch.inf
    found = placed(images, raw, unit, eps, norm)  # type: ignore
    wanted = naive(images, raw, unit, eps, norm)
    for name, value in wanted.items():
        same = getattr(found, name)
        if isinstance(value, Tensor):
            assert torch.equal(same, value), name
        else:
            assert np.array_equal(same, value), name


def test_no_candidate_at_all() -> None:
    none = torch.zeros(0, 1, 2, 2)
    found = placed(none, none, Unit((0.0, 1.0)), 0.1, "Linf")
    assert len(found.inside) == len(found.there) == len(found.odd) == 0
