"""How fast do scores change along a direction, when only scores can be asked for?

Central differences: [f(b + h v) - f(b - h v)] / (2 h), whose error is h^2 / 6 times the third
derivative along v plus the rounding of f divided by h.

The pair has to stay in the box, because models clip, encode or refuse what is outside, and a
model that clips would show half the slope at every black and white pixel. So its centre b is
the image, moved inwards by h |v| at those pixels alone that have less room than that: there
the difference is one-sided. The pair stays 2 h v apart, so that the estimate has no
bias from the box where f is linear; elsewhere the slope is that of b, at most h |v| away a
pixel. The move depends on |v| only, never on the sign.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ....errors import ConfigError, InputError, ModelContractError
from ...norms import Bounds, bounds_for, clip_

Scores = Callable[[Tensor], Tensor]
"""Maps images (n, ...) to log-probabilities or logits (n, K): row by row, no gradient needed."""

LEVELS = 255
"""Grey levels of an 8-bit input lie 1 / LEVELS apart."""


def ask(scores: Scores, images: Tensor) -> Tensor:
    """The scores of ``images`` (n, ...) as (n, K) float64 on the CPU. One forward row-pass a row.

    Raises ModelContractError unless they are a float tensor (n, K) with K >= 2.

    >>> ask(lambda x: x.flatten(1), torch.zeros(2, 1, 3)).dtype
    torch.float64
    """
    found = scores(images)
    if found.ndim != 2 or len(found) != len(images) or found.shape[1] < 2:
        raise ModelContractError(
            f"scores have shape {tuple(found.shape)}, expected ({len(images)}, K) with K >= 2; "
            "a single logit z means the two logits 0 and z"
        )
    if not found.dtype.is_floating_point:
        raise ModelContractError(
            f"scores are {found.dtype}: labels alone have no slope, give log-probabilities"
        )
    return found.detach().to("cpu").to(torch.float64)


def check_images(images: Tensor, ids: Tensor) -> None:
    """Raise InputError unless images are (N, ...), float32 or float64, not empty, ids (N,).

    >>> check_images(torch.zeros(2, 3), torch.arange(2))
    """
    if images.dtype not in (torch.float32, torch.float64) or images.ndim < 2:
        raise InputError(
            f"images {tuple(images.shape)} {images.dtype} must be (N, ...), float32 or float64"
        )
    if not images.numel() or ids.shape != images.shape[:1]:
        raise InputError(
            f"images {tuple(images.shape)} must not be empty and ids {tuple(ids.shape)} one each"
        )


def central_differences(
    scores: Scores,
    images: Tensor,
    v: Tensor,
    h: float,
    *,
    bounds: Bounds | None = (0.0, 1.0),
    grey_levels: int = 0,
    max_rows: int = 256,
) -> Tensor:
    """The slopes of the scores along v: (N, n, K), float64 on the CPU.

    images: (N, ...), N >= 1, float32 or float64; v: (N, n, D) with D numbers an image, n >= 1;
    h > 0: the step a unit of v, so that the pair lies 2 h |v| apart; bounds: the box, None for
    no box; h |v| must not exceed half its width (the caller chooses h so, see the file).
    grey_levels k > 0: v holds signs, the step is k grey levels instead of h, and the model
    sees images in [0, 1] that are whole multiples of 1/255 to the last bit. max_rows: rows
    of one call of ``scores``. Raises InputError for other shapes, ConfigError for h <= 0, and
    what :func:`ask` raises. Cost: 2 n forward row-passes an image.

    >>> x, v = torch.tensor([[0.0, 0.5]]), torch.tensor([[[1.0, -1.0]]])
    >>> central_differences(lambda x: x * torch.tensor([3.0, 5.0]), x, v, 1e-3).round(decimals=3)
    tensor([[[ 3., -5.]]], dtype=torch.float64)
    """
    step_size = grey_levels / LEVELS if grey_levels else h
    if not step_size > 0 or max_rows < 1:
        raise ConfigError(f"h={h!r} must be > 0 and max_rows={max_rows!r} at least 1")
    n_images, n = v.shape[:2]
    if n_images != len(images) or v.shape[2] != images[0].numel():
        raise InputError(
            f"v {tuple(v.shape)} does not fit images {tuple(images.shape)}: expected (N, n, D)"
        )
    which = torch.arange(n_images, device=images.device).repeat_interleave(n)
    flat, found, n_pairs = v.flatten(0, 1), [], max(1, max_rows // 2)
    for start in range(0, n_images * n, n_pairs):
        rows = slice(start, start + n_pairs)
        x = images[which[rows]]
        pair = _pair(x, flat[rows].view_as(x) * step_size, bounds)
        if grey_levels:
            pair = pair.mul_(LEVELS).round_().div_(LEVELS)
        parts = torch.split(pair, max_rows)  # one row a call: a pair is two calls
        up, down = torch.cat([ask(scores, part) for part in parts]).chunk(2)
        found.append((up - down) / (2 * step_size))
    return torch.cat(found).view(n_images, n, -1)


def _pair(x: Tensor, step: Tensor, bounds: Bounds | None) -> Tensor:
    """b + step and b - step below each other; b is x with room for the step on both sides."""
    if bounds is None:
        return torch.cat([x + step, x - step])
    low, high = bounds_for(bounds, x)
    room = step.abs()
    base = torch.minimum(torch.maximum(x, low + room), high - room)
    return clip_(torch.cat([base + step, base - step]), bounds)
