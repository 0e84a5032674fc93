"""What does a look at new images say? Tests or a process, an alarm or none, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ...errors import InputError
from ..base import codec, words
from ..base.document import Document
from ..base.facts import Cost, Flag
from ..base.unknown import known_fields

SEVERITIES = ("none", "low", "medium", "high")
EDGES = (0.2, 0.4)
"""Distances of distribution functions from which on an alarm is medium, and high."""
LISTED = 10
"""Features that are listed."""


@dataclass(frozen=True, kw_only=True)
class DriftTest:
    """One test of a batch: its statistic, p-value, and the p-value adjusted by Holm over all."""

    name: str
    statistic: float
    p_value: float
    adjusted: float
    alarm: bool


@dataclass(frozen=True, kw_only=True)
class MovedFeature:
    """A feature, the distance of its distribution functions, its p-value adjusted over features."""

    feature: int
    distance: float
    adjusted: float


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the run-book: what to do, what it tells, what it costs."""

    do: str
    tells: str
    costs: str


@dataclass(frozen=True, repr=False, kw_only=True)
class Alert(Document):
    """What a look at new images said.

    Arguments:
        kind (str): "batch" or "stream".
        alarm (bool): whether there is one; of a stream, whether there ever was.
        significance (float): chance of a false alarm; guarantee: of what, in a sentence.
        n, n_reference (int): images that were looked at (of a stream: in this look), and those of
            the reference.
        distance (float): of the distribution functions of the score, and of features that moved;
            the largest; of a stream, of the score of its last 200 images. In [0, 1].
        least (float): distance of the score below which this many images show nothing; nan of a
            stream.
        above (float): share of the images (of the last 200) whose score lies above the median of
            the reference.
        tests (tuple): :class:`DriftTest` of a batch; moved: the :class:`MovedFeature` that moved
            most; n_moved: how many did.
        process (dict): of a stream: name, looks, n, where it alarmed, how far it is.
        runbook (tuple): :class:`Step`; empty without an alarm.
        flags (tuple): doubts.
        reference, model, data, settings (dict): what was held against what.
        cost (Cost): row-passes and seconds.
        provenance (dict): versions, date.
        extra (dict): fields of a newer file that this version does not know; written back.

    >>> Alert(kind="batch", alarm=False, significance=0.01, guarantee="", n=200, n_reference=1000)
    Alert(kind=batch, severity=none, n=200)
    """

    schema: ClassVar[str] = "monitor_alert/1"

    kind: str
    alarm: bool
    significance: float
    guarantee: str
    n: int
    n_reference: int
    distance: float = 0.0
    least: float = float("nan")
    above: float = float("nan")
    tests: tuple[DriftTest, ...] = ()
    moved: tuple[MovedFeature, ...] = ()
    n_moved: int = 0
    process: Mapping[str, Any] | None = None
    runbook: tuple[Step, ...] = ()
    flags: tuple[Flag, ...] = ()
    reference: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = Cost()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> str:
        """ "none" without an alarm, else by the distance: "low", from .2 "medium", from .4 "high".

        How far, not how sure: that is the significance.
        """
        if not self.alarm:
            return SEVERITIES[0]
        return SEVERITIES[1 + sum(self.distance >= edge for edge in EDGES)]

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of the tests that alarmed."""
        return tuple(test.name for test in self.tests if test.alarm)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types, the severity too."""
        found: dict[str, Any] = codec.plain(
            {**self.extra, "schema": self.schema, "severity": self.severity}
            | {k: v for k, v in asdict(self).items() if k not in ("extra", "flags")}
            | {"flags": [flag.to_dict() for flag in self.flags]}
        )
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Alert:
        """The inverse of :meth:`to_dict`. Raises InputError for another schema or damage."""
        raw = codec.migrate(dict(data), cls.schema)
        raw = {k: v for k, v in raw.items() if k not in ("schema", "severity")}
        kinds: dict[str, type] = {"tests": DriftTest, "moved": MovedFeature}
        kinds |= {"runbook": Step, "flags": Flag}
        for name, kind in kinds.items():
            rows = raw.get(name, ())
            if not isinstance(rows, (list, tuple)):
                raise InputError(f"field {name!r} is no list; is the file damaged?")
            raw[name] = tuple(known_fields(kind, row) for row in rows)
        raw["cost"] = known_fields(Cost, raw.get("cost", {}))
        for name in ("distance", "least", "above"):
            if name in raw:
                raw[name] = _number(raw[name], name)
        own = {name: raw.pop(name) for name in list(raw) if name in cls.__annotations__}
        return known_fields(cls, {**own, "extra": raw})

    def __repr__(self) -> str:
        facts = {"kind": self.kind, "severity": self.severity, "n": self.n}
        if self.alarms:
            facts["alarms"] = list(self.alarms)
        return words.one_line("Alert", facts, self.flags)


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name}={value!r} is no number; is the file damaged?"
        ) from error
