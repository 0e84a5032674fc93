"""Which losses give a model's images a gradient to follow? Zero, odd or absent, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._typing import LogitsFn
from ...errors import ModelContractError
from ...numerics.losses import margins, unmasked
from ..gradients import NoGradient, from_backward, uncompiled


@dataclass(frozen=True, eq=False)
class LossGradients:
    """Gradients of two losses at M images (M, ...), which an attack climbs.

    logits (M, K). ce, margin (M, ...): gradients of the cross-entropy and of minus the margin; zero
    where none came. absent: whether the model gave none at all (detached, or an exception of its
    backward pass).
    """

    logits: Tensor
    ce: Tensor
    margin: Tensor
    absent: bool = False

    @property
    def ce_zero(self) -> Tensor:
        """(M,) bool: not one pixel of the cross-entropy's gradient differs from 0."""
        return _zero(self.ce)

    @property
    def margin_zero(self) -> Tensor:
        """(M,) bool: the same of the margin's."""
        return _zero(self.margin)

    @property
    def odd(self) -> Tensor:
        """(M,) bool: a pixel of either gradient is NaN or infinite."""
        whole = torch.isfinite(self.ce) & torch.isfinite(self.margin)
        return ~whole.flatten(1).all(1)


def _zero(gradient: Tensor) -> Tensor:
    return (gradient == 0).flatten(1).all(1)


def loss_gradients(view: LogitsFn, images: Tensor, labels: Tensor) -> LossGradients:
    """Both gradients at images (M, ...) with labels (M,); view: pixels to logits (M, K).

    Runs inside a session. M forward row-passes (2 M where the gradient cannot be had) and 2 M
    backward ones.

    >>> x = torch.tensor([[0.6, 0.4]])
    >>> found = loss_gradients(lambda images: images * 1e4, x, torch.tensor([0]))
    >>> found.ce_zero.tolist(), found.margin_zero.tolist(), found.absent
    ([True], [False], False)
    """
    shown = images.detach().clone().requires_grad_()
    try:
        with torch.enable_grad(), uncompiled():  # the graph is asked twice
            logits = unmasked(view(shown))
            if logits.requires_grad:
                losses = (
                    cross_entropy(logits, labels, reduction="sum"),
                    -margins(logits, labels).sum(),
                )
                found = [
                    torch.autograd.grad(
                        one, shown, retain_graph=True, allow_unused=True
                    )[0]
                    for one in losses
                ]
                if all(one is not None for one in found):
                    ce, margin = (one.detach() for one in found)
                    return LossGradients(logits.detach(), ce, margin)
    except (ModelContractError, NoGradient):
        pass
    except Exception as error:
        if not from_backward(error):
            raise
    with torch.no_grad():  # is it the gradient that the model cannot bear?
        logits = unmasked(view(images))
    nothing = torch.zeros_like(images)
    return LossGradients(logits, nothing, nothing, absent=True)
