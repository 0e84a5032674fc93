"""How far is a row of logits from the other answer? Margins, vectorised and differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Margin of every row: z_y - max_{j != y} z_j; > 0 = the label is the only largest logit.

    logits: (N, K) floating, K >= 2; labels: (N,) integers in 0..K-1. Returns (N,) in
    the dtype of the logits, differentiable in them; the input is not written to. A NaN
    anywhere in a row gives a NaN margin; a tie gives 0, which no comparison with > 0
    counts as correct. Raises InputError for other shapes; the range of labels is
    torch's to check. Cost: one copy of the logits and one maximum, 24 us for 256 x 10
    on one thread (a top-2 search takes twice as long).

    >>> margins(torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), torch.tensor([0, 2])).tolist()
    [1.0, -1.0]
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1]:
        raise InputError(
            f"margins need logits (N, K) with K >= 2 and labels (N,), "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    index = labels.to(torch.int64).unsqueeze(1)
    own = logits.gather(1, index).squeeze(1)
    return own - logits.scatter(1, index, float("-inf")).amax(1)


def target_margins(logits: Tensor, targets: Tensor) -> Tensor:
    """What is missing to the target: max_{j != t} z_j - z_t; > 0 = target not reached.

    The negative of :func:`margins` at the targets, same shapes, errors and cost: small
    is good for the attacker in both.

    >>> target_margins(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([2])).tolist()
    [1.0]
    """
    return -margins(logits, targets)


def is_finite_rows(logits: Tensor) -> Tensor:
    """Which rows hold neither NaN nor an infinity? (N, K), K >= 1 -> (N,) bool.

    Asked of the largest absolute value, which NaN passes through: 3 to 10 times cheaper
    than asking every element.

    >>> is_finite_rows(torch.tensor([[0.0, 1.0], [float("nan"), 1.0], [0.0, -float("inf")]]))
    tensor([ True, False, False])
    """
    return torch.isfinite(logits.abs().amax(1))


def has_answer(logits: Tensor) -> Tensor:
    """Which rows have a largest logit that is a number? (N, K), K >= 1 -> (N,) bool.

    A class masked with -inf is out of the race; NaN, +inf and rows of nothing but -inf have no
    answer.

    >>> inf = float("inf")
    >>> has_answer(torch.tensor([[0.0, -inf], [0.0, inf], [float("nan"), 1.0], [-inf, -inf]]))
    tensor([ True, False, False, False])
    """
    return torch.isfinite(logits.amax(1))


def is_scored(logits: Tensor, labels: Tensor) -> Tensor:
    """Rows with an answer in which the label's own class is not masked; (N, K), (N,) -> (N,) bool.

    >>> logits = torch.tensor([[0.0, -float("inf")]]).expand(2, 2)
    >>> is_scored(logits, torch.tensor([0, 1]))
    tensor([ True, False])
    """
    own = logits.gather(1, labels.to(torch.int64).unsqueeze(1)).squeeze(1)
    return has_answer(logits) & torch.isfinite(own)


def unmasked(logits: Tensor, gap: float = 100.0) -> Tensor:
    """The logits (N, K) with -inf replaced by `gap` less than the least finite one of the row.

    For losses, Jacobians and differences, which subtract logits from each other. What is put there
    moves with the least class, so that no margin, no distance to another class and no range of
    changes is one of a masked class, and exp(-gap) of that class's probability is all it adds:
    4e-44, nothing in float64. Three-logit losses of a row with two classes left become a function
    of their margin alone. Rows without an answer stay as they are. Differentiable; five passes over
    memory.

    >>> unmasked(torch.tensor([[3.0, -float("inf"), 1.0]])).tolist()
    [[3.0, -99.0, 1.0]]
    """
    out = logits == -torch.inf
    least = torch.where(out, torch.inf, logits).amin(1, keepdim=True)
    answered = torch.isfinite(logits.detach().amax(1, keepdim=True))
    return torch.where(out & answered, least - gap, logits)


def was_masked(logits: Tensor, gap: float = 100.0) -> Tensor:
    """Which of the logits (N, K) :func:`unmasked` has put there, (N, K) bool.

    >>> was_masked(unmasked(torch.tensor([[3.0, -float("inf"), 1.0], [1.0, 2.0, 3.0]]))).tolist()
    [[False, True, False], [False, False, False]]
    """
    low = logits.amin(1, keepdim=True)
    rest = torch.where(logits == low, torch.inf, logits).amin(1, keepdim=True)
    return (logits == low) & (low == rest - gap)
