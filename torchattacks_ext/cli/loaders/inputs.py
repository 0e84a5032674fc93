"""How do --model and --data become a model on pixels, and data in the numbers of its classes?"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, InputError
from ...numerics.arguments import parse_whole
from .. import common
from .factories import call
from .loaded import Loaded, prepared
from .loading import in_eval_mode
from .names import AS_IS, check_classes, read_names

if TYPE_CHECKING:
    from ...data.named import NamedData

OWN = "model"
"""Of --resize: as the model's own transform does it."""
GREY = "; say channels=3 after the name of the data, where its kind has that option"


@dataclass(frozen=True)
class Given:
    """Options that say how the data are read: --n, --resize, --data-root, --classes, --download."""

    n: int | None = None
    resize: str | None = None
    root: Path | None = None
    classes: str | None = None
    download: bool = False


def read_data(spec: str, given: Given, loaded: Loaded) -> NamedData:
    """The data set, its labels in the numbers of the model where both name their classes.

    spec: as :func:`...data.named.load_data`, or "package.module:factory". Raises ConfigError and
    InputError, which begin with the option.
    """
    from ...data.loaders.classes import as_model

    names = loaded.classes
    path = check_classes(given.classes)
    if path is not None:
        names = read_names(path)
    try:
        data = _read(spec, given, loaded)
        return data if given.classes == AS_IS else as_model(data, names)
    except (ConfigError, InputError) as error:
        said = str(error)
        raise type(error)(
            said if said.startswith("--") else f"--data: {said}"
        ) from error


def _read(spec: str, given: Given, loaded: Loaded) -> NamedData:
    from ...data.loaders.foreign import as_named
    from ...data.named import load_data

    if _is_factory(spec):
        if given.resize is not None:
            raise ConfigError(f"--resize does not reach into {spec}; let it resize")
        n = None if given.n is None else parse_whole(given.n, "n", 1)
        return as_named(call(spec, "--data"), spec, n)
    resize = _resize(given.resize, loaded)
    data = load_data(
        spec, given.n, resize=resize, root=given.root, download=given.download
    )
    if resize is None:
        return data
    how = (
        f"{resize} (shorter side, middle square)"
        if isinstance(resize, int)
        else "as the model's"
    )
    return replace(data, notes=(*data.notes, f"resized: {how}"))


def _is_factory(spec: str) -> bool:
    """Whether the part before the colon is a module and no kind of data."""
    from ...data.named import KINDS

    module, _, name = spec.partition(":")
    if not name or module in {kind.partition(":")[0] for kind in KINDS}:
        return False
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False
    finally:
        sys.path.remove(here)


def _resize(text: str | None, loaded: Loaded) -> Any:
    """A side, the model's own transform, or None."""
    if text is None:
        return None
    if text == OWN:
        from ...models.preprocessing.pixels import own_pixels

        known = loaded.preprocessing
        if known is None:
            raise ConfigError(
                f"--resize {OWN}: {loaded.name} has no transform of its own; give a number"
            )
        return own_pixels(known)
    if not text.removeprefix("-").isdigit():
        raise ConfigError(
            f"--resize {text!r} is neither a number of pixels nor {OWN!r}"
        )
    return parse_whole(int(text), "--resize", 1)


def on_device(
    loaded: Loaded,
    mean: str | None,
    std: str | None,
    device: str | None,
    data: NamedData,
) -> Loaded:
    """The model on its device, on pixels in [0, 1]. Raises ConfigError."""
    if (mean is None) != (std is None):
        raise ConfigError("--mean and --std belong together; give both or neither")
    shape = tuple(data.dataset[0][0].shape)
    moments = None
    if mean is not None and std is not None:
        moments = common.numbers(mean, "--mean"), common.numbers(std, "--std")
        if any(len(side) not in (1, shape[0]) for side in moments):
            raise ConfigError(
                f"--mean {mean} --std {std}: the images have {shape[0]} channels; "
                "give one number a channel, or one for all"
            )
    found = prepared(loaded, moments, (shape[-2], shape[-1]))
    known = found.preprocessing
    if known is not None and known.channels != shape[0]:
        raise ConfigError(
            f"the images have {shape[0]} channels, {loaded.name} takes {known.channels}"
            + (GREY if shape[0] == 1 else "")
        )
    model = found.model
    try:
        model = in_eval_mode(model if device is None else model.to(device))
    except (RuntimeError, AssertionError) as error:
        said = common.one_line(error)
        raise ConfigError(f"--device {device} cannot be used ({said})") from error
    return replace(found, model=model)
