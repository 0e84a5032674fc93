"""How are the outputs of a model called? By its configuration, by a file, by ImageNet's synsets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError, InputError
from ...models.adapters.maite import listed

if TYPE_CHECKING:
    from ...data.loaders.classes import Names
    from ...results.base.facts import Flag

AS_IS = "as-is"
"""Of --classes: labels are the model's numbers already."""
_FIRST, _LAST = "tench", "toilet tissue"
"""Synonyms of the first and the last class of ImageNet's thousand, however they are listed."""


def read_names(path: Path) -> Names:
    """Names of classes in the order of the outputs: one a line, or JSON (a list, {number: name}).

    Raises InputError for another file, and for a name that occurs twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--classes {path} cannot be read: {error}") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if text.lstrip().startswith(("[", "{")):
        names = _of_json(text, path)
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        what = "no names" if not names else f"{twice!r} twice"
        raise InputError(f"--classes {path} holds {what}; expected one name an output")
    return tuple((name,) for name in names)


def _of_json(text: str, path: Path) -> list[str]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--classes {path} is not JSON: {error}") from error
    names = found if isinstance(found, list) else listed(found)
    if names is None and isinstance(found, dict):  # {name: number}
        names = listed(
            {value: key for key, value in found.items() if isinstance(value, int)}
        )
    if names is None or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"--classes {path} holds neither a list of names nor {{number: name}} for 0 .. K-1"
        )
    return list(names)


def imagenet_names(names: Sequence[str]) -> Names:
    """The names with their synonyms: parts between commas, and synsets where they are ImageNet's
    thousand in the usual order and timm, which has the list, is installed.
    """
    found = [tuple(dict.fromkeys([name, *_parts(name)])) for name in names]
    if len(found) == 1000 and _FIRST in _low(found[0]) and _LAST in _low(found[-1]):
        synsets = _synsets()
        if len(synsets) == len(found):
            return tuple((*own, synset) for own, synset in zip(found, synsets))
    return tuple(found)


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split(",") if part.strip()]


def _low(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def _synsets() -> list[str]:
    try:
        info = import_module("timm.data").ImageNetInfo()
        return list(info.label_names())
    except Exception:  # not installed, or an older one
        return []


def synset_names() -> Names | None:
    """ImageNet's thousand by synset and words, from timm; None where it does not have them."""
    try:
        info = import_module("timm.data").ImageNetInfo()
        words = [info.label_name_to_description(one) for one in info.label_names()]
    except Exception:  # an older timm
        return None
    return tuple((one, *_parts(said)) for one, said in zip(info.label_names(), words))


def of_config(id2label: object) -> Names | None:
    """Names of a configuration of transformers; None for numbers only ("LABEL_3") and for gaps.

    >>> of_config({0: "LABEL_0", 1: "LABEL_1"}), of_config({"0": "cat, puss", "1": "dog"})
    (None, (('cat, puss', 'cat', 'puss'), ('dog',)))
    """
    names = listed(id2label)
    if names is None or all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        return None
    return imagenet_names(names)


def random_flag(name: str) -> Flag:
    """The doubt about a model that nobody trained."""
    from ...results.base.facts import Flag

    return Flag(
        "random_weights",
        f"{name}: the weights are random, no number here says anything",
    )


def check_classes(option: str | None) -> Path | None:
    """The file that --classes names, None where it says nothing or as-is. Raises ConfigError."""
    if option is None or option == AS_IS:
        return None
    path = Path(option)
    if not path.is_file():
        raise ConfigError(f"--classes {option} is neither a file nor {AS_IS!r}")
    return path
