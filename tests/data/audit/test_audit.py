"""Does the audit count what was planted, whatever form the data come in?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import torchattacks_ext as tax
from torchattacks_ext import ConfigError, DataAudit, InputError, data_audit
from torchattacks_ext.data.loaders.npz import npz_splits


def pictures(n: int, seed: int = 0, channels: int = 1) -> Tensor:
    """uint8 (N, C, 16, 16): noise, so that no two are near."""
    generator = torch.Generator().manual_seed(seed)
    size = (n, channels, 16, 16)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def planted() -> dict[str, tuple[Tensor, Tensor]]:
    """Two copies in train (one relabelled), one in test, two of train there; one flat, one NaN."""
    train, test = pictures(60).float() / 255, pictures(30, seed=1).float() / 255
    train[20], train[21], train[22] = train[3], train[3], 0.25
    test[9], test[10], test[11] = test[2], train[3], train[5]
    test[12, 0, 4, 4] = float("nan")
    labels = torch.arange(60) % 3, torch.arange(30) % 3
    labels[0][20], labels[0][21] = labels[0][3], labels[0][3] + 1
    labels[1][10], labels[1][11] = labels[0][3], labels[0][5]
    labels[1][9] = labels[1][2]
    return {"train": (train, labels[0]), "test": (test, labels[1])}


@pytest.fixture(scope="module")
def audit(planted: dict[str, Any]) -> DataAudit:
    return data_audit(**planted)


def test_what_was_planted_is_counted(audit: DataAudit) -> None:
    counts = {(one.split, one.other): one.exact for one in audit.overlaps}
    assert counts == {
        ("train", "train"): 2,
        ("test", "test"): 1,
        ("test", "train"): 2,
    }
    assert (audit.label_clashes, audit.clash_rows) == (1, 4)
    facts = {one.name: one for one in audit.splits}
    assert (facts["train"].constant, facts["test"].non_finite) == (1, 1)
    assert facts["train"].class_counts == {"0": 20, "1": 21, "2": 19}
    assert facts["test"].high <= 1 and facts["test"].low >= 0
    assert [flag.code for flag in audit.flags] == [
        "leak",
        "label_clash",
        "duplicates",
        "non_finite",
        "constant",
    ]
    assert not audit.sound


def test_pairs_name_the_first_row_with_the_pixels(audit: DataAudit) -> None:
    pairs = [(c.split, c.row, c.of, c.of_row) for c in audit.copies]
    assert pairs == [
        ("train", 20, "train", 3),
        ("train", 21, "train", 3),
        ("test", 9, "test", 2),
        ("test", 10, "train", 3),
        ("test", 11, "train", 5),
    ]
    assert [c.label for c in audit.copies][:2] == [0, 1]


def test_json_brings_it_back_with_fields_of_a_newer_file(audit: DataAudit) -> None:
    facts = json.loads(audit.to_json()) | {"sold": "yes"}
    again = DataAudit.from_dict(facts)
    assert again.to_dict() == facts and again.flags == audit.flags
    with pytest.raises(InputError, match="splits"):
        DataAudit.from_dict({"schema": "data_audit/1"})
    with pytest.raises(InputError, match="no overlap of 'val'"):
        audit.overlap("val", "train")


def test_the_form_of_the_data_does_not_matter() -> None:
    images, labels = pictures(40, channels=3), torch.arange(40) % 2
    images[30] = images[4]
    floats = images.float() / 255
    last = images.permute(0, 2, 3, 1)
    forms: list[Any] = [
        (floats, labels),
        (floats.double() + 1e-9, labels[:, None]),
        (images.numpy(), labels.numpy()),
        (last.numpy(), labels.numpy()),
        TensorDataset(floats, labels),
        DataLoader(TensorDataset(images, labels), batch_size=7),
        [{"image": floats[:11], "label": labels[:11]}, (floats[11:], labels[11:])],
    ]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    forms.append((floats[order], labels[order]))
    seen = [data_audit(test=form, batch_size=9) for form in forms]
    assert {one.splits[0].fingerprint for one in seen} == {
        seen[0].splits[0].fingerprint
    }
    assert {one.overlap("test").exact for one in seen} == {1}
    other = data_audit(test=(floats, 1 - labels)).splits[0].fingerprint
    bare = data_audit(test=floats).splits[0]
    assert len({other, bare.fingerprint, seen[0].splits[0].fingerprint}) == 3
    assert bare.class_counts is None


def test_all_levels_of_8_bits_keep_their_key_through_floats() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    half = (levels.double() / 255).float()
    noisy = half + 3e-7
    assert data_audit(train=levels, test=half).overlap("test", "train").exact == 1
    assert data_audit(train=levels, test=noisy).overlap("test", "train").exact == 1
    moved = half.clone()
    moved[0, 0, 3, 3] += 1 / 255
    assert data_audit(train=levels, test=moved).overlap("test", "train").exact == 0


def test_near_copies_are_a_suspicion_and_clash_by_label() -> None:
    smooth = torch.nn.functional.interpolate(pictures(12).float() / 255, (32, 32))
    again = (smooth[:4] * 0.9 + 0.02).roll(1, 3)
    labels = torch.zeros(12, dtype=torch.long)
    found = data_audit(train=(smooth, labels), test=(again, labels[:4] + 1))
    one = found.overlap("test", "train")
    assert (one.exact, one.near, one.near_clashes) == (0, 4, 4)
    assert found.sound and [flag.code for flag in found.flags] == [
        "near_copies",
        "near_label_clash",
    ]
    assert data_audit(train=smooth, near=None).overlap("train").near is None


def test_splits_of_other_sizes_are_compared_on_one_scale() -> None:
    smooth = torch.nn.functional.interpolate(pictures(6).float() / 255, (64, 64))
    small = torch.nn.functional.adaptive_avg_pool2d(smooth, (32, 32))
    found = data_audit(train=smooth, test=small)
    assert found.overlap("test", "train").near == 6


def test_rows_of_features_have_exact_copies_only() -> None:
    rows = torch.rand(10, 6, generator=torch.Generator().manual_seed(0))
    rows[4] = rows[1]
    one = data_audit(test=rows).overlap("test")
    assert (one.exact, one.near) == (1, None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "nothing to audit"),
        ({"test": torch.zeros(0, 1, 8, 8)}, "test: there are no images"),
        (
            {"test": torch.zeros(3, 8, dtype=torch.int64)},
            "test: images are torch.int64",
        ),
        ({"val": torch.zeros(3)}, r"val: images have shape \(3,\)"),
        ({"test": (torch.zeros(3, 8), torch.zeros(3, 14))}, "test: labels have shape"),
        ({"test": (torch.zeros(3, 8), 1, 2)}, "a tuple of 3"),
        ({"test": [(torch.zeros(3, 8), torch.zeros(3)), torch.zeros(3, 8)]}, "none"),
        ({"test": 3}, "test: "),
    ],
)
def test_bad_data_are_refused_by_split(data: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        data_audit(**data)


@pytest.mark.parametrize("settings", [{"near": 1.5}, {"near": 0}, {"batch_size": 0}])
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        data_audit(test=torch.rand(4, 1, 8, 8), **settings)


def test_archives_are_read_by_split_and_by_every_name(tmp_path: Path) -> None:
    images, labels = pictures(4).numpy(), np.arange(4)
    path = tmp_path / "a.npz"
    names = [("images", "labels"), ("x", "y"), ("test_images", "test_labels")]
    for first, second in [*names, ("x_test", "y_test")]:
        np.savez(path, **{first: images, second: labels})
        assert list(npz_splits(path)) == ["test"]
    np.savez(path, x_train=images, y_train=labels, val_images=images, val_labels=labels)
    assert list(npz_splits(path)) == ["train", "val"]
    np.savez(path, x_train=images, train_labels=labels)
    with pytest.raises(InputError, match="holds the arrays"):
        npz_splits(path)
    np.savez(path, images=np.array([{}], dtype=object), labels=labels)
    with pytest.raises(InputError, match="plain arrays"):
        npz_splits(path)


def test_it_is_public() -> None:
    assert tax.data_audit is data_audit and tax.DataAudit is DataAudit


def test_a_leak_between_splits_of_two_scales_is_not_called_sound() -> None:
    pixels = torch.randint(
        0, 256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0)
    )
    grey = pixels.to(torch.uint8)
    found = data_audit(train=grey.float(), test=grey)
    assert ("scales_differ", 1) in [(flag.code, flag.count) for flag in found.flags]
    assert not found.sound
    dark = data_audit(train=grey.float() / 255, test=grey // 4)
    assert "scales_differ" not in [flag.code for flag in dark.flags]
    codes = [
        flag.code for flag in data_audit(train=grey.float(), val=grey.float()).flags
    ]
    assert "scales_differ" not in codes and "leak" in codes
