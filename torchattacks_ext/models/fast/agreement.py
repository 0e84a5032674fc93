"""Do two models answer alike? Logits, decisions, and the signs of the gradient of the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Logits = Callable[[Tensor], Tensor]

AGREE = 1e-4
"""Largest difference of logits that rounding makes in float32, in parts of the largest."""


@dataclass(frozen=True, eq=False)
class Answer:
    """logits (N, K); gradient (N, ...) of the images, or None where there is none."""

    logits: Tensor
    gradient: Tensor | None


@dataclass(frozen=True)
class Agreement:
    """How two answers differ.

    difference: largest of the finite logits, infinite where only one of the two is finite.
    largest: of the logits, without sign. changed: rows of another decision. dead: rows that lost
    their whole gradient. signs: share of the entries of the gradient that are of the same sign,
    among those that are not 0; None without gradients.
    """

    difference: float
    largest: float
    changed: int
    dead: int
    signs: float | None

    @property
    def rounding(self) -> bool:
        """Whether nothing differs by more than rounding in float32 makes, nor any decision."""
        return not self.changed and self.difference <= AGREE * self.largest


def answer(model: Logits, images: Tensor, gradient: bool = True) -> Answer:
    """Logits of images (N, ...), and the gradient of the distance of the two largest.

    Its gradient is never small where a model is sure of itself, as that of the cross-entropy is.
    One forward and one backward pass of N rows.

    >>> answer(lambda x: x * 2, torch.tensor([[1.0, 3.0]])).gradient
    tensor([[-2.,  2.]])
    """
    if not gradient:
        with torch.no_grad():
            return Answer(model(images), None)
    leaf = images.detach().clone().requires_grad_()
    logits = model(leaf)
    if not logits.requires_grad:
        return Answer(logits, None)
    top = logits.topk(min(2, logits.shape[1]), dim=1).values
    found = torch.autograd.grad((top[:, 0] - top[:, -1]).sum(), leaf, allow_unused=True)
    return Answer(logits.detach(), found[0])


def compare(one: Answer, two: Answer) -> Agreement:
    """How `two` differs from `one`.

    >>> rows = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    >>> compare(Answer(rows, None), Answer(rows.flip(1), None))
    Agreement(difference=2.0, largest=3.0, changed=2, dead=0, signs=None)
    """
    left, right = (side.logits.double() for side in (one, two))
    finite = left.isfinite() & right.isfinite()
    # infinities and NaN must stand in the same places
    alike = torch.equal(left[~finite].nan_to_num(), right[~finite].nan_to_num())
    apart = (left - right)[finite].abs()
    difference = float(apart.max()) if apart.numel() else 0.0
    sizes = left[left.isfinite()].abs()
    changed = left.argmax(1) != right.argmax(1)
    signs, dead = _gradients(one.gradient, two.gradient)
    return Agreement(
        difference if alike else float("inf"),
        float(sizes.max()) if sizes.numel() else 0.0,
        int(changed.sum()),
        dead,
        signs,
    )


def _gradients(one: Any, two: Any) -> tuple[float | None, int]:
    if one is None or two is None:
        return None, 0
    left, right = one.flatten(1).sign(), two.flatten(1).sign()
    some = left != 0
    dead = some.any(1) & ~(right != 0).any(1)
    share = (left == right)[some].double().mean() if bool(some.any()) else 1.0
    return float(share), int(dead.sum())
