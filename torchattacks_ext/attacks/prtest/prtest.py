"""How often does a model fail under random perturbation? A hypothesis test for each image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..._typing import Norm
from ...data.stream import Stream
from ...engines.judge.active import Judge, keyed
from ...errors import InputError, ReliabilityWarning, StatusError
from ...models.checks import ModelTraits
from ...numerics.rates.rules import Rule
from ...results.base.columns import Rows
from ...results.base.facts import Flag
from ...results.base.result import Result
from ...results.prob_robustness import ProbRobustness
from ...samplers.base import Sampler
from ..base.probe import Probe
from ..base.settings import Setting
from . import design
from .design import CleanPolicy, Reference, Test
from .footing import footing_of, look_at_law
from .search import predictions, worst_draws
from .settings import PRTestSettings
from .splitting import Splitting
from .walk import Walk

DEFAULT_QUERIES = 100


class PRTest(Probe):
    r"""Test of probabilistic robustness: is the failure rate of each image at most `tolerance`?

    The failure rate of an image is p_fail = P(argmax f(x + delta) != label), delta drawn by
    `sampler`. ROBUST (p_fail <= tolerance) and NOT_ROBUST (p_fail > tolerance) are each wrong
    with probability at most `significance`; where neither is shown by `n_max` draws the verdict
    is UNDECIDED. The claim is about random draws from this sampler only, not about an adversary.
    Probabilistic robustness: Mu & Lim 2024 (doi:10.1145/3639478.3643519). More: docs/prtest.md.

    ========= ========================================================= ======================
    test      how it decides                                            valid at
    ========= ========================================================= ======================
    eprocess  two mixture e-processes (Ville 1939, Robbins 1970)        any stop, any extension
    sprt      Wald's ratio, twice (Sobel & Wald 1949)                   any stop, any extension
    fixed     binomial test with n_max draws, curtailed                 any stop of one plan
    group     group-sequential, looks at n_max / 2^j                    any stop of one plan
    splitting last-particle method for rates of 1e-5 and less           an ideal kernel only
    ========= ========================================================= ======================

    Distance Measure : Linf, L2, L1 (other laws through `sampler`)

    Arguments:
        model (nn.Module or callable): maps images (N, ...) to scores (N, K).
        eps (float): radius of the ball, in pixel units of [0, 1]. (Default: 8/255)
        norm (str): "Linf", "L2" or "L1". (Default: "Linf")
        sampler (Sampler, str, dict or callable): law of the perturbation, or its name, or
            f(images, u) -> images; None draws uniformly from the ball. (Default: None)
        tolerance (float): tolerated failure rate, in (0, 1). (Default: 1e-2)
        significance (float): error probability of each side, in (0, 0.5). (Default: 1e-3)
        n_max (int): most draws an image, rounded down to a look; None is 20000, for "fixed" the
            least n with power 1 - significance at tolerance / 2, for "splitting" what certifying
            needs (beside a pilot of about 1 / n_systems more). (Default: None)
        reference (str): "label" (accuracy) or "prediction" (stability of the clean answer).
            (Default: "label")
        seed (int): of every random number. (Default: 0)
        test (str): see the table. (Default: "eprocess")
        clean_policy (str): "fail" spends no test on an image whose clean answer is wrong
            (MISCLASSIFIED), "sample" tests it as well; it never counts as certified accuracy.
            (Default: "fail")
        n_mean (int): draws of every image, right or wrong, for the mean failure rate of the data
            set; None is 16 with clean_policy="sample" and else 0. (Default: None)
        shared_noise (bool): draw number i is the same for every image: fewer random numbers, but
            verdicts of different images are then dependent. (Default: False)
        n_systems (int): of splitting. (Default: 8)
        n_particles (int): a system of splitting. (Default: 16)
        n_moves (int): a death in splitting. (Default: 20)
        **options: the other arguments of :class:`Probe` by keyword (batch_size, bounds, outputs,
            n_queries, max_queries, max_seconds, keep).

    Shape:
        - images: (N, C, H, W), (N, T, D) or (N, D), range [0, 1] (`bounds`).
        - labels: (N,) in [0, K).
        - output: as images; the draw of smallest margin among `n_queries` (100) draws.

    Cost of `measure`: n_samples forward row-passes an image (505 when it never fails, at
    tolerance = significance = .01), `n_mean`, one for the clean image and one for each close
    draw (decided again at batch 1); at most 57 for the whole run to look at the model, 100 where it
    draws random numbers: each draw of an image then has a call of its own.

    Examples::
        >>> from torchattacks_ext.testing import RateVictim
        >>> images, labels = torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 0])
        >>> test = PRTest(RateVictim(0.0), eps=0.1, significance=0.01)
        >>> result = test.measure(images, labels, ids=[1, 2])
        >>> result.n_samples.tolist(), round(float(result.p_fail_upper[0]), 5)
        ([505, 505], 0.01)
    """

    result_type = ProbRobustness
    settings_type = PRTestSettings
    config: PRTestSettings
    citation = """@inproceedings{mu2024precise,
  author    = {Mu, Wenchuan and Lim, Kwan Hui},
  title     = {Towards Precise Observations of Neural Model Robustness in Classification},
  booktitle = {ICSE Companion},
  year      = {2024},
  doi       = {10.1145/3639478.3643519},
  note      = {arXiv:2404.16457}
}"""

    sampler = Setting[Sampler]("law")
    tolerance = Setting[float]()
    significance = Setting[float]()
    n_max = Setting[int]("most_draws")
    reference = Setting[Reference]()
    test = Setting[Test]()
    clean_policy = Setting[CleanPolicy]()
    n_mean = Setting[int]("mean_draws")
    shared_noise = Setting[bool]()
    n_moves = Setting[int]()

    def __init__(
        self,
        model: Any,
        eps: float = 8 / 255,
        norm: Norm = "Linf",
        sampler: Any = None,
        tolerance: float = 1e-2,
        significance: float = 1e-3,
        n_max: int | None = None,
        reference: Reference = "label",
        seed: int = 0,
        *,
        test: Test = "eprocess",
        clean_policy: CleanPolicy = "fail",
        n_mean: int | None = None,
        shared_noise: bool = False,
        n_systems: int = 8,
        n_particles: int = 16,
        n_moves: int = 20,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = dict(sampler=sampler, tolerance=tolerance, test=test)
        own |= dict(significance=significance, n_max=n_max, reference=reference)
        own |= dict(clean_policy=clean_policy, n_mean=n_mean, n_moves=n_moves)
        own |= dict(n_particles=n_particles, n_systems=n_systems)
        own["shared_noise"] = shared_noise
        super().__init__(
            "PRTest", model, eps=eps, norm=norm, seed=seed, **own, **options
        )
        self.supported_mode = ["default", "targeted"]
        for flag in self.config.doubts():
            if flag.code != "ideal_kernel":  # the result says it of every run
                warnings.warn(flag.message, ReliabilityWarning, stacklevel=2)

    def _configure(self, config: PRTestSettings) -> None:
        super()._configure(config)
        self.resumable = "guarantee", *("n_max",) * config.anytime

    @property
    def draws_to_certify(self) -> int:
        """Draws of an image that never fails (splitting: evaluations), at most `n_max`."""
        return self.config.draws_to_certify

    def _needs_labels(self) -> bool:
        return self._is_told and self.attack_mode != "targeted(custom)"

    @property
    def _is_told(self) -> bool:
        """Whether the class that counts is given and not asked of the model."""
        if self.targeted:
            return self.attack_mode in ("targeted(label)", "targeted(custom)")
        return self.reference == "label"

    def doubts(self, result: Result) -> tuple[Flag, ...]:
        """A law that draws its own numbers, designs with caveats, and what only the rows show."""
        found = [*self.config.doubts()]
        if isinstance(result, ProbRobustness) and len(result):
            found += design.flags_of(result, self.test, self.sampler)
        return tuple(found)

    def _look(self, images: Tensor) -> ModelTraits:
        return super()._look(look_at_law(self.sampler, images, self.seed))

    def seen(self, traits: ModelTraits | None, earlier: Any = None) -> dict[str, Any]:
        """`guarantee`, which follows from what a look showed."""
        footing = footing_of(traits, self.sampler, earlier)
        if self.test == "splitting":
            return {"guarantee": "ideal-kernel" if footing.plain else "none"}
        return {"guarantee": footing.guarantee(self.batch_size)}

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
            return worst_draws(
                inputs,
                reference,
                self._noise_ids(ids),
                self.get_logits,
                self.sampler,
                seed=self.seed,
                n_draws=max(1, (self.n_queries or DEFAULT_QUERIES) - spent),
                batch_size=self.batch_size,
                targeted=self.targeted,
            )

    def _reference(self, ids: Tensor, images: Tensor, labels: Tensor | None) -> Tensor:
        """The class that counts for each row: target, label or clean prediction."""
        if self.targeted:
            return self._targets(ids, images, labels)
        if self.reference == "prediction":
            return predictions(self.get_logits, images, self.batch_size)
        if labels is None:
            remedy = "pass attack(images, labels), or reference='prediction'"
            raise InputError(f"labels are needed: {remedy}")
        return labels

    def _noise_ids(self, ids: Tensor) -> Tensor:
        """The ids that key the noise: one for all images where it is shared."""
        return torch.zeros_like(ids) if self.shared_noise else ids

    def replay(self, images: Tensor, ids: Any, draws: Any) -> Tensor:
        """Draw number draws[i] of image i with id ids[i], as `measure` saw it; no forward pass.

        images (N, ...) in the caller's scale, as the answer; ids and draws (N,) int64, as in a
        result's `ids` and `worst_draw`. Raises StatusError for test="splitting".
        """
        if self.test == "splitting":
            raise StatusError(
                "particles of test='splitting' are no numbered draws; use keep= and result.images()"
            )
        normalised = self._normalization_applied is True
        with self._session(), torch.no_grad():
            pixels = self._prepare(images, normalised)
            ids = self._noise_ids(torch.as_tensor(ids).to(pixels.device))
            draws = torch.as_tensor(draws).to(pixels.device)
            noise = keyed(self.seed, ids, draws, self.sampler.name)
            found = self.sampler.sample(pixels, noise)
            return self.normalize(found) if normalised else found

    # ------------------------------------------------------------------ verb two
    def _rows(self, stream: Stream) -> Iterator[Rows]:
        batches = iter(stream)
        first = next(batches, None)  # the look at the model comes with it
        if first is not None:
            walk = self.walk(stream.traits, stream.resume)
            yield from walk.rows(stream, chain([first], batches))

    def walk(
        self, traits: ModelTraits | None = None, earlier: Any = None, **changes: Any
    ) -> Walk | Splitting:
        """What walks through a stream inside a session.

        traits: what a look at the model showed; they and an earlier result say which draws may
        share a call. changes: what a runner knows better (its judge), where draws may.
        """
        footing = footing_of(traits, self.sampler, earlier)
        size = 1 if footing.alone else self.batch_size
        # a random answer that is asked again is another draw
        again = not footing.random
        known: dict[str, Any] = dict(
            judge=Judge(self.get_logits, self.targeted, size, rechecks=again),
            sampler=self.sampler,
            seed=self.seed,
            reference=self._reference,
            # a prediction is asked for once more by itself where it is close
            asks=1 if self.targeted else 2 * (self.reference == "prediction"),
            clean_known=not self.targeted and self.reference == "label",
            tests_wrong=self.clean_policy == "sample" and not self.targeted,
            n_mean=self.n_mean,
            keeps=self.config.keeps,
            told=self._reference if self._is_told else None,
        )
        if footing.plain:
            known |= changes
        engine = self.config.engine
        if isinstance(engine, Rule):
            known |= dict(rule=engine, shared_noise=self.shared_noise)
            return Walk(spread=footing.spread, **known)
        known |= dict(law=engine, n_moves=self.n_moves, n_max=self.n_max)
        return Splitting(fixed=footing.plain, **known)
