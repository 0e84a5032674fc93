"""How is a saved report told again, in another form? The command `report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ConfigError
from .. import common
from .reading import read_report

if TYPE_CHECKING:
    from ...results.evaluation import EvaluationReport

FILES = {
    "text": "report.txt",
    "markdown": "report.md",
    "html": "report.html",
    "latex": "report.tex",
    "csv": "report.csv",
    "json": "report.json",
    "card": "README.md",
    "rmf": "rmf.md",
    "rmf-json": "rmf.json",
    "claim": "claim.json",
}
"""Form -> what its file is called in a folder."""
OF_ONE = ("card", "rmf", "rmf-json", "claim")
"""Forms of a single report."""


def report(
    reports: Annotated[
        list[Path], typer.Argument(help="report.json, or folders with one.")
    ],
    form: Annotated[str, typer.Option(help=f"{', '.join(FILES)}.")] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file, or a folder that is.")
    ] = None,
    confidence: Annotated[str, typer.Option(help="Of the intervals.")] = "0.95",
    dataset: Annotated[
        str | None, typer.Option(help="Of card and claim: the data set. [its name]")
    ] = None,
) -> int:
    """Tell a saved report again; nothing is measured.

    rmf: where it has evidence for NIST's AI RMF; claim: what it supports of an entry
    of RobustBench. Exit as the run did: 1 if a stage failed, 2 if the model raised.
    """
    if form not in FILES:
        raise ConfigError(f"--form {form!r} is not one of {', '.join(FILES)}")
    if form in OF_ONE and len(reports) > 1:
        raise ConfigError(f"--form {form} is of one report, got {len(reports)}")
    level = common.number(confidence, "--confidence")
    found = [read_report(path) for path in reports]
    if form == "card" and out is not None:
        from ...reports.published import save_card

        save_card(found[0], _place(out, form), confidence=level, dataset=dataset)
    else:
        with common.clean_stdout():
            text = _told(found, form, level, dataset)
        if out is None:
            common.show(text)
        else:
            place = _place(out, form)
            common.write_files(place.parent, {place.name: text})
    return max(map(common.ending, found))


def _place(out: Path, form: str) -> Path:
    return out / FILES[form] if out.is_dir() else out


def _told(
    found: list[EvaluationReport], form: str, confidence: float, dataset: str | None
) -> str:
    one: Any = found[0] if len(found) == 1 else found
    if form in OF_ONE:
        from ...reports import published

        single: Mapping[str, Callable[[], str]] = {
            "card": lambda: published.render_card(
                one, confidence=confidence, dataset=dataset
            ),
            "rmf": lambda: published.render_rmf(one),
            "rmf-json": lambda: published.render_rmf_json(one),
            "claim": lambda: published.render_claim(one, dataset),
        }
        return single[form]()
    from ... import reports
    from ...reports.overview import tabulated

    several: Mapping[str, Callable[..., str]] = {
        "text": reports.render_text,
        "markdown": reports.render_markdown,
        "html": reports.render_html,
        "latex": tabulated.render_latex,
        "csv": tabulated.render_csv,
        "json": reports.render_json,
    }
    return several[form](one, confidence=confidence)
