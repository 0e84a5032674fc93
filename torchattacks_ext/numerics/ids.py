"""Which sample is this, whatever its place in the batch? Content ids and given ids.

Random streams are keyed by the id of a sample. A position would not do: two loaders,
two halves of a data set or a shuffled epoch would give the same picture other noise,
and every batch of a loop the same noise. So an id is either given by the caller or read
off the picture itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, StateError
from .norms import Bounds, bounds_for
from .streams import hash64, to_signed, word

_TILT = 1 / 48


def _steps(images: Tensor, bounds: Bounds) -> Tensor:
    """Pixels as uint8 steps of 1/255 of the bounds: floor(255 t + 1/2 + 1/48), in 0..255.

    Plain rounding would let 8/16, which is step 127.5, fall to either side by the 3e-7
    that normalising and undoing it leaves behind. Data of m grey levels have 255 t on a
    grid of 1/m; the threshold moved by 1/48 lies on none of the usual ones (m = 16, 32, 64,
    128, 1000, 1023, 4095) and off each by many times that noise. 8-bit data sit on the steps.
    """
    pixels = images.detach().to(torch.float32)
    low, high = bounds_for(bounds, pixels)
    t = (pixels - low).div_(high - low)
    return t.mul_(255).add_(0.5 + _TILT).clamp_(0, 255).to(torch.uint8)  # cuts down


def content_hashes(
    images: Tensor, labels: Tensor | None, bounds: Bounds | None
) -> Tensor:
    """64-bit BLAKE2b of what every row is: shape, label if any, pixels to 1/255 of the bounds.

    images: (N, ...) in any memory order, dtype and on any device; labels: (N,) integers
    or None; bounds: lowest and highest pixel value (floats, or one value a channel), or
    None for data without a range, whose float32 bytes are hashed. Returns (N,) int64 on
    the CPU. Rows of equal steps have equal hashes; two others with probability 2^-64.
    Noise of 1e-6 of the range does not change the hash of 8-bit pictures, nor of
    pictures with 17 levels. Raises InputError for labels that do not fit. Cost: 10-20
    us for 3 x 32 x 32.

    >>> x = torch.tensor([[0.0, 0.5], [0.0, 1.0]])
    >>> a, b = content_hashes(x, None, (0, 1)), content_hashes(2 * x + 1e-7, None, (0, 2))
    >>> torch.equal(a, b), a[0] == a[1]
    (True, tensor(False))
    """
    return Contents(images, bounds).hashes(labels)


class Contents:
    """What the rows of images (N, ...) are to whoever hashes them, made once for several hashes.

    images, bounds: as in :func:`content_hashes`.
    """

    def __init__(self, images: Tensor, bounds: Bounds | None) -> None:
        if bounds is None:
            # + 0.0 makes one zero of the two.
            kind, rows = "float32", images.detach().to(torch.float32) + 0.0
        else:
            kind, rows = "steps", _steps(images, bounds)
        self._head = f"{kind} {tuple(images.shape[1:])}"
        array = rows.flatten(1).contiguous().cpu().numpy()
        self._rows = [row.tobytes() for row in array]

    def hashes(self, labels: Tensor | None) -> Tensor:
        """(N,) int64, as :func:`content_hashes` says."""
        n, form = len(self._rows), "plain" if labels is None else "labelled"
        if labels is not None and (labels.shape != (n,) or _is_inexact(labels)):
            raise InputError(
                f"labels must be ({n},) integers, got {tuple(labels.shape)} {labels.dtype}"
            )
        names = [b""] * n if labels is None else [b"%d" % k for k in labels.tolist()]
        start = blake2b(f"{self._head} {form}".encode(), digest_size=8)
        hashes = bytearray()
        for row, name in zip(self._rows, names):
            state = start.copy()
            state.update(b" %b " % name)
            state.update(row)
            hashes += state.digest()
        return torch.from_numpy(np.frombuffer(hashes, "<i8").astype(np.int64))

    def keys(self) -> list[int]:
        """A number a row, the same for the same pixels, in this process alone; 1-2 us for 3 KB."""
        return [hash((self._head, row)) for row in self._rows]


def _is_inexact(values: Tensor) -> bool:
    return values.is_floating_point() or values.is_complex()


class IdBook:
    """The ids handed out in one measurement: no two rows share one, so no two share their noise.

    ``assign`` makes ids from content. The k-th further row of the same content (k = 1,
    2, ..) gets word k of the SplitMix64 stream of the hash, the first the hash itself:
    ids depend on the content and on how often it came before, not on batches or on the
    order of other rows. ``given`` takes the caller's own ids. A book serves one
    measurement; the next starts a new one.

    >>> book = IdBook()
    >>> ids = book.assign(torch.zeros(2, 4), None, (0, 1))
    >>> bool(ids[0] == ids[1]), book.n_duplicates
    (False, 1)
    """

    def __init__(self) -> None:
        self.n_duplicates = 0
        """Rows so far whose content had been seen before."""
        self._seen: dict[int, int] = {}
        self._used: set[int] = set()

    def assign(
        self, images: Tensor, labels: Tensor | None, bounds: Bounds | None
    ) -> Tensor:
        """Ids from content: arguments as in :func:`content_hashes`; returns (N,) int64, CPU.

        Raises StateError if a row would get an id that was given before.
        """
        return self.of(content_hashes(images, labels, bounds))

    def of(self, hashes: Tensor) -> Tensor:
        """Ids from hashes (N,) of :func:`content_hashes`; otherwise as :meth:`assign`."""
        ids = []
        for content in hashes.tolist():
            k = self._seen.get(content, 0)
            self._seen[content] = k + 1
            self.n_duplicates += k > 0
            ids.append(to_signed(word(content, k)) if k else content)
        return self._take(ids)

    def given(
        self, ids: Tensor | np.ndarray[Any, Any] | Sequence[int] | Sequence[str]
    ) -> Tensor:
        """The caller's ids as (N,) int64, CPU: integers as they are, strings by 64-bit BLAKE2b.

        Raises InputError for anything else, for integers outside int64 and for other
        shapes than (N,); StateError, naming the id, for one that this book has handed
        out before.

        >>> IdBook().given(["cat_1.png", "cat_2.png"]).shape
        torch.Size([2])
        """
        if isinstance(ids, (Tensor, np.ndarray)):
            if ids.ndim != 1:
                raise InputError(f"ids must be (N,), got shape {tuple(ids.shape)}")
            ids = ids.tolist()
        if isinstance(ids, str):
            raise InputError(
                f"ids={ids!r} is one string; give one id a row, say a list of strings"
            )
        names = list(ids)
        return self._take([_number(name) for name in names], names)

    def _take(self, ids: list[int], names: Sequence[object] | None = None) -> Tensor:
        fresh: set[int] = set()
        for position, number in enumerate(ids):
            if number in self._used or number in fresh:
                shown = to_hex([number])[0] if names is None else repr(names[position])
                raise StateError(
                    f"id {shown} of row {position} is used twice in one measurement, and equal ids "
                    "would get equal noise: give every row its own id, or no ids at all (then they "
                    "are made from the content)"
                )
            fresh.add(number)
        self._used |= fresh
        return torch.tensor(ids, dtype=torch.int64)


def _number(name: object) -> int:
    if isinstance(name, str):
        return to_signed(hash64(name.encode()))
    if isinstance(name, Tensor) and name.ndim == 0:
        name = name.item()
    if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
        if -(1 << 63) <= name < 1 << 63:
            return int(name)
    raise InputError(
        f"id {name!r} must be an integer in [-2^63, 2^63) or a string; "
        "turn other names into strings"
    )


def to_hex(ids: Tensor | Sequence[int]) -> list[str]:
    """Ids as 16 hexadecimal digits each (two's complement), the form in which they are stored.

    >>> to_hex([1, -1])
    ['0000000000000001', 'ffffffffffffffff']
    """
    numbers = ids.tolist() if isinstance(ids, Tensor) else ids
    return [f"{number & ((1 << 64) - 1):016x}" for number in numbers]


def from_hex(words: Sequence[str]) -> Tensor:
    """The inverse of :func:`to_hex`: (N,) int64. Raises InputError unless all have 16 hex digits.

    >>> from_hex(["0000000000000001", "ffffffffffffffff"])
    tensor([ 1, -1])
    """
    for text in words:
        if not re.fullmatch("[0-9a-fA-F]{16}", text):
            raise InputError(f"{text!r} is not an id of 16 hexadecimal digits")
    return torch.tensor([to_signed(int(text, 16)) for text in words], dtype=torch.int64)
