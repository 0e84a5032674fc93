"""How does a run become a model card? The command `card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import common
from .reading import read_report


def card(
    report: Annotated[Path, typer.Argument(help="report.json, or its folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Its file, say README.md.")],
    name: Annotated[
        str | None, typer.Option(help="Of the model. [as in the report]")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Id of the data set on the hub. [from its name]")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Its split on the hub, say test.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Keep what else a card says that is there.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a card that is there.")
    ] = False,
) -> int:
    """Write a model card of Hugging Face.

    Every share of images is in its metadata, under a condition of its own. Exit as the
    run did: 1 if a stage failed, 2 if the model raised; also 2 where nothing was
    written.
    """
    from ...errors import ConfigError
    from ...reports.published import save_card

    if update and force:
        raise ConfigError("--update keeps a card and --force replaces it; give one")
    found = read_report(report)
    names = {"name": name, "dataset": dataset, "split": split}
    save_card(found, out, update=update, force=force, **names)
    common.note(f"wrote {out}")
    return common.ending(found)
