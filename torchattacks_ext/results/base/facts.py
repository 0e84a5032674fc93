"""What stands beside the rows of a result? Its cost, its doubts (flags), its origin (versions)."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import Any

from ..._version import __version__
from ...errors import ReliabilityWarning


@dataclass(frozen=True)
class Cost:
    """What a measurement used: row-passes (one row through the model once) and wall time.

    forward, backward: row-passes >= 0. seconds: wall time.

    >>> Cost(10, 5, 1.0) + Cost(1, 0, 0.5)
    Cost(forward=11, backward=5, seconds=1.5)
    """

    forward: int = 0
    backward: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.forward + other.forward,
            self.backward + other.backward,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Flag:
    """A reason to doubt a number: a stable code, a sentence, how many rows it concerns.

    Arguments:
        code (str): stable name, say "randomised_model".
        message (str): one sentence for the reader.
        count (int): rows concerned; None when it is about the model or the run as a whole.
        details (dict): more, in JSON types; "quiet": True is a flag that raises no warning.

    >>> Flag("duplicates", "images occur more than once", 3).to_dict()["count"]
    3
    """

    code: str
    message: str
    count: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self) | {"details": dict(self.details)}


def resumes(provenances: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How often the run of one of these was gone on with, as provenance; {} for never.

    >>> resumes([{}, {"resumed": 2}]), resumes([{}])
    ({'resumed': 2}, {})
    """
    most = max((int(one.get("resumed", 0)) for one in provenances), default=0)
    return {"resumed": most} if most else {}


LOUD = (
    "model_raised",
    "attack_raised",
    "zero_gradient",
    "broken_certificate",
    "not_reached",
)
"""Codes of doubts that every summary says in full, however short it is."""


def merge_flags(groups: Iterable[Iterable[Flag]]) -> tuple[Flag, ...]:
    """One flag a code: counts are added, the first sentence stays."""
    merged: dict[str, Flag] = {}
    for flag in (flag for group in groups for flag in group):
        old = merged.get(flag.code)
        if old is None:
            merged[flag.code] = flag
        elif old.count is not None and flag.count is not None:
            total = old.count + flag.count
            merged[flag.code] = Flag(flag.code, old.message, total, old.details)
    return tuple(merged.values())


def warn_flags(flags: Iterable[Flag], stacklevel: int = 3) -> None:
    """One :class:`ReliabilityWarning` a flag, at the caller's line; none for quiet ones."""
    for flag in flags:
        if flag.details.get("quiet"):
            continue
        text = f"[{flag.code}] {flag.message}"
        warnings.warn(text, ReliabilityWarning, stacklevel=stacklevel)


@lru_cache(maxsize=None)
def _version(package: str) -> str | None:
    """Read once: finding and parsing a package's metadata takes 6 ms."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Versions that numbers depend on: this package, torch, torchattacks, numpy, scipy, Python."""
    names = ("torch", "torchattacks", "numpy", "scipy")
    return {
        "torchattacks_ext": __version__,
        **{name: _version(name) for name in names},
        "python": platform.python_version(),
    }
