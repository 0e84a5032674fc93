"""What must a probability or a count be? Checks that several topics share, with their remedy."""

from __future__ import annotations

from operator import index

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
    try:
        return not isinstance(value, bool) and index(value) >= least  # type: ignore[arg-type]
    except TypeError:
        return False
