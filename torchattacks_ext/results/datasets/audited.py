"""Which evaluated images speak against the data? The audit of a data set beside a row an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._typing import Status
from ...errors import InputError
from ..base.columns import column
from ..base.facts import Flag
from ..sample import Sample
from .audit import DataAudit

NONE, NEAR, EXACT = range(3)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Audited(Sample):
    """What an audit found, and for each evaluated image whether it is a copy.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`; what the model did, not the image.
        reference (Tensor): (N,) int64 labels.
        in_training (Tensor): (N,) int8, 2: an exact copy is in the training or validation images,
            1: a near one, 0: none; -1 where nobody looked.
        repeats (Tensor): (N,) int8, likewise of an earlier evaluated image.
        audit (DataAudit): of all sets together; None before it was made.

    >>> rows = torch.tensor([2, 0], dtype=torch.int8)
    >>> facts = {"status": rows * 0, "reference": rows.long(), "in_training": rows}
    >>> found = Audited(ids=torch.tensor([1, 2]), **facts)
    >>> found.ids[found.in_training < 1].tolist()  # what may be evaluated
    [2]
    """

    schema: ClassVar[str] = "audited/1"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    in_training: Tensor = column(torch.int8, "decision", missing=-1)
    repeats: Tensor = column(torch.int8, "decision", missing=-1)
    audit: DataAudit | None = None

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Counts of copies, and the findings of the audit: code -> count; no interval."""
        found: dict[str, Any] = {"n": len(self)}
        for name in ("in_training", "repeats"):
            codes = getattr(self, name)
            if bool((codes >= 0).any()):
                counts = {"exact": EXACT, "near": NEAR}
                found[name] = {k: int((codes == v).sum()) for k, v in counts.items()}
        if self.audit is not None:
            found["sound"] = self.audit.sound
            found["findings"] = {flag.code: flag.count for flag in self.audit.flags}
        return found | self.group_summaries(confidence)

    @classmethod
    def concat(cls, results: Any) -> Any:
        """As :meth:`Result.concat`; the audit of several sets is not that of all together.

        What each row says of the training images stays; copies between the parts were not looked
        for, and a flag says so.
        """
        parts = list(results)
        whole = super().concat(parts)
        if len(parts) == 1 or all(part.audit is None for part in parts):
            return whole
        text = "audited in parts: copies between the parts were not looked for"
        return replace(whole, audit=None).with_flags([Flag("audited_in_parts", text)])

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        audit = None if self.audit is None else self.audit.to_dict()
        return super().to_dict() | {"audit": audit}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Audited:
        """The inverse of :meth:`to_dict`. Raises InputError for another schema or damage."""
        raw = dict(data)
        audit = raw.pop("audit", None)
        found = super().from_dict(raw)
        if audit is not None:
            if not isinstance(audit, Mapping):
                raise InputError(f"field 'audit' of {cls.schema} is damaged")
            found = replace(found, audit=DataAudit.from_dict(audit))
        return found
