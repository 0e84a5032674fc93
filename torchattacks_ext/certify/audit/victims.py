"""Whose answer is a certificate about, and who judges it? The net, or the smoothed classifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...models.logits import LogitsView
from ...models.session import session
from ..ellips.certifier import Ellips
from ..ellips.reach import rounding_estimate
from ..smoothing.certifier import SmoothedCertifier
from ..smoothing.latent import SmoothedEllips
from ..smoothing.noise import Noise

FIRST = 500
"""Draws after which a candidate that is surely answered as before is let go."""


class Victim(ABC):
    """What is attacked, and who says whether an answer changed.

    target: a Module from images to scores with useful gradients, for attacks.
    """

    name: str
    target: nn.Module
    cheap: bool = True
    """Whether asking again is cheap, so that candidates may be pulled towards their images."""

    @abstractmethod
    def flipped(self, images: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        """(N,) bool: candidates that are answered otherwise than labels; abstaining is not."""

    def edge(self, images: Tensor, lipschitz: Tensor) -> Tensor:
        """(N,) float64: how far below a radius a change may be by rounding that it leaves out."""
        return torch.zeros(len(images), dtype=torch.float64)


class NetVictim(Victim):
    """A classifier that answers each image once.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> zeros = torch.zeros(1, dtype=torch.long)
    >>> NetVictim(net, 8).flipped(torch.zeros(1, 1, 2, 2), zeros, zeros).shape
    torch.Size([1])
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self.name = type(model).__name__
        self._view, self._batch_size = LogitsView(model), batch_size
        self.model = model
        self.target = model if isinstance(model, nn.Module) else self._view

    def flipped(self, images: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        """By the argmax of the net; an answer that is no number is another answer."""
        parts = []
        with session(self.model), torch.no_grad():
            for part in torch.split(images, self._batch_size):
                parts.append(self._view(part).cpu())
        logits = torch.cat(parts)
        odd = ~logits.amax(1).isfinite()
        return (logits.argmax(1) != labels.cpu()) | odd


class EllipsVictim(NetVictim):
    """An Ellips, whose radii are of the encoder in real arithmetic.

    >>> from torchattacks_ext.certify import EllipsHead, LipschitzBound
    >>> head = EllipsHead.from_parameters([[0.0], [1.0]], 1.0)
    >>> model = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    >>> EllipsVictim(model, 8).edge(torch.rand(2, 1), torch.ones(2)).tolist()
    [0.0, 0.0]
    """

    model: Ellips

    def edge(self, images: Tensor, lipschitz: Tensor) -> Tensor:
        """That of latents at the image and at its change, by :func:`.rounding_estimate`.

        0 where `encoder_slack` takes it off the radius already.
        """
        if self.model.encoder_slack > 0 or not len(images):
            return super().edge(images, lipschitz)
        device, worst = self.model.head.means.device, 0.0
        with session(self.model):
            for part in torch.split(images, self._batch_size):
                found = rounding_estimate(self.model.encoder, part.to(device))
                worst = max(worst, found.value)
        return torch.nan_to_num(2 * worst / lipschitz.double(), nan=0.0)


class MeanOfDraws(nn.Module):
    """The log of mean probabilities over m fixed noises: what attacks climb (EOT).

    One noise a draw for all images of a call, so that the gradient is that of one function.
    """

    def __init__(self, model: nn.Module, sigma: float, m: int, seed: int) -> None:
        super().__init__()
        self.model, self.sigma, self.m, self.seed = model, sigma, m, seed

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities (N, K). m forward row-passes an image."""
        noise, one = Noise(self.sigma, self.seed), images[:1].detach()
        found = []
        for draw in range(self.m):
            keys = torch.zeros(1, dtype=torch.int64, device=images.device)
            shift = noise.add(torch.zeros_like(one), keys, "eot", keys + draw)
            found.append(self.model(images + shift).log_softmax(1))
        return torch.stack(found).logsumexp(0)


class SmoothedVictim(Victim):
    """The smoothed classifier: candidates by EOT gradients, judged by `predict`.

    n_draws: of each judgement. level: chance of one wrong judgement among all candidates of the
    audit, of which there are `n_candidates`. A candidate whose first few draws already answer as
    before, at that level, is asked no further: that can only lose a change, never invent one.
    """

    cheap = False

    def __init__(
        self,
        certifier: SmoothedCertifier,
        n_draws: int,
        level: float,
        n_candidates: int,
        eot: int = 8,
    ) -> None:
        self.name = f"smoothed {type(certifier.model).__name__}"
        self._first = FIRST if n_draws >= 2 * FIRST else 0
        self.certifier, self._n = certifier, n_draws
        self._level = level / max(1, n_candidates)
        base: nn.Module = LogitsView(certifier.model)
        if isinstance(certifier, SmoothedEllips):
            base = nn.Sequential(certifier.latents, certifier.head)
        config = certifier.config
        self.target = MeanOfDraws(base, config.sigma, eot, config.seed + 1).eval()

    def flipped(self, images: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        """By the smoothed classifier's own test, at the level of one candidate."""
        labels, open_ = labels.cpu(), torch.ones(len(images), dtype=torch.bool)
        if self._first:
            open_ = self._said(images, ids, self._first) != labels
        found = torch.zeros(len(images), dtype=torch.bool)
        if bool(open_.any()):
            said = self._said(images[open_], ids[open_], self._n)
            found[open_] = (said >= 0) & (said != labels[open_])
        return found

    def _said(self, images: Tensor, ids: Tensor, n: int) -> Tensor:
        said = self.certifier.predict(
            images.clamp(0, 1), ids=ids, n=n, significance=self._level
        )
        return said.label


def victim_of(
    certifier: Any, n_draws: int, level: float, n_candidates: int, batch_size: int
) -> Victim:
    """The victim that a certifier names. Raises ConfigError for what is none."""
    if isinstance(certifier, SmoothedCertifier):
        return SmoothedVictim(certifier, n_draws, level, n_candidates)
    if not callable(certifier):
        raise ConfigError(
            f"certifier is {type(certifier).__name__}, expected an Ellips, a smoothed certifier, "
            "or the model that foreign certificates are about"
        )
    kind = EllipsVictim if isinstance(certifier, Ellips) else NetVictim
    return kind(certifier, batch_size)
