"""Are torchvision's and MedMNIST's sets read from their files, and nothing fetched unasked?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchattacks_ext.data.loaders.vision import SETS
from torchattacks_ext.data.named import load_data
from torchattacks_ext.errors import ConfigError, InputError, MissingExtra

from .stubs import digits_file, medmnist, medmnist_file

pytest.importorskip("torchvision")


# ------------------------------------------------------------------ torchvision
def test_digits_of_torchvision_stay_grey(tmp_path: Path) -> None:
    digits_file(tmp_path)
    data = load_data("torchvision:MNIST", 4, root=tmp_path)
    pixels = torch.stack([data.dataset[i][0] for i in range(4)])
    assert pixels.shape == (4, 1, 28, 28)
    assert torch.equal(pixels[:, 0, 0, 0], torch.arange(4) * 40 / 255)
    assert [data.dataset[i][1] for i in range(4)] == [0, 1, 2, 0]
    assert (data.n, data.n_total, data.n_classes) == (4, 6, 10)
    assert data.classes == tuple(map(str, range(10))) and data.notes == ("split test",)
    spec = f"torchvision:MNIST,split=train,root={tmp_path},channels=3"
    assert load_data(spec).dataset[1][0].shape == (3, 28, 28)
    assert load_data(spec, resize=14).dataset[1][0].shape == (3, 14, 14)


def test_noise_needs_no_files() -> None:
    data = load_data("torchvision:FakeData", 3)
    assert data.dataset[2][0].shape == (3, 32, 32) and data.classes is None
    assert [len(batch[1]) for batch in data.loader(2)] == [2, 1]
    with pytest.raises(InputError, match="have colours, channels=1"):
        load_data("torchvision:FakeData,channels=1")


def test_sorted_sets_are_dealt_out_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    class Sorted(datasets.FakeData):  # type: ignore[misc]
        targets = [0] * 4 + [1] * 4
        classes = ["a", "b"]

        def __init__(self) -> None:
            super().__init__(8, (3, 4, 4), 2)

        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)[0], self.targets[index]

    monkeypatch.setattr(datasets, "FakeData", lambda **_: Sorted())
    data = load_data("torchvision:FakeData", 3)
    assert [data.dataset[i][1] for i in range(3)] == [0, 1, 0]
    assert any("in turn from the classes" in note for note in data.notes)
    assert not load_data("torchvision:FakeData").notes


def test_every_set_that_is_named_exists() -> None:
    from torchvision import datasets

    assert [name for name in SETS if not hasattr(datasets, name)] == []


@pytest.mark.parametrize(
    ("spec", "kind", "said"),
    [
        ("torchvision:NMIST", ConfigError, "is not one of CIFAR10"),
        ("torchvision:../MNIST", ConfigError, "is not one of"),
        (
            "torchvision:MNIST,split=val",
            ConfigError,
            "split='val' is not one of test, train",
        ),
        ("torchvision:USPS,size=3", ConfigError, "torchvision has no option 'size'"),
        (
            "torchvision:MNIST",
            InputError,
            "it is looked for in .*downloaded with --download only",
        ),
        ("torchvision:SVHN,split=tset", InputError, "cannot be read .*tset"),
        ("torchvision:FakeData,split=test", ConfigError, "FakeData has one split"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    spec: str, kind: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=said) as caught:
        load_data(spec, root=tmp_path)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ MedMNIST
@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of tiny.npz, and a package that knows it."""
    path = medmnist_file(tmp_path / "tiny.npz")
    monkeypatch.setitem(sys.modules, "medmnist", medmnist(path))
    return tmp_path


def test_labels_of_a_column_are_a_row(tiny: Path) -> None:
    data = load_data("medmnist:tiny", 4, root=tiny)
    images, labels = next(iter(data.loader(8)))
    assert images.shape == (4, 1, 8, 8) and labels.tolist() == [0, 1, 0, 1]
    assert (data.n_total, data.classes, data.licence) == (
        6,
        ("normal", "pneumonia"),
        "CC BY 4.0",
    )
    assert data.notes == ("split test", "task binary-class", "MD5 as published")
    three = load_data("medmnist:tiny,channels=3,split=val", root=tiny)
    assert three.dataset[0][0].shape == (3, 8, 8)


def test_another_file_is_not_the_published_one(tiny: Path) -> None:
    medmnist_file(tiny / "tiny.npz", n=8)
    with pytest.raises(InputError, match="has MD5 .*, published is"):
        load_data("medmnist:tiny", root=tiny)


@pytest.mark.parametrize(
    ("spec", "kind", "said"),
    [
        ("medmnist:tyni", ConfigError, "is not one of chest, organ3d, tiny"),
        ("medmnist:../tiny", ConfigError, "is not one of"),
        ("medmnist:chest", ConfigError, "has several labels an image"),
        ("medmnist:organ3d", ConfigError, "holds volumes"),
        ("medmnist:tiny,size=32", ConfigError, "size='32' is not one of 28, 64"),
        ("medmnist:tiny,split=all", ConfigError, "split='all' is not one of"),
        (
            "medmnist:tiny,size=64",
            InputError,
            "no .*tiny_64.npz; it is downloaded with --download",
        ),
    ],
)
def test_other_sets_are_refused(spec: str, kind: Any, said: str, tiny: Path) -> None:
    with pytest.raises(kind, match=said):
        load_data(spec, root=tiny)
    with pytest.raises(ConfigError, match="not medmnist"):
        load_data("medmnist:tiny", resize=4)


def test_without_the_package_the_file_itself_is_offered(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(
        MissingExtra, match="pip install medmnist, or .*npz:PATH,split=test"
    ):
        load_data("medmnist:tiny", root=tiny)
    data = load_data(f"npz:{tiny / 'tiny.npz'},split=val")
    assert data.notes[0] == "arrays 'val_images' and 'val_labels'"


# ------------------------------------------------------------------ archives
def test_what_was_taken_of_an_archive_is_said(tmp_path: Path) -> None:
    images = np.zeros((2, 8, 8), np.uint8)
    path = tmp_path / "a.npz"
    np.savez(
        path, x_test=images, y_test=[0, 1], x_train=images, y_train=[1, 0], ids=[5, 6]
    )
    assert load_data(f"npz:{path}").notes == (
        "arrays 'x_test' and 'y_test'",
        "arrays not read: ids, x_train, y_train",
    )
    assert [int(y) for _, y in load_data(f"npz:{path},split=train").dataset] == [1, 0]
    with pytest.raises(InputError, match="expected 'val_images' and 'val_labels'"):
        load_data(f"npz:{path},split=val")


def test_several_labels_an_image_are_no_one_hot_rows(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8), np.uint8)
    for labels, said in (
        ([[1, 1, 0], [0, 0, 0], [0, 1, 0]], "many labels an image"),
        ([[1, 0, 0], [0, 0, 1], [0, 1, 0]], "one-hot"),
    ):
        np.savez(tmp_path / "a.npz", images=images, labels=np.array(labels))
        with pytest.raises(InputError, match=said):
            load_data(f"npz:{tmp_path / 'a.npz'}")


def test_deep_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint16), labels=[0, 1])
    with pytest.raises(InputError, match="images are uint16, expected uint8"):
        load_data(f"npz:{tmp_path / 'a.npz'}")
