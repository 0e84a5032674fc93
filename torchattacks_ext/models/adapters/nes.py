"""What is the gradient of a black box? Finite differences along random directions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ModelContractError
from ...numerics.arguments import is_whole, parse_seed
from ...numerics.gaussian import normals
from ...numerics.ids import content_hashes
from ...numerics.norms import per_row
from ...numerics.streams import uniform
from ..logits import to_logits
from .bpda import value_with_vjp

PURPOSE = "nes"


class NESGrad(nn.Module):
    r"""`model` in value; in the gradient an estimate from 2n of its values around each row.

    For the gradient g (N, K) that arrives at the logits f(x), row by row with v_i ~ N(0, I):

        J^T g  ~=  1 / (2 n sigma) sum_i <g, f(x + sigma v_i) - f(x - sigma v_i)> v_i.

    Antithetic natural evolution strategies. It is the gradient of the Gaussian-smoothed
    <g, f(x + sigma v)> without bias, so J^T g itself for a linear f. There its variance in
    coordinate j is (|a|^2 + a_j^2) / n with a = J^T g: n should be of the order of the number of
    pixels for a good direction. Rounding of the logits adds an error of about u |f| / sigma a pair
    (u = 6e-8 in float32).

    Arguments:
        model (Module or callable): images (N, ...) to scores; only its values are used. Rows must
            not depend on each other. To count the queries of the gradient, pass a LogitsView
            with a meter.
        n (int): pairs of queries, >= 1. (Default: 50)
        sigma (float): step in pixel units, > 0 and finite. (Default: 0.001)
        seed (int): of the directions. (Default: 0)

    The directions of a row are a function of the seed and the content of the row (its float32
    bytes), so the estimate does not depend on the batch or on earlier calls; asking again at the
    same image gives the same estimate, take another seed or a larger n instead. Queries are not
    clipped to the pixel range. Cost: one forward row-pass a row, and 2n more when a gradient
    arrives, under no_grad, N rows at a time; never a backward. Second derivatives are refused
    with a ModelContractError. Raises ConfigError for other settings.

    Source: Ilyas, Engstrom, Athalye & Lin, "Black-box adversarial attacks with limited queries and
    information", ICML 2018, Sec. 2.2 (there the loss is the black box; here its logits are).

    >>> net = torch.nn.Linear(2, 2)
    >>> x = torch.zeros(1, 2, requires_grad=True)
    >>> guess = torch.autograd.grad(NESGrad(net, n=4000, sigma=0.1)(x)[0, 0], x)[0]
    >>> bool((guess - net.weight[0]).norm() < 0.2 * net.weight[0].norm())
    True
    """

    def __init__(
        self,
        model: Callable[..., Any],
        n: int = 50,
        sigma: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not is_whole(n, 1):
            raise ConfigError(f"n={n!r} must be an integer >= 1: pairs of queries")
        if not 0 < sigma < math.inf:
            raise ConfigError(f"sigma={sigma!r} must be a step in (0, inf)")
        self.model, self.n, self.sigma = model, int(n), sigma
        self.seed = parse_seed(seed)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, ...)."""
        return value_with_vjp(images, self._value, self._estimate)

    def directions(self, images: Tensor, i: int) -> Tensor:
        """Direction i < n of every row, standard normal, like the images (N, ...)."""
        ids = content_hashes(images, None, None).to(images.device)
        return self._directions(images, ids, i)

    def _directions(self, images: Tensor, ids: Tensor, i: int) -> Tensor:
        size = images[0].numel()
        drawn = normals(uniform(self.seed, ids, PURPOSE, i, size + size % 2))
        return drawn[:, :size].to(images.dtype).reshape(images.shape)

    def _value(self, images: Tensor) -> Tensor:
        return to_logits(self.model(images), len(images))

    def _estimate(self, images: Tensor, gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise ModelContractError(
                "NESGrad has no second derivatives; take its gradient with create_graph=False"
            )
        total = torch.zeros_like(images)
        if images.numel() == 0:
            return total
        ids = content_hashes(images, None, None).to(images.device)
        for i in range(self.n):
            v = self._directions(images, ids, i)
            up, down = (self._value(images + s * v) for s in (self.sigma, -self.sigma))
            slope = (gradient * (up - down)).sum(1)
            total += per_row(slope.to(images.dtype), images) * v
        return total / (2 * self.n * self.sigma)
