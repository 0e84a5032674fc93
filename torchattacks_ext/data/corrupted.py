"""How are the published folders of corrupted CIFAR images read? As they are, without copying."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

SEVERITIES = 5
LABELS = "labels"
_EACH = (32, 32, 3)


class CorruptedFolder:
    """A folder as CIFAR-10-C and CIFAR-100-C come: NAME.npy and labels.npy.

    path: of the folder. NAME.npy holds (5 M, H, W, 3) uint8, severity 1 first, M images each
    (10,000 of 32 x 32 in the published ones), labels.npy as many labels, the M test labels five
    times. Files stay on the disk (memory-mapped), nothing pickled is read. Raises InputError for a
    folder, labels or images of another form.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "labels.npy", np.repeat([[3, 7]], 5, axis=0).ravel())
    >>> np.save(folder / "fog.npy", np.full((10, 32, 32, 3), 51, np.uint8))
    >>> found = CorruptedFolder(folder)
    >>> found.names, len(found), found.labels().tolist()
    (('fog',), 2, [3, 7])
    >>> found.images("fog", 5, torch.tensor([1])).shape, found.images("fog", 5).mean()
    (torch.Size([1, 3, 32, 32]), tensor(0.2000))
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        files = sorted(self.path.glob("*.npy")) if self.path.is_dir() else []
        self.names = tuple(file.stem for file in files if file.stem != LABELS)
        if not self.names or len(files) == len(self.names):
            raise InputError(
                f"{self.path} has no labels.npy and NAME.npy beside it; give the unpacked folder "
                "CIFAR-10-C"
            )
        labels = _array(self.path / f"{LABELS}.npy")
        self._n = len(labels) // SEVERITIES
        fits = labels.ndim == 1 and labels.dtype.kind in "iu" and self._n > 0
        if not fits or len(labels) != SEVERITIES * self._n:
            raise InputError(
                f"{self.path / 'labels.npy'} is {labels.shape} {labels.dtype}, expected (5 M,) "
                "whole numbers: the labels of M images once a severity"
            )
        rows = np.asarray(labels).reshape(SEVERITIES, self._n)
        if (rows != rows[0]).any():
            raise InputError(
                f"{self.path / 'labels.npy'} has other labels for another severity; expected the "
                "same M labels five times"
            )
        self._labels = torch.from_numpy(rows[0].astype(np.int64))

    def __len__(self) -> int:
        """M, the images of one corruption and severity."""
        return self._n

    def labels(self) -> Tensor:
        """(M,) int64."""
        return self._labels.clone()

    def images(self, name: str, severity: int, rows: Tensor | None = None) -> Tensor:
        """(n, 3, H, W) float32 in [0, 1]: the images `rows` (n,) int64 of 0 .. M - 1, or all M.

        Raises InputError for an unknown name, severity or row, and for a file of another form.
        """
        if name not in self.names:
            raise InputError(
                f"{self.path} has no {name}.npy; it has {', '.join(self.names)}"
            )
        if severity not in range(1, SEVERITIES + 1):
            raise InputError(f"severity={severity!r} is not one of 1 .. {SEVERITIES}")
        held = _array(self.path / f"{name}.npy")
        wanted = (SEVERITIES * self._n, held.shape[1:3], 3, np.uint8)
        if (
            held.ndim != 4
            or (len(held), held.shape[1:3], held.shape[3], held.dtype) != wanted
        ):
            raise InputError(
                f"{name}.npy is {held.shape} {held.dtype}, expected "
                f"({SEVERITIES * self._n}, {', '.join(map(str, _EACH))}) uint8: {self._n} images "
                "a severity"
            )
        place = np.arange(self._n) if rows is None else rows.cpu().numpy()
        if len(place) and not (0 <= place.min() and place.max() < self._n):
            raise InputError(
                f"rows {place.min()} .. {place.max()} are not in 0 .. {self._n - 1}"
            )
        levels = torch.from_numpy(held[place + (severity - 1) * self._n])
        return levels.permute(0, 3, 1, 2).contiguous().float().div_(255)


def _array(path: Path) -> np.ndarray[Any, Any]:
    """A file of one plain array, mapped and not read."""
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a NumPy file of one array: {error}") from error
    if not isinstance(held, np.ndarray):
        raise InputError(f"{path} is an archive; expected one array (numpy.save)")
    return held
