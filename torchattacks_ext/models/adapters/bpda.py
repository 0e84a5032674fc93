"""How is a defence attacked whose gradient lies? Its own value, another function's gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelContractError

Map = Callable[[Tensor], Tensor]
Vjp = Callable[[Tensor, Tensor], Tensor]
"""Takes images (N, ...) and the gradient at the value; returns the gradient at the images."""


class _ValueWithVjp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, value: Map, vjp: Vjp) -> Tensor:
        ctx.vjp = vjp
        ctx.save_for_backward(images)
        found = value(images.detach()).detach()
        # torch refuses in-place writes to an output that is a view of the input
        return found.clone() if shares_memory(found, images) else found

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (images,) = ctx.saved_tensors
        return ctx.vjp(images, gradients[0]), None, None


def shares_memory(one: Tensor, other: Tensor) -> bool:
    """Do two tensors lie in the same storage?

    >>> x = torch.zeros(2, 3)
    >>> shares_memory(x[1:], x), shares_memory(x + 0, x)
    (True, False)
    """
    mine, theirs = one.untyped_storage(), other.untyped_storage()
    return mine.data_ptr() == theirs.data_ptr() and mine.data_ptr() != 0


def value_with_vjp(images: Tensor, value: Map, vjp: Vjp) -> Tensor:
    """Exactly `value(images)`, with `vjp(images, gradient)` as its gradient.

    images: (N, ...); value is called once, without a graph; vjp only when a gradient arrives,
    inside torch.no_grad() (or with gradients enabled, when the caller wants second derivatives).
    The result needs a gradient iff the images do; no parameter gets one. Not for torch.func.

    >>> x = torch.tensor([0.4, 1.6], requires_grad=True)
    >>> y = value_with_vjp(x, torch.round, lambda x, g: 3 * g)
    >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
    ([0.0, 2.0], [3.0, 3.0])
    """
    found: Tensor = _ValueWithVjp.apply(images, value, vjp)
    return found


def vjp_through(function: Map, images: Tensor, gradient: Tensor) -> Tensor:
    """The vector-Jacobian product of `function` at `images`: J^T gradient, like the images.

    One forward and one backward row-pass of `function` a row; parameters get no gradient. Raises
    ModelContractError if the value of `function` has another shape than the gradient, or if it
    does not depend on the images in a way that torch can differentiate.

    >>> vjp_through(torch.square, torch.tensor([[3.0]]), torch.tensor([[0.5]]))
    tensor([[3.]])
    """
    twice = torch.is_grad_enabled() and images.requires_grad
    with torch.enable_grad():
        point = images.view_as(images) if twice else images.detach().requires_grad_()
        found = as_tensor(function(point), "the gradient's function")
    if found.shape != gradient.shape:
        raise ModelContractError(
            f"the gradient's function gave shape {tuple(found.shape)} and the value's function "
            f"{tuple(gradient.shape)}; both must give the same, say logits (N, K)"
        )
    result = None
    if found.requires_grad:
        weight = gradient.to(found)
        (result,) = torch.autograd.grad(
            found, point, weight, create_graph=twice, allow_unused=True
        )
    if result is None:
        raise ModelContractError(
            "the gradient's function gave a value without a graph to the images; it must be "
            "differentiable in them: look for detach(), no_grad() or numpy inside"
        )
    return result


def as_tensor(raw: Any, whose: str) -> Tensor:
    """`raw` if it is a tensor; else a ModelContractError that names the remedy.

    >>> as_tensor(torch.ones(1), "the model")
    tensor([1.])
    """
    if isinstance(raw, Tensor):
        return raw
    raise ModelContractError(
        f"{whose} gave {type(raw).__name__}, expected a tensor; wrap it in LogitsView"
    )


class BPDA(nn.Module):
    r"""`forward(x)` in value, the Jacobian of `backward` at the same x in the gradient.

    Backward Pass Differentiable Approximation: for a defence t whose gradient is missing, zero or
    useless and a smooth s near it, y = t(x) and dL/dx := J_s(x)^T dL/dy. The value is t's, bit for
    bit: no s + (t - s) is added up, so that nothing cancels and a NaN of s spoils no value. Works
    for whole models (images to logits) and for a layer before one (images to images).

    Arguments:
        forward (Module or callable): the value; any function of a tensor, it need not be
            differentiable. Runs without a graph.
        backward (Module, callable or None): the gradient; a value of the same shape,
            differentiable in x. None is the identity, for a layer that keeps the shape.
            (Default: None)

    Only images get a gradient: parameters neither need one nor receive one. Cost: one forward
    row-pass of `forward`; one forward and one backward row-pass of `backward` when a gradient is
    taken, none otherwise. Second derivatives are those of the vjp of `backward`. A randomised
    `backward` draws anew. Raises ModelContractError where the two shapes differ (at the gradient,
    before which `backward` is not run; at once when `backward` is None).

    Source: Athalye, Carlini & Wagner, "Obfuscated gradients give a false sense of security",
    ICML 2018, Sec. 4.1.

    >>> x = torch.tensor([[0.2, 0.9]], requires_grad=True)
    >>> y = BPDA(torch.round)(x)
    >>> y.tolist(), torch.autograd.grad(y[0, 1], x)[0].tolist()
    ([[0.0, 1.0]], [[0.0, 1.0]])
    """

    def __init__(self, forward: Map, backward: Map | None = None) -> None:
        super().__init__()
        # not self.forward: that is the method of every Module
        self.exact, self.surrogate = forward, backward

    def forward(self, images: Tensor) -> Tensor:
        """The value of `forward` at images (N, ...)."""
        return value_with_vjp(images, self._value, self._vjp)

    def _value(self, images: Tensor) -> Tensor:
        found = as_tensor(self.exact(images), "the value's function")
        if self.surrogate is None and found.shape != images.shape:
            raise ModelContractError(
                f"backward=None is the identity, but forward turned {tuple(images.shape)} into "
                f"{tuple(found.shape)}; give a differentiable backward with that shape"
            )
        return found

    def _vjp(self, images: Tensor, gradient: Tensor) -> Tensor:
        if self.surrogate is None:
            return gradient.to(images)
        return vjp_through(self.surrogate, images, gradient)
