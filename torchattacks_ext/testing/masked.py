"""Which victims fool an attack without being robust? One cause of masking each, cause known.

For GradientKiller, the plainest of them, see gradient_killer.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.adapters.bpda import value_with_vjp
from ..models.logits import to_logits


class _Masked(nn.Module):
    def __init__(self, model: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K) of the model that is masked."""
        return to_logits(self.model(images), len(images))


def _check_positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ConfigError(f"{name}={value!r} must be a number in (0, inf)")
    return value


class Quantised(_Masked):
    """`model` behind an input rounded to `levels` values; its gradient is zero almost everywhere.

    Fools gradient attacks, and every attack whose steps are shorter than half a level. Not fooled:
    transfer from `model`, BPDA(Quantised(model, levels), model), query attacks with long steps.

    Arguments:
        model (Module or callable): images (N, ...) to scores.
        levels (int): grey levels of [0, 1], >= 2: 0, 1/(levels - 1), .., 1. (Default: 16)

    Cost: one forward row-pass a row. Raises ConfigError for other levels.

    >>> Quantised(torch.nn.Identity(), levels=5)(torch.tensor([[0.3, 0.4]]))
    tensor([[0.2500, 0.5000]])
    """

    def __init__(self, model: Callable[..., Any], levels: int = 16) -> None:
        super().__init__(model)
        if not isinstance(levels, int) or levels < 2:
            raise ConfigError(f"levels={levels!r} must be an integer >= 2")
        self.levels = levels

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of the rounded images."""
        steps = self.levels - 1
        return self.logits((images * steps).round() / steps)


class SaturatedLogits(_Masked):
    """`model` with logits times `scale`: the gradient of cross-entropy underflows to zero.

    In float32 a row is silent once its margin times the scale is above 104 (exp(-104) is less than
    half the smallest number). Answers, and so robustness, are those of `model`. Fools
    cross-entropy where rows are right by a clear margin. Not fooled: margin and DLR losses,
    targeted cross-entropy, logits scaled back.

    Arguments:
        model (Module or callable): images (N, ...) to scores.
        scale (float): factor, > 0 and finite. (Default: 10000.0)

    Cost: one forward row-pass a row. Raises ConfigError for another scale.

    >>> x = torch.tensor([[0.6, 0.4]], requires_grad=True)
    >>> logits = SaturatedLogits(torch.nn.Identity(), scale=1e4)(x)
    >>> loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
    >>> torch.autograd.grad(loss, x)[0].abs().max()
    tensor(0.)
    """

    def __init__(self, model: Callable[..., Any], scale: float = 1e4) -> None:
        super().__init__(model)
        self.scale = _check_positive("scale", scale)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), scaled."""
        return self.logits(images) * self.scale


class NaNGradient(_Masked):
    """`model` in value; every gradient is NaN.

    Signed steps turn NaN into 0 or into NaN pixels, L2 steps into NaN pixels, which some attacks
    then count as success. For tests that NaN is noticed and that no candidate with NaN is
    believed.

    Arguments:
        model (Module or callable): images (N, ...) to scores.

    Cost: one forward row-pass a row, never a backward.

    >>> x = torch.zeros(1, 2, requires_grad=True)
    >>> torch.autograd.grad(NaNGradient(torch.nn.Identity())(x).sum(), x)[0]
    tensor([[nan, nan]])
    """

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of the model."""
        return value_with_vjp(images, self.logits, _all_nan)


def _all_nan(images: Tensor, gradient: Tensor) -> Tensor:
    return torch.full_like(images, float("nan"))


class TiedLogits(_Masked):
    """`model` with logits rounded to multiples of `step`: many ties, zero gradient.

    As of a model that works in few digits. A tie may still be answered rightly (argmax takes the
    first), so an attack that stops at margin <= 0 leaves rows unbroken. Fools gradient attacks
    and such stopping rules; BPDA(TiedLogits(model, step), model) leaves the ties alone.

    Arguments:
        model (Module or callable): images (N, ...) to scores.
        step (float): distance of two values, > 0 and finite. (Default: 0.5)

    Cost: one forward row-pass a row. Raises ConfigError for another step.

    >>> TiedLogits(torch.nn.Identity(), step=0.5)(torch.tensor([[1.1, 0.9, 0.6]]))
    tensor([[1.0000, 1.0000, 0.5000]])
    """

    def __init__(self, model: Callable[..., Any], step: float = 0.5) -> None:
        super().__init__(model)
        self.step = _check_positive("step", step)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), multiples of the step."""
        return (self.logits(images) / self.step).round() * self.step


class RandomisedInput(_Masked):
    """`model` behind Gaussian noise on the input, fresh for every forward.

    The noise comes from torch's global generator, which advances by one number a pixel. Fools
    attacks that believe one draw: a candidate that failed once may be right the next time. Not
    fooled: EOT and success that is counted on fresh draws.

    Arguments:
        model (Module or callable): images (N, ...) to scores.
        sigma (float): deviation of the noise in pixel units, > 0 and finite. (Default: 0.1)

    Cost: one forward row-pass a row. Raises ConfigError for another sigma.

    >>> net = RandomisedInput(torch.nn.Identity(), sigma=0.1)
    >>> torch.equal(net(torch.zeros(1, 2)), net(torch.zeros(1, 2)))
    False
    """

    def __init__(self, model: Callable[..., Any], sigma: float = 0.1) -> None:
        super().__init__(model)
        self.sigma = _check_positive("sigma", sigma)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of noisy images; the noise is not clipped."""
        return self.logits(images + self.sigma * torch.randn_like(images))
