"""May this release pass? The command `gate`: a report against a policy, with files for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import common
from .reading import read_report


def gate(
    report: Annotated[Path, typer.Argument(help="report.json, or its folder.")],
    policy: Annotated[Path, typer.Option(help="Rules as YAML.")],
    baseline: Annotated[
        Path | None, typer.Option(help="An older report, for rules with drop.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for gate.sarif, gate.xml, gate.md and gate.json."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> int:
    """Hold a report against a policy of lower bounds.

    Whatever is missing is no pass. Exit 0: every rule holds (warnings too). 1: a rule
    failed. 2: one could not be judged, or a stage raised, was skipped or did not
    finish, too few images, NaN.
    """
    from ...evaluation.runs import gate as judge
    from ...evaluation.runs import read_policy
    from ...reports.runs import render_gate, render_junit, render_sarif

    common.check_folder(out)
    rules = read_policy(policy)
    before = None if baseline is None else read_report(baseline)
    found = judge(read_report(report), rules, before)
    if out is not None:
        files = {
            "gate.sarif": render_sarif(found, _artifact(report)),
            "gate.xml": render_junit(found),
            "gate.md": render_gate(found, markdown=True) + "\n",
            "gate.json": common.as_json(found.to_dict()),
        }
        common.write_files(out, files)
    common.show_json(found.to_dict()) if json_ else common.show(render_gate(found))
    return found.code


def _artifact(report: Path) -> str:
    """Where the report lies, below the current folder if it does: viewers want relative paths."""
    file = (report / "report.json" if report.is_dir() else report).absolute()
    here = Path.cwd()
    return file.relative_to(here).as_posix() if here in file.parents else file.name
