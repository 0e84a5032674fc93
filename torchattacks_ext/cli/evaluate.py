"""How does one command line lead from a model to a report? The command `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, InputError
from ..evaluation.state.journal import ABOUT
from ..evaluation.state.shards import Shard, read_shard
from ..numerics.arguments import parse_whole
from . import common
from .loaders.inputs import Given, on_device, read_data
from .loaders.loading import load_model
from .plans.dry import Origin, Task, dry_facts, dry_text, looks_of
from .plans.planning import Wanted, budget_of, build_plan, read_sampler, replaced

if TYPE_CHECKING:
    from ..results.evaluation import EvaluationReport


def evaluate(
    model: Annotated[
        str,
        typer.Option(
            help="module:factory, torchvision:NAME, timm:NAME, hf:REPO, FILE.onnx, "
            "or FILE.pt with --arch."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="digits, npz:PATH, imagefolder:PATH, torchvision:NAME, medmnist:FLAG, "
            "hf:REPO or module:factory."
        ),
    ],
    arch: Annotated[
        str | None,
        typer.Option(help="Of FILE.pt: module:factory, torchvision:NAME, timm:NAME."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Key of the weights in FILE.pt, say model_ema.")
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(help="What the model gives: logits or probs. [logits]")
    ] = None,
    output_key: Annotated[
        str | None, typer.Option(help="Name or number of the scores among its outputs.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Plan as YAML or JSON; other options override.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Stages by one name: fast, standard or full.")
    ] = None,
    threat_model: Annotated[
        str | None, typer.Option(help="Radius and norm by name: cifar10-linf-8.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="NAME of an attack: bound what it leaves, from a sample."),
    ] = None,
    half_width: Annotated[
        float | None, typer.Option(help="Of the interval of --budget. [0.01]")
    ] = None,
    eps: Annotated[
        str | None, typer.Option(help="Radius in [0, 1]: 0.03 or 8/255.")
    ] = None,
    norm: Annotated[str | None, typer.Option(help="Linf, L2 or L1. [Linf]")] = None,
    attacks: Annotated[
        str | None,
        typer.Option(
            help="NAME,NAME, also msa, autoattack, fast; see `methods`. [FGSM,PGD]"
        ),
    ] = None,
    n: Annotated[int | None, typer.Option(help="At most so many images. [all]")] = None,
    tolerance: Annotated[
        str | None, typer.Option(help="Failure rate that PRTest tolerates. [0.01]")
    ] = None,
    significance: Annotated[
        str | None, typer.Option(help="Error probability of each side. [0.001]")
    ] = None,
    n_max: Annotated[
        int | None, typer.Option(help="Most draws of PRTest an image. [20000]")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Of PRTest: eprocess, sprt, fixed, group or splitting. [eprocess]"
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help='Law of PRTest: linf, or \'{"name": "gaussian", "sigma": 0.1}\'.'
        ),
    ] = None,
    clean_policy: Annotated[
        str | None,
        typer.Option(help="Wrong clean answers: fail, or sample (test them). [fail]"),
    ] = None,
    n_mean: Annotated[
        int | None,
        typer.Option(help="Draws an image for the mean failure rate, say 16. [0]"),
    ] = None,
    fim: Annotated[
        bool, typer.Option("--fim", help="Score the outputs' sensitivity as well.")
    ] = False,
    certified: Annotated[
        bool, typer.Option("--certified", help="Radii, where the model is an Ellips.")
    ] = False,
    stress: Annotated[
        bool, typer.Option("--stress", help="Noise, blur, weather; severities 1 to 5.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of all random numbers. [0]")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows of one forward pass. [256]")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="A,B,C a channel, where the model wants it.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="A,B,C a channel.")] = None,
    resize: Annotated[
        str | None,
        typer.Option(help="Squares of N pixels, or model: as its own transform. [no]"),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="File of the model's class names, or as-is: trust numbers."),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of downloaded data. [the source's]")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Allow the network.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Move the model, say to cuda.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps finished rows; the same line goes on."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Refuse to start: --state must be there.")
    ] = False,
    tag: Annotated[
        str | None, typer.Option(help="Name of a model without weights, for --state.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="i/n, one part of the rows; auto asks torchrun or SLURM."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Keep adversarial ones in --state: float, or uint8, asked again."
        ),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Begin no row group after so long.")
    ] = None,
    max_queries: Annotated[
        int | None, typer.Option(help="Begin none after so many forward row-passes.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html, .md and .json.")
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, nothing else.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, run nothing.")
    ] = False,
    look: Annotated[
        int, typer.Option(help="Images on which a dry run measures its guess. [0]")
    ] = 0,
) -> int:
    """Measure a model: accuracy, attacks, PRTest.

    Exit 1 if a stage failed, 2 if the model raised or a certificate broke.
    """
    from ..evaluation.limits import Limits
    from ..evaluation.rows.kept import check_form

    common.check_folder(out)
    part, looks = read_shard(shard), looks_of(look, dry_run)
    check_form(images, state is not None)
    Limits(max_minutes, max_queries)  # a dry run checks everything
    n = None if n is None else parse_whole(n, "--n", 1)
    how: dict[str, Any] = {"max_minutes": max_minutes, "max_queries": max_queries}
    how |= {
        "state": _state(state, resume, part),
        "tag": tag,
        "shard": part,
        "images": images,
    }
    settings: dict[str, Any] = {"norm": norm, "seed": seed, "batch_size": batch_size}
    settings |= {"outputs": outputs, "output_key": _key(output_key)}
    settings["threat_model"] = threat_model
    arguments = {
        "tolerance": _number(tolerance, "--tolerance"),
        "significance": _number(significance, "--significance"),
        "n_max": n_max,
        "test": test,
        "sampler": None if sampler is None else read_sampler(sampler),
        "clean_policy": clean_policy,
        "n_mean": n_mean,
    }
    with common.clean_stdout():
        base = _plan_file(plan)
        radius = {"eps": _number(eps, "--eps")}
        asked = {"fim": fim, "certified": certified, "stress": stress}
        wanted = Wanted(
            profile,
            attacks,
            arguments,
            tuple(name for name, on in asked.items() if on),
            budget_of(budget, half_width),
        )
        checked = build_plan(base, settings | radius, wanted)
        for text in (lost := replaced(base, checked, attacks)):
            common.warn(text)
        loaded = load_model(model, arch, weights, download=download)
        given = Given(n, resize, data_root, classes, download)
        named = read_data(data, given, loaded)
        loaded = on_device(loaded, mean, std, device, named)
        for flag in loaded.flags:
            common.warn(f"{flag.code}: {flag.message}")
        origin = Origin(loaded.facts(), loaded.flags)
        task = Task(loaded.name, loaded.model, named, checked, lost, origin)
        facts = dry_facts(task, looks)
        if not dry_run:
            report = run_task(task, **how)
            folder = out if out is None or part is None else out / part.folder
            text = common.write_report(report, folder, json_)
    if dry_run:
        common.show_json(facts) if json_ else common.show(dry_text(facts))
        return 0
    common.show(text)
    if not report.data["n"]:
        common.warn(
            f"shard {part} has no row; `merge` takes its report with the others"
        )
    return common.ending(report)


def _state(folder: Path | None, resume: bool, shard: Shard | None) -> Path | None:
    """The folder of the state; with --resume it must be one."""
    if resume and folder is None:
        raise ConfigError(
            "--resume needs --state, the folder of the run that is to go on"
        )
    if resume and folder is not None:
        own = folder if shard is None else folder / shard.folder
        if not (own / ABOUT).is_file():
            raise InputError(
                f"--resume: {str(own)!r} is no state; leave it out to start one"
            )
    return folder


def _plan_file(path: Path | None) -> Mapping[str, Any] | None:
    from ..evaluation.plans.places import read_plan

    return None if path is None else read_plan(path)


def _number(text: str | None, option: str) -> float | None:
    return None if text is None else common.number(text, option)


def _key(text: str | None) -> str | int | None:
    """A number where it is written as one: the place of the scores in a tuple."""
    digits = text is not None and text.removeprefix("-").isdigit()
    return int(text) if digits and text is not None else text


def run_task(task: Task, **how: Any) -> EvaluationReport:
    """Run it; the report also says where the data are from. how: as of the library's `evaluate`."""
    from ..evaluation.runner import evaluate as run

    loader = task.data.loader(task.plan.batch_size)
    names: dict[str, Any] = {"name": task.name, "progress": True}
    report = run(task.model, loader, task.plan, **names, **how)
    origin = dict(report.provenance)
    if task.replaced:
        origin["plan file"] = list(task.replaced)
    data = {**task.data.facts(), **report.data}
    return replace(
        report,
        data=data,
        provenance=origin,
        model={**report.model, **task.origin.facts},
        flags=(*report.flags, *task.origin.flags),
    )
