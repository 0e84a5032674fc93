"""Which images may be asked for later? Those that a cheap attack left, kept small until then."""

from __future__ import annotations

import torch
from torch import Tensor

from ....data.stream import Batch
from ....errors import StateError

_GONE = (
    "images that the cheap attack left are not at hand any more; run the stage budgeted without an "
    "earlier state"
)


class Pool:
    """Images that may be asked for later; 8-bit numbers as long as nothing is lost."""

    def __init__(self) -> None:
        self._ids: list[Tensor] = []
        self._images: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._like: Tensor | None = None

    def add(self, ids: Tensor, images: Tensor, labels: Tensor) -> None:
        """Keep rows (M,)."""
        self._like = images[:0]
        pixels = images.detach().cpu()
        small = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
        exact = torch.equal(small.to(pixels.dtype) / 255, pixels)
        self._ids.append(ids.cpu())
        self._images.append(small if exact else pixels.clone())
        self._labels.append(labels.cpu())

    def gather(self) -> None:
        """All rows as one; raises StateError where none was kept."""
        if self._like is None or not sum(map(len, self._ids)):
            raise StateError(_GONE)
        if len({part.dtype for part in self._images}) > 1:
            self._images = [self._pixels(part) for part in self._images]
        for parts in (self._ids, self._images, self._labels):
            parts[:] = [torch.cat(parts)]

    def _pixels(self, images: Tensor) -> Tensor:
        assert self._like is not None
        small = images.dtype == torch.uint8
        return images.to(self._like.dtype) / 255 if small else images

    def batch(self, ids: Tensor) -> Batch:
        """The rows of ids (M,), which :meth:`gather` put together. StateError where one lacks."""
        assert self._like is not None
        order = self._ids[0].argsort()
        known = self._ids[0][order]
        at = torch.searchsorted(known, ids).clamp(max=len(known) - 1)
        if not torch.equal(known[at], ids):
            raise StateError(_GONE)
        rows, device = order[at], self._like.device
        images = self._pixels(self._images[0][rows]).to(device)
        labels = self._labels[0][rows].to(device)
        return Batch(ids.to(device), images, labels, torch.arange(len(ids)))
