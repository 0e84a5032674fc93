"""How is a batch scored by the mean of F over noisy copies of each image?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...models.jvp import model_action
from ...numerics.fisher.ball import CubeFisher, climb, quadratic
from ...numerics.fisher.smooth import smoothed_fisher
from ...numerics.fisher.top import TopFisher
from ...numerics.gaussian import normals
from ...numerics.streams import uniform
from .scored import TRACE_DRAWS, Scored
from .settings import FIMSettings


def noisy_copies(
    images: Tensor, ids: Tensor, sigma: float, n: int, seed: int
) -> Tensor:
    """x + sigma g for n normal g of each image: (B, ...) -> (B n, ...), the n of one in a row.

    The noise is a function of seed, id and number; nothing is clamped, as F is a property of the
    model's function and not of pictures.
    """
    size = images[0].numel()
    keys = ids.to(images.device)
    copies = []
    for i in range(n):
        noise = normals(uniform(seed, keys, "fim_smooth", i, size + size % 2))
        noise = noise[:, :size].to(images.dtype).view_as(images)
        copies.append(images + sigma * noise)
    return torch.stack(copies, 1).flatten(0, 1)


def score_smoothed(
    settings: FIMSettings, view: LogitsFn, images: Tensor, ids: Tensor
) -> Scored:
    """The score of a batch; at most batch_size noisy images have a graph at a time."""
    assert settings.smooth is not None
    size = max(1, settings.batch_size // settings.smooth[1])
    found = [
        _part(settings, view, images[i : i + size], ids[i : i + size])
        for i in range(0, len(images), size)
    ]
    names = ("log_lam", "u1", "residual", "n_iterations", "status")
    ends = ("log_value", "log_upper", "signs", "n_iterations")
    cubes = [part.cube for part in found if part.cube is not None]
    spreads = [part.spread for part in found if part.spread is not None]
    return Scored(
        model_action(view, images, settings.jvp),
        TopFisher(**_joined([part.top for part in found], names), method="lanczos"),
        CubeFisher(**_joined(cubes, ends)) if cubes else None,
        torch.cat([part.log_trace for part in found]),
        torch.cat(spreads) if spreads else None,
        frozenset(part.backend for part in found) - {""},
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The smoothed score of some images of a batch, without the graph that it took.

    backend: what gave J v. spread: the largest range of a change of logits of any copy; None
    without `kl`, as the worst signs are.
    """

    top: TopFisher
    log_trace: Tensor
    backend: str
    cube: CubeFisher | None = None
    spread: Tensor | None = None


def _joined(parts: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: torch.cat([getattr(part, name) for part in parts]) for name in names}


def _part(settings: FIMSettings, view: LogitsFn, images: Tensor, ids: Tensor) -> _Part:
    assert settings.smooth is not None
    sigma, n = settings.smooth
    copies = noisy_copies(images, ids, sigma, n, settings.seed)
    action = model_action(view, copies, settings.jvp)
    smoothed = smoothed_fisher(action, n)
    top = smoothed.top(tol=1e-3 if settings.tol is None else settings.tol)
    trace = smoothed.log_trace(max(2, TRACE_DRAWS // n), ids)
    if not settings.kl:
        return _Part(top, trace, action.backend)
    found = climb(smoothed.operator, top.u1.to(action.logits.dtype))
    scale = smoothed.log_scale.masked_fill(~smoothed.finite, torch.nan)
    upper = top.log_lam + math.log(max(action.n_inputs, 1))
    cube = CubeFisher(scale + found.log_value, upper, found.signs, found.n_iterations)
    spread = quadratic(action, top.u1.repeat_interleave(n, 0))[1]
    return _Part(top, trace, action.backend, cube, spread.view(-1, n).amax(1))
