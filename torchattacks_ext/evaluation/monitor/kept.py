"""What of a stream survives between two looks? One JSON file, the old one or the new one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ...errors import ConfigError, InputError, StateError
from ...numerics.arguments import check_probabilities, parse_seed
from ...numerics.drift.bands import UniformBands
from ...numerics.drift.martingale import ConformalMartingale
from ...results.base import codec
from ...results.monitor.reference import Reference

SCHEMA = "monitor_stream/1"
REMEMBERED = 4096
"""Looks whose images are known again."""
WINDOW = 200
"""Images, the last ones, whose distance from the reference is told."""
MOST_BYTES = 1 << 26
WAIT = 10.0
"""Seconds that a look waits for another one to be written."""
ProcessName = Literal["martingale", "bands"]
Process = ConformalMartingale | UniformBands


@dataclass(frozen=True)
class Kept:
    """A stream between two looks. reference: its digest. recent: hashes of the images of looks.
    last: scores of the last images, by which an alarm is called far or near.
    """

    reference: str
    process: ProcessName
    significance: float
    seed: int
    looks: int = 0
    alarm_look: int | None = None
    recent: tuple[str, ...] = ()
    last: tuple[float, ...] = ()
    state: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.process not in get_args(ProcessName):
            raise ConfigError(
                f"process={self.process!r} is not one of {', '.join(get_args(ProcessName))}"
            )
        check_probabilities(significance=self.significance)
        parse_seed(self.seed)

    def running(self, reference: Reference) -> Process:
        """The process as it stands. Raises InputError for a damaged state."""
        scores = reference.scores.numpy()
        process: Process
        if self.process == "bands":
            process = UniformBands(scores, self.significance)
        else:
            process = ConformalMartingale(scores, self.significance, self.seed)
        if self.state is not None:
            process.restore(self.state)
        return process

    def refuse_seen(self, sha256: str, n: int) -> None:
        """StateError for images that were a look already."""
        if _short(sha256) in self.recent:
            ago = len(self.recent) - self.recent.index(_short(sha256))
            raise StateError(
                f"these {n} images were look {self.looks - ago + 1} of the stream already, and "
                "nothing was counted: the same images twice are no new evidence; give new ones"
            )

    def after(self, process: Process, sha256: str, scores: Sequence[float]) -> Kept:
        """The same, one look later."""
        looks = self.looks + 1
        first = self.alarm_look
        if first is None and process.alarm_at is not None:
            first = looks
        recent = (*self.recent, _short(sha256))[-REMEMBERED:]
        last = (*self.last, *scores)[-WINDOW:]
        return replace(
            self,
            looks=looks,
            alarm_look=first,
            recent=recent,
            last=last,
            state=process.state(),
        )

    def write(self, path: Path) -> None:
        """In one step. Raises InputError where the file system refuses."""
        body = {"schema": SCHEMA, **codec.plain(vars(self))}
        body["check"] = codec.digest([codec.canonical(body)])
        codec.write_text(path, json.dumps(body, allow_nan=False))


def _short(sha256: str) -> str:
    return sha256[:16]


def read(path: Path) -> Kept | None:
    """The stream of a file; None where there is no file.

    Raises InputError for one that is no stream or was changed.
    """
    if not path.exists():
        return None
    if path.is_dir() or path.stat().st_size > MOST_BYTES:
        raise InputError(f"{str(path)!r} is no state of a stream; give another file")
    try:
        raw = codec.read_json(path)
    except InputError as error:
        raise InputError(f"{str(path)!r} is no state of a stream ({error})") from error
    check = raw.pop("check", None)
    if raw.get("schema") != SCHEMA:
        raise InputError(
            f"{str(path)!r} has schema={raw.get('schema')!r}, expected {SCHEMA!r}; give "
            "another file"
        )
    if check != codec.digest([codec.canonical(raw)]):
        raise InputError(
            f"{str(path)!r} is not as it was written: what it counted cannot be trusted; put "
            "back a copy of it, or start a new stream"
        )
    raw.pop("schema")
    try:
        sides = {name: tuple(raw[name]) for name in ("recent", "last")}
        return Kept(**{**raw, **sides})
    except (KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r} lacks a part ({error})") from error


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """No other look is written inside. Raises StateError where another one does not end."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{os.fspath(path)}.lock")
    try:
        lock.acquire(timeout=WAIT)
    except Timeout:
        raise StateError(
            f"another look is being written into {str(path)!r}; try again, nothing was counted"
        ) from None
    except OSError as error:
        raise InputError(
            f"the state {str(path)!r} cannot be used ({error.strerror or error}); give a file in a "
            "folder that can be written to"
        ) from error
    try:
        yield
    finally:
        lock.release()
