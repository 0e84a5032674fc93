"""How is a run asked to stop? Ctrl-C and SIGTERM, at once and with one sentence; rows stay."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

BASE = 128
"""A process that a signal ended exits with this and the signal's number."""


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop; exit_code: 130 for Ctrl-C, 143 for SIGTERM."""

    def __init__(self, words: str, exit_code: int) -> None:
        super().__init__(words)
        self.exit_code = exit_code


@contextmanager
def stoppable(folder: Path) -> Iterator[None]:
    """While it is open SIGTERM ends the run as Ctrl-C does. Raises Stopped for both.

    Signals reach the main thread only; elsewhere this does nothing but name the state.
    """
    caught: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if ours else None
    try:
        yield
    except KeyboardInterrupt as error:
        number = caught[0] if caught else int(signal.SIGINT)
        raise Stopped(
            f"stopped by {signal.Signals(number).name}; what was finished is in {str(folder)!r}: "
            "run again with the same state to go on",
            BASE + number,
        ) from error
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
