"""What does the audit say of PneumoniaMNIST, MNIST and CIFAR-10? Known counts, known copies."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext import data_audit
from torchattacks_ext.data.loaders.npz import npz_splits
from torchattacks_ext.numerics.likeness.pairs import Portraits, near_pairs

pytestmark = pytest.mark.slow


def test_pneumoniamnist_has_its_known_copies(tax_data: Path) -> None:
    splits = npz_splits(tax_data / "pneumoniamnist" / "pneumoniamnist28.npz")
    audit = data_audit(**splits)
    counts = {(one.split, one.other): one.exact for one in audit.overlaps}
    assert counts == {
        ("train", "train"): 18,
        ("val", "val"): 0,
        ("val", "train"): 8,
        ("test", "test"): 3,
        ("test", "train"): 0,
        ("test", "val"): 0,
    }
    assert audit.label_clashes == 0
    assert [one.class_counts for one in audit.splits] == [
        {"0": 1214, "1": 3494},
        {"0": 135, "1": 389},
        {"0": 234, "1": 390},
    ]


def mnist(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    with np.load(folder / "mnist" / name, allow_pickle=False) as data:
        return torch.from_numpy(data["images"]), torch.from_numpy(data["labels"]).long()


def test_no_test_digit_is_in_train_and_few_digits_look_like_copies(
    tax_data: Path,
) -> None:
    train, test = (
        mnist(tax_data, name) for name in ("train_first10000.npz", "test10000.npz")
    )
    audit = data_audit(train=train, test=test)
    assert audit.overlap("test", "train").exact == 0 and audit.label_clashes == 0
    for one in audit.overlaps:
        assert one.near is not None and one.near <= 0.01 * 10_000
        assert one.near_clashes == 0


def found(ours: Portraits, theirs: Portraits) -> np.ndarray:
    parts = [torch.stack([a, b]).numpy() for a, b, _ in near_pairs(ours, theirs)]
    return np.concatenate([np.zeros((2, 0), dtype=np.int64), *parts], axis=1)


@pytest.mark.parametrize("change", ["right", "left", "up", "down", "lighter", "darker"])
def test_digits_that_moved_or_changed_their_light_are_found(
    tax_data: Path, change: str
) -> None:
    images = mnist(tax_data, "test10000.npz")[0][:, None].float() / 255
    few = images[:200]
    moved = {
        "right": few.roll(1, 3),
        "left": few.roll(-1, 3),
        "up": few.roll(-1, 2),
        "down": few.roll(1, 2),
        "lighter": (few * 1.05).clamp(max=1),
        "darker": few * 0.95,
    }[change]
    rows, of = found(Portraits.of(moved, (28, 28)), Portraits.of(images, (28, 28)))
    assert (rows == of).sum() >= 0.9 * 200
    assert len(set(of[rows != of])) <= 0.01 * 10_000


def test_lossless_cifar_images_find_their_jpeg_and_nothing_else(tax_data: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    with np.load(tax_data / "cifar10" / "test_first1017.npz") as data:
        lossless = torch.from_numpy(data["images"]).permute(0, 3, 1, 2) / 255
    with np.load(tax_data / "cifar10" / "test_jpeg10000.npz") as data:
        raw, cuts = data["jpeg"].tobytes(), data["offsets"].tolist()
    jpeg = np.stack(
        [
            np.asarray(image.open(io.BytesIO(raw[a:b])).convert("RGB"))
            for a, b in zip(cuts, cuts[1:])
        ]
    )
    lossy = torch.from_numpy(jpeg).permute(0, 3, 1, 2) / 255
    rows, of = found(Portraits.of(lossless, (32, 32)), Portraits.of(lossy, (32, 32)))
    assert (rows == of).sum() >= 0.95 * 1017
    assert (rows != of).sum() <= 0.001 * 1017 * 9_999
    assert (rows != of).sum() <= 5  # what it really is
