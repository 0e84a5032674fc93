"""How does the name of a model on the command line become a model? Factories and weight
files.

Executed is only what the user names: the module of a factory. A weight file is read by
PyTorch's restricted reader, which builds tensors and runs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InputError
from .common import one_line

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".pt", ".pth", ".th", ".ckpt")
_WRAPPERS = ("module.", "_orig_mod.")
_SHOWN = 3


def load_model(spec: str, arch: str | None = None) -> nn.Module:
    """The model that `spec` names, in eval mode.

    spec: "package.module:factory", or a file (.pt, .pth, .th, .ckpt) with a state_dict
    (or {"state_dict": ...}), which needs `arch`, the factory of the empty model.
    Factories are called without arguments; the current folder is searched first. Raises
    ConfigError and InputError.
    """
    if Path(spec).suffix.lower() not in SUFFIXES and not Path(spec).is_file():
        if arch is not None:
            raise ConfigError(
                f"--arch {arch} belongs to a file of weights ({', '.join(SUFFIXES)}), "
                f"--model is {spec!r}"
            )
        return call_factory(spec, "--model").eval()
    if arch is None:
        raise ConfigError(
            f"--model {spec} holds weights only; say which model they belong to: "
            "--arch package.module:factory"
        )
    state = read_state(Path(spec))
    model = call_factory(arch, "--arch")
    _fill(model, state, spec, arch)
    return model.eval()


def call_factory(spec: str, option: str) -> nn.Module:
    """Import "package.module:factory" and call it. ConfigError or InputError."""
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ConfigError(
            f"{option} {spec!r} is neither package.module:factory nor a file of "
            f"weights ({', '.join(SUFFIXES)})"
        )
    with _current_folder_first():
        factory = _find(module_name, name, option)
        model = _guarded(factory, f"{option} {spec}")
    from torch import nn

    if not isinstance(model, nn.Module):
        raise InputError(
            f"{option} {spec} returned {type(model).__name__}, expected a "
            "torch.nn.Module"
        )
    return model


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
        raise InputError(
            f"{where} is a {type(found).__name__}, expected a function without "
            "arguments that returns the model"
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


def read_state(path: Path) -> dict[str, Tensor]:
    """The state_dict in a file, without the prefixes of DataParallel, DDP and
    torch.compile.

    Raises InputError for a missing or damaged file, pickled objects, and anything but
    named tensors.
    """
    import torch

    if not path.is_file():
        raise InputError(f"--model {path} is not a file")
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):  # older than PyTorch 1.6, or anything
            raise InputError(f"{path} is not a file of torch.save") from error
        raise InputError(
            f"{path} holds pickled objects, which could run code; save the weights "
            "only: torch.save(model.state_dict(), PATH)"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a file of torch.save or is damaged ({one_line(error)})"
        ) from error
    state = raw.get("state_dict", raw) if isinstance(raw, Mapping) else raw
    named = isinstance(state, Mapping) and all(isinstance(key, str) for key in state)
    if not named or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        keys = (
            f" with the keys {_few([*map(str, raw)])}"
            if isinstance(raw, Mapping)
            else ""
        )
        raise InputError(
            f"{path} holds a {type(raw).__name__}{keys}, expected a state_dict or "
            '{"state_dict": ...}: torch.save(model.state_dict(), PATH)'
        )
    found = dict(state)
    for prefix in _WRAPPERS:
        if found and all(key.startswith(prefix) for key in found):
            found = {key[len(prefix) :]: value for key, value in found.items()}
    return found


def _fill(model: nn.Module, state: dict[str, Tensor], spec: str, arch: str) -> None:
    """Load the weights; InputError names the first keys and shapes that do not fit."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    odd = [
        f"{key} {tuple(value.shape)} in the file, {tuple(wanted[key].shape)} in the "
        "model"
        for key, value in state.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": odd}
    wrong = [
        f"{len(keys)} {kind}: {_few(keys)}" for kind, keys in parts.items() if keys
    ]
    if wrong:
        raise InputError(f"{spec} does not fit --arch {arch}; keys {'; '.join(wrong)}")
    model.load_state_dict(state)


def _few(keys: list[str]) -> str:
    more = f", and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
