"""How does one command line lead from a model to a report? The command `evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, InputError
from ..evaluation.state.journal import ABOUT
from ..evaluation.state.shards import Shard, read_shard
from . import common
from .dry import Task, dry_facts, dry_text
from .loading import in_eval_mode, load_model
from .planning import build_plan, read_plan, read_sampler, replaced

if TYPE_CHECKING:
    from torch import nn

    from ..data.named import NamedData
    from ..results.evaluation import EvaluationReport


def evaluate(
    model: Annotated[
        str, typer.Option(help="package.module:factory, or FILE.pt with --arch.")
    ],
    data: Annotated[str, typer.Option(help="digits, npz:PATH or imagefolder:PATH.")],
    arch: Annotated[
        str | None, typer.Option(help="package.module:factory for FILE.pt.")
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
        int | None, typer.Option(help="Squares of so many pixels (imagefolder).")
    ] = None,
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
) -> int:
    """Measure a model: accuracy, attacks, PRTest.

    Exit 1 if a stage failed, 2 if the model raised.
    """
    common.check_folder(out)
    part, how = read_shard(shard), {
        "max_minutes": max_minutes,
        "max_queries": max_queries,
    }
    how |= {
        "state": _state(state, resume, part),
        "tag": tag,
        "shard": part,
        "images": images,
    }
    settings: dict[str, Any] = {"norm": norm, "seed": seed, "batch_size": batch_size}
    settings |= {"outputs": outputs, "output_key": _key(output_key)}
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
        base = None if plan is None else read_plan(plan)
        radius = {"eps": _number(eps, "--eps")}
        checked = build_plan(
            base, settings | radius, attacks, arguments, fim, certified, stress
        )
        for text in (lost := replaced(base, checked, attacks)):
            common.warn(text)
        named = _data(data, n, resize)
        victim, label = load_model(model, arch, weights)
        victim = _on_pixels(victim, mean, std, device, named)
        task = Task(label, victim, named, checked, lost)
        facts = dry_facts(task)
        if not dry_run:
            report = run_task(task, **how)
            folder = out if out is None or part is None else out / part.folder
            text = common.write_report(report, folder, json_)
    if dry_run:
        common.show_json(facts) if json_ else common.show(dry_text(facts))
        return 0
    common.show(text)
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


def _number(text: str | None, option: str) -> float | None:
    return None if text is None else common.number(text, option)


def _key(text: str | None) -> str | int | None:
    """A number where it is written as one: the place of the scores in a tuple."""
    digits = text is not None and text.removeprefix("-").isdigit()
    return int(text) if digits and text is not None else text


def _data(spec: str, n: int | None, resize: int | None) -> NamedData:
    from ..data.named import load_data

    try:
        return load_data(spec, n, resize=resize)
    except (ConfigError, InputError) as error:
        raise type(error)(f"--data: {error}") from error


def _on_pixels(
    model: nn.Module,
    mean: str | None,
    std: str | None,
    device: str | None,
    data: NamedData,
) -> nn.Module:
    """The model on its device, on pixels in [0, 1]."""
    from ..models.normalised import NormalizedModel

    if (mean is None) != (std is None):
        raise ConfigError("--mean and --std belong together; give both or neither")
    if mean is not None and std is not None:
        moments = common.numbers(mean, "--mean"), common.numbers(std, "--std")
        channels = data.dataset[0][0].shape[0]
        if any(len(side) not in (1, channels) for side in moments):
            raise ConfigError(
                f"--mean {mean} --std {std}: the images have {channels} channels; "
                "give one number a channel, or one for all"
            )
        model = NormalizedModel(model, *moments)
    try:
        return in_eval_mode(model if device is None else model.to(device))
    except (RuntimeError, AssertionError) as error:
        said = common.one_line(error)
        raise ConfigError(f"--device {device} cannot be used ({said})") from error


def run_task(task: Task, **how: Any) -> EvaluationReport:
    """Run it; the report also says where the data are from. how: as of the library's `evaluate`."""
    from ..evaluation.runner import evaluate as run

    loader = task.data.loader(task.plan.batch_size)
    names = {"name": task.name, "progress": True}
    report = run(task.model, loader, task.plan, **names, **how)
    origin = dict(report.provenance)
    if task.replaced:
        origin["plan file"] = list(task.replaced)
    data = {**task.data.facts(), **report.data}
    return replace(report, data=data, provenance=origin)
