"""How is a data set of the Hugging Face hub read? From the cache or a folder, no code in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ...errors import ConfigError, InputError, MissingExtra
from ..digits import ranks
from .ask import Ask, local_folder, safe_name, safe_revision
from .columns import class_names, class_numbers, image_column, label_column
from .labelled import NamedData
from .pictures import Pictures
from .vision import in_order

_FILES = ("README.md", "*.parquet")


def load_hub(ask: Ask) -> NamedData:
    """At most n images of "hf:OWNER/NAME" or "hf:./FOLDER"; see :func:`..named.load_data`.

    The picture and the label are found by the types of the columns; what is stored as bytes only is
    decoded. Parquet files alone are taken from the hub, no code. Raises ConfigError for a wrong
    name, and where several columns could be meant; InputError for what is not in the cache, for
    missing labels (-1) and sets without pictures; MissingExtra without the package datasets.
    """
    folder = local_folder(ask.name)
    if folder is None:
        safe_name(ask.name, "hf:")
        safe_revision(ask.options.get("revision"))
    package = _package("datasets")
    # a bare "csv" or "owner/name" would be a builder or a repository to the package
    origin = (folder or _snapshot(ask)).resolve()
    if not origin.is_dir():
        raise InputError(f"{ask.spec}: {origin} is not a folder")
    whole, split = _split(package, origin, ask)
    image, whole = image_column(package, whole, ask)
    label = label_column(whole, ask)
    labels = class_numbers(whole, label, ask)
    classes = class_names(whole.features[label])
    order: Sequence[int] = range(len(labels))
    notes = [
        f"split {split}",
        f"columns {image!r} and {label!r}",
        "EXIF orientation is applied",
    ]
    if in_order(labels) and ask.n is not None:
        order = ranks(torch.tensor(labels)).argsort(stable=True).tolist()
        notes.append("taken in turn from the classes, which lie one after another")
    used = order[: ask.n]
    pictures = whole.select_columns([image])
    name = origin.name if folder is not None else ask.name
    return NamedData(
        name=name,
        dataset=Pictures(
            lambda row: (pictures[row][image], labels[row]), used, ask, classes
        ),
        n=len(used),
        n_total=len(labels),
        n_classes=None if classes is None else len(classes),
        source=name if folder is not None else f"hugging face hub, {ask.name}",
        licence=str(getattr(whole.info, "license", "") or "not stated"),
        classes=classes,
        notes=tuple(notes),
    )


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"hf: data need the packages datasets and huggingface-hub ({error}); "
            "pip install datasets"
        ) from error


def _snapshot(ask: Ask) -> Path:
    """The folder of the cache; filled only where the network may be used."""
    hub = _package("huggingface_hub")
    try:
        return Path(
            hub.snapshot_download(
                ask.name,
                repo_type="dataset",
                revision=ask.options.get("revision"),
                allow_patterns=list(_FILES),
                local_files_only=not ask.download,
            )
        )
    except Exception as error:  # of the network, of the hub, of the cache
        said = " ".join(str(error).split())[:160]
        raise InputError(
            f"{ask.spec} could not be downloaded ({said})"
            if ask.download
            else f"{ask.spec} is not in the cache of the hub, and it is downloaded with --download "
            "only"
        ) from error


def _split(package: Any, folder: Path, ask: Ask) -> tuple[Any, str]:
    """The split that is asked for, or "test", or the only one."""
    wanted = ask.options.get("split")
    try:
        if (folder / "dataset_dict.json").is_file() or (
            folder / "state.json"
        ).is_file():
            found = package.load_from_disk(str(folder))
        else:
            _look_at_card(folder, ask)
            with _no_bars(package):
                found = package.load_dataset(str(folder), ask.options.get("config"))
    except InputError:
        raise
    except Exception as error:  # builders raise what they like
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{ask.spec} cannot be read ({type(error).__name__}: {said})"
        ) from error
    if not isinstance(found, Mapping):
        own = str(found.split or "only")
        if wanted not in (None, own):
            raise ConfigError(f"{ask.spec} has one split, {own}; leave split= out")
        return found, own
    splits = list(found)
    if wanted is None:
        wanted = "test" if "test" in splits else splits[0] if len(splits) == 1 else None
    if wanted not in splits:
        raise ConfigError(
            f"{ask.spec} has the splits {', '.join(splits)}; say split=NAME"
        )
    return found[wanted], str(wanted)


def _look_at_card(folder: Path, ask: Ask) -> None:
    """Raises InputError where the card sends the reader out of the folder."""
    import yaml

    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    head = (
        text.split("---", 2)[1]
        if text.startswith("---") and text.count("---") > 1
        else ""
    )
    try:
        configs = (yaml.safe_load(head) or {}).get("configs", ())
    except (yaml.YAMLError, AttributeError) as error:
        raise InputError(f"{ask.spec}: the head of README.md is not YAML") from error
    for path in _strings(
        [one.get("data_files") for one in configs if isinstance(one, dict)]
    ):
        if "://" in path or path.startswith(("/", "~")) or ".." in path:
            raise InputError(
                f"{ask.spec}: README.md names the file {path!r}, out of its folder"
            )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from () if key == "split" else _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


@contextmanager
def _no_bars(package: Any) -> Iterator[None]:
    """Without bars of progress, which are as before afterwards."""
    shown = not package.are_progress_bars_disabled()
    package.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            package.enable_progress_bars()
