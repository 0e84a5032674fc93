"""What does a person who waits see? One live line: stage, rows, how many are broken, time to go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .running import Running


class Live:
    """A bar over the rows of all stages."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._broken = bar, dict[str, int]()

    def told(self, run: Running, rows: int) -> None:
        """So many more rows of a stage are through."""
        if not self._bar.disable:
            self._bar.set_description_str(run.stage.label, refresh=False)
            self._bar.set_postfix_str(f"{run.broken} broken", refresh=False)
        self._bar.update(rows)


@contextmanager
def live(rows: int | None, running: Sequence[Running], show: bool) -> Iterator[Live]:
    """The line of one run. rows: of the data, where known. show: False draws nothing."""
    from tqdm.auto import tqdm

    total = None if rows is None else rows * len(running)
    off = None if show else True
    with tqdm(total=total, desc="evaluate", unit="row", disable=off) as bar:
        yield Live(bar)
