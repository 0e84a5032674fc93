"""Which further sections has a report? One list, told alike by every renderer."""

from __future__ import annotations

from ..results.evaluation import EvaluationReport
from .certified.side import sides_told
from .classes import parts_told
from .sweep import sweep_told
from .told import Section as Section


def sections(report: EvaluationReport, confidence: float = 0.95) -> list[Section]:
    """Sections that are a table with notes, in the order in which they are read.

    >>> sections(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    return [
        *sides_told(report, confidence),
        *sweep_told(report, confidence),
        *parts_told(report, confidence),
    ]
