"""Do files of 16 bits and of floats keep their pixels, whatever PIL calls their mode?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchattacks_ext import InputError
from torchattacks_ext.data.named import load_data

image = pytest.importorskip("PIL.Image")
pytest.importorskip("torchvision")
RAMP = np.linspace(0.05, 0.6, 64).reshape(8, 8)


def folder(root: Path, pixels: Any, ending: str, mode: str | None = None) -> str:
    """One class of one image."""
    (root / "a").mkdir()
    shown = image.fromarray(pixels)
    (shown if mode is None else shown.convert(mode)).save(root / "a" / f"0.{ending}")
    return f"imagefolder:{root}"


@pytest.mark.parametrize(
    ("dtype", "top", "ending"),
    [
        (np.uint16, 65535, "png"),
        (np.uint16, 65535, "tif"),
        (np.float32, 1, "tif"),
        (np.uint8, 255, "png"),
    ],
)
def test_pixels_are_divided_by_their_own_range(
    dtype: Any, top: int, ending: str, tmp_path: Path
) -> None:
    data = load_data(folder(tmp_path, (RAMP * top).astype(dtype), ending))
    pixels, _ = data.dataset[0]
    assert pixels.shape == (3, 8, 8) and pixels.dtype == torch.float32
    expected = torch.from_numpy((RAMP * top).astype(dtype) / top).float()
    assert torch.allclose(pixels, expected.expand(3, -1, -1), atol=1e-6)


@pytest.mark.parametrize("size", [4, 16])
def test_deep_pixels_are_resized_as_others(size: int, tmp_path: Path) -> None:
    found = []
    for name, dtype, top in (("deep", np.uint16, 65535), ("flat", np.uint8, 255)):
        root = tmp_path / name
        root.mkdir()
        spec = folder(root, (RAMP * top).astype(dtype), "png")
        found.append(load_data(spec, resize=size).dataset[0][0])
    assert found[0].shape == found[1].shape == (3, size, size)
    assert torch.allclose(found[0], found[1], atol=3 / 255)


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [
        ((RAMP * 65535).astype(np.int32), "I"),
        ((RAMP * 255).astype(np.float32), "F"),
        (np.full((4, 4), np.nan, dtype=np.float32), "F"),
        ((RAMP - 0.1).astype(np.float32), "F"),
    ],
)
def test_a_range_that_is_not_known_is_refused(
    pixels: Any, mode: str, tmp_path: Path
) -> None:
    data = load_data(folder(tmp_path, pixels, "tif"))
    with pytest.raises(InputError, match=f"0.tif has mode {mode} with pixels from"):
        data.dataset[0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_modes_of_8_bits_become_rgb(mode: str, tmp_path: Path) -> None:
    ending = "tif" if mode == "CMYK" else "png"
    pixels = (RAMP * 255).astype(np.uint8)
    data = load_data(folder(tmp_path, pixels, ending, mode))
    found = data.dataset[0][0]
    assert found.shape == (3, 8, 8) and 0 <= found.min() <= found.max() <= 1
