"""How does "package.module:factory" become a model? Imported, called, checked."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, InputError
from ...models.adapters.maite import MaiteModel, is_maite_model
from ..common import one_line
from .checkpoints import SUFFIXES

if TYPE_CHECKING:
    from torch import nn


def call_factory(spec: str, option: str) -> nn.Module:
    """The Module that "package.module:factory" returns; a model of MAITE's form becomes one.

    Raises ConfigError or InputError.
    """
    model = call(spec, option)
    from torch import nn

    if is_maite_model(model):
        return MaiteModel(model)
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{option} {spec} returned {type(model).__name__}, expected a "
            "torch.nn.Module"
        )
    return model


def call(spec: str, option: str) -> Any:
    """Import "package.module:factory", call it without arguments, return what it gives.

    Raises ConfigError for another spec, InputError for whatever goes wrong inside.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ConfigError(
            f"{option} {spec!r} is neither package.module:factory nor a file of "
            f"weights ({', '.join(SUFFIXES)}), nor a published model (torchvision:, timm:, hf:)"
        )
    with _current_folder_first():
        factory = _find(module_name, name, option)
        return _guarded(factory, f"{option} {spec}")


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    """Search the current folder first while the user's module is imported, and last
    from then on.

    First for all of the process, a stray `queue.py` there would replace the standard
    library's.
    """
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)
        if here not in sys.path:
            sys.path.append(here)


def _find(module_name: str, name: str, option: str) -> Callable[[], Any]:
    where = f"{option} {module_name}:{name}"
    try:
        module = _guarded(lambda: importlib.import_module(module_name), where)
    except InputError as error:
        cause = error.__cause__
        lost = getattr(cause, "name", None) or ""
        whole = module_name == lost or module_name.startswith(f"{lost}.")
        if isinstance(cause, ModuleNotFoundError) and lost and whole:
            raise InputError(
                f"{where}: there is no module {lost!r}, neither installed nor in "
                f"{os.getcwd()}"
            ) from cause
        raise
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = [key for key in vars(module) if not key.startswith("_")]
            known = (
                ", ".join(k for k in public if callable(getattr(module, k))) or "none"
            )
            raise InputError(
                f"{where}: {module_name} has no {name!r}; its callables: {known}"
            )
        found = getattr(found, part)
    from torch import nn

    if isinstance(found, nn.Module) or not callable(found):
        what = "data" if option == "--data" else "model"
        raise InputError(
            f"{where} is a {type(found).__name__}, expected a function without "
            f"arguments that returns the {what}"
        )
    factory: Callable[[], Any] = found
    return factory


def _guarded(call: Callable[[], Any], where: str) -> Any:
    """Run the user's code; what it raises becomes an InputError, sys.exit too."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        raise InputError(f"{where} failed with {_named(error)}") from error


def _named(error: BaseException) -> str:
    said = one_line(error)
    kind = type(error).__name__
    return said if said.startswith(kind) else f"{kind}: {said}"
