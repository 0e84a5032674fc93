"""Are folders of images read as they say, and is any other folder refused?"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.data.named import NamedData, load_data
from torchattacks_ext.errors import InputError, MissingExtra


def tensors(data: NamedData) -> tuple[Tensor, Tensor]:
    """All images and labels."""
    images, labels = zip(*data.loader(batch_size=4))
    return torch.cat(images), torch.cat(labels)


# ------------------------------------------------------------------ folders
def picture(path: Path, level: int, size: tuple[int, int] = (6, 5)) -> None:
    """A grey image of one level; size: width, height."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three cats, two dogs, told apart by their grey levels."""
    for name, levels in (("cat", (10, 11, 12)), ("dog", (20, 21))):
        for i, level in enumerate(levels):
            picture(tmp_path / "pets" / name / f"{i}.png", level)
    return tmp_path / "pets"


def test_a_folder_is_read_in_turn_from_its_classes(folder: Path) -> None:
    data = load_data(f"imagefolder:{folder}")
    images, labels = tensors(data)
    assert images.shape == (5, 3, 5, 6) and images.dtype == torch.float32
    assert labels.tolist() == [0, 1, 0, 1, 0]
    levels = (images * 255).round().amax((1, 2, 3)).tolist()
    assert levels == [10, 20, 11, 21, 12]
    assert (data.name, data.n, data.n_total, data.n_classes) == ("pets", 5, 5, 2)


def test_only_the_first_images_are_read(folder: Path) -> None:
    (folder / "cat" / "2.png").write_bytes(b"no image")
    data = load_data(f"imagefolder:{folder}", 4)
    assert tensors(data)[1].tolist() == [0, 1, 0, 1]
    with pytest.raises(InputError, match="2.png cannot be read as an image"):
        load_data(f"imagefolder:{folder}")


def test_an_image_that_breaks_off_is_named(folder: Path) -> None:
    path = folder / "dog" / "0.png"
    picture(path, 20, (64, 64))
    path.write_bytes(path.read_bytes()[:60])
    data = load_data(f"imagefolder:{folder}", resize=4)
    with pytest.raises(InputError, match="0.png cannot be read as an image"):
        tensors(data)


def test_unequal_sizes_need_resize(folder: Path) -> None:
    picture(folder / "dog" / "1.png", 21, (12, 7))
    with pytest.raises(InputError, match=r"6x5 and 12x7, say 1.png\); pass --resize N"):
        load_data(f"imagefolder:{folder}")
    assert load_data(f"imagefolder:{folder}", 2).n == 2
    images, _ = tensors(load_data(f"imagefolder:{folder}", resize=4))
    assert images.shape == (5, 3, 4, 4)


@pytest.mark.parametrize("files", [[], ["a.png"], ["cat/notes.txt"]])
def test_a_folder_without_classes_is_refused(files: list[str], tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in files:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    with pytest.raises(InputError, match="is not one folder of images a class"):
        load_data(f"imagefolder:{root}")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        load_data(f"imagefolder:{tmp_path / 'nowhere'}")


def test_a_broken_torchvision_is_explained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(MissingExtra, match="torchattacks-ext doctor"):
        load_data(f"imagefolder:{folder}")


def test_what_is_passed_over_is_said(folder: Path) -> None:
    """GIFs are no images to ImageFolder, and it turns no picture as its EXIF says."""
    pil = pytest.importorskip("PIL.Image")
    image = pil.fromarray(np.zeros((5, 6, 3), np.uint8))
    image.save(folder / "cat" / "9.gif")
    exif = pil.Exif()
    exif[274] = 6
    image.save(folder / "dog" / "9.jpg", exif=exif)
    data = load_data(f"imagefolder:{folder}")
    assert data.n == 6 and data.classes == ("cat", "dog")
    assert "1 files have an EXIF orientation, which is not applied" in data.notes
    assert any(note.startswith("1 files are not read") for note in data.notes)


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("CMYK", "jpg"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("1", "png"),
        ("L", "jpg"),
    ],
)
def test_every_mode_is_red_green_blue(mode: str, ending: str, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    colour = (255, 255, 255) if mode in ("1", "L", "LA") else (204, 51, 102)
    plain = pil.new("RGB", (8, 8), colour)
    plain.convert(mode).save(tmp_path / "a" / f"0.{ending}")
    pixels, _ = load_data(f"imagefolder:{tmp_path}").dataset[0]
    assert pixels.shape == (3, 8, 8)
    expected = torch.tensor(colour).reshape(3, 1, 1) / 255
    assert (pixels - expected).abs().max() < 0.03


def test_an_empty_class_is_refused(folder: Path) -> None:
    """It would be left out, and every class behind it be called by another number."""
    (folder / "bee").mkdir()
    with pytest.raises(InputError, match="not one folder of images a class: .*bee"):
        load_data(f"imagefolder:{folder}")
