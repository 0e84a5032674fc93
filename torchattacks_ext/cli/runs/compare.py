"""What changed between runs? The command `compare`: two by exact tests, more as a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ConfigError
from .. import common
from .reading import read_report

if TYPE_CHECKING:
    from ...results.evaluation import EvaluationReport

FORMS = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv"}


def compare(
    reports: Annotated[
        list[Path], typer.Argument(help="report.json, or folders with one.")
    ],
    significance: Annotated[
        str, typer.Option(help="Chance of one false regression.")
    ] = "0.05",
    eps: Annotated[
        str | None, typer.Option(help="Radius of certified accuracy (L2). [none]")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="GROUP=RUN,RUN of runs that differ in the seed alone."),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="A table also for two reports.")
    ] = False,
    form: Annotated[
        str, typer.Option(help="text, markdown; of a table also latex, csv.")
    ] = "text",
    json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> int:
    """Hold runs against each other: the older first, then the newer.

    Two reports: image by image, exit 1 where a stage fell, else 2 where a run did not
    measure all. More: a table with intervals, rank correlations and, with --seeds, the
    spread between training seeds.
    """
    from ...evaluation.runs import compare_runs, runs_table
    from ...reports.runs import render_compared, render_runs

    if len(reports) < 2:
        raise ConfigError("give at least two reports, the older one first")
    if form not in FORMS:
        raise ConfigError(f"--form {form!r} is not one of {', '.join(FORMS)}")
    radius = None if eps is None else common.number(eps, "--eps")
    if radius is not None and radius < 0:
        raise ConfigError(f"--eps {eps} must be a radius >= 0, say 0.5 or 8/255")
    level = common.number(significance, "--significance")
    found = _named([read_report(path) for path in reports], reports)
    if len(found) > 2 or table or seeds is not None:
        whole = runs_table(found, seeds=_seeds(seeds), eps=radius)
        asked: Any = form
        text = common.as_json(whole.to_dict()) if json_ else render_runs(whole, asked)
        common.show(text)
        return 0
    if form not in ("text", "markdown"):
        raise ConfigError(f"--form {form} is of a table; add --table")
    pair = compare_runs(found[0], found[1], significance=level, eps=radius)
    said = render_compared(pair, form == "markdown")
    common.show(common.as_json(pair.to_dict()) if json_ else said)
    return 1 if pair.regressions else 2 if pair.missing else 0


def _named(found: list[EvaluationReport], paths: list[Path]) -> list[EvaluationReport]:
    """Reports with names of their own: those of equal name by their folder as well."""
    names = [report.name for report in found]
    folders = [(p if p.is_dir() else p.absolute().parent).name for p in paths]
    if len(set(zip(names, folders))) < len(names):
        folders = [f"{folder}, {i}" for i, folder in enumerate(folders, 1)]
    told = [
        f"{name} ({folder})" if names.count(name) > 1 else name
        for name, folder in zip(names, folders)
    ]
    return [replace(report, name=name) for report, name in zip(found, told)]


def _seeds(text: str | None) -> dict[str, str] | None:
    """GROUP=RUN,RUN;GROUP=RUN as run -> group.

    >>> _seeds("net=a,b")
    {'a': 'net', 'b': 'net'}
    """
    if text is None:
        return None
    found = {}
    for part in text.split(";"):
        group, sign, runs = part.partition("=")
        if not sign or not group.strip():
            raise ConfigError(f"--seeds {text!r} must be GROUP=RUN,RUN")
        for run in common.words(runs, "--seeds"):
            found[run] = group.strip()
    return found
