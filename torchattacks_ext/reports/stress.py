"""What does a stage of corruptions tell, whatever the renderer? A table by severity, and words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..results.evaluation import EvaluationReport
from ..results.stress import PUBLISHED, Stress, StressShare
from .stages import usable
from .words import listing, number, one_line, share, things

WORTH = "accuracy under random corruptions; no claim about an attacker"
NOTES = (
    "Each cell: accuracy over all images in percent, with an exact interval for new images of the "
    "same source, one cell at a time.",
    "All severities of a corruption share their random numbers.",
)
OWN = "Names with an asterisk are in no mean: the published fifteen do not hold them."


@dataclass(frozen=True)
class StressTold:
    """stage: its name. rows: the head and one row a corruption. notes: what to know."""

    stage: str
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """Heading of its section."""
        return f"Accuracy by corruption and severity: {self.stage}"

    @property
    def align(self) -> str:
        """One letter a column."""
        return "l" + "r" * (len(self.rows[0]) - 1)


def stress_told(report: EvaluationReport, confidence: float = 0.95) -> list[StressTold]:
    """One a stage with corruptions and rows.

    >>> stress_told(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found = []
    for stage in report.stages:
        result = stage.result
        if usable(stage) and isinstance(result, Stress) and len(result):
            found.append(_told(one_line(stage.name), result, confidence))
    return found


def _told(name: str, result: Stress, confidence: float) -> StressTold:
    head = ("Corruption", *(f"Severity {s}" for s in result.severities))
    rows = [head]
    for corruption in result.corruptions:
        shares = [result.share(corruption, s, confidence) for s in result.severities]
        own = "" if corruption in PUBLISHED else "*"
        rows.append((corruption + own, *map(_cell, shares)))
    whose = {"cifar": "CIFAR-10-C", "imagenet": "ImageNet-C"}
    taken = whose.get(str(result.settings.get("parameters")), "an unknown source")
    read = result.settings.get("source") == "folder"
    origin = "Images read from a published folder" if read else f"Numbers of {taken}"
    more = OWN if any(row[0].endswith("*") for row in rows) else ""
    notes = NOTES[0], f"{origin}.", "" if read else NOTES[1], more
    return StressTold(name, tuple(rows), tuple(filter(None, notes)))


def _cell(one: StressShare) -> str:
    """Accuracy in percent and its interval in whole percent, rounded outwards."""
    low, high = (
        math.floor(100 * one.low + 1e-9),
        math.ceil(100 * one.high - 1e-9),
    )
    return f"{100 * one.value:.1f} [{low}, {high}]"


def stress_score(
    result: Stress, confidence: float
) -> tuple[int, int, tuple[float, float] | None, str, tuple[str, ...], str]:
    """Right answers, all answers, interval, worth, details, and words instead of a share.

    The share is the mean accuracy over the published corruptions that were run.
    """
    names, levels = result.published, result.severities
    told = _corruptions(result)
    if not names or not len(result):
        return 0, 0, None, WORTH, told, "no published corruption"
    cells = len(names) * len(levels)
    right = round(float(result.mean_right().sum()) * cells)
    sides = result.mean_accuracy_interval(confidence)
    return right, len(result) * cells, sides, WORTH, told, ""


def _corruptions(result: Stress) -> tuple[str, ...]:
    names, levels = result.published, result.severities
    if not names:
        return (f"ran {listing(list(result.corruptions))}",)
    each = {name: result.mean_accuracy([name]) for name in names}
    worst = min(each, key=lambda name: each[name])
    left = [name for name in PUBLISHED if name not in names]
    found = [
        f"mean over {things(len(names), 'published corruption')} at severity "
        f"{listing([str(s) for s in levels])}"
        + (f", without {listing(left)}" if left else ""),
        f"lowest: {worst} {number(100 * each[worst])} %",
    ]
    summary = result.summary()
    if "mce" in summary:
        mce, more = 100 * summary["mce"], 100 * summary["relative_mce"]
        found.append(
            f"mCE {number(mce)} %, relative {number(more)} % (AlexNet = 100 %)"
        )
    else:
        found.append(f"no mCE: {summary['left_out']['mce']}")
    return tuple(found)


def stress_sentences(report: EvaluationReport) -> list[str]:
    """One sentence a stage of corruptions.

    >>> stress_sentences(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found = []
    for stage in report.stages:
        result = stage.result
        if not usable(stage) or not isinstance(result, Stress) or not result.published:
            continue
        right, whole, _, _, _, _ = stress_score(result, 0.95)
        found.append(
            f"Under {things(len(result.published), 'kind')} of corruption such as noise, blur and "
            f"weather it answers {share(right, whole)} of the corrupted images correctly."
        )
    return found
