"""What does a model card say of robustness? A section of Markdown for people who take the model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..._version import __version__
from ...results.evaluation import EvaluationReport
from ..markdown import escape
from ..overview import context
from ..overview.scorecard import scorecard
from ..stages import n_images, usable
from ..words import confidence_text, count, interval, one_line, percent, things
from .figures import Figure

BEGIN = "<!-- torchattacks_ext: begin -->"
END = "<!-- torchattacks_ext: end -->"
HEADING = "## Robustness evaluation"
HEAD = ("What", "Under which condition", "Value", "Interval", "Images", "Worth")


def section(
    report: EvaluationReport, found: Iterable[Figure], confidence: float = 0.95
) -> str:
    """The section between its two marks: numbers with intervals, what is missing, every doubt.

    found: of :func:`~.figures.figures`, at the same confidence.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> section(report, []).splitlines()[2]
    '## Robustness evaluation'
    """
    found = list(found)
    blocks = [
        BEGIN,
        HEADING,
        _origin(report),
        "An attacked accuracy is the share of images that withstood the attacks which were run: "
        "an **upper bound** of the robust accuracy, since a stronger attack may leave fewer. "
        f"Intervals are exact, at {confidence_text(confidence)} each, for new images of the same "
        "source.",
        _table(found),
        *_others(report, {one.stage for one in found}, confidence),
        *_part("Not measured", _missing(report)),
        "### Doubts",
        _bullets(_doubts(report) or ["None was raised."]),
        "### Not tested",
        _bullets(context.not_tested(report)),
        END,
    ]
    return "\n\n".join(filter(None, blocks))


def _origin(report: EvaluationReport) -> str:
    data, model = report.data, report.model
    name = one_line(data.get("name") or "data without a name", 80)
    n = n_images(report) or 0
    ids = [
        f"{what} SHA-256 `{''.join(filter(str.isalnum, str(digest)))[:64]}`"
        for what, digest in (
            ("weights", model.get("sha256")),
            ("images", data.get("sha256")),
        )
        if digest
    ]
    when = one_line(report.provenance.get("finished") or "", 40)
    said = f"Measured by torchattacks_ext {__version__} on {things(n, 'image')} of {escape(name)}"
    return ". ".join([said + (f", {when}" if when else ""), *ids]) + "."


def weights_in(card: str) -> str | None:
    """The hash of the weights that a card says it is about; None where it says none.

    >>> weights_in("Measured. weights SHA-256 `a1b2`. images SHA-256 `c3`.")
    'a1b2'
    """
    found = re.search(r"weights SHA-256 `(\w+)`", card)
    return None if found is None else found[1]


def _table(found: Iterable[Figure]) -> str:
    rows = [
        (
            one.name,
            one.condition,
            percent(round(one.value * one.n), one.n),
            interval((one.low, one.high)),
            count(one.n),
            one.worth,
        )
        for one in found
    ]
    if not rows:
        return "No share of images was measured."
    lines = [HEAD, (":---", ":---", "---:", "---:", "---:", ":---")]
    cells = [*lines, *(tuple(map(escape, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _others(report: EvaluationReport, told: set[str], confidence: float) -> list[str]:
    """Stages that measured what is no share of images, or no single one."""
    rows = scorecard(report, confidence)[:-1]
    more = [
        f"{row.stage}: {row.value}; {row.guarantee}"
        for stage, row in zip(report.stages, rows)
        if usable(stage) and one_line(stage.name, 60) not in told
    ]
    return _part("Measured, but no share of images", more)


def _missing(report: EvaluationReport) -> list[str]:
    return [
        f"{one_line(stage.name, 60)}: {next(iter(stage.missing().values()))}"
        for stage in report.stages
        if not usable(stage)
    ]


def _doubts(report: EvaluationReport) -> list[str]:
    return [f"[{d.code}] {d.message} ({d.where})" for d in context.doubts(report)]


def _part(title: str, items: list[str]) -> list[str]:
    return [f"### {title}", _bullets(items)] if items else []


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {escape(item)}" for item in items)
