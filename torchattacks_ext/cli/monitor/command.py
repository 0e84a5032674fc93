"""Have the images changed since the reference? The commands `monitor fit`, `check`, `stream`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import InputError
from .. import common
from .reading import Options, check_new_file, read, tell

monitor = typer.Typer(
    name="monitor",
    help="Hold new images against a reference: one batch, or a stream.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": 80},
)

Ref = Annotated[Path, typer.Argument(help="File that `monitor fit` wrote.")]
Model = Annotated[str, typer.Option(help="As for `evaluate`.")]
Data = Annotated[str, typer.Option(help="New images, as for `evaluate`.")]
Arch = Annotated[str | None, typer.Option(help="Of FILE.pt, as for `evaluate`.")]
Weights = Annotated[str | None, typer.Option(help="Key of the weights in FILE.pt.")]
Count = Annotated[int | None, typer.Option(help="At most so many images. [all]")]
Mean = Annotated[str | None, typer.Option(help="A,B,C a channel.")]
Std = Annotated[str | None, typer.Option(help="A,B,C a channel.")]
Resize = Annotated[str | None, typer.Option(help="Squares of N pixels, or model.")]
Root = Annotated[Path | None, typer.Option(help="Folder of downloaded data.")]
Download = Annotated[bool, typer.Option("--download", help="Allow the network.")]
Device = Annotated[str | None, typer.Option(help="Move the model, say to cuda.")]
Batch = Annotated[int, typer.Option(help="Rows of one forward pass.")]
Tag = Annotated[str | None, typer.Option(help="Name of a model without weights.")]
Level = Annotated[str | None, typer.Option(help="Chance of a false alarm. [0.01]")]
Seed = Annotated[int | None, typer.Option(help="Of all random numbers. [0]")]
Out = Annotated[Path | None, typer.Option(help="Folder for alert.json and alert.md.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")]


@monitor.command()
def fit(
    reference: Annotated[Path, typer.Argument(help="A new file, say ref.pt.")],
    model: Model,
    data: Annotated[str, typer.Option(help="Clean images, as for `evaluate`.")],
    arch: Arch = None,
    weights: Weights = None,
    n: Count = None,
    score: Annotated[
        str, typer.Option(help="fim, max_softmax, energy or max_logit.")
    ] = "fim",
    features: Annotated[
        str, typer.Option(help="penultimate, logits, or auto: what there is.")
    ] = "auto",
    method: Annotated[
        str, typer.Option(help="Of the score fim; blackbox needs no gradient.")
    ] = "auto",
    outputs: Annotated[str, typer.Option(help="logits or probs.")] = "logits",
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    data_root: Root = None,
    download: Download = False,
    device: Device = None,
    batch_size: Batch = 64,
    tag: Tag = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there.")
    ] = False,
    json_: Json = False,
) -> int:
    """Write a reference: features and a score of clean images.

    100 to 4,000, drawn at random from what will come. No pixels are kept.
    """
    from ...evaluation.monitor import fit_reference
    from ...reports.monitor import render_reference

    check_new_file(reference, "REFERENCE")
    if reference.exists() and not force:
        raise InputError(
            f"{reference} exists already: streams go by it; give another file, or --force"
        )
    options = Options(
        model, data, arch, weights, n, mean, std, resize, data_root, download, device
    )
    with common.clean_stdout():
        seen = read(options)
        how: dict[str, Any] = {"score": score, "features": features, "method": method}
        how |= {"outputs": outputs, "batch_size": batch_size, "tag": tag}
        found = fit_reference(
            seen.model,
            seen.batches(batch_size),
            prepared=seen.prepared,
            progress=True,
            **how,
        )
        found.save(reference)
    if json_:
        common.show_json(found.facts() | {"file": str(reference)})
        return 0
    common.show(f"{render_reference(found)}\nWritten: {reference}")
    return 0


@monitor.command()
def check(
    reference: Ref,
    model: Model,
    data: Data,
    arch: Arch = None,
    weights: Weights = None,
    n: Count = None,
    significance: Level = None,
    permutations: Annotated[
        int, typer.Option(help="Relabellings behind each p-value.")
    ] = 1000,
    seed: Seed = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    data_root: Root = None,
    download: Download = False,
    device: Device = None,
    batch_size: Batch = 64,
    tag: Tag = None,
    out: Out = None,
    json_: Json = False,
) -> int:
    """Hold one batch of images against a reference.

    Three tests, one chance of a false alarm. Exit 0: no alarm. 1: alarm. 2: error,
    and nothing is said of the images.
    """
    from ...evaluation.monitor import check_batch
    from ...results.monitor import Reference

    common.check_folder(out)
    options = Options(
        model, data, arch, weights, n, mean, std, resize, data_root, download, device
    )
    level = common.number(significance or "0.01", "--significance")
    with common.clean_stdout():
        known = Reference.load(reference)
        seen = read(options)
        found = check_batch(
            known,
            seen.model,
            seen.batches(batch_size),
            significance=level,
            permutations=permutations,
            seed=seed or 0,
            batch_size=batch_size,
            tag=tag,
            prepared=seen.prepared,
            progress=True,
        )
    return tell(found, out, json_)


@monitor.command()
def stream(
    reference: Ref,
    state: Annotated[
        Path, typer.Argument(help="File that keeps the stream; made by the first look.")
    ],
    model: Model,
    data: Data,
    arch: Arch = None,
    weights: Weights = None,
    n: Count = None,
    process: Annotated[
        str | None, typer.Option(help="martingale or bands, at the first look.")
    ] = None,
    significance: Annotated[
        str | None, typer.Option(help="Chance of a false alarm, ever. [0.01]")
    ] = None,
    seed: Seed = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    data_root: Root = None,
    download: Download = False,
    device: Device = None,
    batch_size: Batch = 64,
    tag: Tag = None,
    out: Out = None,
    json_: Json = False,
) -> int:
    """Take one more look at a stream of images.

    The chance of a false alarm is that of all looks together. Exit 0: no alarm so
    far. 1: alarm, now or at an earlier look. 2: error, and nothing was counted.
    """
    from ...evaluation.monitor import look_at_stream
    from ...results.monitor import Reference

    common.check_folder(out)
    check_new_file(state, "STATE")
    options = Options(
        model, data, arch, weights, n, mean, std, resize, data_root, download, device
    )
    how: Any = {"process": process, "seed": seed}
    if significance is not None:
        how["significance"] = common.number(significance, "--significance")
    with common.clean_stdout():
        known = Reference.load(reference)
        seen = read(options)
        found = look_at_stream(
            state,
            known,
            seen.model,
            seen.batches(batch_size),
            batch_size=batch_size,
            tag=tag,
            prepared=seen.prepared,
            progress=True,
            **how,
        )
    return tell(found, out, json_)
