"""Which models have robustness that is known on paper? Closed-form victims for truth tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .._typing import Norm
from ..errors import ConfigError
from ..numerics.arguments import parse_seed
from ..numerics.streams import uniform

_DUAL = {"Linf": 1, "L2": 2, "L1": math.inf}


class RateVictim(nn.Module):
    r"""Fails with exactly the rate `p_fail` under uniform Linf noise of radius `eps`.

    It looks at one number, the first pixel v of an image whose clean value is `center`, and
    answers class 0 iff |v - center| <= eps (1 - p_fail). Under v = center + eps U, U uniform
    on [-1, 1], the chance of another answer is P(|U| > 1 - p_fail) = p_fail; up to 1e-7 of
    float32 steps. The clean image is always class 0. p_fail = 0 never fails. Logits are (1,
    -1) and (-1, 1), so no draw is close.

    p_fail in [0, 1]; eps > 0 in pixel units, with center +- eps inside [0, 1]. Raises
    ConfigError outside.

    >>> RateVictim(0.25, eps=0.1)(torch.tensor([[0.5, 0.0], [0.58, 0.0]])).argmax(1)
    tensor([0, 1])
    """

    def __init__(self, p_fail: float, eps: float = 0.1, center: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p_fail <= 1:
            raise ConfigError(f"p_fail={p_fail} must lie in [0, 1]")
        if not 0 < eps <= min(center, 1 - center):
            raise ConfigError(
                f"eps={eps} must be > 0 with center={center} +- eps inside [0, 1]"
            )
        self.p_fail, self.eps, self.center = p_fail, eps, center
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        away = (images.flatten(1)[:, 0] - self.center).abs()
        fails = (away > self.eps * (1 - self.p_fail)) & (self.p_fail > 0)
        sign = 1 - 2 * fails.to(images.dtype)
        return torch.stack([sign, -sign], dim=1) * self.scale


class HalfSpace(nn.Module):
    r"""A linear two-class model with exact radii: class 0 iff w.x + b >= 0 (x flattened).

    Logits are (w.x + b, 0). The smallest perturbation that reaches the boundary has the length
    |w.x + b| / ||w||_q, with q the dual of the ball's norm (Hoelder; attained in R^D, so exact
    where the pixel range does not bind). weight: (D,). bias: float.

    >>> HalfSpace(torch.tensor([3.0, 4.0]), -1.0).radius(torch.tensor([[1.0, 1.0]]), "L2")
    tensor([1.2000])
    """

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone().flatten())
        self.bias = nn.Parameter(torch.as_tensor(bias, dtype=weight.dtype))

    def score(self, images: Tensor) -> Tensor:
        """w.x + b (N,)."""
        score: Tensor = images.flatten(1) @ self.weight + self.bias
        return score

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        score = self.score(images)
        return torch.stack([score, torch.zeros_like(score)], dim=1)

    def labels(self, images: Tensor) -> Tensor:
        """The model's own answers (N,), so that every clean image is right."""
        return (self.score(images) < 0).long()

    def radius(self, images: Tensor, norm: Norm = "Linf") -> Tensor:
        """Exact distance (N,) to the boundary in `norm`, without the pixel range."""
        length = torch.linalg.vector_norm(self.weight, ord=_DUAL[norm])
        far: Tensor = self.score(images).abs() / length
        return far.detach()


class LinearGaussian(HalfSpace):
    r"""A half-space with exact failure rates under Gaussian noise N(0, sigma^2 I).

    w.(x + delta) + b is normal with mean w.x + b and deviation sigma ||w||_2, so the answer
    changes with probability Phi(-|w.x + b| / (sigma ||w||_2)); without clipping to the pixel
    range.
    """

    def p_fail(self, images: Tensor, sigma: float) -> Tensor:
        """Exact failure rate (N,), float64, of the model's own answer."""
        weight, bias = self.weight.detach().double(), self.bias.detach().double()
        distance = (images.double().flatten(1) @ weight + bias).abs()
        chance: Tensor = torch.special.ndtr(-distance / (sigma * weight.norm()))
        return chance

    def images_at(self, p_fail: float, sigma: float, n: int, seed: int = 0) -> Tensor:
        """n images (n, D) whose exact failure rate is `p_fail` in (0, 0.5), all of class 0."""
        ids = torch.arange(n)
        weight, bias = self.weight.detach().double(), self.bias.detach().double()
        flat = uniform(parse_seed(seed), ids, "victim", 0, weight.numel()).to(weight)
        target = -torch.special.ndtri(torch.tensor(p_fail, dtype=torch.float64))
        gap = target * sigma * weight.norm() - (flat @ weight + bias)
        moved: Tensor = flat + gap[:, None] * weight / weight.norm() ** 2
        return moved.to(self.weight.dtype)


def small_net(
    shape: tuple[int, ...] = (1, 8, 8), n_classes: int = 3, seed: int = 0
) -> nn.Sequential:
    """A tiny net with BatchNorm and Dropout, the same weights for the same seed on every machine.

    shape: of one image, (C, H, W) or any other (then fully connected). Weights come from the
    counter streams, the global generator is not touched.
    """
    inside, seed = math.prod(shape), parse_seed(seed)
    with torch.device("meta"):
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(inside, 16)]
        if len(shape) == 3:
            layers = [
                nn.Conv2d(shape[0], 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(6 * shape[1] * shape[2], 16),
            ]
        net = nn.Sequential(
            *layers, nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, n_classes)
        )
    net = net.to_empty(device="cpu")
    with torch.no_grad():
        for number, (name, tensor) in enumerate(net.state_dict().items()):
            if tensor.dtype.is_floating_point:
                ids = torch.tensor([number])
                values = uniform(seed, ids, "weights", 0, tensor.numel())[0]
                values = (2 * values - 1).reshape(tensor.shape)
                fan = tensor[0].numel() if tensor.dim() > 1 else 1
                positive = (
                    "running_var" in name or tensor.dim() == 1 and "1.weight" in name
                )
                tensor.copy_(1 + values / 4 if positive else values * (2 / fan) ** 0.5)
            else:
                tensor.zero_()
    return net
