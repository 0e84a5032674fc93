"""How does an attack differentiate a model without leaving gradients in it?

Some classes of torchattacks call `backward()`, which fills the `.grad` of every weight that needs
one. A session freezes the weights that it can see; those behind a plain function, or in a list of a
module, it cannot. So the backward pass of an attack ends at the model's images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Sealed(nn.Module):
    """A victim (images to logits) whose weights gather no gradient, wherever they are.

    keeps: whether an attack may go backward through one forward pass more than once. Gradients of
    the images are the same to the last bit; there are no second derivatives.

    >>> net, images = nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True)
    >>> Sealed(net)(images).sum().backward()
    >>> net.weight.grad is None, bool((images.grad == net.weight.sum(0)).all())
    (True, True)
    """

    def __init__(self, victim: nn.Module, keeps: bool = False) -> None:
        super().__init__()
        self.victim, self.keeps = victim, keeps

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the victim."""
        if not (torch.is_grad_enabled() and images.requires_grad):
            logits: Tensor = self.victim(images)
            return logits
        inner = images.detach().requires_grad_()
        logits = self.victim(inner)
        if not logits.requires_grad:  # the attack will say that it has no gradient
            return logits
        sealed: Tensor = _Seal.apply(images, (inner, logits, self.keeps))
        return sealed


class _Seal(torch.autograd.Function):
    """Logits that were computed from a copy of the images; its gradient is that of the copy."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, graph: tuple[Tensor, Tensor, bool]) -> Tensor:
        ctx.graph = graph
        return graph[1].detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inner, logits, keeps = ctx.graph
        found = torch.autograd.grad(
            logits, inner, gradients[0], retain_graph=keeps, allow_unused=True
        )
        return found[0], None
