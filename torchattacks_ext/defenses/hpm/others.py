"""What does a row get in its batch, and what where its own features are left out of it?

A row is a part of the prototype that it is compared with: in a batch of one it *is* that prototype.
Leaving it out takes that away, and nothing else; a second copy of the row in the batch brings it
back. Sizes: B batches of m rows, K classes, d features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .head import HPMHead
from .prototypes import LARGE, assignments, weighted_means


class Others(nn.Module):
    """The head with C_batch of the *other* rows: features (N, d) to logits (N, K).

    head: an HPMHead. The gradient flows through all rows, not through the choice of their classes.

    >>> from .settings import HPMSettings
    >>> head = HPMHead(nn.Linear(2, 3), HPMSettings(mixer="convex", share=0.0))
    >>> head.set_prototypes(torch.eye(3, 2))
    >>> alone = torch.rand(1, 2)
    >>> with torch.no_grad():
    ...     bool(head(alone).max() == 0), bool(Others(head)(alone).max() < 0)
    (True, True)
    """

    def __init__(self, head: HPMHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K)."""
        return batch_answers(self.head, features.unsqueeze(0), leave_out=True)[0]


def batch_answers(head: HPMHead, features: Tensor, leave_out: bool = False) -> Tensor:
    """Logits (B, m, K) of B batches, features (B, m, d), each by itself, in a few operations.

    leave_out: each row is compared with prototypes of the other rows of its batch. The value is
    ``head(batch)`` for each batch, up to rounding; "ste" has no gradient of the choice here. At
    most 2^24 differences are in memory at once (with gradients: all).

    >>> from .settings import HPMSettings
    >>> head = HPMHead(nn.Linear(2, 3), HPMSettings(assign="none"))
    >>> head.set_prototypes(torch.eye(3, 2))
    >>> batch_answers(head, torch.rand(4, 5, 2)).shape
    torch.Size([4, 5, 3])
    """
    b, m, d = features.shape
    each = max(1, LARGE // max(1, m * head.n_classes * d))
    parts = [_answers(head, part, leave_out) for part in torch.split(features, each)]
    return torch.cat(parts) if parts else features.new_zeros(b, m, head.n_classes)


def _answers(head: HPMHead, features: Tensor, leave_out: bool) -> Tensor:
    b, m, d = features.shape
    flat = head.wide(features.reshape(b * m, d))
    kind, k = head.settings.assign, head.n_classes
    if kind == "none":
        found: Tensor = head(flat)
        return found.reshape(b, m, k)
    with torch.autocast(flat.device.type, enabled=False):
        weights = assignments(
            head.fc_logits(flat), "soft" if kind == "soft" else "hard"
        )
        z, w = flat.reshape(b, m, d), weights.reshape(b, m, k)
        sums, mass, filling = w.transpose(1, 2) @ z, w.sum(1), head.filling(flat)
        if leave_out and kind == "soft":
            left = sums.unsqueeze(1) - w.unsqueeze(3) * z.unsqueeze(2)
            mixed = head.mix(_means(left, mass.unsqueeze(1) - w, filling))
            return head.compare(flat, mixed.reshape(b * m, k, d)).reshape(b, m, k)
        mixed = head.mix(_means(sums, mass, filling))
        logits = _compared(head, flat, mixed, m)
        if leave_out:
            own = weights.argmax(1)
            at = torch.arange(b, device=own.device).repeat_interleave(m)
            fill = None if filling is None else filling[own]
            means = _means(sums[at, own] - flat, mass[at, own] - 1, fill)
            one = head.compare(flat, head.mix(means, own).unsqueeze(1))
            logits = logits.scatter(1, own.unsqueeze(1), one)
        return logits.reshape(b, m, k)


def _compared(head: HPMHead, flat: Tensor, mixed: Tensor, m: int) -> Tensor:
    """Logits (B m, K) of rows (B m, d) against the prototypes (B, K, d) of their batches."""
    if len(mixed) == 1:
        return head.compare(flat, mixed[0])
    return head.compare(flat, mixed.repeat_interleave(m, 0))


def _means(sums: Tensor, mass: Tensor, filling: Tensor | None) -> Tensor:
    """As the head's; what is left of a sum of no rows is rounding, and zero there."""
    empty = torch.zeros_like(sums) if filling is None else filling
    return weighted_means(sums, mass, empty)
