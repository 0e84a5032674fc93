"""What is known of each image of a run? The command `bracket`: certified <= robust <= attacked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import common
from .reading import read_report


def bracket(
    report: Annotated[Path, typer.Argument(help="report.json, or its folder.")],
    verdicts: Annotated[
        Path | None,
        typer.Option(
            help="CSV of a verifier on the plan's ball: id, verdict, verifier, seconds."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> int:
    """Certified, robust and attacked shares of a run.

    Exit 2, naming both sides, if an image is certified and broken.
    """
    from ...certify.audit import read_verdicts
    from ...evaluation.runs import bracket_run

    rows = None if verdicts is None else read_verdicts(verdicts)
    found = bracket_run(read_report(report), rows)
    common.show_json(found.to_dict()) if json_ else common.show(str(found))
    return 0
