"""Where do the images of a result live? In memory or in a safetensors file, never inside."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, StateError
from . import codec


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hex, read in blocks of 1 MiB."""
    total = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            total.update(block)
    return total.hexdigest()


@dataclass(frozen=True, eq=False)
class SideCar:
    """Images kept for some rows of a result.

    Either `ids` (n,) and `stored` (n, ...) in memory, or `path` and `sha256` of a safetensors file
    with the tensors "ids" and "images". Pixel scale of the input ([0, 1]).
    """

    path: str | None = None
    sha256: str | None = None
    ids: Tensor | None = field(default=None, repr=False)
    stored: Tensor | None = field(default=None, repr=False)

    @classmethod
    def save(cls, path: str | os.PathLike[str], ids: Tensor, images: Tensor) -> SideCar:
        """Write the images and return the reference. Never leaves a half-written file behind.

        Missing folders are made. Raises InputError for what the file system refuses.
        """
        from safetensors.torch import save_file

        tensors = {
            "ids": ids.detach().cpu().contiguous(),
            "images": images.detach().cpu().contiguous(),
        }
        with codec.replacing(path) as part:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.touch()
            usual = part.stat().st_mode
            save_file(tensors, part)
            part.chmod(usual)  # safetensors' files are for their owner only
            sha256 = file_sha256(part)
        return cls(path=str(path), sha256=sha256)

    def load(self) -> tuple[Tensor, Tensor]:
        """(ids, images). Raises InputError if the file is missing, StateError if it was changed."""
        if self.ids is not None and self.stored is not None:
            return self.ids, self.stored
        if self.path is None or not Path(self.path).is_file():
            raise InputError(
                f"side-car {self.path!r} is not there; keep it beside the result"
            )
        if file_sha256(self.path) != self.sha256:
            raise StateError(
                f"side-car {self.path!r} was changed since the result was written: "
                f"its SHA-256 is not {self.sha256}; measure again with keep="
            )
        from safetensors.torch import load_file

        tensors = load_file(self.path)
        return tensors["ids"], tensors["images"]

    def to_dict(self) -> dict[str, Any] | None:
        """{path, sha256}, or None for images in memory (they do not travel in JSON)."""
        if self.path is None:
            return None
        return {"path": self.path, "sha256": self.sha256}


def lookup(sidecars: tuple[SideCar, ...], ids: Tensor) -> Tensor:
    """The images of `ids` (n,), in that order.

    Raises InputError if one of them was not kept, or if they have several sizes.
    """
    parts = [car.load() for car in sidecars]
    if not parts:
        raise InputError(
            'no images were kept; measure again with keep="memory" or keep=PATH'
        )
    places = {
        number: (which, place)
        for which, part in enumerate(parts)
        for place, number in enumerate(part[0].tolist())
    }
    wanted = [places.get(number, (-1, -1)) for number in ids.tolist()]
    lost = wanted.count((-1, -1))
    if lost:
        raise InputError(
            f"{lost} of {len(wanted)} ids have no kept image; select fewer rows"
        )
    return _gather([part[1] for part in parts], wanted)


def _gather(stored: list[Tensor], wanted: list[tuple[int, int]]) -> Tensor:
    """Images by (part, place in it)."""
    used = sorted({which for which, _ in wanted}) or [0]
    shapes = sorted({tuple(stored[which].shape[1:]) for which in used})
    if len(shapes) > 1:
        raise InputError(
            f"the kept images have the shapes {shapes}, which are no one tensor; select the rows "
            "of one shape first: result.select(ids).images()"
        )
    starts, start = {}, 0
    for which in used:
        starts[which] = start
        start += len(stored[which])
    rows = [starts[which] + place for which, place in wanted]
    whole = torch.cat([stored[which] for which in used])
    return whole[torch.tensor(rows, dtype=torch.int64)]
