"""What else does a model write while it is borrowed, and how does it get that back? Buffers, hooks.

Observers, counters and the statistics of a graph that was traced in training mode change with
every forward, in evaluation mode as well. Kept are a copy of each buffer and its version counter;
what moved is copied back. Some kernels write without moving the counter, so that the first sessions
of a model also compare values; a buffer that was caught so is copied back from then on.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..results.base.facts import Flag

WATCHED = 3
"""Sessions of a model that compare the values of all its buffers."""
MOST_BYTES = 1 << 28
"""Buffers of more bytes in all are not copied: what moves in them is named, not given back."""

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
Hooks = dict[nn.Module, dict[str, frozenset[int]]]


Place = tuple[str, str]
"""Path of a module and name of its buffer: the module itself would keep the model alive."""


@dataclass
class _Kept:
    """One buffer: the tensor itself, its version and a copy (None: none was made)."""

    tensor: Tensor
    version: int
    copy: Tensor | None
    silent: bool = False


@dataclass
class _Memory:
    """What is known of the buffers of one model; `lost`: changed, and could not be given back."""

    kept: dict[Place, _Kept] = field(default_factory=dict)
    sessions: int = 0
    lost: set[str] = field(default_factory=set)


_memories: weakref.WeakKeyDictionary[nn.Module, _Memory] = weakref.WeakKeyDictionary()


def lost_buffers(model: object) -> tuple[str, ...]:
    """Names of the buffers that changed in earlier sessions and could not be given back.

    >>> lost_buffers(nn.BatchNorm1d(3))
    ()
    """
    memory = _memories.get(model) if isinstance(model, nn.Module) else None
    return () if memory is None else tuple(sorted(memory.lost))


def lost_flags(*models: object) -> Iterator[Flag]:
    """A flag where buffers of the models changed and could not be given back, with their names.

    >>> list(lost_flags(nn.BatchNorm1d(3), print))
    []
    """
    names = [name for model in models for name in lost_buffers(model)]
    if names:
        named = ", ".join(names[:4]) + ", ..." * (len(names) > 4)
        yield Flag(
            "buffers_changed",
            f"the model changed its own buffers while it was measured ({named}), and they were too "
            "large, or of a layout, to be kept and given back: it may answer otherwise now; load "
            "its weights again before it is used further",
            details={"buffers": names},
        )


@contextlib.contextmanager
def loaned(model: nn.Module) -> Iterator[None]:
    """Buffers and hooks of the model are as before afterwards; no forward pass."""
    memory, hooks = _memories.setdefault(model, _Memory()), hooks_of(model)
    _remember(model, memory)
    try:
        yield
    finally:
        _take_off(model, hooks)
        _give_back(model, memory)


def _remember(model: nn.Module, memory: _Memory) -> None:
    """Copies of buffers that are new, or that the owner has written since."""
    found: dict[Place, _Kept] = {}
    room = MOST_BYTES
    for path, owner in model.named_modules():
        for name, tensor in owner.named_buffers(recurse=False):
            old = memory.kept.get((path, name))
            if old is not None and old.tensor is tensor and not _moved(old):
                found[path, name] = old
                continue
            room -= tensor.numel() * tensor.element_size()
            copy = _copy(tensor) if room >= 0 else None
            silent = old is not None and old.silent
            found[path, name] = _Kept(tensor, writes_of(tensor), copy, silent)
    memory.kept = found


def _give_back(model: nn.Module, memory: _Memory) -> None:
    watched = memory.sessions < WATCHED
    memory.sessions += 1
    owners = dict(model.named_modules()) if memory.kept else {}
    for (path, name), kept in memory.kept.items():
        if getattr(owners.get(path), name, None) is not kept.tensor:
            setattr(owners[path], name, kept.tensor)
        if watched and not kept.silent and not _moved(kept):
            kept.silent = _differs(kept)
        if not kept.silent and not _moved(kept):
            continue
        if kept.copy is None:
            memory.lost.add(f"{path}.{name}" if path else name)
            kept.version = writes_of(kept.tensor)
            continue
        with torch.inference_mode():  # the only mode in which any tensor may be written
            kept.tensor.copy_(kept.copy)
        kept.version = writes_of(kept.tensor)


def writes_of(tensor: Tensor) -> int:
    """The number of writes to a tensor that torch counted; -1 where it counts none (inference).

    >>> writes_of(torch.zeros(2).add_(1))
    1
    """
    return -1 if tensor.is_inference() else tensor._version


def _moved(kept: _Kept) -> bool:
    return kept.version != writes_of(kept.tensor) or kept.version < 0


def _copy(tensor: Tensor) -> Tensor | None:
    """A copy, or None of what has no values of its own (meta) or no dense ones."""
    if tensor.layout != torch.strided or tensor.is_meta:
        return None
    with torch.no_grad():
        return tensor.detach().clone()


def _differs(kept: _Kept) -> bool:
    if kept.copy is None:
        return False
    # NaN is itself here: bits are compared
    one, two = kept.tensor.detach(), kept.copy
    same = one.shape == two.shape and torch.equal(_bits(one), _bits(two))
    return not same


def _bits(tensor: Tensor) -> Tensor:
    flat = tensor.contiguous().flatten()
    return flat.view(torch.uint8) if len(flat) and flat.dtype != torch.bool else flat


def hooks_of(model: nn.Module) -> Hooks:
    """The keys of every hook of every module; modules without hooks are left out."""
    found: Hooks = {}
    for module in model.modules():
        tables = ((name, vars(module).get(name)) for name in _HOOKS)
        known = {name: frozenset(table) for name, table in tables if table}
        if known:
            found[module] = known
    return found


def _take_off(model: nn.Module, before: Hooks) -> None:
    """Hooks that were put on since."""
    for module in model.modules():
        for name in _HOOKS:
            table = vars(module).get(name)
            if table:
                known = before.get(module, {}).get(name, frozenset())
                for key in [key for key in table if key not in known]:
                    del table[key]
