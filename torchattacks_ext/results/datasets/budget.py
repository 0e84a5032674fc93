"""What does an expensive attack leave, if only a part of the images could be attacked? Bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from ...errors import InputError, StateError
from ..base import codec, words
from ..base.document import Document
from ..base.facts import Cost
from ..base.unknown import known_fields
from ..base.words import percent_of


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Survivors of the cheap attack that were sampled together.

    size, attacked, broken (int): of them, by the full attack; all attacked means known.
    """

    size: int
    attacked: int
    broken: int


@dataclass(frozen=True, repr=False, kw_only=True)
class BudgetedAccuracy(Document):
    """An interval for the robust accuracy that a full run of an attack would report.

    Arguments:
        n (int): images.
        wrong (int): of them, clean answers that are wrong.
        broken_cheap (int): right ones that the cheap attack broke.
        strata (tuple): :class:`Sampled`; the first was attacked whole.
        lower, upper (float): of the robust accuracy of these n images, at `confidence`.
        estimate (float): between them.
        confidence (float): that the interval holds the number of a full run.
        combine (str): how levels of several strata were put together.
        attacked_rows, broken_rows (tuple): rows that got the full attack; of them, those it broke.
        settings (dict): what was asked.
        cost (Cost): row-passes of the judge alone, seconds of everything.
        extra (dict): fields of a newer file that this version does not know; written back.

    >>> BudgetedAccuracy(n=10, wrong=1, broken_cheap=3, strata=(Sampled(size=6, attacked=6,
    ...     broken=1),), lower=0.5, upper=0.5, estimate=0.5, confidence=0.95).sentence
    'robust accuracy 50.0 %: every one of 6 survivors got the full attack'
    """

    schema: ClassVar[str] = "budgeted_accuracy/1"

    n: int
    wrong: int
    broken_cheap: int
    strata: tuple[Sampled, ...]
    lower: float
    upper: float
    estimate: float
    confidence: float
    combine: str = "joint"
    attacked_rows: tuple[int, ...] = ()
    broken_rows: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = Cost()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        survivors = self.n - self.wrong - self.broken_cheap
        if survivors != self.survivors or not self.lower <= self.upper:
            raise StateError(
                f"strata hold {self.survivors} survivors of {survivors}, bounds are "
                f"[{self.lower}, {self.upper}]; is the file damaged?"
            )

    @property
    def survivors(self) -> int:
        """Images that the cheap attack left right."""
        return sum(one.size for one in self.strata)

    @property
    def attacked(self) -> int:
        """Images that got the full attack."""
        return sum(one.attacked for one in self.strata)

    @property
    def full_run(self) -> bool:
        """Whether every survivor got the full attack; then the number is that of a full run."""
        return self.attacked == self.survivors

    @property
    def cheap_accuracy(self) -> float:
        """What the cheap attack leaves, an upper bound that needs no sample."""
        return self.survivors / self.n

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.upper - self.lower) / 2

    @property
    def sentence(self) -> str:
        """The number with what it stands on; a sample is never called a run."""
        if self.full_run:
            return (
                f"robust accuracy {percent_of(self.upper)}: every one of {self.survivors:,} "
                "survivors got the full attack"
            )
        return (
            f"robust accuracy between {percent_of(self.lower)} and {percent_of(self.upper)} "
            f"({100 * self.confidence:g} % interval), estimated from {self.attacked:,} of "
            f"{self.survivors:,} survivors of the cheap attack: not a full run"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        own["strata"] = [asdict(one) for one in self.strata]
        own["cost"] = asdict(self.cost)
        said = {"schema": self.schema, "sentence": self.sentence}
        found: dict[str, Any] = codec.plain({**self.extra, **said, **own})
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BudgetedAccuracy:
        """The inverse of :meth:`to_dict`. Raises InputError for another schema or damage."""
        raw = codec.migrate(dict(data), cls.schema)
        names = {f.name for f in fields(cls)} - {"extra"}
        own = {key: raw.pop(key) for key in names & raw.keys()}
        extra = {k: v for k, v in raw.items() if k not in ("schema", "sentence")}
        try:
            own["strata"] = tuple(known_fields(Sampled, s) for s in own["strata"])
            own["cost"] = known_fields(Cost, own.get("cost", {}))
            for name in ("attacked_rows", "broken_rows"):
                own[name] = tuple(own.get(name, ()))
            return cls(**own, extra=extra)
        except (KeyError, StateError, TypeError) as error:
            raise InputError(
                f"not a whole {cls.schema}: {error}; is the file damaged?"
            ) from error

    def __repr__(self) -> str:
        facts = {
            "n": self.n,
            "interval": [self.lower, self.upper],
            "attacked": f"{self.attacked} of {self.survivors}",
            "full_run": self.full_run,
        }
        return words.one_line("BudgetedAccuracy", facts, ())
