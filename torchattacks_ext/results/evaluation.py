"""What did a whole evaluation say? Its plan, one result a stage, the worst case, a few images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from torch import Tensor

from .._typing import Verdict
from ..errors import InputError
from .accuracy import Accuracy
from .attack import AttackResult
from .base import codec
from .base.document import Document
from .base.facts import Cost, Flag
from .base.shares import check_confidence, open_rows, share_between
from .base.unknown import known_fields
from .base.words import short
from .prob_robustness import ProbRobustness
from .sample import Sample
from .stages.gallery import GalleryItem as GalleryItem
from .stages.parts import Part, parts
from .stages.report import StageReport as StageReport
from .stages.worst import leaves_the_ball, worst_stages

DERIVED = ("summary", "plain_summary", "classes", "groups")
"""Keys that a renderer adds to a report's JSON; computed anew, so not read back."""


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationReport(Document):
    """Everything that one `evaluate` found; renderers turn it into text, Markdown, HTML.

    Arguments:
        name (str): of the model, for people.
        plan (dict): as validated.
        model (dict): class, weight hash, number of parameters.
        data (dict): number of images, shape, class counts, hash of the ids.
        stages (tuple): :class:`StageReport`, in the order of the plan, the clean one first.
        flags (tuple): doubts about the whole.
        cost (Cost): row-passes and seconds of all stages.
        provenance (dict): versions, device, time.
        gallery (tuple): a few images that fail most.
        extra (dict): fields of a newer file that this version does not know; written back.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> EvaluationReport.from_json(report.to_json()).name
    'net'
    """

    schema: ClassVar[str] = "evaluation/1"

    name: str
    plan: Mapping[str, Any]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    stages: tuple[StageReport, ...]
    flags: tuple[Flag, ...] = ()
    cost: Cost = Cost()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    gallery: tuple[GalleryItem, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> StageReport:
        """The stage called `name`. Raises InputError naming the stages that exist."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        names = [stage.name for stage in self.stages]
        raise InputError(f"no stage {name!r}; this report has {names}")

    @property
    def failed(self) -> tuple[StageReport, ...]:
        """Stages that raised."""
        return tuple(stage for stage in self.stages if stage.error is not None)

    @property
    def not_applicable(self) -> tuple[StageReport, ...]:
        """Stages that cannot be used on such a model or such images; they did not fail."""
        return tuple(s for s in self.stages if s.not_applicable is not None)

    def survivors(self) -> Tensor | None:
        """(N,) bool, rows as in `clean`: correct, broken by no attack, no failing draw of PRTest.

        A row that a stage found MISCLASSIFIED does not survive it. None without a clean stage or
        without any attack stage that ran. Raises InputError where a stage lacks rows of the clean
        one (other ids): what nobody attacked must not count as a survivor. A PRTest whose sampler
        leaves the plan's ball says nothing about that ball and is left out.
        """
        found = self._standing()
        return None if found is None else found[0]

    def _standing(self) -> tuple[Tensor, Tensor] | None:
        """:meth:`survivors`, and which of them a stage did not get through; (N,) bool each."""
        clean = self._clean
        if clean is None:
            return None
        alive, tried = clean.clean_correct == 1, False
        unknown = ~alive & alive
        for stage in self.stages:
            result = stage.result
            if not isinstance(result, (AttackResult, ProbRobustness)):
                continue
            if leaves_the_ball(result, self.plan):
                continue
            rows, tried = result.find(clean.ids), True
            if (rows < 0).any():
                raise InputError(
                    f"stage {stage.name!r} has no row for {int((rows < 0).sum())} ids of the clean "
                    "stage; there is no worst case over stages of other images"
                )
            broken = (result.verdict == int(Verdict.NOT_ROBUST)) | (
                result.verdict == int(Verdict.MISCLASSIFIED)
            )
            if isinstance(result, ProbRobustness):
                broken |= (result.n_failures > 0) | (result.mean_failures > 0)
            alive = alive & ~broken[rows]
            unknown = unknown | open_rows(result.verdict, result.status)[rows]
        return (alive, unknown & alive) if tried else None

    @property
    def _clean(self) -> Accuracy | None:
        results = [stage.result for stage in self.stages]
        return next((r for r in results if isinstance(r, Accuracy)), None)

    @property
    def _n_copies(self) -> int:
        known = [s.result for s in self.stages if isinstance(s.result, Sample)]
        return max((result.n_copies for result in known), default=0)

    def worst_stages(self) -> tuple[list[str], list[str]]:
        """Names of the stages that :meth:`survivors` counts, and of random tests that it does not.

        Those draw from a law that leaves the plan's ball, so they say nothing about that ball.
        """
        return worst_stages({s.name: s.result for s in self.stages}, self.plan)

    def worst_case(self, confidence: float = 0.95) -> dict[str, Any] | None:
        """Share of images that survive every stage, with its exact interval: an upper bound.

        None where :meth:`survivors` is None. `stages` names those it rests on, `outside_the_ball`
        random tests that are not in it: hold two worst cases against each other only where they
        rest on the same. Failed stages are not counted, but named; images on which the model
        raised when clean are left out. Images that a stage did not get through count as
        withstanding it, and not in the lower end of `robust_accuracy_bounds`, which stands there
        where there are any; the interval holds however they end. Raises ConfigError for a
        confidence outside (0, 1), InputError as :meth:`survivors`.
        """
        check_confidence(confidence)
        found, clean = self._standing(), self._clean
        if found is None or clean is None:
            return None
        counted, outside = self.worst_stages()
        n, left, unknown = int(clean.answered.sum()), *(int(s.sum()) for s in found)
        known = left - unknown, unknown, n, confidence
        bounds, interval = share_between(*known, clean.chosen, self._n_copies)
        return {
            "n": n,
            "robust_accuracy": bounds[1],
            **({"robust_accuracy_bounds": bounds} if unknown else {}),
            "robust_accuracy_interval": interval,
            "confidence": confidence,
            "failed_stages": [stage.name for stage in self.failed],
            "stages": counted,
            "outside_the_ball": outside,
        }

    def classes(self, confidence: float = 0.95) -> tuple[Part, ...]:
        """Clean and worst case of each class, by label; () without a clean stage.

        Several intervals are several claims: at 95 % each, one in twenty is wrong. Raises as
        :meth:`worst_case`.
        """
        check_confidence(confidence)
        clean = self._clean
        if clean is None:
            return ()
        names = [str(label) for label in clean.reference.tolist()]
        return parts(clean, names, self._standing(), confidence)

    def groups(self, confidence: float = 0.95) -> tuple[Part, ...]:
        """The same of each group, by name; () where the data name none."""
        check_confidence(confidence)
        clean = self._clean
        if clean is None or clean.groups is None:
            return ()
        return parts(clean, clean.groups, self._standing(), confidence)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Stage name -> its summary (or its error, or why it is not applicable), "worst_case"."""
        rows: dict[str, Any] = {
            stage.name: (
                stage.missing()
                if stage.result is None
                else stage.result.summary(confidence)
            )
            for stage in self.stages
        }
        return rows | {"worst_case": self.worst_case(confidence)}

    def to_dict(self) -> dict[str, Any]:
        """In JSON types, gallery included."""
        return {
            **self.extra,
            "schema": self.schema,
            "name": self.name,
            "plan": codec.plain(self.plan),
            "model": codec.plain(self.model),
            "data": codec.plain(self.data),
            "stages": [stage.to_dict() for stage in self.stages],
            "flags": [codec.plain(flag.to_dict()) for flag in self.flags],
            "cost": codec.plain(asdict(self.cost)),
            "provenance": codec.plain(self.provenance),
            "gallery": [item.to_dict() for item in self.gallery],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EvaluationReport:
        """The inverse of :meth:`to_dict`; unknown fields are kept.

        Raises InputError for another schema, missing or damaged fields.
        """
        raw = codec.migrate(dict(data), cls.schema)
        known = {"schema", *DERIVED} | {item.name for item in fields(cls)}
        try:
            return cls(
                name=raw["name"],
                plan=raw["plan"],
                model=raw["model"],
                data=raw["data"],
                stages=tuple(StageReport.from_dict(stage) for stage in raw["stages"]),
                flags=tuple(known_fields(Flag, flag) for flag in raw.get("flags", ())),
                cost=known_fields(Cost, raw.get("cost", {})),
                provenance=raw.get("provenance", {}),
                gallery=tuple(GalleryItem.from_dict(g) for g in raw.get("gallery", ())),
                extra={k: v for k, v in raw.items() if k not in known},
            )
        except InputError:
            raise
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"not a whole evaluation report: {error!r}; is the file damaged?"
            ) from error

    def __repr__(self) -> str:
        try:
            worst = self.worst_case()
            shown = "none" if worst is None else short(worst["robust_accuracy"])
        except InputError:  # stages of other images: a repr must not raise
            shown = "unknown"
        return (
            f"EvaluationReport(name={self.name!r}, n={self.data.get('n')}, "
            f"stages={[stage.name for stage in self.stages]}, worst_case={shown}, "
            f"failed={[stage.name for stage in self.failed]})"
        )
