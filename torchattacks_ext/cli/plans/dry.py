"""What would a command line run, and what would that cost? The facts of --dry-run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...numerics.arguments import parse_whole
from .. import common

if TYPE_CHECKING:
    from torch import nn

    from ...data.named import NamedData
    from ...evaluation.dry.costs import Shares
    from ...evaluation.plan import Plan
    from ...results.base.facts import Flag


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


def dry_facts(task: Task, look: int = 0) -> dict[str, Any]:
    """What would be run, in JSON types; reads one image, runs nothing.

    look: of so many images it is measured which part is right and which part withstands PGD, to
    estimate the cost of attacks by; 0 runs nothing.
    """
    from ...evaluation.dry.costs import expected_passes
    from ...evaluation.stages import build_stages
    from ...models.fingerprint import describe_model

    stages, n = build_stages(task.plan), task.data.n
    for stage in stages:
        stage.accepts(task.model)
    seen = _look(task, look)
    each = [expected_passes(stage, n, seen) for stage in stages]
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
                "row_passes": None if cost is None else round(cost),
            }
            for stage, cost in zip(stages, each)
        ],
        "row_passes": round(sum(cost for cost in each if cost is not None)),
        "row_passes_complete": None not in each,
        "shares": asdict(seen) | {"looked_at": min(look, n)},
    }


def _look(task: Task, look: int) -> Shares:
    """What part of the images is right, and of these withstands PGD: measured on a few, or usual.

    Cost: 22 row-passes an image, and a look at the model.
    """
    from ...evaluation.dry.costs import Shares
    from ...evaluation.runner import evaluate
    from ...results.accuracy import Accuracy
    from ...results.attack import AttackResult

    k = task.data.n_classes or Shares().n_classes
    if not look:
        return Shares(n_classes=k)
    plan = task.plan
    pgd = {"name": "PGD", "alpha": plan.eps / 4 or 1e-3}
    report = evaluate(
        task.model,
        task.data.loader(plan.batch_size),
        plan.model_copy(update={"stages": ("clean", pgd)}),
        n=look,
    )
    clean, found = report["clean"].result, report["PGD"].result
    if not isinstance(clean, Accuracy) or not isinstance(found, AttackResult):
        return Shares(n_classes=k)  # it raised, as the run itself will say
    right, left = int((clean.clean_correct == 1).sum()), int(found.robust.sum())
    # as if one more of each kind were seen
    return Shares((right + 1) / (len(clean) + 2), (left + 1) / (right + 2), k)


def dry_text(facts: dict[str, Any]) -> str:
    """The facts of :func:`dry_facts` as lines for a terminal."""
    from ...reports.words import percent_of, radius

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
    shares = facts["shares"]
    right, left = (percent_of(shares[key]) for key in ("right", "left"))
    looked = shares["looked_at"]
    basis = (
        f"as {looked} images showed; {right} right, {left} of these withstand PGD"
        if looked
        else f"if {right} are right and {left} of these withstand attacks (--look 32 measures both)"
    )
    notes = [f"{s['name']}: {note}" for s in facts["stages"] for note in s["notes"]]
    return "\n".join(
        [
            *("Dry run: everything was checked, nothing was run.", ""),
            *(common.table(head), "", common.table(rows), ""),
            f"Total: about {facts['row_passes']} row-passes{more}, {basis}.",
            *(f"Note: {text}." for text in facts["replaced"]),
            *notes,
        ]
    )


def looks_of(look: int, dry_run: bool) -> int:
    """Images of --look. Raises ConfigError for less than none, and for a run that measures."""
    looks = parse_whole(look, "--look", 0)
    if looks and not dry_run:
        raise ConfigError(
            f"--look={looks} is of a dry run, which guesses from so many images; give --dry-run "
            "with it, or leave it out"
        )
    return looks
