"""Does a model compute with weights that were never loaded? Tensors on the meta device.

A skeleton that only lends its structure (torch.func.functional_call) is none of our business. One
that is computed with is: some kernels (convolutions on the CPU) take a weight without values and
answer with whatever lies in memory, without an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import ModelContractError

REMEDY = (
    "which are on the meta device and have no values: say model.to_empty(device=...), then "
    "load_state_dict, or make the model on its device"
)

_seen: dict[int, tuple[str, ...]] = {}


@contextmanager
def looked_over(model: nn.Module) -> Iterator[None]:
    """Inside, :func:`loaded_only` believes one look at the weights, taken now.

    Looking at every weight before each forward costs a small net a twentieth of its time.

    >>> with looked_over(nn.Linear(2, 2)):
    ...     pass
    """
    _seen[id(model)] = tuple(_skeleton(model))
    try:
        yield
    finally:
        del _seen[id(model)]


def loaded_only(model: object) -> AbstractContextManager[Any]:
    """Inside, a computation with a tensor on the meta device is refused; nothing is watched where
    the model has none.

    >>> with loaded_only(nn.Linear(2, 2)):
    ...     pass
    """
    seen = _seen.get(id(model))
    names = tuple(_skeleton(model)) if seen is None else seen
    return _Refusing(names) if names else nullcontext()


def is_skeleton(model: object) -> bool:
    """Whether some of the model's weights have no values.

    >>> is_skeleton(nn.Linear(2, 2)), is_skeleton(nn.Linear(2, 2, device="meta"))
    (False, True)
    """
    return next(_skeleton(model), None) is not None


def _skeleton(model: object) -> Iterator[str]:
    """Names of the parameters and buffers without values."""
    if isinstance(model, nn.Module):
        for name, tensor in chain(model.named_parameters(), model.named_buffers()):
            if tensor.is_meta:
                yield name


class _Refusing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises ModelContractError at the first operation on a meta tensor."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        flat = tree_leaves((args, kwargs))
        if any(isinstance(one, torch.Tensor) and one.is_meta for one in flat):
            first = ", ".join(self._names[:3]) + ", ..." * (len(self._names) > 3)
            raise ModelContractError(
                f"the model computes with weights that were never loaded: {first}, {REMEDY}"
            )
        return func(*args, **(kwargs or {}))
