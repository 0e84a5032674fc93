"""Which objects beside the weights may be read? Settings of argparse, and scalars of NumPy.

PyTorch's restricted reader asks for the classes by name. NumPy's own are not called: two stand-ins
under their names build plain numbers, which can do nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class _Dtype:
    """What a pickled NumPy dtype says: a code such as "f8", and the order of its bytes."""

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def number(self, data: bytes) -> Any:
        """The number that the bytes are. Raises ValueError for any kind but numbers."""
        dtype = np.dtype(str(self.code))
        if dtype.kind not in "biufc":
            raise ValueError(f"a scalar of dtype {dtype} is no number")
        order: Any = self.order if self.order in "<>=" else "="
        return np.frombuffer(data, dtype.newbyteorder(order))[0].item()


def _named(module: str, name: str, value: Any) -> Any:
    value.__module__, value.__qualname__ = module, name
    return value


def _scalar() -> Callable[..., Any]:
    def scalar(dtype: _Dtype, data: bytes | str) -> Any:
        raw = data.encode("latin1") if isinstance(data, str) else data
        return dtype.number(raw)

    return scalar


_CLASSES = (
    argparse.Namespace,
    _named("numpy", "dtype", _Dtype),
    # before and since NumPy 2
    _named("numpy.core.multiarray", "scalar", _scalar()),
    _named("numpy._core.multiarray", "scalar", _scalar()),
)


@contextmanager
def harmless_classes() -> Iterator[None]:
    """The restricted reader of PyTorch also takes argparse.Namespace and NumPy scalars inside.

    >>> from torch.serialization import get_safe_globals
    >>> before = len(get_safe_globals())
    >>> with harmless_classes():
    ...     len(get_safe_globals()) - before
    4
    """
    from torch import serialization

    before = serialization.get_safe_globals()
    serialization.add_safe_globals([*_CLASSES])
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)
