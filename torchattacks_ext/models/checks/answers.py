"""Are a model's scores on a grid, does a tiny step move them, and as its gradient says?

An attack follows scores that move with the image. Rounded scores, rounded inputs and activations
that jump do not, and each leaves a mark that a few forward passes show.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...numerics.losses import margins, unmasked
from ...numerics.norms import Bounds, bounds_for
from ...numerics.streams import uniform

TINY = 2.0**-20
"""A step (of a range of 1) far below any grid of pixels, and 8 roundings of a float32 near 1."""
SMALL = 1e-3
"""A step over which a gradient should foretell the change: a quarter of an 8-bit grey level."""
ROUNDINGS = 64
"""A change of scores below so many roundings of the largest one says nothing."""


def repeated(logits: Tensor) -> Tensor:
    """(N,) float64: of each row of scores (N, K) the share that occur again, bit for bit.

    The commonest value is left out: a last ReLU makes many zeros. Scores of float32 that move
    freely hardly ever meet; those on a grid of G values do once there are more than G of them.

    >>> repeated(torch.tensor([[1.0, 2.5], [2.5, 3.0], [0.0, 0.0]])).tolist()
    [0.5, 0.5, 0.0]
    """
    _, place, count = torch.unique(logits, return_inverse=True, return_counts=True)
    again = count > 1
    if len(count):
        again[count.argmax()] = False
    found: Tensor = again[place].double().mean(1)
    return found


def is_hard(logits: Tensor) -> Tensor:
    """(N,) bool: rows of three or more scores (N, K) that are no more than two numbers.

    >>> is_hard(torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 2.0]])).tolist()
    [True, False]
    """
    low, high = logits.amin(1, keepdim=True), logits.amax(1, keepdim=True)
    only = ((logits == low) | (logits == high)).all(1)
    return only & (logits.shape[1] > 2)


def inward(
    images: Tensor, ids: Tensor, seed: int, bounds: Bounds | None = (0.0, 1.0)
) -> Tensor:
    """Steps (N, ...) of the width of the range, up or down by (seed, id), made to be scaled.

    Pixels that a thousandth of it would lead out of the range turn the other way.

    >>> step = inward(torch.tensor([[0.0, 1.0]]), torch.tensor([3]), 0)
    >>> step.tolist()
    [[1.0, -1.0]]
    """
    numbers = uniform(seed, ids, "diagnosis/step", 0, images[0].numel())
    step = 1 - 2 * (numbers < 0.5).to(images.dtype).reshape(images.shape)
    if bounds is None:
        return step
    low, high = bounds_for(bounds, images)
    step = step * (high - low)
    there = images + SMALL * step
    return torch.where((there < low) | (there > high), -step, step)


@dataclass(frozen=True, eq=False)
class Steps:
    """What two steps from M images do to their scores.

    flat (M,) bool: a step of `TINY` changes no score by one bit. rough (M,) float64: over a step of
    `SMALL`, |change of the margin - what its gradient foretells| over the sum of both sizes: near 0
    where the gradient is one, 1 where it is none; nan where the change is a rounding.
    """

    flat: Tensor
    rough: Tensor


def steps(
    view: LogitsFn,
    images: Tensor,
    labels: Tensor,
    logits: Tensor,
    gradient: Tensor,
    step: Tensor,
) -> Steps:
    """Two steps along `step` (M, ...), as :func:`inward` makes them; 2 M forward row-passes.

    logits (M, K) at the images, asked in a batch of the same rows; gradient (M, ...) of minus the
    margin there.

    >>> x, net = torch.tensor([[0.6, 0.4]]), lambda images: (images * 8).round()
    >>> found = steps(net, x, torch.tensor([0]), net(x), torch.zeros_like(x), torch.ones_like(x))
    >>> found.flat.tolist(), found.rough.tolist()
    ([True], [nan])
    """
    with torch.no_grad():
        near, far = (unmasked(view(images + size * step)) for size in (TINY, SMALL))
    told = -SMALL * (gradient * step).flatten(1).double().sum(1)
    seen = (margins(far, labels) - margins(logits, labels)).double()
    size = told.abs() + seen.abs()
    largest = torch.maximum(logits.abs().amax(1), far.abs().amax(1)).double()
    noise = ROUNDINGS * torch.finfo(logits.dtype).eps * largest
    rough = torch.where(size > noise, (seen - told).abs() / size, torch.nan)
    return Steps((near == logits).all(1), rough)
