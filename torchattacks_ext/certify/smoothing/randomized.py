"""What does a classifier provably answer, in most of its noisy copies? Cohen et al. 2019."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._typing import LogitsFn, Verdict
from ...data.door import check_label_range
from ...data.stream import Batch
from ...models.logits import LogitsView
from ...models.scores import Key, Outputs
from ...numerics.smoothing.cohen import smoothed_radius, votes_p_value
from ...numerics.smoothing.early import radius_test
from ...results.base.columns import Rows
from .certifier import SmoothedCertifier
from .noise import Asked, Noise, Votes, votes
from .rows import smoothed_rows
from .settings import SmoothingSettings


class RandomizedSmoothing(SmoothedCertifier):
    r"""The classifier "what most noisy copies get", with a radius for each of its answers.

        g(x) = argmax_k P(f(x + N(0, sigma^2 I)) = k),    radius = sigma Phi^-1(lower bound of p_k)

    (arXiv:1902.02918). It certifies g, not the model f: an attack that flips f within a radius
    contradicts nothing. n0 draws choose the class, n fresh ones bound its probability; where the
    bound is 1/2 or less it abstains. With `eps` draws stop as soon as that one radius is decided,
    by a test that may be looked at after every draw; radii are `eps` or 0 then, and take no part in
    curves.

    Arguments:
        model (nn.Module or callable): maps images (N, ...) in [0, 1] to scores (N, K); best one
            that was trained with this noise.
        sigma (float): standard deviation of the noise, in pixel units.
        n0 (int): draws that choose the class. (Default: 100)
        n (int): fresh draws that bound it, at most. (Default: 100_000)
        significance (float): chance that an image's radius is too large. (Default: 0.001)
        eps (float): the one L2 radius that is asked for, or None. (Default: None)
        give_up (float): level at which an image is taken to miss `eps`. (Default: 0.01)
        seed (int): of the noise, keyed by image and draw. (Default: 0)
        batch_size (int): copies in one forward pass; changes no decision. (Default: 256)
        outputs (str): "logits" or "probs". (Default: "logits")
        output_key (str or int): as in :class:`~torchattacks_ext.PRTest`. (Default: None)

    Raises ConfigError for settings outside their domains, and for an n that could prove nothing.

    Examples::
        >>> model = lambda x: torch.stack([x.flatten(1)[:, 0], 1 - x.flatten(1)[:, 0]], 1)
        >>> smoothed = RandomizedSmoothing(model, sigma=0.25, n=1000)
        >>> found = smoothed.certify(torch.tensor([[1.0], [0.5]]), [0, 0], ids=[1, 2])
        >>> found.label.tolist(), found.tier
        ([0, -1], 'certified with confidence')
        >>> bool((found.radius <= torch.tensor([0.5, 0.0])).all()), bool(found.radius[0] > 0.4)
        (True, True)
    """

    name = "RandomizedSmoothing"
    citation = """@inproceedings{cohen2019certified,
  author    = {Cohen, Jeremy and Rosenfeld, Elan and Kolter, J. Zico},
  title     = {Certified Adversarial Robustness via Randomized Smoothing},
  booktitle = {International Conference on Machine Learning},
  year      = {2019},
  note      = {arXiv:1902.02918}
}"""

    def __init__(
        self,
        model: Any,
        sigma: float,
        n0: int = 100,
        n: int = 100_000,
        significance: float = 0.001,
        *,
        eps: float | None = None,
        give_up: float = 0.01,
        seed: int = 0,
        batch_size: int = 256,
        outputs: Outputs = "logits",
        output_key: Key = None,
    ) -> None:
        config = SmoothingSettings(
            sigma=sigma,
            n0=n0,
            n=n,
            significance=significance,
            eps=eps,
            give_up=give_up,
            seed=seed,
            batch_size=batch_size,
        )
        super().__init__(model, config)
        self._view = LogitsView(model, outputs, self.meter, output_key)
        self._noise = Noise(config.sigma, config.seed)

    def settings(self, input_shape: tuple[int, ...]) -> dict[str, Any]:
        """As every smoothed certifier's, and what the model's scores are."""
        return super().settings(input_shape) | {"outputs": self._view.outputs}

    def _certified(self, batch: Batch) -> Rows:
        config = self.config
        first = self._votes(batch, "choice", config.n0)
        guess = first.counts.argmax(1)
        if batch.labels is not None:
            check_label_range(batch.labels, first.counts.shape[1])
        if config.eps is None:
            bound = self._votes(batch, "bound", config.n)
            hits = bound.counts.gather(1, guess[:, None])[:, 0]
            radius = smoothed_radius(
                hits.numpy(), config.n, config.significance, config.sigma
            )
            drawn, n_close = torch.full_like(hits, config.n), bound.n_close
            found = torch.from_numpy(radius)
        else:
            found, drawn, hits, n_close = until_decided(
                self._view, self._noise, batch, guess, config
            )
        close = first.n_close + n_close
        return smoothed_rows(batch, guess, found, config.sigma, drawn, hits, close)

    def _answered(
        self, batch: Batch, n: int, significance: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        counts = self._votes(batch, "answer", n).counts
        best = counts.topk(min(2, counts.shape[1]), 1)
        top = best.values[:, 0].numpy()
        second = best.values[:, 1].numpy() if counts.shape[1] > 1 else 0 * top
        p_value = torch.from_numpy(np.asarray(votes_p_value(top, second)))
        guess = counts.argmax(1)
        return torch.where(p_value <= significance, guess, -1), guess, p_value

    def _votes(self, batch: Batch, purpose: str, n: int) -> Votes:
        return votes(
            self._view,
            asked(batch, purpose, torch.zeros(len(batch), dtype=torch.int64), n),
            self._noise,
            self.config.batch_size,
        )


def asked(batch: Batch, purpose: str, first: Tensor, n: int | Tensor) -> Asked:
    """n draws (one number, or one an image) of each image, from draw number `first` on."""
    count = n if isinstance(n, Tensor) else torch.full_like(first, n)
    return Asked(batch.images, batch.ids, first, count, purpose)


def until_decided(
    ask: LogitsFn,
    noise: Noise,
    batch: Batch,
    guess: Tensor,
    config: SmoothingSettings,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draws of each image until "the radius is eps" is decided: radius, drawn, hits, n_close (N,).

    The images that are not decided go to their next look together, so that batches stay full.
    """
    assert config.eps is not None
    table = radius_test(
        config.eps, config.sigma, config.significance, config.n, config.give_up
    )
    n = len(batch)
    misses, drawn = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    n_close = torch.zeros(n, dtype=torch.int64)
    proved = np.zeros(n, dtype=bool)
    live = np.arange(n)
    for look, draws in enumerate(table.looks.tolist()):
        rows = torch.from_numpy(live)
        there = rows.to(batch.images.device)
        first = torch.from_numpy(drawn[live])
        part = Asked(
            batch.images[there],
            batch.ids[rows.to(batch.ids.device)],
            first,
            draws - first,
            "bound",
        )
        seen = votes(ask, part, noise, config.batch_size)
        hits = seen.counts.gather(1, guess[rows][:, None])[:, 0]
        misses[live] += (draws - first - hits).numpy()
        n_close[rows] += seen.n_close
        drawn[live] = draws
        verdict = table.decide(look, misses[live])
        proved[live] = verdict == Verdict.ROBUST
        live = live[~table.over(look, misses[live])]
        if not live.size:
            break
    found = torch.from_numpy(np.where(proved, float(config.eps), 0.0))
    total = torch.from_numpy(drawn)
    return found, total, total - torch.from_numpy(misses), n_close
