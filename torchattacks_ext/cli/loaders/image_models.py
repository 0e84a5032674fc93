"""How do "timm:NAME" and a folder of timm's form become a model? Built by timm, filled by us."""

from __future__ import annotations

import difflib
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import ConfigError, InputError, MissingExtra
from .cache import hub_folder
from .filling import fill, fitted
from .loaded import Loaded
from .names import imagenet_names, random_flag, synset_names
from .tensors import read_folder

NONE = "none"


def load_timm(spec: str, download: bool) -> Loaded:
    """The classifier "NAME[.TAG]" with published weights, or "NAME@none" with random ones.

    The weights and their settings come from the repository timm/NAME.TAG in the cache of the hub.
    Raises ConfigError for unknown names, InputError for files that are missing or do not fit.
    """
    timm = package()
    name, _, which = spec.partition("@")
    if which not in ("", NONE):
        raise ConfigError(
            f"timm:{spec}: after @ only {NONE!r} is known; a tag is timm:NAME.TAG"
        )
    check_name(timm, name)
    if which == NONE:
        why = f"timm:{spec} has random weights and no preprocessing"
        model = build_timm(name)
        return Loaded(model, f"timm:{spec}", unsaid=why, flags=(random_flag(spec),))
    config = timm.models.get_pretrained_cfg(name)
    repo = getattr(config, "hf_hub_id", None)
    if not repo:
        raise InputError(
            f"timm:{name} has no weights on the hub; @{NONE} gives random ones"
        )
    found = of_folder(hub_folder(repo, download), f"timm:{name}")
    thousand = getattr(found.model, "num_classes", None) == 1000
    if found.classes or not thousand:
        return found
    return replace(found, classes=synset_names())


def of_folder(folder: Path, said: str) -> Loaded:
    """The model of a folder with timm's config.json and model.safetensors."""
    from ...models.preprocessing.read import of_timm

    timm = package()
    config = read_config(folder, said)
    name = config.get("architecture")
    if name is None:
        raise InputError(f"{said}: config.json names no architecture")
    check_name(timm, str(name))
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=False)
    except (
        Exception
    ) as error:  # arguments of the file that the architecture does not have
        raise InputError(f"{said}: timm cannot build it ({error})") from error
    if not getattr(model, "num_classes", 1):
        raise InputError(f"{said} gives features only (num_classes 0), no classes")
    state = fitted(read_folder(folder, said), model.state_dict())
    fill(model, state, said, f"the architecture {name}")
    labels = config.get("label_names") or (config.get("pretrained_cfg") or {}).get(
        "label_names"
    )
    classes = (
        imagenet_names(list(map(str, labels))) if isinstance(labels, list) else None
    )
    return Loaded(model, said, of_timm(model, said), classes=classes)


def build_timm(name: str, n_classes: int | None = None) -> Any:
    """The empty classifier, for weights in a file. Raises ConfigError for an unknown name."""
    timm = package()
    check_name(timm, name)
    return timm.create_model(name, pretrained=False, num_classes=n_classes)


def of_tag(model: Any, name: str) -> Any:
    """The preprocessing of a name with a tag, which says which weights are meant; else None."""
    from ...models.preprocessing.read import of_timm

    return of_timm(model, f"timm:{name}") if "." in name else None


def read_config(folder: Path, said: str) -> dict[str, Any]:
    """config.json of a folder. Raises InputError."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{said}: {path} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{said}: {path} holds no settings")
    return found


def package() -> Any:
    """timm. Raises MissingExtra."""
    try:
        return import_module("timm")
    except ImportError as error:
        raise MissingExtra(
            f"timm: models need timm ({error}); pip install 'torchattacks_ext[hub]'"
        ) from error


def check_name(timm: Any, name: str) -> None:
    """Raises ConfigError for an architecture or a tag that timm does not know."""
    bare, _, tag = name.partition(".")
    if not timm.is_model(bare):
        close = difflib.get_close_matches(bare, timm.list_models(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"timm has no model {bare!r}{hint}")
    if tag and timm.models.get_pretrained_cfg(name) is None:
        tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{bare}.*")]
        raise ConfigError(
            f"timm:{bare} has the tags {', '.join(tags) or 'none'}, not {tag!r}"
        )
