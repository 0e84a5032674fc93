"""How do counts of draws become rows of a table of certificates?"""

from __future__ import annotations

import torch
from torch import Tensor

from ...data.stream import Batch
from ...results.base.columns import Rows
from ..ellips.rows import table_rows


def smoothed_rows(
    batch: Batch,
    guess: Tensor,
    radius: Tensor,
    sigma: float,
    drawn: Tensor,
    hits: Tensor,
    n_close: Tensor,
) -> Rows:
    """Rows of a batch, all arguments (N,) on the CPU.

    guess: the class that was chosen; radius: float64 pixels, 0 to abstain; drawn, hits: of the
    draws that bound it; n_close: answers that were asked twice.
    """
    proved = radius > 0
    label = torch.where(proved, guess, -1)
    right = torch.full_like(label, -1)
    if batch.labels is not None:
        right = (label == batch.labels.cpu()).long()
    return table_rows(
        batch,
        {
            "status": torch.zeros_like(label),
            "label": label,
            "prediction": guess,
            "clean_correct": right,
            "abstain": (~proved).long(),
            "radius": radius,
            "latent_radius": radius / sigma,
            "lipschitz": torch.full_like(radius, 1 / sigma),
            "n_samples": drawn,
            "hits": hits,
            "n_close": n_close,
        },
    )
