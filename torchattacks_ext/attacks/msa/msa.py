"""What does the worst case over several surrogates and the real AutoAttack leave?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from ..._typing import Norm
from ...data.stream import Stream
from ...engines.judge.ledger import AttackSpec, Entry, Ledger
from ...errors import InputError
from ...models.fingerprint import model_sha256
from ...models.meter import Budget
from ...results.attack import AttackResult
from ...results.base.columns import Rows
from ...results.base.facts import Flag
from ...results.base.result import Result
from ..base.probe import Probe
from . import plans as msa_plans
from . import run as msa_run
from .plans import EngineName, Headline, Version
from .surrogates import named_surrogates
from .walk import best_images, walk


class MSA(Probe):
    r"""Mixed Surrogate Attack: AutoAttack on surrogates and on the target, judged on the target.

    A defence that hides its gradients is attacked through models that do not (surrogates); what
    they suggest counts only where the *target* itself is wrong on it, inside the ball. Versions
    are plans as data (docs/msa.md): "standard" harvests every run of every component, row by row;
    "autoattack" is AutoAttack's own protocol, and without surrogates it *is* plain AutoAttack;
    "paper" is the paper's (APGD on the surrogates, then Square on the target). No version proves
    robustness: rows that withstand are UNDECIDED.

    A randomised target is judged by fresh draws after the attack (expected accuracy and majority,
    with a control on clean images; "rand" averages its gradients); one whose answers depend on the
    batch by three protocols together, in several partitions of the data into batches.

    Distance Measure : Linf, L2, L1

    Arguments:
        model (nn.Module or callable): the target; maps images (N, ...) to scores (N, K).
        surrogates (sequence, dict or "auto"): models or callables of the same images, or a dict of
            them by name; "auto" asks the model's `.surrogates()`. (Default: ())
        eps (float): radius of the ball, in pixel units of [0, 1]. (Default: 8/255)
        norm (str): "Linf", "L2" or "L1". (Default: "Linf")
        version (str): "standard", "autoattack", "paper", "rand", "quick" or "custom".
            (Default: "standard")
        engine (str): whose components run: "autoattack", or "torchattacks" (at AutoAttack's
            settings; no L1). (Default: "autoattack")
        seed (int): of every random number. (Default: 0)
        plan (list): of :class:`~torchattacks_ext.engines.judge.ledger.AttackSpec`, for "custom".
            (Default: None)
        probe_every (int): each so many-th query on a surrogate is asked on the target as well; 0
            asks only what a run ends with. (Default: 5)
        surrogate_normalization (str or None): "same" scales the surrogates' inputs as the
            target's, None hands them pixels. (Default: "same")
        deployed_batch (int): rows of a batch in use, for targets that depend on the batch; None:
            batch_size. (Default: None)
        partitions (int): of the data into such batches; the rows are those of the first.
            (Default: 3)
        headline (str): what the rows of such a target say: "iso" (one image attacked), "union" or
            "realised" (the batch attacked). (Default: "iso")
        fresh_draws (int): draws that decide about an image of a randomised target.
            (Default: 100)
        **options: the other arguments of :class:`Probe` by keyword (batch_size, bounds, outputs,
            max_queries, max_seconds, keep).

    Shape:
        - images: (N, C, H, W), or any (N, ...) without Square; range [0, 1].
        - labels: (N,) in [0, K).
        - output: as images; the adversarial image, or the candidate of smallest margin.

    Cost: an image that withstands "standard" costs about 1,270 forward and 1,230 backward
    row-passes a model (K = 10), FAB 1,840 and 900 on the target and on the surrogate that came
    nearest, and 5,000 queries of Square on the target.

    Examples::
        >>> import torch
        >>> from torchattacks_ext.testing import GradientKiller, small_net
        >>> net = small_net().eval()
        >>> images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> labels = net(images).argmax(1)
        >>> attack = MSA(GradientKiller(net), [net], eps=0.2, version="quick")
        >>> found = attack.measure(images, labels)
        >>> float(found.robust_accuracy) <= found.clean_accuracy
        True
    """

    result_type = AttackResult
    citation = """@misc{msa2026,
  title         = {{HPM} l2-reclassifier and {Mixed Surrogate Attack}},
  year          = {2026},
  eprint        = {2606.01746},
  archivePrefix = {arXiv},
  note          = {arXiv:2606.01746}
}
@inproceedings{croce2020reliable,
  author    = {Croce, Francesco and Hein, Matthias},
  title     = {Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
               Parameter-free Attacks},
  booktitle = {ICML},
  year      = {2020}
}"""

    def __init__(
        self,
        model: Any,
        surrogates: Any = (),
        eps: float = 8 / 255,
        norm: Norm = "Linf",
        version: Version = "standard",
        engine: EngineName = "autoattack",
        seed: int = 0,
        *,
        plan: Iterable[AttackSpec | Mapping[str, Any]] | None = None,
        probe_every: int = 5,
        surrogate_normalization: str | None = "same",
        deployed_batch: int | None = None,
        partitions: int = 3,
        headline: Headline = "iso",
        fresh_draws: int = 100,
        **options: Any,
    ) -> None:
        super().__init__("MSA", model, eps=eps, norm=norm, seed=seed, **options)
        self.version, self.plan = version, msa_plans.make_plan(version, plan)
        self.engine, self.probe_every = engine, probe_every
        self.surrogate_normalization = surrogate_normalization
        self.deployed_batch, self.partitions = deployed_batch, partitions
        self.headline, self.fresh_draws = headline, fresh_draws
        msa_plans.check_arguments(self)
        self.surrogates = named_surrogates(model, surrogates)
        self.is_sequence = version in msa_plans.SEQUENCES
        self.unit_is_batch = self.is_sequence or engine == "torchattacks"
        self.sources = msa_plans.sources(version, self.plan, list(self.surrogates))
        self._books: dict[str, Entry] = {}
        self._facts: dict[str, Any] = {}
        self._doubts: list[Flag] = []
        self._left_out: set[str] = set()
        self._n_odd = 0
        self._budget: Budget | None = None

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a decision."""
        return (
            super().settings()
            | {
                "version": self.version,
                "engine": self.engine,
                "plan": msa_plans.plan_hash(self.version, self.plan),
                "surrogates": {
                    name: model_sha256(model) for name, model in self.surrogates.items()
                },
                "sources": list(self.sources),
                "probe_every": self.probe_every,
                "surrogate_normalization": self.surrogate_normalization,
            }
            | ({"batch_size": self.batch_size} if self.unit_is_batch else {})
            | self._rules()
        )

    def _rules(self) -> dict[str, Any]:
        """What decides about the rows of a target that is not fixed."""
        found: dict[str, Any] = {}
        if "protocols" in self._facts:
            found["deployed_batch"] = self._facts["deployed_batch"]
            found["headline"] = self.headline
        if "randomised" in self._facts:
            found["fresh_draws"] = self.fresh_draws
        return found

    def facts(self) -> dict[str, Any]:
        """What was run and what it did, source by source; beside the rows of the result."""
        books = {name: vars(book) for name, book in self._books.items()}
        return {"breakdown": books, **self._facts}

    # ------------------------------------------------------------------ verb one
    def forward(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The adversarial image of each row, or its candidate of smallest margin."""
        if labels is None:
            raise InputError("labels are needed: pass attack(images, labels)")
        self._begin()
        return best_images(self, inputs, labels, self._ids(inputs, labels))

    # ------------------------------------------------------------------ verb two
    def _rows(self, stream: Stream) -> Iterator[Rows]:
        self._begin()
        yield from walk(self, stream)

    def _begin(self) -> None:
        """Empty books, for a new run."""
        self._books, self._left_out, self._n_odd = {}, set(), 0
        self._facts, self._doubts = {}, []

    @contextlib.contextmanager
    def _limited(self, budget: Budget | None) -> Iterator[None]:
        self._budget = budget
        try:
            yield
        finally:
            self._budget = None

    def doubts(self, result: Result) -> tuple[Flag, ...]:
        """Parts that were left out, odd candidates, and what the kind of the target asks to be said."""
        found = list(self._doubts)
        if self._n_odd:
            text = "candidates had NaN or infinite pixels (NaN gradients?); they were left out"
            found.append(Flag("non_finite_candidates", text, self._n_odd))
        if self._left_out:
            why = "; ".join(sorted(self._left_out))
            found.append(Flag("left_out", f"parts of the plan were left out: {why}"))
        if isinstance(result, AttackResult):
            found += _square_flag(result, self._books)
        return tuple(found)

    # ------------------------------------------------------------------ the attack
    def _attack(
        self,
        images: Tensor,
        labels: Tensor,
        ids: Tensor,
        eps: float | Tensor | None = None,
    ) -> Ledger:
        """A ledger after the whole plan; runs inside a session of the target.

        eps: (B,) gives each row a radius of its own; None takes that of the attack.
        """
        with msa_run.borrowed(self) as models:
            ledger = Ledger.open(
                msa_run.judge_of(self, models),
                images,
                labels,
                float(self.eps) if eps is None else eps,
                self.norm,
                self.bounds,
            )
            msa_run.attack(self, models, ledger, ids)
        return ledger


def _square_flag(result: AttackResult, books: Mapping[str, Entry]) -> list[Flag]:
    """AutoAttack's own doubt: Square lowers the accuracy by more than .2 points."""
    broken = sum(entry.broken for name, entry in books.items() if "square" in name)
    if broken <= 0.002 * max(len(result), 1):
        return []
    text = (
        "Square, which needs no gradient, broke rows that the gradient attacks had left: gradients "
        "may be masked; add surrogates, or run Square longer"
    )
    return [Flag("square_after_gradients", text, broken)]
