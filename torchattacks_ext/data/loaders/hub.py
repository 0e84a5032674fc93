"""How is a data set of the Hugging Face hub read? From the cache or a folder, columns by their type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ...errors import ConfigError, InputError, MissingExtra
from ..digits import ranks
from .ask import Ask, local_folder, safe_name
from .labelled import NamedData
from .pictures import Pictures
from .vision import in_order

_FILES = ("README.md", "*.parquet")
_LABELS = ("label", "labels", "target", "class")


def load_hub(ask: Ask) -> NamedData:
    """At most n images of "hf:OWNER/NAME" or "hf:./FOLDER"; see :func:`..named.load_data`.

    The picture and the label are found by the types of the columns; what is stored as bytes only is
    decoded. Parquet files alone are taken from the hub, no code. Raises ConfigError for a wrong
    name, and where several columns could be meant; InputError for what is not in the cache, for
    missing labels (-1) and sets without pictures; MissingExtra without the package datasets.
    """
    package = _package("datasets")
    folder = local_folder(ask.name)
    origin = folder or _snapshot(ask)
    if not origin.is_dir():
        raise InputError(f"{ask.spec}: {origin} is not a folder")
    whole, split = _split(package, origin, ask)
    image, whole = _image_column(package, whole, ask)
    label = _label_column(whole, ask)
    labels = _labels(whole, label, ask)
    classes = _names(whole.features[label])
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
    name = origin.resolve().name if folder is not None else ask.name
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
    repo = safe_name(ask.name, "hf:")
    try:
        return Path(
            hub.snapshot_download(
                repo,
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
            found = package.load_dataset(str(folder))
    except Exception as error:  # builders raise what they like
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{ask.spec} cannot be read ({type(error).__name__}: {said})"
        ) from error
    if not isinstance(found, Mapping):
        return found, "only"
    splits = list(found)
    if wanted is None:
        wanted = "test" if "test" in splits else splits[0] if len(splits) == 1 else None
    if wanted not in splits:
        raise ConfigError(
            f"{ask.spec} has the splits {', '.join(splits)}; say split=NAME"
        )
    return found[wanted], str(wanted)


def _image_column(package: Any, whole: Any, ask: Ask) -> tuple[str, Any]:
    """The name of the pictures' column, and the data with it decoded."""
    features = dict(whole.features)
    named = ask.options.get("image")
    if named is not None and named not in features:
        raise ConfigError(
            f"{ask.spec} has the columns {', '.join(features)}, not {named!r}"
        )
    columns = [named] if named is not None else list(features)
    pictures = [name for name in columns if type(features[name]).__name__ == "Image"]
    stored = [name for name in columns if _holds_bytes(features[name])]
    found = pictures or stored
    if len(found) != 1:
        raise ConfigError(
            f"{ask.spec} has {len(found)} columns of pictures "
            f"({', '.join(found) or 'among ' + ', '.join(features)}); say image=COLUMN"
        )
    if not pictures:  # written by pandas: the type is lost
        whole = whole.cast_column(found[0], package.Image())
    return found[0], whole


def _holds_bytes(feature: Any) -> bool:
    """Whether a column may hold image files: bytes, or bytes beside a path."""
    if isinstance(feature, Mapping):
        return "bytes" in feature
    return str(getattr(feature, "dtype", "")) in ("binary", "large_binary")


def _label_column(whole: Any, ask: Ask) -> str:
    features = dict(whole.features)
    named = ask.options.get("label")
    if named is not None:
        if named not in features:
            raise ConfigError(
                f"{ask.spec} has the columns {', '.join(features)}, not {named!r}"
            )
        return named
    classes = [
        name for name, one in features.items() if type(one).__name__ == "ClassLabel"
    ]
    whole_numbers = [name for name, one in features.items() if _is_whole(one)]
    numbers = [name for name in whole_numbers if name in _LABELS]
    found = classes or numbers or whole_numbers
    if len(found) != 1:
        raise ConfigError(
            f"{ask.spec} has {len(found)} columns that could be the label "
            f"({', '.join(found or features)}); say label=COLUMN"
        )
    return found[0]


def _is_whole(feature: Any) -> bool:
    return "int" in str(getattr(feature, "dtype", "")) and not isinstance(
        feature, Mapping
    )


def _labels(whole: Any, name: str, ask: Ask) -> list[int]:
    """Class numbers of all rows."""
    found = list(whole[name])
    if not found:
        raise InputError(f"{ask.spec} has no rows")
    if not all(isinstance(one, int) for one in found):
        kind = next(type(one).__name__ for one in found if not isinstance(one, int))
        raise InputError(
            f"{ask.spec}: column {name!r} holds {kind}, expected class numbers"
        )
    missing = sum(one < 0 for one in found)
    if missing:
        raise InputError(
            f"{ask.spec}: {missing} of {len(found)} labels in {name!r} are below 0, which means "
            "that they are not known: take another split"
        )
    return found


def _names(feature: Any) -> tuple[str, ...] | None:
    names = getattr(feature, "names", None)
    return tuple(map(str, names)) if names else None
