"""What does a sweep tell? Accuracy against the radius as a table, a figure and a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from ..results.evaluation import EvaluationReport, StageReport
from ..results.sweep import Sweep, SweepShare
from .drawing.axes import WIDTH, Axis, drawing, escape, figure, frame
from .stages import usable
from .told import Section
from .words import confidence_text, count, interval, one_line, percent, radius, share

WORTH = "upper bounds, one a radius: no attack proves robustness"
_LEFT, _RIGHT, _TOP, _BASE, _HEIGHT = 46, WIDTH - 14, 26, 210, 256


def sweeps(report: EvaluationReport) -> list[tuple[StageReport, Sweep]]:
    """Stages that swept radii, with rows."""
    return [
        (stage, stage.result)
        for stage in report.stages
        if usable(stage) and isinstance(stage.result, Sweep) and len(stage.result)
    ]


def sweep_told(report: EvaluationReport, confidence: float = 0.95) -> list[Section]:
    """One section a sweep: a line a radius, and the curve.

    >>> sweep_told(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    return [
        _told(one_line(stage.name, 60), result, confidence)
        for stage, result in sweeps(report)
    ]


def _told(name: str, result: Sweep, confidence: float) -> Section:
    points, n = result.curve(confidence), len(result)
    norm = one_line(result.settings.get("norm", ""), 20)
    rows = [(f"Radius ({norm})", "Right and not broken", "Interval")]
    rows += [
        (radius(p.eps), share(round(p.value * n), n), interval((p.low, p.high)))
        for p in points
    ]
    title = f"Accuracy by radius: {name}"
    level, band = confidence_text(confidence), result.everywhere(confidence)
    whole = (
        f"The whole curve at once lies within {100 * band:.1f} % of these values at {level} "
        "(Dvoretzky, Kiefer and Wolfowitz 1956; Massart 1990)."
    )
    notes = (
        "An image that is broken at one radius is broken at every larger one. An attack proves "
        "nothing: these are upper bounds.",
        f"Exact {level} intervals, each for one radius."
        + (f" {whole}" if band < 1 else ""),
    )
    return Section(
        title,
        tuple(rows),
        "lll",
        notes,
        sweep_figure(points, n, norm=norm, confidence=confidence, title=title),
        f"{one_line(result.settings.get('method', ''), 60)}, {count(n)} images.",
    )


def sweep_figure(
    points: Sequence[SweepShare],
    n: int,
    *,
    norm: str = "",
    confidence: float = 0.95,
    title: str = "Accuracy by radius",
) -> str:
    """Share of images that are right and unbroken, against the radius, as a ``<figure>``.

    points: ascending, at least one; n: images. Markers stand at the radii that were run; between
    two of them the truth of this attack lies between their values. The band joins exact intervals,
    each of one radius.

    >>> page = sweep_figure([SweepShare(0.0, 1.0, 0.9, 1.0), SweepShare(0.1, 0.5, 0.4, 0.6)], 9)
    >>> page.count("<circle"), page.count('class="area"')
    (2, 1)
    """
    x = Axis(0.0, 1.02 * points[-1].eps or 1.0, _LEFT, _RIGHT)
    y = Axis(0.0, 1.0, _BASE, _TOP)
    parts = frame(x, y, f"radius ({norm}, pixel units)", "share of images")
    there = [f"{x.place(p.eps)} {y.place(p.high)}" for p in points]
    back = [f"{x.place(p.eps)} {y.place(p.low)}" for p in reversed(points)]
    parts.append(f'<path class="area" d="M{"L".join(there + back)}Z"/>')
    line = "L".join(f"{x.place(p.eps)} {y.place(p.value)}" for p in points)
    parts.append(f'<path class="curve" d="M{line}"/>')
    for p in points:
        said = f"{percent(round(p.value * n), n)} at {radius(p.eps)}"
        parts.append(
            f'<circle class="dot" cx="{x.place(p.eps)}" cy="{y.place(p.value)}" r="3.5">'
            f"<title>{escape(said)}</title></circle>"
        )
    said = (
        f"{title}: falls from {percent(round(points[0].value * n), n)} at radius 0 to "
        f"{percent(round(points[-1].value * n), n)} at {radius(points[-1].eps)}."
    )
    caption = (
        f"Band: exact {confidence_text(confidence)} intervals, each for one radius; {count(n)} "
        "images."
    )
    return figure(title, drawing(title, said, _HEIGHT, parts), [], caption)


def sweep_score(
    result: Sweep, confidence: float
) -> tuple[int, int, tuple[float, float] | None, str, tuple[str, ...], str]:
    """What the scorecard says: the shares at some radii in words, since there is more than one."""
    if not len(result):
        return 0, 0, None, WORTH, (), "no images"
    points = result.curve(confidence)[1:]
    some = [points[i] for i in sorted({0, len(points) // 2, len(points) - 1})]
    n = len(result)
    told = ", ".join(
        f"{percent(round(p.value * n), n)} at {radius(p.eps)}" for p in some
    )
    method = one_line(result.settings.get("method", ""), 60)
    return 0, 0, None, WORTH, (f"{method} at {len(points)} radii",), told


def sweep_sentences(report: EvaluationReport) -> list[str]:
    """One sentence a sweep.

    >>> sweep_sentences(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found = []
    for _, result in sweeps(report):
        first, *_, last = result.curve()
        n = len(result)
        found.append(
            f"As the changes grow to a radius of {radius(last.eps)}, the share that is still "
            f"answered correctly falls from {percent(round(first.value * n), n)} to "
            f"{percent(round(last.value * n), n)} (upper bounds)."
        )
    return found
