"""Did anything draw random numbers? The states of every generator that it may have used.

Answers that do not change prove no fixed map: a jitter that strikes one call in fifty passes any
short look. A generator that moved tells it at once, however rare the jitter is. Seen are the global
generators of PyTorch (CPU and CUDA in use), NumPy and Python, and those that an object, its parts,
its closures or the names of its functions hold. Not seen: a clock, the operating system, a library
of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = 20_000
"""Objects that are looked through for generators; what a larger model holds beyond is not seen."""

_OWN = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_PLAIN = (str, bytes, int, float, complex, bool, type(None), Tensor, np.ndarray)
_CLOSED = (*_PLAIN, type, ModuleType, BuiltinFunctionType, torch.dtype, torch.device)
_FOREIGN = ("torch.", "torchvision.", "numpy.", "scipy.")


class Watch:
    """The generators that the world and `owner` have, and where they stood when this was made.

    owner: anything, a model or a function. Reading changes no generator. Cost: a walk through the
    objects that `owner` holds, no row-pass.

    >>> watch = Watch(None)
    >>> watch.moved()
    False
    >>> _ = torch.rand(1)
    >>> watch.moved()
    True
    """

    def __init__(self, owner: object) -> None:
        self._owned = list(_owned(owner))
        self._before = self._states()

    def moved(self) -> bool:
        """Whether any of them stands elsewhere now."""
        return not _same(self._before, self._states())

    def _states(self) -> tuple[Any, ...]:
        shared: list[Any] = [torch.get_rng_state(), np.random.get_state(legacy=False)]
        shared.append(random.getstate())
        # none before CUDA is in use
        shared += [gen.get_state() for gen in torch.cuda.default_generators]
        return *shared, *map(_state, self._owned)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state()


def _same(a: Any, b: Any) -> bool:
    """Whether two states are equal (nested dicts and tuples of arrays, tensors and numbers)."""
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


def _owned(owner: object) -> Iterator[Any]:
    """The generators within reach of `owner`, each once."""
    seen: set[int] = set()
    waiting = [owner]
    while waiting and len(seen) < MOST:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, _OWN):
            yield thing
        elif not isinstance(thing, _CLOSED):
            waiting += [part for part in _parts(thing) if not isinstance(part, _PLAIN)]


def _parts(thing: Any) -> list[Any]:
    """What an object holds, without asking for any of its properties."""
    if isinstance(thing, Mapping):
        return list(thing.values()) if isinstance(thing, dict) else []
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    if isinstance(thing, FunctionType):
        return _of_function(thing)
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, partial):
        return [thing.func, thing.args, thing.keywords]
    held = list(getattr(thing, "__dict__", {}).values())
    for name in ("forward", "__call__", "sample"):
        method = getattr(type(thing), name, None)
        held += [method] * isinstance(method, FunctionType)
    return held


def _of_function(function: FunctionType) -> list[Any]:
    """What a function closes over, and the global names that it uses; not those of libraries."""
    if f"{function.__module__}.".startswith(_FOREIGN):
        return []
    held = []
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    names = function.__code__.co_names
    shared = function.__globals__
    held += [shared[name] for name in names if name in shared]
    return held + list(function.__defaults__ or ())
