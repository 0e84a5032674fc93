"""What is kept of a split after one pass over it? Keys, labels, small copies; no pixels.

Per image: a key of 128 bits, the label, a grey copy of at most 2 KiB and a spectrum of at most 612
bytes, whatever the size of the image. Pixels are the same where they agree to 1/65,280 of [0, 1]:
so 8-bit pixels keep their key through any float, and uint8 and float forms of a picture agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...numerics.likeness.features import copy_size
from ...numerics.likeness.pairs import Portraits
from ...results.datasets.audit import SplitFacts
from ..batches import raw_batches
from ..door import as_tensor, check_labels
from ..loaders.npz import channels_last

STEPS = 255 * 256
_LEAST = 4
"""Sides below it show nothing that could be compared."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A split that was read. keys (N, 2) uint64; labels (N,) int64 or None; portraits or None."""

    facts: SplitFacts
    keys: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any] | None
    portraits: Portraits | None


def scan_split(
    name: str, data: Any, batch_size: int, size: tuple[int, int] | None, near: bool
) -> Scan:
    """Read a split once, batch by batch; size: of its grey copies, None takes that of the first.

    data: (images, labels), images, or anything that yields batches. Raises InputError, naming the
    split, for what cannot be read.
    """
    try:
        return _Reader(name, near, size).read(data, batch_size)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


class _Reader:
    def __init__(self, name: str, near: bool, size: tuple[int, int] | None) -> None:
        self.name, self.near, self.size = name, near, size
        self.shapes: dict[tuple[int, ...], None] = {}
        self.keys: list[bytes] = []
        self.labels: list[Tensor] = []
        self.parts: list[Portraits] = []
        self.low, self.high = np.inf, -np.inf
        self.constant = self.non_finite = 0

    def read(self, data: Any, batch_size: int) -> Scan:
        if isinstance(data, tuple) and len(data) != 2:
            raise InputError(f"a tuple of {len(data)}, expected (images, labels)")
        images, labels = data if isinstance(data, tuple) else (data, None)
        if hasattr(images, "__array__"):
            images = as_tensor(images, "images")
            if labels is not None:
                labels = check_labels(labels, len(images))
        elif labels is not None:
            raise InputError("give (images, labels) as arrays, or a loader of both")
        for raw in raw_batches(images, labels, batch_size):
            pixels = pixels_of(raw.images)
            if len(pixels):
                self._add(pixels, raw.labels)
        if not self.keys:
            raise InputError("there are no images; give at least one")
        return self._scan()

    def _add(self, pixels: Tensor, labels: Any) -> None:
        if (labels is None) == bool(self.labels) and self.keys:
            raise InputError("some batches have labels and some have none")
        if labels is not None:
            self.labels.append(check_labels(labels, len(pixels)).cpu())
        self.shapes[tuple(pixels.shape[1:])] = None
        finite = torch.isfinite(pixels.flatten(1))
        odd = ~finite.all(1)
        self.non_finite += int(odd.sum())
        self._measure(pixels, finite, odd)
        self._hash(pixels)
        if self.near:
            hidden = odd.view(-1, *[1] * (pixels.dim() - 1))
            self._portray(torch.where(hidden, 0.0, pixels))

    def _measure(self, pixels: Tensor, finite: Tensor, odd: Tensor) -> None:
        whole = pixels.flatten(1)
        whole = whole[finite] if bool(odd.any()) else whole
        if whole.numel():
            self.low = min(self.low, float(whole.min()))
            self.high = max(self.high, float(whole.max()))
        areas = pixels.flatten(2) if pixels.dim() > 2 else pixels[:, None]
        if areas.shape[2] > 1:
            one = (areas.amax(2) == areas.amin(2)).all(1)
            self.constant += int((one & ~odd).sum())

    def _hash(self, pixels: Tensor) -> None:
        steps = torch.nan_to_num(pixels.double() * STEPS, nan=-(2.0**31))
        rows = steps.round().clamp(-(2**31), 2**31 - 1).to(torch.int32)
        start = blake2b(str(tuple(pixels.shape[1:])).encode(), digest_size=16)
        for row in rows.flatten(1).contiguous().numpy().astype("<i4", copy=False):
            state = start.copy()
            state.update(row.data)
            self.keys.append(state.digest())

    def _portray(self, pixels: Tensor) -> None:
        if pixels.dim() != 4 or min(pixels.shape[2:]) < _LEAST:
            self.near = False
            return
        self.size = self.size or copy_size(*pixels.shape[2:])
        self.parts.append(Portraits.of(pixels, self.size))

    def _scan(self) -> Scan:
        labels = torch.cat(self.labels).numpy() if self.labels else None
        counts = None
        if labels is not None:
            found = Counter(labels.tolist())
            counts = {str(label): found[label] for label in sorted(found)}
        facts = SplitFacts(
            name=self.name,
            n=len(self.keys),
            shapes=tuple(self.shapes),
            fingerprint=_fingerprint(self.keys, labels),
            low=self.low if np.isfinite(self.low) else float("nan"),
            high=self.high if np.isfinite(self.high) else float("nan"),
            constant=self.constant,
            non_finite=self.non_finite,
            class_counts=counts,
        )
        keys = np.frombuffer(b"".join(self.keys), dtype="<u8").reshape(-1, 2)
        joined = Portraits.join(self.parts) if self.near else None
        return Scan(facts, keys, labels, joined)


def pixels_of(images: Any) -> Tensor:
    """A batch as float32 (N, ...) on the CPU: uint8 divided by 255, channels before the sides.

    Raises InputError for other whole numbers and for less than two dimensions.

    >>> pixels_of(torch.full((2, 8, 8, 3), 255, dtype=torch.uint8)).shape
    torch.Size([2, 3, 8, 8])
    """
    raw = as_tensor(images, "images").detach().cpu()
    if raw.dim() < 2:
        raise InputError(f"images have shape {tuple(raw.shape)}, expected (N, ...)")
    if raw.dtype == torch.uint8:
        raw = raw.float() / 255
    elif not raw.is_floating_point():
        raise InputError(
            f"images are {raw.dtype}, expected uint8 (0..255) or floats; divide them by their "
            "largest value"
        )
    if raw.dim() == 3:
        raw = raw[:, None]
    if raw.dim() == 4 and channels_last(tuple(raw.shape)):
        raw = raw.permute(0, 3, 1, 2)
    return raw.float().contiguous()


def _fingerprint(keys: list[bytes], labels: np.ndarray[Any, Any] | None) -> str:
    names = [b""] * len(keys) if labels is None else [b"%d" % one for one in labels]
    total = sha256(b"%d" % len(keys))
    for row in sorted(key + name for key, name in zip(keys, names)):
        total.update(len(row).to_bytes(2, "little") + row)
    return total.hexdigest()
