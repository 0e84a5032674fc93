"""What must a probability or a count be? Checks that several topics share, with their remedy."""

from __future__ import annotations

import math
from operator import index
from typing import Any

from ..errors import ConfigError


def check_probabilities(**values: float) -> None:
    """ConfigError, naming the argument, unless each lies in (0, 1).

    >>> check_probabilities(significance=0.01, error=0.05)
    """
    for name, value in values.items():
        if not 0 < value < 1:
            raise ConfigError(
                f"{name}={value!r} is not in (0, 1); give a probability, for example 0.01"
            )


def check_confidence(confidence: float) -> None:
    """ConfigError unless it lies in (0, 1).

    >>> check_confidence(0.95)
    """
    if not 0 < confidence < 1:
        raise ConfigError(
            f"confidence={confidence!r} is not in (0, 1); give for example 0.95"
        )


def is_whole(value: object, least: int) -> bool:
    """Is it an integer, of whatever type but bool, of at least ``least``?

    >>> is_whole(3, 1), is_whole(0, 1), is_whole(3.0, 1), is_whole(True, 1)
    (True, False, False, False)
    """
    plain: Any = _plain(value)
    try:
        return plain is not None and bool(index(plain) >= least)
    except TypeError:
        return False


def as_number(value: object) -> float:
    """The number that `value` means, nan where it means none.

    A number of Python, NumPy or torch (0-d), also written as text, also as a fraction. Truth values
    and arrays with dimensions are none.

    >>> as_number("8/255") == 8 / 255, as_number(True)
    (True, nan)
    """
    plain: Any = _plain(value)
    try:
        if getattr(plain, "ndim", 0):
            return math.nan
        above, slash, below = str(plain).partition("/")
        return float(above) / float(below) if slash else float(plain)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        return math.nan


def parse_number(value: object, name: str) -> float:
    """A finite number >= 0, as :func:`as_number` reads it: 0.3, "0.3", "8/255", np.float32(0.3).

    Raises ConfigError, naming `name`, for anything else (truth values too).

    >>> parse_number("2/255", "alpha") == 2 / 255
    True
    """
    number = as_number(value)
    if not math.isfinite(number) or number < 0:
        raise ConfigError(f"{name}={value!r} must be a finite number >= 0, say 8/255")
    return number


def parse_real(value: object, name: str) -> float:
    """A number as :func:`as_number` reads it, whose domain is checked elsewhere.

    Raises ConfigError, naming `name`, for what is none. Whole numbers stay whole: settings are
    hashed as they are written.

    >>> parse_real("1/100", "tolerance"), parse_real(2, "gate")
    (0.01, 2)
    """
    number, plain = as_number(value), plain_scalar(value)
    if math.isnan(number):
        raise ConfigError(f"{name}={value!r} must be a number, say 0.01 or 1/100")
    return plain if isinstance(plain, int) else number


def parse_whole(value: object, name: str, least: int | None = None) -> int:
    """A whole number (>= `least`) of Python, NumPy or torch (0-d), as Python's own.

    Raises ConfigError, naming `name`, for anything else (truth values too).

    >>> parse_whole(8, "batch_size", 1)
    8
    """
    plain: Any = _plain(value)
    try:
        number = None if plain is None else index(plain)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        domain = "" if least is None else f" >= {least}"
        raise ConfigError(f"{name}={value!r} must be a whole number{domain}")
    return number


def parse_seed(value: object) -> int:
    """A seed, the same domain for all that draws: a whole number in [0, 2**63), as Python's own.

    Raises ConfigError for anything else: generators of other libraries, and other seeds that come
    to the same numbers, begin outside of it.

    >>> parse_seed(7)
    7
    """
    if is_whole(value, 0):
        number = parse_whole(value, "seed")
        if number < 2**63:
            return number
    raise ConfigError(f"seed={value!r} must be a whole number in [0, 2**63), say 0")


def plain_scalar(value: Any) -> Any:
    """A scalar of NumPy or torch (0-d) as Python's own; everything else as it is.

    For arguments whose domain is checked elsewhere.

    >>> plain_scalar("1/4"), plain_scalar(None)
    ('1/4', None)
    """
    scalar = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if scalar else value


def _plain(value: object) -> object:
    """What a scalar of another library holds; None for truth values, the rest as it is."""
    plain = plain_scalar(value)
    return None if isinstance(plain, bool) else plain
