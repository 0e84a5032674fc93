"""Which tensors does a file of weights hold? Read by PyTorch's restricted reader, never unpickled.

Frameworks put the weights into containers, beside settings and copies: these are looked through.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, InputError
from ..common import one_line
from .harmless import harmless_classes

SUFFIXES = (".pt", ".pth", ".th", ".ckpt")
PLAIN = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "weights",
    "network",
    "params",
)
"""Where frameworks keep the weights, in the order of preference."""
_AVERAGED = {"current_model_state", "averaging_state"}
_AVERAGE = (
    "Lightning's weight averaging: state_dict holds the averaged weights, those of the last step "
    "lie under current_model_state"
)
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
SHOWN = 3
_DEPTH = 3
_FACTORY = "give a function without arguments that returns the model: --model module:function, with"


@dataclass(frozen=True, eq=False)
class Weights:
    """Named tensors of a file; taken: the key under which they lie, "" at the top; others: keys of
    further weights in the same file; note: what a reader should know of them.
    """

    state: dict[str, Any]
    taken: str = ""
    others: tuple[str, ...] = ()
    note: str = ""


def refuse_other_formats(path: Path) -> None:
    """Raises InputError for a file that holds a whole model or program, with the way around it."""
    if (path / ".metadata").is_file():
        raise InputError(
            f"{path} is a folder of torch.distributed.checkpoint; make one file of it: "
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save(FOLDER, FILE.pt)"
        )
    names = _members(path)
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(
            f"{path} is a TorchScript archive, a whole program; {_FACTORY} "
            f"torch.jit.load({path.name!r}) inside"
        )
    program = ("archive_format", "serialized_exported_program.json")
    if path.suffix.lower() == ".pt2" or any(name.endswith(program) for name in names):
        raise InputError(
            f"{path} is an exported program; {_FACTORY} "
            f"torch.export.load({path.name!r}).module() inside"
        )


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []


def read_weights(path: Path, key: str | None = None) -> Weights:
    """The state_dict in a file; key: where it lies, with dots between the levels.

    Without a key that of :data:`PLAIN` is taken, else the only one; copies (EMA) only by their key.
    Raises InputError for a missing or damaged file, pickled objects, anything but named tensors,
    and weights of which more than one could be meant.
    """
    raw = _load(path)
    found = dict(_states(raw, ""))
    if key is not None:
        if key not in found:
            known = few(sorted(filter(None, found))) or "none"
            raise InputError(
                f"{path} holds no weights under {key!r}; its keys of weights: {known}"
            )
        return Weights(found[key], key, tuple(k for k in found if k != key))
    if "" in found:
        return Weights(found[""])
    plain = [place for place in found if set(place.split(".")) <= set(PLAIN)]
    chosen = min(plain, key=_rank) if plain else None
    if chosen is None and len(found) == 1:
        chosen = next(iter(found))
    if chosen is not None:
        others = tuple(k for k in found if k != chosen)
        averaged = chosen == "state_dict" and _AVERAGED <= set(raw)
        return Weights(found[chosen], chosen, others, _AVERAGE if averaged else "")
    if found:
        raise ConfigError(
            f"{path} holds weights under {few(sorted(found))}; say which: --weights KEY"
        )
    raise InputError(_no_state(path, raw))


def _rank(place: str) -> tuple[int, ...]:
    return tuple(PLAIN.index(part) for part in place.split("."))


def _states(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, state_dict) of everything inside that is one."""
    if not isinstance(value, Mapping) or place.count(".") >= _DEPTH:
        return
    if _is_state(value):
        yield place, dict(value)
        return
    for name, inner in value.items():
        if isinstance(name, str) and inner:
            yield from _states(inner, f"{place}.{name}" if place else name)


def _is_state(value: Mapping[Any, Any]) -> bool:
    """Named tensors, and what modules store beside them."""
    from torch import Tensor

    return all(
        isinstance(key, str)
        and (isinstance(one, Tensor) or key.endswith("_extra_state"))
        for key, one in value.items()
    )


def _load(path: Path) -> Any:
    import torch

    if not path.is_file():
        raise InputError(f"--model {path} is not a file")
    refuse_other_formats(path)
    try:
        with harmless_classes():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):  # older than PyTorch 1.6, or anything
            raise InputError(f"{path} is not a file of torch.save") from error
        kind = re.search(r"GLOBAL (\S+)", str(error))
        named = f", such as {kind[1]}" if kind else ""
        raise InputError(
            f"{path} holds pickled objects, which could run code{named}; save the weights "
            "only: torch.save(model.state_dict(), PATH)"
        ) from error
    except _DAMAGED as error:
        raise InputError(
            f"{path} is not a file of torch.save or is damaged ({one_line(error)})"
        ) from error


def _no_state(path: Path, raw: Any) -> str:
    keys = ""
    if isinstance(raw, Mapping):
        keys = f" with the keys {few([*map(str, raw)])}"
    return (
        f"{path} holds a {type(raw).__name__}{keys}, expected a state_dict or "
        '{"state_dict": ...}: torch.save(model.state_dict(), PATH)'
    )


def few(keys: list[str]) -> str:
    """The first keys of a list, and how many more there are.

    >>> few(["a", "b", "c", "d"])
    'a, b, c, and 1 more'
    """
    more = f", and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
