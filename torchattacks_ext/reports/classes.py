"""How do classes and groups differ, and does the model know how often it is right?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..results.accuracy import Accuracy
from ..results.evaluation import EvaluationReport
from ..results.stages.parts import Part
from .told import Section
from .words import confidence_text, count, interval, number, one_line, percent

MOST = 25
"""Lines in the table; of more, those with the lowest shares."""


def parts_told(report: EvaluationReport, confidence: float = 0.95) -> list[Section]:
    """Tables by group and by class, the lowest share first; of reports with softmax scores.

    >>> parts_told(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    clean = next(
        (s.result for s in report.stages if isinstance(s.result, Accuracy)), None
    )
    if clean is None or not bool(clean.scored.any()):
        return []
    try:
        found = [
            _section(kind, parts, confidence)
            for kind, parts in (
                ("group", report.groups(confidence)),
                ("class", report.classes(confidence)),
            )
            if len(parts) > 1
        ]
    except InputError:  # stages of other images: no worst case of anything
        return []
    return found


def _section(kind: str, parts: tuple[Part, ...], confidence: float) -> Section:
    attacked = parts[0].left is not None
    shown = sorted(parts, key=_share)[:MOST]
    head = (kind.capitalize(), "n", "Right when clean", "Interval")
    rows = [head + ("Worst case", "Interval") * attacked]
    for part in shown:
        cells = [
            one_line(part.name, 60) or "(no name)",
            count(part.n),
            percent(part.right, part.n),
            interval(part.right_interval),
        ]
        if part.left is not None and part.left_interval is not None:
            cells += [percent(part.left, part.n), interval(part.left_interval)]
        rows.append(tuple(cells))
    cut = f" Shown are the {MOST} lowest of {count(len(parts))}." * (len(parts) > MOST)
    note = (
        f"Exact two-sided {confidence_text(confidence)} intervals, each by itself: among many of "
        f"them some will be wrong.{cut}"
    )
    worst = (
        "The worst case is an upper bound: images that no attack of this report broke."
    )
    return Section(
        f"{'Classes' if kind == 'class' else 'Groups'} one by one",
        tuple(rows),
        "lrrlrl"[: len(head) + 2 * attacked],
        (note, worst) if attacked else (note,),
        caption="The lowest share first.",
    )


def _share(part: Part) -> tuple[float, float]:
    n = max(part.n, 1)
    left = part.right if part.left is None else part.left
    return left / n, part.right / n


def calibration_words(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """What the clean stage says of confidences; () where no scores are known.

    >>> calibration_words({"expected_calibration_error": 0.02, "overconfidence": -0.01,
    ...     "nll": 0.3, "brier": 0.1})[0]
    'expected calibration error 2.0 % (15 bins); it claims 1.0 % less than it keeps'
    """
    error = summary.get("expected_calibration_error")
    if error is None:
        return ()
    gap = summary["overconfidence"]
    ends, sides = (
        summary.get(f"{name}_interval")
        for name in ("expected_calibration_error", "overconfidence")
    )
    claims = (
        "it claims as much as it keeps"
        if abs(gap) < 5e-4
        else f"it claims {100 * abs(gap):.1f} % {'more' if gap > 0 else 'less'} than it keeps"
    )
    sure = "" if ends is None else f", nominal bootstrap interval {interval(ends)}"
    valid = "" if sides is None else f" (confidence minus accuracy {_gap(sides)})"
    return (
        f"expected calibration error {100 * error:.1f} % (15 bins{sure}); {claims}{valid}",
        f"Brier score {number(summary['brier'])}, mean log loss {number(summary['nll'])}",
    )


def _gap(sides: tuple[float, float]) -> str:
    """Ends of a difference of shares, rounded outwards."""
    shown = interval([side + 1 for side in sides]).strip("[] %").split(", ")
    low, high = (float(end) - 100 for end in shown)
    return f"[{low:.1f}, {high:.1f}] %"
