"""How does the name of a model on the command line become a model? Factories and weight
files.

Executed is only what the user names: the module of a factory. A weight file is read by
PyTorch's restricted reader, which builds tensors and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, InputError
from .checkpoints import SUFFIXES, Weights, few, read_weights, refuse_other_formats
from .factories import call_factory

if TYPE_CHECKING:
    from torch import nn

State = dict[str, Any]
_PREFIXES = ("module.", "_orig_mod.", "model.")
_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes of DataParallel, DDP and torch.compile, which no model of a user's has by itself."""
_AVERAGED = "n_averaged"
"""What torch.optim.swa_utils counts beside the weights."""


def load_model(
    spec: str, arch: str | None = None, weights: str | None = None
) -> tuple[nn.Module, str]:
    """The model that `spec` names, in eval mode, and its name in a report.

    spec: "package.module:factory", or a file (.pt, .pth, .th, .ckpt) with a state_dict
    or a container of one, which needs `arch`, the factory of the empty model, and may
    need `weights`, the key of those that are meant. Factories are called without
    arguments; the current folder is searched first. Raises ConfigError and InputError.
    """
    path = Path(spec)
    if path.suffix.lower() not in SUFFIXES and not path.is_file():
        for option, value in (("--arch", arch), ("--weights", weights)):
            if value is not None:
                raise ConfigError(
                    f"{option} {value} belongs to a file of weights ({', '.join(SUFFIXES)}), "
                    f"--model is {spec!r}"
                )
        return in_eval_mode(call_factory(spec, "--model")), spec
    refuse_other_formats(path)
    if arch is None:
        raise ConfigError(
            f"--model {spec} holds weights only; say which model they belong to: "
            "--arch package.module:factory"
        )
    found = read_weights(path, weights)
    model = call_factory(arch, "--arch")
    _fill(model, fitted(found.state, model.state_dict()), spec, arch)
    return in_eval_mode(model), _name(path, found)


def in_eval_mode(model: nn.Module) -> nn.Module:
    """The model, told `eval()`; an exported graph or a frozen script has no modes to set.

    >>> from torch import nn
    >>> in_eval_mode(nn.Dropout()).training
    False
    """
    from ...models.modes import change

    try:
        return model.eval()
    except (NotImplementedError, AttributeError):
        change(model, False)
        return model


def _name(path: Path, found: Weights) -> str:
    """The file; where it holds several weights, also which were taken and which not."""
    if not found.others:
        return path.name
    return f"{path.name}: {found.taken} (not {few(list(found.others))})"


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


def _renamed(state: State) -> Iterator[State]:
    """The state as it is, and with up to three prefixes off, in any order they come in."""
    yield state
    counted = {k: v for k, v in state.items() if k != _AVERAGED}
    if len(counted) < len(state):
        yield from _renamed(counted)
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            yield from _renamed({k.removeprefix(prefix): v for k, v in state.items()})
    inner = {key.replace("_orig_mod.", ""): value for key, value in state.items()}
    if inner.keys() != state.keys() and len(inner) == len(state):
        yield inner


def _unwrapped(state: State) -> State:
    for prefix in _WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _fill(model: nn.Module, state: State, spec: str, arch: str) -> None:
    """Load the weights; InputError names the first keys and shapes that do not fit."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    odd = [
        f"{key} {_shape(value)} in the file, {_shape(wanted[key])} in the model"
        for key, value in state.items()
        if key in wanted and _shape(value) != _shape(wanted[key])
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": odd}
    wrong = [f"{len(keys)} {kind}: {few(keys)}" for kind, keys in parts.items() if keys]
    if wrong:
        raise InputError(f"{spec} does not fit --arch {arch}; keys {'; '.join(wrong)}")
    model.load_state_dict(state)


def _shape(value: Any) -> tuple[int, ...] | None:
    """None for what a module stores beside its tensors."""
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)
