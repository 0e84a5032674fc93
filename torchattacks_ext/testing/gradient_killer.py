"""Which victim masks its gradient and nothing else? The model's own values, a useless gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..models.adapters.bpda import value_with_vjp
from ..models.adapters.hard_label import no_gradient
from ..models.logits import to_logits
from ..numerics.arguments import parse_seed
from ..numerics.ids import content_hashes
from ..numerics.streams import uniform

PURPOSE = "gradient_killer"


class GradientKiller(nn.Module):
    """`model` in value; its gradient is zero, or random signs that know nothing of the model.

    It is exactly as robust as `model`, so that whatever an attack finds less is masking. Zero
    stops every gradient attack (signed steps stay at their start, L2 steps divide 0 by 0). Random
    signs look healthy to a check for zero gradients, and a signed step moves the whole radius, in
    a useless direction. Transfer from `model`, BPDA(killer, model), NESGrad and query attacks
    are not fooled.

    Arguments:
        model (Module or callable): images (N, ...) to scores.
        noise (bool): False: zero. True: signs +1 and -1, a function of the seed and the content of
            the row. (Default: False)
        seed (int): of the signs. (Default: 0)

    Cost: one forward row-pass a row, never a backward. Parameters get no gradient. Raises
    ModelContractError for a model that gives no scores.

    >>> import torch
    >>> x = torch.rand(2, 3, requires_grad=True)
    >>> net = torch.nn.Linear(3, 4)
    >>> logits = GradientKiller(net)(x)
    >>> torch.equal(logits, net(x)), torch.autograd.grad(logits.sum(), x)[0].abs().max()
    (True, tensor(0.))
    """

    def __init__(
        self, model: Callable[..., Any], noise: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.model, self.noise, self.seed = model, noise, parse_seed(seed)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of the model."""
        vjp = self._signs if self.noise else no_gradient
        return value_with_vjp(images, self._value, vjp)

    def _value(self, images: Tensor) -> Tensor:
        return to_logits(self.model(images), len(images))

    def _signs(self, images: Tensor, gradient: Tensor) -> Tensor:
        ids = content_hashes(images, None, None).to(images.device)
        size = images[:1].numel()
        drawn = uniform(self.seed, ids, PURPOSE, 0, size) < 0.5
        return (1 - 2 * drawn.to(images.dtype)).reshape(images.shape)
