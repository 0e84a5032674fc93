"""Which tables follow from stages about the data as a whole, whatever the renderer?"""

from __future__ import annotations

from collections.abc import Iterator

from ...results.datasets.audited import Audited
from ...results.datasets.ood import OODScores
from ...results.datasets.shift import Shift
from ...results.evaluation import EvaluationReport
from ..stages import usable
from ..words import one_line
from .findings import audit_findings, audit_tables, verdict
from .ood import ood_score, ood_sentence, ood_told
from .page import Told
from .shift import shift_score, shift_sentence, shift_told

SETS = (OODScores, Shift, Audited)
"""Families of results about the data as a whole."""


def sets_told(report: EvaluationReport, confidence: float = 0.95) -> list[Told]:
    """One or more a stage, in their order.

    >>> sets_told(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    return list(_stages(report, confidence))


def _stages(report: EvaluationReport, confidence: float) -> Iterator[Told]:
    for stage in report.stages:
        result, name = stage.result, one_line(stage.name, 60)
        if not usable(stage):
            continue
        if isinstance(result, OODScores) and result.outside:
            yield ood_told(name, result, confidence)
        elif isinstance(result, Shift) and result.other is not None:
            yield shift_told(name, result, confidence)
        elif isinstance(result, Audited) and result.audit is not None:
            said = audit_findings(result.audit) or ["Nothing was found."]
            for title, rows in audit_tables(result.audit):
                cells = tuple(map(tuple, rows))
                yield Told(
                    f"{title}: {name}", "What the audit saw.", cells, "", tuple(said)
                )
                said = []


def set_score(
    result: OODScores | Shift | Audited, confidence: float
) -> tuple[tuple[str, ...], str]:
    """Details, and the words of the scorecard."""
    if isinstance(result, OODScores):
        words, details = ood_score(result)
    elif isinstance(result, Shift):
        words, details = shift_score(result, confidence)
    elif result.audit is None:
        words, details = "audited in parts", ()
    else:
        words, details = verdict(result.audit), tuple(audit_findings(result.audit))
    return details, words


def sets_sentences(report: EvaluationReport) -> list[str]:
    """One sentence a stage about the data as a whole, without jargon.

    >>> sets_sentences(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found = []
    for stage in report.stages:
        result = stage.result
        if not usable(stage):
            continue
        if isinstance(result, OODScores) and result.outside:
            found.append(ood_sentence(result))
        elif isinstance(result, Shift) and result.other is not None:
            found.append(shift_sentence(result))
        elif isinstance(result, Audited) and result.audit is not None:
            findings = audit_findings(result.audit)
            told = "; ".join(findings) or "no copy and no other fault was found"
            found.append(f"An audit of the images says: {told}.")
    return found
