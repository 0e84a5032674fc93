"""Is a data set sound? The command `data-audit`: copies, leaks, label clashes, odd images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..numerics.arguments import parse_whole
from . import common

if TYPE_CHECKING:
    from ..results.datasets.audit import DataAudit

FILES = ("data_audit.json", "data_audit.md")


def data_audit(
    data: Annotated[
        str | None, typer.Option(help="npz:PATH of an archive with its splits.")
    ] = None,
    train: Annotated[
        str | None, typer.Option(help="As --data of evaluate, without factories.")
    ] = None,
    val: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    test: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    near: Annotated[
        str | None, typer.Option(help="Likeness of near copies, or none. [0.99]")
    ] = None,
    n: Annotated[
        int | None, typer.Option(help="At most so many images a split. [all]")
    ] = None,
    resize: Annotated[
        int | None, typer.Option(help="Squares of so many pixels (imagefolder).")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of downloaded data. [the source's]")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Allow the network.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for data_audit.json and .md.")
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the audit as JSON, nothing else.")
    ] = False,
) -> int:
    """Look for copies, label clashes and odd images.

    Exit 1 for exact copies, clashes, constant or non-finite images; near copies
    alone are a suspicion.
    """
    common.check_folder(out)
    given = {"train": train, "val": val, "test": test}
    with common.clean_stdout():
        n = None if n is None else parse_whole(n, "--n", 1)
        resize = None if resize is None else parse_whole(resize, "--resize", 1)
        asked = {"n": n, "root": data_root, "download": download}
        audit, told = _audit(data, given, near, asked, resize)
    _show(audit, told, out, json_)
    return 0 if audit.sound else 1


def _audit(
    data: str | None,
    given: dict[str, str | None],
    near: str | None,
    asked: Mapping[str, Any],
    resize: int | None,
) -> tuple[DataAudit, str]:
    """The audit, and where the images of each split were taken from."""
    from ..data.audit.audit import data_audit as audit
    from ..numerics.likeness.pairs import THRESHOLD

    named = {name: spec for name, spec in given.items() if spec is not None}
    if (data is None) == (not named):
        raise ConfigError(
            "give either --data npz:PATH, an archive with its splits, or --train, --val "
            "and --test, at least one of them"
        )
    threshold: float | None = THRESHOLD
    if near is not None:
        threshold = None if near == "none" else common.number(near, "--near")
    splits = _archive(data, asked, resize) if data else _named(named, asked, resize)
    sources = ", ".join(f"{name} from {source}" for name, (_, source) in splits.items())
    if data:
        sources = f"{', '.join(splits)} from {data}"
    parts: dict[str, Any] = {name: images for name, (images, _) in splits.items()}
    return audit(**parts, near=threshold), sources


def _archive(
    spec: str, asked: Mapping[str, Any], resize: int | None
) -> dict[str, tuple[Any, str]]:
    from ..data.loaders.npz import npz_splits

    kind, _, path = spec.partition(":")
    if kind != "npz" or not path:
        raise ConfigError(f"--data {spec!r} must be npz:PATH; else name the splits")
    if resize is not None:
        raise ConfigError("--resize is for imagefolder:PATH only")
    if asked["root"] is not None or asked["download"]:
        raise ConfigError(
            "--data-root and --download are for splits by name (--train, --val, --test); --data "
            "is a file that is there"
        )
    n = asked["n"]
    found = npz_splits(Path(path))
    return {
        split: ((images[:n], labels[:n]), spec)
        for split, (images, labels) in found.items()
    }


def _named(
    specs: dict[str, str], asked: Mapping[str, Any], resize: int | None
) -> dict[str, tuple[Any, str]]:
    from ..data.named import RESIZED, load_data

    if resize is not None and not any(
        s.partition(":")[0] in RESIZED for s in specs.values()
    ):
        raise ConfigError(
            f"--resize is for {', '.join(RESIZED)}, and no split is one of these; leave it out"
        )
    found = {}
    for split, spec in specs.items():
        files = spec.partition(":")[0] in RESIZED
        named = load_data(spec, resize=resize if files else None, **asked)
        found[split] = named.loader(batch_size=512), spec
    return found


def _show(audit: DataAudit, told: str, out: Path | None, json_: bool) -> None:
    from ..reports.audit import render_audit

    text = audit.to_json()
    if out is not None:
        pages = (text, render_audit(audit, markdown=True))
        common.write_files(out, dict(zip(FILES, pages)))
    if json_:
        common.show(text)
        return
    common.show(render_audit(audit) + f"\nRead: {told}")
    if out is not None:
        common.show(f"Written: {', '.join(str(out / name) for name in FILES)}")
