"""Was memory too short? Whatever library says so, and what is given back before another try."""

from __future__ import annotations

import gc

import torch

_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
)


def too_short(error: BaseException | None) -> bool:
    """Whether an exception, or one that caused it, is about memory.

    >>> too_short(MemoryError()), too_short(RuntimeError("CUDA error: out of memory"))
    (True, True)
    >>> too_short(RuntimeError("no"))
    False
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
            return True
        if isinstance(error, RuntimeError) and _says_so(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _says_so(words: str) -> bool:
    return any(known in words.lower() for known in _WORDS)


def give_back() -> None:
    """Free what nobody holds any more, on the device as well."""
    gc.collect()
    if torch.cuda.is_available():  # does nothing where nobody used it
        torch.cuda.empty_cache()
