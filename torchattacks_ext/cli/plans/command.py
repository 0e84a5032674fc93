"""How does one start and check a plan file? The commands `plan init` and `plan check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import InputError
from .. import common

plan = typer.Typer(
    name="plan",
    help="Start a plan file, or check one.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": 80},
)


@plan.command()
def init(
    profile: Annotated[
        str, typer.Option(help="Stages to start with: fast, standard or full.")
    ] = "standard",
    threat_model: Annotated[
        str | None,
        typer.Option(help="Radius and norm by name. [cifar10-linf-8]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new file instead of stdout.")
    ] = None,
) -> int:
    """Print a plan as YAML with comments; it loads as it is."""
    from ...evaluation.plans.template import template

    text = template(profile, threat_model)
    if out is None:
        common.show(text)
        return 0
    if out.exists():
        raise InputError(f"--out {out} exists already; give another path")
    common.check_folder(out.parent)
    common.write_files(out.parent, {out.name: text})
    return 0


@plan.command()
def check(
    file: Annotated[Path, typer.Argument(help="A plan as YAML or JSON.")],
    json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> int:
    """Check every key and every stage of a plan file, and print what it would run.

    Exit 2 with the line of what is wrong.
    """
    with common.clean_stdout():
        facts = plan_facts(file)
    common.show_json(facts) if json_ else common.show(_text(facts))
    return 0


def plan_facts(file: Path) -> dict[str, Any]:
    """What a plan file says, checked, in JSON types; row-passes are those of one image."""
    from ...evaluation.dry.costs import passes_per_image
    from ...evaluation.dry.reading import check_file
    from ...evaluation.plans.places import read_plan
    from ...evaluation.stages import build_stages

    checked = check_file(read_plan(file))
    stages = build_stages(checked)
    return {
        "file": str(file),
        "plan": checked.facts(),
        "stages": [
            {
                "name": stage.label,
                "kind": stage.kind,
                "settings": stage.settings,
                "notes": list(stage.notes),
                "row_passes": passes_per_image(stage),
            }
            for stage in stages
        ],
    }


def _text(facts: dict[str, Any]) -> str:
    from ...reports.words import number, radius

    plan = facts["plan"]
    named = f"{plan['threat_model']}: " if plan.get("threat_model") else ""
    rows = [("stage", "kind", "row-passes an image", "arguments")]
    for stage in facts["stages"]:
        passes = stage["row_passes"]
        said = (f"{k}={v}" for k, v in stage["settings"].items() if k != "attack")
        about = "unknown" if passes is None else f"about {number(passes)}"
        rows.append((stage["name"], stage["kind"], about, ", ".join(said)))
    notes = [f"{s['name']}: {note}" for s in facts["stages"] for note in s["notes"]]
    n = len(facts["stages"])
    count = f"{n} stage" + "s" * (n != 1)
    return "\n".join(
        [
            f"{facts['file']}: a plan of {count}, nothing is wrong.",
            f"Ball: {named}{plan['norm']}, eps {radius(plan['eps'])}; seed {plan['seed']}",
            *("", common.table(rows), ""),
            *notes,
        ]
    ).rstrip()
