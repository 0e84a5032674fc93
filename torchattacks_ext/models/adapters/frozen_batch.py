"""How is a batch-dependent model asked about one image? In the company of fixed other images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError
from ..logits import to_logits


class FrozenBatch(nn.Module):
    """`model` with every row in a batch of its own, beside the same companions.

    Row i of the result is row 0 of ``model([images[i], x_ref[0], .., x_ref[m - 2]])``: all batches
    have m rows, and an answer does not depend on the other rows of the call, bit for bit. This is
    the threat model in which one image is attacked and its m - 1 companions are clean. The
    gradient runs through the row alone, also where the row moves the statistics of its batch;
    companions are constants.

    Arguments:
        model (Module or callable): a batch (m, ...) to scores; its answers may depend on the
            whole batch.
        x_ref (Tensor): the companions (m - 1, ...), one image's shape each; a copy is kept. No
            rows: every image is alone.

    Cost: m forward (and m backward) row-passes a row, one forward call a row: the slow way that
    suits any model. A model in training mode goes on updating its running statistics. The copy is
    a buffer: it moves with the module and is part of its state_dict. Raises ConfigError for
    companions that are not floating (m - 1, ...), InputError for images of another shape.

    >>> centred = lambda x: x - x.mean(0)
    >>> ask = FrozenBatch(centred, torch.zeros(3, 2))
    >>> ask(torch.tensor([[4.0, 0.0], [8.0, 4.0]]))
    tensor([[3., 0.],
            [6., 3.]])
    """

    x_ref: Tensor

    def __init__(self, model: Callable[..., Any], x_ref: Tensor) -> None:
        super().__init__()
        if x_ref.ndim < 2 or not x_ref.is_floating_point():
            raise ConfigError(
                f"x_ref has shape {tuple(x_ref.shape)} and {x_ref.dtype}, expected floating "
                "images (m - 1, ...); for one companion pass image[None]"
            )
        self.model = model
        self.register_buffer("x_ref", x_ref.detach().clone())

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), each row from a batch of m."""
        if images.shape[1:] != self.x_ref.shape[1:]:
            raise InputError(
                f"images {tuple(images.shape)} do not fit companions {tuple(self.x_ref.shape)}: "
                "every dimension but the first must be equal"
            )
        others = self.x_ref.to(images)
        if len(images) == 0:  # K is known only from an answer
            return to_logits(self.model(others), len(others))[:0]
        return torch.cat([self._alone(row, others) for row in torch.split(images, 1)])

    def _alone(self, row: Tensor, others: Tensor) -> Tensor:
        batch = torch.cat([row, others])
        return to_logits(self.model(batch), len(batch))[:1]
