"""What does an attack climb? Losses of rows of logits, to be maximised, one number a row.

z are logits, y the label, t a target, z(1) >= z(2) >= ... the sorted logits:

- "ce": -log p_y; "margin": max_{j != y} z_j - z_y; "dlr": margin / (z(1) - z(3)), targeted
  (z_t - z_y) / (z(1) - (z(3) + z(4)) / 2) (Croce & Hein 2020, arXiv:2003.01690);
- "pm": max_{j != y} p_j - p_y, or p_t - p_y, of p = softmax(z) (arXiv:2411.15210). Where one
  probability is 1 but for rounding, its gradient is 0;
- "pm-t": the same of softmax(z / T), T = z(1) - z(3) of the row, detached. Multiplying all logits
  by a number changes nothing, neither loss nor the way up.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

TINY = 1e-12
Objective = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]
"""(logits (N, K), labels (N,), targets (N,) or None) -> (N,)."""


def _own(z: Tensor, labels: Tensor) -> Tensor:
    return z.gather(1, labels[:, None]).squeeze(1)


def _gap(z: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """z_t - z_y, or the largest of the others."""
    if targets is not None:
        return _own(z, targets) - _own(z, labels)
    rest = z.scatter(1, labels[:, None], float("-inf")).amax(1)
    return rest - _own(z, labels)


def temperature(logits: Tensor) -> Tensor:
    """(N,) spread of the three largest logits (of two classes: both), detached, at least 1e-12.

    >>> import torch
    >>> temperature(torch.tensor([[4.0, 1.0, 3.0, 0.0], [1.0, 1.0, 1.0, 1.0]])).tolist()
    [3.0, 9.999999960041972e-13]
    """
    top = logits.detach().topk(min(3, logits.shape[1]), dim=1).values
    return (top[:, 0] - top[:, -1]).clamp_min(TINY)


def cross_entropy(z: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """-log p_y; with targets log p_t."""
    found = z.log_softmax(1)
    return -_own(found, labels) if targets is None else _own(found, targets)


def margin(z: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Difference of logits, to the target or to the best of the others."""
    return _gap(z, labels, targets)


def dlr(z: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Difference of logits in units of their spread; three classes at least, targeted four."""
    top = z.topk(3 if targets is None else 4, dim=1).values
    low = top[:, 2] if targets is None else (top[:, 2] + top[:, 3]) / 2
    return _gap(z, labels, targets) / (top[:, 0] - low + TINY)


def pm(z: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Difference of probabilities, as published."""
    return _gap(z.softmax(1), labels, targets)


def pm_t(z: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Difference of probabilities at the temperature of each row.

    >>> import torch
    >>> z, y = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([0])
    >>> torch.equal(pm_t(z, y, None), pm_t(1024 * z, y, None))
    True
    """
    return _gap((z / temperature(z)[:, None]).softmax(1), labels, targets)


OBJECTIVES: dict[str, Objective] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "pm": pm,
    "pm-t": pm_t,
}


def objective_of(loss: str, n_classes: int, targeted: bool = False) -> Objective:
    """The loss of that name; one that is defined for so few classes, where it is not.

    >>> objective_of("dlr", 2) is margin, objective_of("dlr", 3, targeted=True) is pm_t
    (True, True)
    """
    if loss == "dlr" and n_classes < (4 if targeted else 3):
        return pm_t if targeted else margin
    return OBJECTIVES[loss]
