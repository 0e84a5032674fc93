"""What is there of a run so far? Finished rows, kept images, what could not be measured."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ..._typing import Status
from ...errors import InputError, ModelContractError
from ...results.base.columns import Rows, Table
from ...results.base.facts import Flag
from ...results.base.result import Result
from ...results.base.sidecar import SideCar

PART_BYTES = 256 << 20
"""Kept images are written in parts of about this size, so that memory stays bounded."""


def check_keep(keep: str) -> None:
    """Raises InputError, before any work, for a folder that cannot be one or written to.

    >>> check_keep("none"), check_keep("memory")
    (None, None)
    """
    if keep in ("none", "memory"):
        return
    place = Path(keep)
    nearest = next(part for part in (place, *place.absolute().parents) if part.exists())
    if not nearest.is_dir():
        raise InputError(
            f"keep={keep!r} cannot be a folder: {str(nearest)!r} is a file; give another place"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"keep={keep!r} cannot be written: no right to write in {str(nearest)!r}; give "
            "another place"
        )


class Keeper:
    """Kept images of a run: nowhere ("none"), in memory ("memory"), or in files of a folder.

    Images of one shape and dtype share a side-car. Raises InputError at once for a folder that
    cannot be one; a disk that is full later costs the images, which `flags` says, not the rows.
    """

    def __init__(self, keep: str) -> None:
        check_keep(keep)
        self._keep = keep
        self._ids: list[Tensor] = []
        self._images: list[Tensor] = []
        self._cars: list[SideCar] = []
        self._lost, self._reason = 0, ""

    def add(self, rows: Rows) -> None:
        """Take the images of finished rows, if any are kept."""
        if self._keep == "none" or rows.images is None:
            return
        self._ids.append(rows.columns["ids"].cpu())
        self._images.append(rows.images.detach().cpu())
        size = sum(part.numel() * part.element_size() for part in self._images)
        if self._keep != "memory" and size > PART_BYTES:
            self._flush()

    def _flush(self) -> None:
        alike: dict[tuple[object, ...], list[int]] = {}
        for number, part in enumerate(self._images):
            alike.setdefault((part.shape[1:], part.dtype), []).append(number)
        for numbers in alike.values():
            ids = torch.cat([self._ids[number] for number in numbers])
            self._store(ids, torch.cat([self._images[number] for number in numbers]))
        self._ids, self._images = [], []

    def _store(self, ids: Tensor, images: Tensor) -> None:
        if self._keep == "memory":
            self._cars.append(SideCar(ids=ids, stored=images))
            return
        # named after its content: another run in the same folder does not overwrite it
        seen = hashlib.sha256(ids.numpy().tobytes())
        seen.update(images.contiguous().flatten().view(torch.uint8).numpy().data)
        path = Path(self._keep) / f"images-{seen.hexdigest()[:16]}.safetensors"
        try:
            self._cars.append(SideCar.save(path, ids, images))
        except Exception as error:  # of the file system or of safetensors
            self._lost, self._reason = self._lost + len(ids), self._reason or str(error)

    def finish(self) -> tuple[SideCar, ...]:
        """The side-cars of everything added."""
        self._flush()
        return tuple(self._cars)

    def flags(self) -> Iterator[Flag]:
        """What could not be kept; after `finish`."""
        if self._lost:
            text = f"images could not be kept ({self._reason}); their rows are whole"
            yield Flag("images_not_kept", text, self._lost)


class Finished:
    """Rows of a run as they come.

    table: their columns. keeper: their images. failure: what the model raised first on rows that
    are therefore FAILED, None so far.
    """

    def __init__(self, keep: str) -> None:
        self.table, self.keeper = Table(), Keeper(keep)
        self.failure: ModelContractError | None = None
        self._n_failed = 0

    def add(self, rows: Rows) -> None:
        """Take finished rows."""
        self.keeper.add(rows)
        self.table.append(Rows(rows.index, rows.columns))
        if rows.failure is not None:
            self.failure = self.failure or rows.failure
            self._n_failed += len(rows)

    def refuse_nothing(self) -> None:
        """Raises what the model raised, where it left no row at all."""
        if self.failure is not None and self._n_failed == len(self.table):
            raise self.failure


def failed_flag(result: Result, failure: object) -> Iterator[Flag]:
    """The doubt about rows on which the model raised; failure: what it said first.

    >>> list(failed_flag(Result(ids=torch.tensor([1])), None))
    []
    """
    status = getattr(result, "status", torch.zeros(0))
    n = int((status == int(Status.FAILED)).sum())
    if n and failure is not None:
        yield Flag(
            "model_raised",
            f"{failure}; the rows of that batch are FAILED, neither robust nor broken, and "
            "resume= measures them again",
            n,
        )
