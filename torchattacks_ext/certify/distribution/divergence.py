"""How far is a source at least from the fitted law? A lower bound, and how much a fit flatters."""

from __future__ import annotations

from torch import Tensor

from ...numerics.populations.transfer import kl_lower_bound
from ...numerics.rates.binomial import lower_bound, upper_bound
from ..ellips.head import EllipsHead

Pairs = tuple[Tensor, Tensor]
"""Latents (N, d) and labels (N,)."""


def divergence_at_least(
    head: EllipsHead, held_out: Pairs, drawn: Pairs, significance: float
) -> float:
    """A lower bound of KL(joint | fitted) in nats by the event "the head is right"; 0 for none.

    held_out: draws of the source; drawn: of the fitted law, from which the event's probability
    there is known: half of the level is for that. Too large with probability `significance` at
    most. No sample bounds that divergence from above.
    """
    (right, n), (k, m) = _right(head, held_out), _right(head, drawn)
    level = significance / 4
    low, high = float(lower_bound(k, m, level)), float(upper_bound(k, m, level))
    if low <= right / n <= high:
        return 0.0
    return min(kl_lower_bound(right, n, q, significance / 2) for q in (low, high))


def overfit_gap(head: EllipsHead, fitted_on: Pairs, held_out: Pairs) -> float:
    """Mean ln q(z, y) of the rows of the fit minus that of held-out rows, in nats a row.

    Large where the fit knows its own rows better than others; it bounds no divergence.
    """
    return _likelihood(head, fitted_on) - _likelihood(head, held_out)


def _right(head: EllipsHead, pairs: Pairs) -> tuple[int, int]:
    z, y = pairs
    return int((head.half_scores(z).argmax(1).cpu() == y.cpu()).sum()), len(y)


def _likelihood(head: EllipsHead, pairs: Pairs) -> float:
    """Up to a constant of the head: half a score is ln (pi_k N(z; mu_k, S_k)) and that."""
    z, y = pairs
    scores = head.half_scores(z).cpu()
    return float(scores.gather(1, y.long().cpu()[:, None]).mean())
