"""Which columns of a table hold the picture and the label? Found by types before names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError, InputError
from .ask import Ask

_LABELS = ("label", "labels", "target", "class")


def image_column(package: Any, whole: Any, ask: Ask) -> tuple[str, Any]:
    """The name of the pictures' column, and the data with it decoded. Raises ConfigError."""
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


def label_column(whole: Any, ask: Ask) -> str:
    """The name of the labels' column. Raises ConfigError where none or several could be it."""
    features = dict(whole.features)
    named = ask.options.get("label")
    if named is not None:
        if named not in features:
            raise ConfigError(
                f"{ask.spec} has the columns {', '.join(features)}, not {named!r}"
            )
        return str(named)
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
    return str(found[0])


def _is_whole(feature: Any) -> bool:
    return "int" in str(getattr(feature, "dtype", "")) and not isinstance(
        feature, Mapping
    )


def class_numbers(whole: Any, name: str, ask: Ask) -> list[int]:
    """Of all rows. Raises InputError for other values, and where a label is missing (-1)."""
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


def class_names(feature: Any) -> tuple[str, ...] | None:
    """Those that the column knows."""
    names = getattr(feature, "names", None)
    return tuple(map(str, names)) if names else None
