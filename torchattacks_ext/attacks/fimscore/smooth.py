"""How is a batch scored by the mean of F over noisy copies of each image?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...errors import ConfigError
from ...models.jvp import model_action
from ...numerics.fisher.ball import CubeFisher, climb, quadratic
from ...numerics.fisher.smooth import smoothed_fisher
from ...numerics.fisher.top import TopFisher
from ...numerics.gaussian import normals
from ...numerics.streams import uniform
from .scored import TRACE_DRAWS, Scored

if TYPE_CHECKING:
    from .fimscore import FIMScore

MOST = 1024
"""Points an image, at most."""


def check_smooth(smooth: object, method: str) -> tuple[float, int] | None:
    """(sigma, n), or None. Raises ConfigError outside their domains.

    >>> check_smooth([0.05, 8], "auto")
    (0.05, 8)
    """
    if smooth is None:
        return None
    given = tuple(smooth) if isinstance(smooth, (tuple, list)) else ()
    numbers = all(isinstance(x, (int, float)) for x in given) and len(given) == 2
    if not (numbers and 0 < given[0] < math.inf and given[1] in range(2, MOST + 1)):
        raise ConfigError(
            f"smooth={smooth!r} must be (sigma, n): a standard deviation > 0 in pixel units and "
            f"a number of points in [2, {MOST}], or None"
        )
    if method not in ("auto", "lanczos"):
        raise ConfigError(
            f'smooth goes with method "auto" or "lanczos", not {method!r}: the mean of F has too '
            "many rows for the others"
        )
    return float(given[0]), int(given[1])


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
    probe: FIMScore, view: LogitsFn, images: Tensor, ids: Tensor
) -> Scored:
    """The score of a batch; at most batch_size noisy images have a graph at a time."""
    assert probe.smooth is not None
    size = max(1, probe.batch_size // probe.smooth[1])
    found = [
        _part(probe, view, images[i : i + size], ids[i : i + size])
        for i in range(0, len(images), size)
    ]
    tops, cubes, traces, spreads = zip(*found)
    names = ("log_lam", "u1", "residual", "n_iterations", "status")
    ends = ("log_value", "log_upper", "signs", "n_iterations")
    return Scored(
        model_action(view, images, probe.jvp),
        TopFisher(**_joined(tops, names), method="lanczos"),
        CubeFisher(**_joined(cubes, ends)) if probe.kl else None,
        torch.cat(traces),
        torch.cat(spreads) if probe.kl else None,
    )


def _joined(parts: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: torch.cat([getattr(part, name) for part in parts]) for name in names}


def _part(
    probe: FIMScore, view: LogitsFn, images: Tensor, ids: Tensor
) -> tuple[TopFisher, CubeFisher | None, Tensor, Tensor | None]:
    """Top, worst signs, log trace, and the largest range of a change of logits of any copy."""
    assert probe.smooth is not None
    sigma, n = probe.smooth
    action = model_action(
        view, noisy_copies(images, ids, sigma, n, probe.seed), probe.jvp
    )
    smoothed = smoothed_fisher(action, n)
    top = smoothed.top(tol=1e-3 if probe.tol is None else probe.tol)
    trace = smoothed.log_trace(max(2, TRACE_DRAWS // n), ids)
    probe._backends |= {action.backend} - {""}
    if not probe.kl:
        return top, None, trace, None
    found = climb(smoothed.operator, top.u1.to(action.logits.dtype))
    scale = smoothed.log_scale.masked_fill(~smoothed.finite, torch.nan)
    upper = top.log_lam + math.log(max(action.n_inputs, 1))
    cube = CubeFisher(scale + found.log_value, upper, found.signs, found.n_iterations)
    spread = quadratic(action, top.u1.repeat_interleave(n, 0))[1]
    return top, cube, trace, spread.view(-1, n).amax(1)
