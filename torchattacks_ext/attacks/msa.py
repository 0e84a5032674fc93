"""What does the worst case over several surrogates and the real AutoAttack leave?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._typing import Norm
from ..data.stream import Stream
from ..engines.active import Judge
from ..engines.fork import ForkedRng
from ..engines.ledger import AttackSpec, Entry, Ledger, add_entries
from ..engines.runs import TARGET, AutoAttackEngine
from ..engines.standard import StandardSequence
from ..errors import ConfigError, InputError
from ..models.fingerprint import model_sha256
from ..models.logits import LogitsView
from ..models.meter import Budget
from ..models.session import session
from ..results.attack import AttackResult
from ..results.base import Result
from ..results.columns import Rows
from ..results.facts import Flag
from . import msa_plans
from .msa_models import Normalised, Target, models_for, whole
from .msa_plans import Version
from .msa_rows import attack_rows
from .msa_surrogates import named_surrogates
from .probe import Probe


class MSA(Probe):
    r"""Mixed Surrogate Attack: AutoAttack on surrogates and on the target, judged on the target.

    A defence that hides its gradients is attacked through models that do not (surrogates); what
    they suggest counts only where the *target* itself is wrong on it, inside the ball. Versions
    are plans as data (docs/msa.md): "standard" harvests every run of every component, row by row;
    "autoattack" is AutoAttack's own protocol, and without surrogates it *is* plain AutoAttack;
    "paper" is the paper's (APGD on the surrogates, then Square on the target). No version proves
    robustness: rows that withstand are UNDECIDED.

    Distance Measure : Linf, L2, L1

    Arguments:
        model (nn.Module or callable): the target; maps images (N, ...) to scores (N, K).
        surrogates (sequence, dict or "auto"): models or callables of the same images, or a dict of
            them by name; "auto" asks the model's `.surrogates()`. (Default: ())
        eps (float): radius of the ball, in pixel units of [0, 1]. (Default: 8/255)
        norm (str): "Linf", "L2" or "L1". (Default: "Linf")
        version (str): "standard", "autoattack", "paper", "quick" or "custom".
            (Default: "standard")
        seed (int): of every random number. (Default: 0)
        plan (list): of :class:`~torchattacks_ext.engines.ledger.AttackSpec`, for "custom".
            (Default: None)
        probe_every (int): each so many-th query on a surrogate is asked on the target as well; 0
            asks only what a run ends with. (Default: 5)
        surrogate_normalization (str or None): "same" scales the surrogates' inputs as the
            target's, None hands them pixels. (Default: "same")
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
        seed: int = 0,
        *,
        plan: Iterable[AttackSpec | Mapping[str, Any]] | None = None,
        probe_every: int = 5,
        surrogate_normalization: str | None = "same",
        **options: Any,
    ) -> None:
        super().__init__("MSA", model, eps=eps, norm=norm, seed=seed, **options)
        self.version, self.plan = version, msa_plans.make_plan(version, plan)
        if not isinstance(probe_every, int) or probe_every < 0:
            raise ConfigError(
                f"probe_every={probe_every!r} must be a whole number >= 0"
            )
        if surrogate_normalization not in ("same", None):
            raise ConfigError(
                f"surrogate_normalization={surrogate_normalization!r} is neither 'same' nor None"
            )
        self.probe_every = probe_every
        self.surrogate_normalization = surrogate_normalization
        self.surrogates = named_surrogates(model, surrogates)
        self.unit_is_batch = version in msa_plans.SEQUENCES
        self.sources = msa_plans.sources(version, self.plan, list(self.surrogates))
        self._books: dict[str, Entry] = {}
        self._left_out: set[str] = set()
        self._n_odd = 0
        self._budget: Budget | None = None

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a decision."""
        return (
            super().settings()
            | {
                "version": self.version,
                "plan": msa_plans.plan_hash(self.version, self.plan),
                "surrogates": {
                    name: model_sha256(model) for name, model in self.surrogates.items()
                },
                "sources": list(self.sources),
                "probe_every": self.probe_every,
                "surrogate_normalization": self.surrogate_normalization,
            }
            | ({"batch_size": self.batch_size} if self.unit_is_batch else {})
        )

    def facts(self) -> dict[str, Any]:
        """What was run and what it did, source by source; beside the rows of the result."""
        return {"breakdown": {name: vars(book) for name, book in self._books.items()}}

    # ------------------------------------------------------------------ verb one
    def forward(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The adversarial image of each row, or its candidate of smallest margin."""
        if labels is None:
            raise InputError("labels are needed: pass attack(images, labels)")
        ledger = self._attack(inputs, labels, self._ids(inputs, labels))
        return ledger.best

    # ------------------------------------------------------------------ verb two
    def _rows(self, stream: Stream) -> Iterator[Rows]:
        self._books, self._left_out, self._n_odd = {}, set(), 0
        batches = stream if not self.unit_is_batch else whole(stream)
        for batch in batches:
            assert batch.labels is not None
            least = 2 * len(batch) + 1
            if stream.budget is not None and not stream.budget.allows(least):
                yield attack_rows(batch, None, self.sources, self.keep != "none")
                continue
            self._budget = stream.budget
            try:
                ledger = self._attack(batch.images, batch.labels, batch.ids)
            finally:
                self._budget = None
            self._books = add_entries(self._books, ledger.entries)
            self._n_odd += ledger.n_odd
            yield attack_rows(batch, ledger, self.sources, self.keep != "none")

    def _flags(self, result: Result) -> tuple[Flag, ...]:
        found = []
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
        with contextlib.ExitStack() as borrowed, torch.enable_grad():
            for surrogate in self.surrogates.values():
                if surrogate is not self.model:
                    borrowed.enter_context(session(surrogate))
            fork = borrowed.enter_context(ForkedRng(self.seed))
            models = self._models(fork)
            judge = Judge(
                models[TARGET],
                targeted=False,
                batch_size=self.batch_size,
                rechecks=not self.unit_is_batch,
            )
            radius = float(self.eps) if eps is None else eps
            ledger = Ledger.open(judge, images, labels, radius, self.norm, self.bounds)
            with torch.no_grad():
                n_classes = int(models[TARGET](images[:1]).shape[1])
            if self.unit_is_batch:
                self._sequence(models, ledger, n_classes)
            else:
                self._harvest(models, ledger, n_classes, ids)
        return ledger

    def _models(self, fork: ForkedRng) -> dict[str, nn.Module]:
        """Name -> pixels to logits, on the victim's random stream; the target last."""
        found: dict[str, nn.Module] = {}
        for name, surrogate in self.surrogates.items():
            view = LogitsView(surrogate, self.outputs, self._meter)
            scaled = self._normalization_applied is False
            if scaled and self.surrogate_normalization == "same":
                view = Normalised(view, self)  # type: ignore[assignment]
            found[name] = fork.victim(view)
        found[TARGET] = fork.victim(Target(self))
        return found

    def _sequence(
        self, models: dict[str, nn.Module], ledger: Ledger, n_classes: int
    ) -> None:
        """AutoAttack's own protocol, on each surrogate and then on the target."""
        on_surrogates, on_target = msa_plans.SEQUENCES[self.version]
        steps = 40 if self.version == "paper" else 100
        for name, model in models.items():
            sequence = StandardSequence(
                name,
                model,
                n_classes,
                self.seed,
                self.batch_size,
                self._meter,
                steps,
                budget=self._budget,
            )
            attacks = on_target if name == TARGET else on_surrogates
            self._left_out |= set(sequence.run(attacks, ledger))

    def _harvest(
        self,
        models: dict[str, nn.Module],
        ledger: Ledger,
        n_classes: int,
        ids: Tensor,
    ) -> None:
        """The plan, line by line, each run watched."""
        engine = AutoAttackEngine(
            models,
            ids,
            n_classes,
            self.seed,
            self._meter,
            self.probe_every,
            budget=self._budget,
        )
        for spec in self.plan:
            for name in models_for(spec, models):
                if not bool(ledger.alive.any()):
                    break
                engine.run(name, spec, ledger)
        self._left_out |= engine.skipped


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
