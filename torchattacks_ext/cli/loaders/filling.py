"""Do these weights belong to this model? Names and shapes are compared before any is copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from .checkpoints import few

if TYPE_CHECKING:
    from torch import nn

State = dict[str, Any]
_DEEPEST = 3
_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes of DataParallel, DDP and torch.compile, which no model of a user's has by itself."""
_AVERAGED = "n_averaged"
"""What torch.optim.swa_utils counts beside the weights."""


def fitted(state: State, wanted: State) -> State:
    """`state` under the names of the model, where taking prefixes off makes all of them fit.

    Else without the prefixes of wrappers, so that what does not fit can be named.

    >>> fitted({"module.a": 1, "module.b": 2}, {"a": 0, "b": 0})
    {'a': 1, 'b': 2}
    """
    for one in _renamed(state):
        if one.keys() == wanted.keys():
            return one
    return _unwrapped(state)


def _renamed(state: State, depth: int = 0) -> Iterator[State]:
    """The state as it is, and with up to three prefixes off: those of wrappers, or the name under
    which a training loop keeps its model.
    """
    yield state
    counted = {k: v for k, v in state.items() if k != _AVERAGED}
    if len(counted) < len(state):
        yield from _renamed(counted, depth)
    first = {key.partition(".")[0] for key in state}
    if len(first) == 1 and depth < _DEEPEST and all("." in key for key in state):
        inside = {key.partition(".")[2]: value for key, value in state.items()}
        yield from _renamed(inside, depth + 1)
    inner = {key.replace("_orig_mod.", ""): value for key, value in state.items()}
    if inner.keys() != state.keys() and len(inner) == len(state):
        yield inner


def _unwrapped(state: State) -> State:
    for prefix in _WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def fill(model: nn.Module, state: State, spec: str, arch: str) -> None:
    """Load the weights; InputError names the first keys and shapes that do not fit."""
    wanted = model.state_dict()
    missing = [
        key for key in wanted if key not in state and not _shared(key, wanted, state)
    ]
    unexpected = [key for key in state if key not in wanted]
    odd = [
        f"{key} {_shape(value)} in the file, {_shape(wanted[key])} in the model"
        for key, value in state.items()
        if key in wanted and _shape(value) != _shape(wanted[key])
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": odd}
    wrong = [f"{len(keys)} {kind}: {few(keys)}" for kind, keys in parts.items() if keys]
    if wrong:
        raise InputError(f"{spec} does not fit {arch}; keys {'; '.join(wrong)}")
    model.load_state_dict(
        state, strict=False
    )  # names were compared; tied ones come once


def _shape(value: Any) -> tuple[int, ...] | None:
    """None for what a module stores beside its tensors."""
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _shared(key: str, wanted: State, state: State) -> bool:
    """Whether the tensor is one with another that the file holds (tied weights are stored once)."""
    one = _place(wanted[key])
    return one is not None and any(
        _place(wanted[k]) == one for k in wanted if k in state
    )


def _place(value: Any) -> tuple[Any, ...] | None:
    if not hasattr(value, "data_ptr") or not value.numel():
        return None
    return value.data_ptr(), tuple(value.shape), tuple(value.stride())


def other_classes(state: State, wanted: State) -> int | None:
    """The number of classes of weights that fit but for it; None where they fit, or not at all.

    >>> from torch import nn
    >>> other_classes(nn.Linear(4, 7).state_dict(), nn.Linear(4, 10).state_dict())
    7
    """
    found = fitted(state, wanted)
    odd = [
        key
        for key in wanted
        if key in found and _shape(found[key]) != _shape(wanted[key])
    ]
    pairs = [(_shape(found[key]) or (), _shape(wanted[key]) or ()) for key in odd]
    if found.keys() != wanted.keys() or not all(
        a and b and a[1:] == b[1:] for a, b in pairs
    ):
        return None
    numbers = {a[0] for a, _ in pairs}
    return numbers.pop() if len(numbers) == 1 else None
