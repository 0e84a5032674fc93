"""How is a finished row group written so that no end of the run can take it back? A line a group.

A state is a folder: `run.json` says whose run it is, `rows.jsonl` has one line a finished row group
({"check": hash of what follows, "row": ...}), written in one call; `lock` is held while a run
writes. What is written, no end of the process can take back; the disk itself is waited for at most
once a second and at the end, so that a machine that loses its power loses the lines of a second. A
line that was cut or changed is skipped, counted, and its rows are measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import InputError, StateError

ROWS, LOCK, ABOUT, REPORT = "rows.jsonl", "lock", "run.json", "report.json"
_HEAD, _MIDDLE, _TAIL = b'{"check":"', b'","row":', b"}\n"
_CHECK = 16
_SYNC_SECONDS = 1.0
"""Waiting for the disk takes as long as the attack of some rows: not after each line."""


class Journal:
    """The lines of one state; made by :func:`opened`.

    lines: records that were there, in the order they were written. n_bad: lines that could not be
    read, or are not as they were written. n_written: lines since then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.n_written = folder, 0
        self._path = folder / ROWS
        self._break, self._synced, self._waiting = _break(self._path), 0.0, False
        self.lines, self.n_bad = _read(self._path)

    def forget(self) -> None:
        """The lines that were there are read; only their number is kept."""
        self.n_written += len(self.lines)
        self.lines = []

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, of JSON types; the first and later ones each second reach the disk.

        Raises StateError for what the file system refuses (a full disk); the lines before it stay.
        """
        now = time.monotonic()
        self._write(_line(record), sync=now - self._synced >= _SYNC_SECONDS)
        self.n_written += 1

    def sync(self) -> None:
        """Wait until the disk has what was written. Raises StateError where it refuses."""
        if self._waiting:
            self._write(b"", sync=True)

    def _write(self, data: bytes, sync: bool) -> None:
        try:
            _write(self._path, self._break + data if data else data, sync)
        except OSError as error:
            kept = len(self.lines) + self.n_written
            raise StateError(
                f"state {str(self.folder)!r} cannot be written: {error.strerror or error}; its "
                f"{kept} finished lines are kept: make room and run again with the same state"
            ) from error
        self._break, self._waiting = b"", not sync
        if sync:
            self._synced = time.monotonic()


def _write(path: Path, data: bytes, sync: bool) -> None:
    """Append to a file, all of it or nothing; sync: wait for the disk."""
    with open(path, "ab", buffering=0) as handle:  # nothing is left for close()
        before = handle.tell()
        try:
            left = memoryview(data)
            while left:
                left = left[handle.write(left) :]
            if sync:
                os.fsync(handle.fileno())
        except OSError:
            with suppress(OSError):  # half a line would be skipped as well
                os.truncate(path, before)
            raise


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), sort_keys=True, allow_nan=False)
    body = text.encode()
    return _HEAD + _check(body) + _MIDDLE + body + _TAIL


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK // 2).hexdigest().encode()


def _break(path: Path) -> bytes:
    """A new line first, where the last one was cut."""
    if not path.is_file():
        return b""
    with open(path, "rb") as handle:
        if not handle.seek(0, os.SEEK_END):
            return b""
        handle.seek(-1, os.SEEK_END)
        return b"" if handle.read(1) == b"\n" else b"\n"


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """All whole records, and how many lines are none."""
    found, bad = [], 0
    if path.is_file():
        with open(path, "rb") as handle:
            for line in handle:
                record = _record(line)
                bad += record is None and line != b"\n"
                if record is not None:
                    found.append(record)
    return found, bad


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is not what was written."""
    start = len(_HEAD) + _CHECK
    body = line[start + len(_MIDDLE) : -len(_TAIL)]
    if line != _HEAD + _check(body) + _MIDDLE + body + _TAIL:
        return None
    found = json.loads(body)
    return found if isinstance(found, dict) else None


@contextmanager
def opened(folder: str | os.PathLike[str]) -> Iterator[Journal]:
    """The journal of a state, made where it is not there, held for this run alone.

    Raises InputError for what cannot be such a folder or be written to, StateError where another
    run holds it.
    """
    from filelock import FileLock, Timeout

    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise StateError(
            f"another run is writing into state {str(place)!r}; wait for it, or give another folder"
        ) from None
    except OSError as error:
        reason = "it is a file" if place.is_file() else (error.strerror or str(error))
        raise InputError(
            f"state={str(place)!r} cannot be used ({reason}); give a folder that can be written to"
        ) from error
    try:
        journal = Journal(place)
        try:
            yield journal
        finally:
            with suppress(StateError):  # the lines are written, whatever ends the run
                journal.sync()
    finally:
        lock.release()
