"""Which of a few random draws is worst, and what does a model answer beyond rounding?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...data.door import check_label_range
from ...engines.judge.active import keyed
from ...numerics.losses import margins, target_margins
from ...samplers.base import Sampler


def worst_draws(
    images: Tensor,
    reference: Tensor,
    ids: Tensor,
    view: LogitsFn,
    sampler: Sampler,
    *,
    seed: int,
    n_draws: int,
    batch_size: int,
    targeted: bool,
) -> Tensor:
    """The draw of smallest margin of each image (N, ...) among the draws 0 .. n_draws - 1.

    ids (N,): of the noise. Batches hold several draws at a time. N n_draws forward row-passes;
    the device is waited for once, where the labels are held against the number of classes.
    """
    best = images.clone()
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        few, n = images[part], len(images[part])
        lot, tail = max(1, batch_size // n), (1,) * (images.dim() - 1)
        lowest = few.new_full((n,), float("inf"))
        for first in range(0, n_draws, lot):
            count = min(lot, n_draws - first)
            draws = torch.arange(first, first + count, device=images.device)
            draws = draws.repeat_interleave(n)
            noise = keyed(seed, ids[part].repeat(count), draws, sampler.name)
            drawn = sampler.sample(few.repeat((count, *tail)), noise)
            logits, wanted = view(drawn), reference[part].repeat(count)
            if not start + first:
                check_label_range(reference, logits.shape[1])
            found = (target_margins if targeted else margins)(logits, wanted)
            found = found.nan_to_num(-torch.inf).reshape(count, n).to(images.dtype)
            least, place = found.min(0)
            rows = place * n + torch.arange(n, device=images.device)
            better = (least < lowest).reshape(n, *tail)
            best[part] = torch.where(better, drawn[rows], best[part])
            lowest = torch.minimum(least, lowest)
    return best


def predictions(view: LogitsFn, images: Tensor, batch_size: int) -> Tensor:
    """argmax (N,) of every image; two almost equal classes are decided at batch size 1."""
    logits = torch.cat([view(part) for part in torch.split(images, batch_size)])
    found = logits.argmax(1)
    top = logits.topk(2, dim=1).values
    close = (top[:, 0] - top[:, 1]) < 1e-4 * logits.abs().amax(1)
    for row in close.nonzero()[:, 0].tolist() if batch_size > 1 else ():
        found[row] = view(images[row : row + 1]).argmax(1)[0]
    return found
