"""Which pictures of two sets are near copies of each other? All pairs, in blocks, in two steps.

Step one multiplies spectra (see :mod:`.features`) block by block and keeps pairs above `COARSE`.
Step two asks of these whether, at the best of nine shifts by up to one pixel of the grey copies,
the correlation of their bands is at least the threshold: then 1 - .99^2 = 2 % of the contrast of
the low frequencies is left unexplained. Measured (benchmarks/data_audit.py): of 1,017 CIFAR-10
images and their lossy JPEGs all but a few in a thousand are that near, and of different ones
next to none; one-pixel shifts of MNIST digits are 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .features import bands, grey_copies, shifted_bands, spectra

THRESHOLD, COARSE = 0.99, 0.93
_ROWS, _OTHERS, _PAIRS = 512, 4096, 2048


@dataclass(frozen=True, eq=False)
class Portraits:
    """What is kept of N pictures: grey copies (N, h, w) float16, spectra (N, D) float32.

    >>> Portraits.of(torch.rand(2, 1, 8, 8), (8, 8)).spectra.shape
    torch.Size([2, 28])
    """

    copies: Tensor
    spectra: Tensor

    def __len__(self) -> int:
        return len(self.copies)

    @classmethod
    def of(cls, images: Tensor, size: tuple[int, int]) -> Portraits:
        """Of images (N, C, H, W), finite."""
        copies = grey_copies(images, size)
        return cls(copies, spectra(copies))

    @classmethod
    def join(cls, parts: list[Portraits]) -> Portraits:
        """All of them, end to end; at least one."""
        return cls(
            torch.cat([part.copies for part in parts]),
            torch.cat([part.spectra for part in parts]),
        )


def near_pairs(
    ours: Portraits, theirs: Portraits | None = None, threshold: float = THRESHOLD
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (rows (P,), others (P,), likeness (P,)) of near copies, identical ones included.

    theirs: the other set; None compares `ours` with itself and gives each pair once, the later row
    first. Flat pictures are near to nothing. Cost: one product of length D a pair, 9 more a
    candidate; memory bounded by the blocks.

    >>> images = torch.rand(3, 1, 28, 28)
    >>> images[2] = images[0].roll(1, -1) * 0.9
    >>> images[2, ..., 0] = images[2, ..., 1]
    >>> faces = Portraits.of(images, (28, 28))
    >>> [(a.tolist(), b.tolist()) for a, b, _ in near_pairs(faces, threshold=0.9)]
    [([2], [0])]
    """
    other = ours if theirs is None else theirs
    for start in range(0, len(ours), _ROWS):
        stop = min(start + _ROWS, len(ours))
        end, moved = stop if theirs is None else len(other), None
        for at in range(0, end, _OTHERS):
            part = other.spectra[at : min(at + _OTHERS, end)]
            close = ours.spectra[start:stop] @ part.T >= COARSE
            rows, columns = close.nonzero(as_tuple=True)
            if theirs is None:
                earlier = columns + at < rows + start
                rows, columns = rows[earlier], columns[earlier]
            if not len(rows):
                continue
            if moved is None:
                moved = shifted_bands(ours.copies[start:stop])
            still = other.copies[at : at + _OTHERS]
            for one, two, like in _checked(moved, still, rows, columns, threshold):
                yield one + start, two + at, like


def _checked(
    moved: Tensor, copies: Tensor, rows: Tensor, columns: Tensor, threshold: float
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Those of the candidates whose bands agree at the best shift."""
    against, at = torch.unique(columns, return_inverse=True)
    still = bands(copies[against])
    for start in range(0, len(rows), _PAIRS):
        cut = slice(start, start + _PAIRS)
        products = torch.bmm(moved[rows[cut]], still[at[cut]][:, :, None])
        like = products[:, :, 0].amax(1)
        near = like >= threshold
        if near.any():
            yield rows[cut][near], columns[cut][near], like[near].clamp(max=1)
