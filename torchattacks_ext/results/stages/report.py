"""What did one stage of an evaluation give? A result, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...errors import InputError
from ..accuracy import Accuracy
from ..attack import AttackResult
from ..base import codec
from ..base.facts import Cost
from ..base.result import Result
from ..base.unknown import known_fields
from ..certificates import Certificates
from ..datasets.audited import Audited
from ..datasets.budgeted import Budgeted
from ..datasets.ood import OODScores
from ..datasets.shift import Shift
from ..diagnosis.diagnosis import Diagnosis
from ..prob_robustness import ProbRobustness
from ..sensitivity import Sensitivity
from ..stress import Stress
from ..sweep import Sweep

_FAMILIES = (Accuracy, AttackResult, Certificates, Diagnosis, ProbRobustness)
_SETS = (Audited, OODScores, Shift)
FAMILIES: dict[str, type[Result]] = {
    family.schema: family
    for family in (*_FAMILIES, Sensitivity, Stress, Sweep, Budgeted, *_SETS)
}
"""Every family that a stage may give, so that what is written can be read."""


@dataclass(frozen=True, eq=False)
class StageReport:
    """One stage: its result, or the reason why there is none. A stage that raised is never a pass.

    name: unique label ("clean", "PGD", "prtest"). kind: "clean", "attack" or "prtest". result: None
    when it failed; then `error` says why. notes: caveats for the reader. settings: the arguments
    used. not_applicable: why the method cannot be used on such a model or such images (too few
    classes); then there is no result, and that is no failure.
    """

    name: str
    kind: str
    result: Result | None = None
    error: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cost: Cost = Cost()
    not_applicable: str | None = None

    def missing(self) -> dict[str, str | None]:
        """Why there is no result: {"error": words} or {"not_applicable": reason}."""
        if self.not_applicable is not None:
            return {"not_applicable": self.not_applicable}
        return {"error": self.error}

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        unfit = self.not_applicable
        return {
            "name": self.name,
            "kind": self.kind,
            "result": None if self.result is None else self.result.to_dict(),
            "error": self.error,
            "settings": codec.plain(self.settings),
            "notes": list(self.notes),
            "cost": codec.plain(asdict(self.cost)),
            **({} if unfit is None else {"not_applicable": unfit}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StageReport:
        """The inverse of :meth:`to_dict`. Raises InputError for a result of an unknown family."""
        raw = data.get("result")
        family = None
        if raw is not None:
            name = str(raw.get("schema")).partition("/")[0]
            known = {schema.partition("/")[0]: c for schema, c in FAMILIES.items()}
            family = known.get(name)
            if family is None:
                raise InputError(
                    f"schema={raw.get('schema')!r} is not one of {sorted(FAMILIES)}"
                )
        return cls(
            name=data["name"],
            kind=data["kind"],
            result=None if family is None or raw is None else family.from_dict(raw),
            error=data.get("error"),
            settings=data.get("settings", {}),
            notes=tuple(data.get("notes", ())),
            cost=known_fields(Cost, data.get("cost", {})),
            not_applicable=data.get("not_applicable"),
        )
