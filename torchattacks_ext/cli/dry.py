"""What would a command line run, and what would that cost? The facts of --dry-run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import common
from .planning import row_passes

if TYPE_CHECKING:
    from torch import nn

    from ..data.named import NamedData
    from ..evaluation.plan import Plan
    from ..results.base.facts import Flag


@dataclass(frozen=True, eq=False)
class Origin:
    """What is known of a model beside its weights: facts and doubts for the report."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, eq=False)
class Task:
    """What a run needs, validated: the model and its name, the data, the plan.

    replaced: a sentence for each thing of a plan file that a flag replaced. origin: of the model.
    """

    name: str
    model: nn.Module
    data: NamedData
    plan: Plan
    replaced: tuple[str, ...] = ()
    origin: Origin = Origin()


def dry_facts(task: Task) -> dict[str, Any]:
    """What would be run, in JSON types; reads one image, runs nothing."""
    from ..evaluation.stages import build_stages
    from ..models.fingerprint import describe_model

    stages, n = build_stages(task.plan), task.data.n
    for stage in stages:
        stage.accepts(task.model)
    each = [row_passes(stage) for stage in stages]
    shape = list(task.data.dataset[0][0].shape)
    return {
        "dry_run": True,
        "name": task.name,
        "model": describe_model(task.model) | dict(task.origin.facts),
        "data": task.data.facts() | {"shape": shape},
        "plan": task.plan.model_dump(mode="json"),
        "replaced": list(task.replaced),
        "stages": [
            {
                "name": stage.label,
                "kind": stage.kind,
                "settings": stage.settings,
                "notes": list(stage.notes),
                "row_passes": None if cost is None else round(n * cost),
            }
            for stage, cost in zip(stages, each)
        ],
        "row_passes": round(n * sum(cost for cost in each if cost is not None)),
        "row_passes_complete": None not in each,
    }


def dry_text(facts: dict[str, Any]) -> str:
    """The facts of :func:`dry_facts` as lines for a terminal."""
    from ..reports.words import radius

    data, plan, model = facts["data"], facts["plan"], facts["model"]
    origin = f"{data['name']}: {data['n']} of {data['n_total']} images"
    ball = f"{plan['norm']}, eps {radius(plan['eps'])}"
    head = [
        (
            "model",
            f"{facts['name']} ({model['class']}, {model['parameters']} parameters)",
        ),
        ("data", f"{origin}, {'x'.join(map(str, data['shape']))}"),
        ("ball", f"{ball}; seed {plan['seed']}; batch size {plan['batch_size']}"),
    ]
    rows = [("stage", "kind", "row-passes", "arguments")]
    for stage in facts["stages"]:
        cost = stage["row_passes"]
        settings = stage["settings"].items()
        said = ", ".join(f"{k}={v}" for k, v in settings if k != "attack")
        passes = "unknown" if cost is None else f"about {cost}"
        rows.append((stage["name"], stage["kind"], passes, said))
    more = "" if facts["row_passes_complete"] else " and those unknown"
    notes = [f"{s['name']}: {note}" for s in facts["stages"] for note in s["notes"]]
    return "\n".join(
        [
            *("Dry run: everything was checked, nothing was run.", ""),
            *(common.table(head), "", common.table(rows), ""),
            f"Total: about {facts['row_passes']} row-passes{more}.",
            *(f"Note: {text}." for text in facts["replaced"]),
            *notes,
        ]
    )
