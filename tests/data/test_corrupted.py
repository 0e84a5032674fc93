"""Are folders as CIFAR-10-C comes read as they are, and damaged ones refused?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchattacks_ext.data.corrupted import CorruptedFolder
from torchattacks_ext.errors import InputError

M = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images a severity; a pixel says where it is from."""
    levels = np.zeros((5 * M, 32, 32, 3), np.uint8)
    levels[...] = np.arange(5 * M).reshape(-1, 1, 1, 1)
    levels[:, 0, 1, 2] = 255
    np.save(tmp_path / "fog.npy", levels)
    np.save(tmp_path / "snow.npy", levels + 100)
    np.save(tmp_path / "labels.npy", np.tile(np.arange(M, dtype=np.uint8), 5))
    return tmp_path


def test_images_are_found_by_severity_and_row(folder: Path) -> None:
    found = CorruptedFolder(str(folder))
    assert found.names == ("fog", "snow") and len(found) == M
    assert found.labels().dtype == torch.int64 and found.labels().tolist() == [
        0,
        1,
        2,
        3,
    ]
    images = found.images("fog", 3, torch.tensor([3, 0]))
    assert images.shape == (2, 3, 32, 32) and images.dtype == torch.float32
    assert (images[:, 0, 5, 5] * 255).round().tolist() == [11.0, 8.0]
    assert images[:, 2, 0, 1].tolist() == [1.0, 1.0]
    assert len(found.images("snow", 5)) == M


def test_files_are_mapped_and_not_read(folder: Path, monkeypatch: Any) -> None:
    modes = []
    plain = np.load

    def load(path: Any, **more: Any) -> Any:
        modes.append(more)
        return plain(path, **more)

    monkeypatch.setattr(np, "load", load)
    CorruptedFolder(folder).images("fog", 1)
    assert modes == [{"mmap_mode": "r", "allow_pickle": False}] * 2


@pytest.mark.parametrize(
    "name, array, words",
    [
        ("labels", np.arange(19), "expected .5 M,. whole numbers"),
        ("labels", np.zeros(20), "whole numbers"),
        ("labels", np.arange(20), "other labels for another severity"),
        ("fog", np.zeros((20, 32, 32, 3)), "expected .20, 32, 32, 3. uint8"),
        ("fog", np.zeros((19, 32, 32, 3), np.uint8), "expected .20, 32"),
        ("fog", np.zeros((20, 3), np.uint8), "expected .20, 32"),
    ],
)
def test_other_arrays_are_refused(
    folder: Path, name: str, array: Any, words: str
) -> None:
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(InputError, match=words):
        CorruptedFolder(folder).images("fog", 1)


def test_pickles_and_damage_are_refused(folder: Path) -> None:
    np.save(folder / "fog.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="fog.npy is not a NumPy file"):
        CorruptedFolder(folder).images("fog", 1)
    (folder / "snow.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="snow.npy is not a NumPy file"):
        CorruptedFolder(folder).images("snow", 1)


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    found = CorruptedFolder(folder)
    with pytest.raises(InputError, match="no rain.npy; it has fog, snow"):
        found.images("rain", 1)
    with pytest.raises(InputError, match="severity=6"):
        found.images("fog", 6)
    with pytest.raises(InputError, match=r"not in 0 \.\. 3"):
        found.images("fog", 1, torch.tensor([4]))
    (folder / "labels.npy").unlink()
    for path in (folder, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="give the unpacked folder"):
            CorruptedFolder(path)
