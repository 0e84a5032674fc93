"""What did each stage cost? Row-passes, time, and images a second."""

from __future__ import annotations

from ...results.base.facts import Cost
from ...results.evaluation import EvaluationReport
from ..words import count, number, one_line, percent_of, seconds
from .page import Told

HEAD = ("Stage", "Forward", "Backward", "Time", "Part of the time", "Images a second")
NOTES = (
    "Row-passes: one image through the model once. What a stage shares with others is booked on "
    "the first that asks. “Beside the stages”: looking at the model, the pictures, and everything "
    "else.",
)


def cost_told(report: EvaluationReport) -> list[Told]:
    """The table; none where no stage ran.

    >>> cost_told(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    if not report.stages or not report.cost.seconds:
        return []
    n, whole = report.data.get("n") or 0, report.cost
    rows: list[tuple[str, ...]] = [HEAD]
    spent = Cost()
    for stage in report.stages:
        rows.append(_row(one_line(stage.name, 60), stage.cost, whole, n))
        spent += stage.cost
    rest = Cost(
        max(whole.forward - spent.forward, 0),
        max(whole.backward - spent.backward, 0),
        max(whole.seconds - spent.seconds, 0.0),
    )
    rows.append(_row("beside the stages", rest, whole, 0))
    rows.append(_row("all", whole, whole, n))
    title, caption = "Cost", "What each stage spent."
    return [Told(title, caption, tuple(rows), "lrrrrr", NOTES)]


def _row(name: str, cost: Cost, whole: Cost, n: int) -> tuple[str, ...]:
    part = min(cost.seconds / whole.seconds, 1.0)
    speed = number(n / cost.seconds) if n and cost.seconds > 0 else ""
    passes = count(cost.forward), count(cost.backward)
    return name, *passes, seconds(cost.seconds), percent_of(part), speed
