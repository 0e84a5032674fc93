"""What does a randomised model answer on average? Mean over fresh draws, with its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...numerics.arguments import is_whole
from ..logits import to_logits

Reduce = Literal["logit", "prob", "loss"]
REDUCTIONS: tuple[Reduce, ...] = get_args(Reduce)


class EOT(nn.Module):
    r"""Expectation over the randomness of `model`: the average of `n` fresh draws.

    With z_1, .., z_n the logits of n forwards, log p_i = log_softmax(z_i) and l_i the cross-entropy
    of draw i:

    - "logit": mean z_i.
    - "prob": log mean p_i, which is normalised: cross_entropy(out, y) = -log mean p_i[y], the
      loss of the averaged classifier; at most mean l_i (Jensen).
    - "loss": mean log p_i. nll_loss(out, y) = mean l_i exactly: the average of the losses. No
      logits have that as their *cross_entropy* for every y, which would subtract the row's
      logsumexp (<= 0) and then give the same as "logit"; use nll_loss with it.

    Arguments:
        model (Module or callable): images (N, ...) to scores; draws its own randomness.
        n (int): draws, >= 1. (Default: 20)
        reduce (str): "logit", "prob" or "loss". (Default: "logit")
        chunk (int or None): most rows in one forward, >= 1; None = all rows of the images.
            (Default: None)

    Every draw is a forward of its own, because many defences draw once a batch: rows of two draws
    never share one. The draws come from the model's own source of randomness, which advances by
    exactly n draws and is never seeded. Cost: n forward row-passes a row, and n backward. Memory:
    without gradients that of one forward of at most `chunk` rows and (n, N, K) logits; with
    gradients the graphs of all n N rows live until the backward pass, so then take smaller batches.
    A batch-dependent model sees the chunks as its batches.

    Raises ConfigError for other settings, ModelContractError as
    :func:`~torchattacks_ext.models.logits.to_logits` does.
    Source: Athalye, Carlini & Wagner, ICML 2018, Sec. 4.2 (with Athalye et al., "Synthesizing
    robust adversarial examples", ICML 2018).

    >>> net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 3))
    >>> out = EOT(net, n=8, reduce="prob")(torch.ones(2, 4))
    >>> out.shape, torch.allclose(out.exp().sum(1), torch.ones(2))
    (torch.Size([2, 3]), True)
    """

    def __init__(
        self,
        model: Callable[..., Any],
        n: int = 20,
        reduce: Reduce = "logit",
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        if not is_whole(n, 1):
            raise ConfigError(f"n={n!r} must be an integer >= 1: the number of draws")
        if reduce not in REDUCTIONS:
            raise ConfigError(f"reduce={reduce!r} is not one of {REDUCTIONS}")
        if chunk is not None and (not is_whole(chunk, 1)):
            raise ConfigError(
                f"chunk={chunk!r} must be an integer >= 1, or None for whole batches"
            )
        self.model, self.n, self.reduce = model, int(n), reduce
        self.chunk = None if chunk is None else int(chunk)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), or log-probabilities for "prob" and "loss"."""
        draws = torch.stack([self._draw(images) for _ in range(self.n)])
        if self.reduce == "logit":
            return draws.mean(0)
        draws = draws.log_softmax(2)
        if self.reduce == "loss":
            return draws.mean(0)
        return draws.logsumexp(0) - math.log(self.n)

    def _draw(self, images: Tensor) -> Tensor:
        parts = [images] if self.chunk is None else torch.split(images, self.chunk)
        return torch.cat([to_logits(self.model(part), len(part)) for part in parts])
