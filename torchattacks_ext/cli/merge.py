"""How do the reports of several machines become one? The command `merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common


def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(
            help="report.json, or folders that hold one: states, --out folders."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for report.html, .md and .json."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, nothing else.")
    ] = False,
) -> int:
    """Join the reports of all shards of a run.

    Exit 1 if a stage failed, 2 for shards that do not make one run.
    """
    from ..evaluation.state.merging import merge as join

    common.check_folder(out)
    with common.clean_stdout():
        report = join(parts)
        text = common.write_report(report, out, json_)
    common.show(text)
    return common.ending(report)
