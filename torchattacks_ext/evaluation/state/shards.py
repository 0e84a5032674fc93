"""Which rows are whose? Every n-th group of rows, so that no length need be known."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ConfigError

_FORM = re.compile(r"(\d+)/(\d+)")
_REMEDY = 'write "i/n" with 1 <= i <= n, say "1/4", or "auto"'


@dataclass(frozen=True)
class Shard:
    """Part `i` of `n` (from 1): the groups of rows whose number leaves i - 1 when divided by n.

    >>> Shard(2, 2).spans(0, 10, group_size=3)
    [(3, 6), (9, 10)]
    """

    i: int = 1
    n: int = 1

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"

    @property
    def folder(self) -> str:
        """The name of its own part of a state."""
        return f"shard-{self.i}-of-{self.n}"

    def spans(self, start: int, stop: int, group_size: int) -> list[tuple[int, int]]:
        """Its rows of start .. stop - 1, in pieces without a gap."""
        return list(self._spans(start, stop, group_size))

    def _spans(self, start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
        if self.n == 1:
            yield start, stop
            return
        for block in range(start // size, (stop - 1) // size + 1):
            if block % self.n == self.i - 1:
                yield max(start, block * size), min(stop, (block + 1) * size)

    def positions(self, rows: int, group_size: int) -> Tensor:
        """(rows,) the places in the whole data of its first `rows` rows.

        >>> Shard(2, 2).positions(4, group_size=3).tolist()
        [3, 4, 5, 9]
        """
        own = torch.arange(rows)
        block = own // group_size * self.n + self.i - 1
        return block * group_size + own % group_size


def read_shard(text: str | Shard | None) -> Shard | None:
    """ "i/n", or "auto": of the process (RANK and WORLD_SIZE, or SLURM's array of jobs).

    None stays None. Raises ConfigError for anything else, and for "auto" where nothing says it.

    >>> read_shard("2/3")
    Shard(i=2, n=3)
    """
    if text is None or isinstance(text, Shard):
        return text
    if text == "auto":
        return _of_process(os.environ)
    found = _FORM.fullmatch(str(text).strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"shard={text!r} is none: {_REMEDY}")
    return Shard(int(found[1]), int(found[2]))


def _of_process(environ: Mapping[str, str]) -> Shard:
    try:
        if "WORLD_SIZE" in environ:
            return (
                read_shard(f"{int(environ['RANK']) + 1}/{environ['WORLD_SIZE']}")
                or Shard()
            )
        first = int(environ.get("SLURM_ARRAY_TASK_MIN", "0"))
        i = int(environ["SLURM_ARRAY_TASK_ID"]) - first + 1
        return read_shard(f"{i}/{environ['SLURM_ARRAY_TASK_COUNT']}") or Shard()
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"shard='auto' needs RANK and WORLD_SIZE, or SLURM_ARRAY_TASK_ID and "
            f"SLURM_ARRAY_TASK_COUNT ({error}); {_REMEDY}"
        ) from error
