"""How often does a model fail under random perturbation?

An anytime-valid hypothesis test for each image.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .._typing import Norm
from ..data.door import check_label_range
from ..data.stream import Stream
from ..engines.active import Judge, keyed
from ..errors import ConfigError, InputError, ReliabilityWarning
from ..models.checks import ModelTraits
from ..numerics.losses import margins, target_margins
from ..numerics.sequential import boundaries, check_design
from ..results.base import Result
from ..results.columns import Rows
from ..results.facts import Flag
from ..results.prob_robustness import ProbRobustness
from ..samplers.base import CallableSampler
from ..samplers.choose import choose_sampler
from .probe import Probe
from .prtest_walk import Walk

Reference = Literal["label", "prediction"]
DEFAULT_QUERIES = 100
MANY_CLOSE = 0.1
"""Share of close draws above which the reader is told."""


class PRTest(Probe):
    r"""Test of probabilistic robustness: is the failure rate of each image at most `tolerance`?

    The failure rate of an image is p_fail = P(argmax f(x + delta) != label), delta drawn by
    `sampler`. For each image two mixture e-processes are followed at once (Ville's
    inequality), one against "p_fail >= tolerance", one against "p_fail <= tolerance". ROBUST
    and NOT_ROBUST are each wrong with probability at most `significance`, at whatever sample
    size the run stops; where neither is reached by `n_max` draws the verdict is UNDECIDED. The
    claim is about random draws from this sampler only: it says nothing about an adversary.
    Probabilistic robustness: Mu & Lim 2024 (doi:10.1145/3639478.3643519).

    Distance Measure : Linf (other laws through `sampler`)

    Arguments:
        model (nn.Module or callable): maps images (N, ...) to scores (N, K).
        eps (float): radius of the ball, in pixel units of [0, 1]. (Default: 8/255)
        norm (str): "Linf", "L2" or "L1". (Default: "Linf")
        sampler (Sampler or callable): law of the perturbation, or f(images, u) -> images; None
            draws uniformly from the ball within the pixel range. (Default: None)
        tolerance (float): tolerated failure rate, in (0, 1). (Default: 1e-2)
        significance (float): error probability of each side, in (0, 0.5). (Default: 1e-3)
        n_max (int): most draws an image, rounded down to a look. (Default: 20000)
        reference (str): "label" (accuracy) or "prediction" (stability of the clean answer).
            (Default: "label")
        seed (int): of every random number. (Default: 0)
        **options: the other arguments of :class:`Probe` by keyword (batch_size, bounds, outputs,
            n_queries, max_queries, max_seconds, keep).

    Shape:
        - images: (N, C, H, W), (N, T, D) or (N, D), range [0, 1] (`bounds`).
        - labels: (N,) in [0, K).
        - output: as images; the draw of smallest margin among `n_queries` (100) draws.

    Cost of `measure`: n_samples forward row-passes an image (505 when it never fails, at
    tolerance = significance = .01), one for the clean image and one for each close draw
    (decided again at batch 1); at most 65 for the whole run to look at the model.

    Examples::
        >>> from torchattacks_ext.testing import RateVictim
        >>> images, labels = torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 0])
        >>> test = PRTest(RateVictim(0.0), eps=0.1, significance=0.01)
        >>> result = test.measure(images, labels, ids=[1, 2])
        >>> result.n_samples.tolist(), round(float(result.p_fail_upper[0]), 5)
        ([505, 505], 0.01)
    """

    result_type = ProbRobustness
    resumable = ("n_max",)
    citation = """@inproceedings{mu2024precise,
  author    = {Mu, Wenchuan and Lim, Kwan Hui},
  title     = {Towards Precise Observations of Neural Model Robustness in Classification},
  booktitle = {ICSE Companion},
  year      = {2024},
  doi       = {10.1145/3639478.3643519},
  note      = {arXiv:2404.16457}
}"""

    def __init__(
        self,
        model: Any,
        eps: float = 8 / 255,
        norm: Norm = "Linf",
        sampler: Any = None,
        tolerance: float = 1e-2,
        significance: float = 1e-3,
        n_max: int = 20000,
        reference: Reference = "label",
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__("PRTest", model, eps=eps, norm=norm, seed=seed, **options)
        self.supported_mode = ["default", "targeted"]
        if reference not in get_args(Reference):
            raise ConfigError(
                f"reference={reference!r} is not one of {get_args(Reference)}"
            )
        self.sampler = choose_sampler(sampler, eps, norm, self.bounds)
        self.tolerance, self.significance = tolerance, significance
        self.n_max, self.reference = n_max, reference
        least = check_design(tolerance, significance, n_max)
        self._boundaries = boundaries(tolerance, significance, n_max)
        if not self._boundaries.n_max:
            raise ConfigError(f"n_max={n_max} is below the first look; expected >= 8")
        self._doubts = self._power(least)
        for flag in self._doubts:
            warnings.warn(flag.message, ReliabilityWarning, stacklevel=2)

    def _power(self, least: int) -> tuple[Flag, ...]:
        if self._boundaries.n_max >= least:
            return ()
        text = (
            f"n_max={self.n_max} can certify no image: without a single failure the test needs "
            f"n_max >= {least} at tolerance={self.tolerance:g}, "
            f"significance={self.significance:g}"
        )
        return (Flag("cannot_certify", text),)

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a decision; `n_max` is the effective cap, a look."""
        return super().settings() | {
            "sampler": self.sampler.settings(),
            "tolerance": self.tolerance,
            "significance": self.significance,
            "n_max": self._boundaries.n_max,
            "reference": self.reference,
        }

    def _needs_labels(self) -> bool:
        if self.targeted:
            return self.attack_mode == "targeted(label)"
        return self.reference == "label"

    def _flags(self, result: Result) -> tuple[Flag, ...]:
        found = list(self._doubts)
        if not self.sampler.replayable and len(result):
            text = (
                "the sampler gave two answers to the same numbers: worst draws cannot be shown "
                "again, and the run cannot be repeated"
            )
            found.append(Flag("not_replayable", text))
        if isinstance(result, ProbRobustness):
            drawn = int(result.n_drawn.sum())
            close = int(result.n_close[result.n_drawn > 0].sum())
            if close > MANY_CLOSE * drawn:
                text = (
                    "so many draws had a margin within 1e-4 of the largest logit that they were "
                    "asked again one by one: slow, and near float rounding; a common offset of the "
                    "logits does this (let the model subtract its row mean), or tied outputs"
                )
                found.append(Flag("many_close_draws", text, close))
        return tuple(found)

    def _look(self, images: Tensor) -> ModelTraits:
        law = self.sampler
        if isinstance(law, CallableSampler):
            few = images[:2]
            ids = torch.arange(len(few), device=few.device)
            law.check_replayable(few, keyed(self.seed, ids, 0, law.name))
        return super()._look(images)

    # ------------------------------------------------------------------ verb one
    def forward(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The draw of smallest margin among `n_queries` (100) for each image, failing or not.

        `n_queries` forward row-passes an image; one of them goes to the clean image where the
        reference or the target comes from the model. Draws are those of `measure` for the same
        content and label.
        """
        ids = self._ids(inputs, labels)
        before = self._meter.forward
        with torch.no_grad():
            reference = self._reference(ids, inputs, labels)
            spent = (self._meter.forward - before) // len(inputs)
            n_draws = max(1, (self.n_queries or DEFAULT_QUERIES) - spent)
            best = inputs.clone()
            step = self.batch_size
            for start in range(0, len(inputs), step):
                part = slice(start, start + step)
                best[part] = self._worst(
                    inputs[part], ids[part], reference[part], n_draws
                )
        return best

    def _worst(
        self, images: Tensor, ids: Tensor, reference: Tensor, n_draws: int
    ) -> Tensor:
        """The draw of smallest margin of each image; batches hold several draws at a time."""
        n, lot = len(images), max(1, self.batch_size // len(images))
        lowest = images.new_full((n,), float("inf"))
        best = images
        margin_of = target_margins if self.targeted else margins
        for start in range(0, n_draws, lot):
            count = min(lot, n_draws - start)
            draws = torch.arange(start, start + count, device=images.device)
            noise = keyed(
                self.seed,
                ids.repeat(count),
                draws.repeat_interleave(n),
                self.sampler.name,
            )
            tile = (count,) + (1,) * (images.dim() - 1)
            drawn = self.sampler.sample(images.repeat(tile), noise)
            logits = self.get_logits(drawn)
            if not start:
                check_label_range(reference, logits.shape[1])
            found = margin_of(logits, reference.repeat(count)).nan_to_num(-torch.inf)
            least, place = found.reshape(count, n).to(images.dtype).min(0)
            rows = place * n + torch.arange(n, device=images.device)
            better = least < lowest
            shape = (n,) + (1,) * (images.dim() - 1)
            best = torch.where(better.reshape(shape), drawn[rows], best)
            lowest = torch.minimum(least, lowest)
        return best

    def _reference(self, ids: Tensor, images: Tensor, labels: Tensor | None) -> Tensor:
        """The class that counts for each row: target, label or clean prediction."""
        if self.targeted:
            return self._targets(ids, images, labels)
        if self.reference == "prediction":
            return self._predict(images)
        if labels is None:
            raise InputError(
                "labels are needed: pass attack(images, labels), or reference='prediction'"
            )
        return labels

    def _predict(self, images: Tensor) -> Tensor:
        """argmax (N,); rows with two almost equal classes are decided at batch size 1."""
        parts = torch.split(images, self.batch_size)
        logits = torch.cat([self.get_logits(part) for part in parts])
        found = logits.argmax(1)
        top = logits.topk(2, dim=1).values
        close = (top[:, 0] - top[:, 1]) < 1e-4 * logits.abs().amax(1)
        for row in close.nonzero()[:, 0].tolist() if self.batch_size > 1 else ():
            found[row] = self.get_logits(images[row : row + 1]).argmax(1)[0]
        return found

    def replay(self, images: Tensor, ids: Any, draws: Any) -> Tensor:
        """Draw number draws[i] of image i with id ids[i], as `measure` saw it; no forward pass.

        images (N, ...) in the caller's scale, ids and draws (N,) int64, as in a result's `ids` and
        `worst_draw`. Returns the caller's scale.
        """
        normalised = self._normalization_applied is True
        with self._session(), torch.no_grad():
            pixels = self._prepare(images, normalised)
            ids, draws = (
                torch.as_tensor(side).to(pixels.device) for side in (ids, draws)
            )
            noise = keyed(self.seed, ids, draws, self.sampler.name)
            found = self.sampler.sample(pixels, noise)
            return self.normalize(found) if normalised else found

    # ------------------------------------------------------------------ verb two
    def _rows(self, stream: Stream) -> Iterator[Rows]:
        walk = Walk(
            boundaries=self._boundaries,
            judge=Judge(self.get_logits, self.targeted, self.batch_size),
            sampler=self.sampler,
            seed=self.seed,
            reference=self._reference,
            # a prediction is asked for once more by itself where it is close
            asks=1 if self.targeted else 2 * (self.reference == "prediction"),
            clean_known=not self.targeted and self.reference == "label",
            keeps=self.keep != "none",
        )
        yield from walk.rows(stream)
