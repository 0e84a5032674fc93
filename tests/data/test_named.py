"""Do named data sets hold the images that they say, and is anything else refused?"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from torchattacks_ext.data.digits import load_digits, ranks
from torchattacks_ext.data.named import NamedData, load_data
from torchattacks_ext.errors import ConfigError, InputError, MissingExtra


def tensors(data: NamedData) -> tuple[Tensor, Tensor]:
    """All images and labels."""
    images, labels = zip(*data.loader(batch_size=4))
    return torch.cat(images), torch.cat(labels)


def archive(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return f"npz:{path}"


class Trap:
    """Pickled, it creates a file when somebody unpickles it."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


# ------------------------------------------------------------------ digits
def test_the_split_is_disjoint_complete_and_stratified() -> None:
    parts = [load_digits("train"), load_digits("test")]
    assert [len(labels) for _, labels in parts] == [1352, 445]
    keys = [Counter(image.numpy().tobytes() for image in part[0]) for part in parts]
    from sklearn.datasets import load_digits as source

    raw = torch.tensor(source().images / 16, dtype=torch.float32)
    assert keys[0] + keys[1] == Counter(image.numpy().tobytes() for image in raw)
    for k in range(10):
        train, test = (int((labels == k).sum()) for _, labels in parts)
        assert 0 <= train - 3 * test <= 3


def test_any_first_images_are_balanced() -> None:
    labels = load_digits("test")[1]
    for n in (1, 9, 10, 100, 437):
        counts = labels[:n].bincount(minlength=10)
        assert counts.max() - counts.min() <= 1


def test_digits_are_pixels() -> None:
    images, labels = load_digits("test")
    assert images.shape == (445, 1, 8, 8) and images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert torch.equal(images * 16, (images * 16).round())
    assert (images.min(), images.max()) == (0, 1)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="split='val' is not one of"):
        load_digits("val")  # type: ignore[arg-type]


def test_without_scikit_learn_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"pip install 'torchattacks_ext\[demo\]'"):
        load_data("digits")


@given(st.lists(st.integers(0, 5)))
def test_ranks_count_earlier_rows(labels: list[int]) -> None:
    expected = [labels[:i].count(label) for i, label in enumerate(labels)]
    assert ranks(torch.tensor(labels, dtype=torch.int64)).tolist() == expected


def test_named_digits() -> None:
    data = load_data("digits", 30)
    images, labels = tensors(data)
    assert (data.n, data.n_total, data.n_classes) == (30, 445, 10)
    assert torch.equal(images, load_digits("test")[0][:30])
    assert labels.tolist() == list(range(10)) * 3
    assert load_data("digits").n == load_data("digits", 10**6).n == 445
    assert set(data.facts()) == set(vars(data)) - {"dataset", "classes"}


def test_a_loader_draws_nothing() -> None:
    before = torch.get_rng_state()
    tensors(load_data("digits", 8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("digitz", "did you mean 'digits'"),
        ("digits:x", "is not one of digits, npz:PATH"),
        ("npz", "is not one of"),
        ("npz:", "is not one of"),
        ("", "is not one of"),
        ("imagefoldr:x", "did you mean 'imagefolder'"),
    ],
)
def test_an_unknown_name_is_refused(spec: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_data(spec)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="n=0 must be"):
        load_data("digits", 0)
    with pytest.raises(ConfigError, match="resize=-3 must be"):
        load_data("imagefolder:x", resize=-3)
    with pytest.raises(ConfigError, match="hf only, not digits"):
        load_data("digits", resize=8)


# ------------------------------------------------------------------ archives
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(5), st.just(6))))
def test_bytes_become_quotients_of_255(tmp: Any, raw: Any) -> None:
    spec = archive(tmp / "a.npz", images=raw, labels=np.zeros(len(raw), np.uint8))
    images, _ = tensors(load_data(spec))
    assert images.shape == (len(raw), 1, 5, 6)
    assert np.array_equal((images[:, 0] * 255).round().numpy(), raw)
    expected = torch.from_numpy(raw).float() / 255
    assert torch.equal(images[:, 0], expected)


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives long enough for Hypothesis."""
    return tmp_path_factory.mktemp("archives")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_every_layout_gives_the_same_images(
    dtype: str, channels: int, tmp_path: Path
) -> None:
    values = np.arange(2 * channels * 5 * 6).reshape(2, channels, 5, 6) % 256
    raw = values.astype("uint8") if dtype == "uint8" else (values / 255).astype(dtype)
    found = []
    for layout in ((0, 1, 2, 3), (0, 2, 3, 1)):
        spec = archive(tmp_path / "a.npz", images=raw.transpose(layout), labels=[0, 1])
        data = load_data(spec)
        found.append(tensors(data)[0])
        said = any("images turned from (N, 5, 6" in note for note in data.notes)
        assert said == (layout != (0, 1, 2, 3))
    assert torch.equal(*found) and found[0].dtype == torch.float32
    assert torch.allclose(found[0] * 255, torch.tensor(values).float(), atol=0.1)


def test_labels_in_any_form_and_the_first_rows(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    images[2] = 255
    for labels in ([3, 1, 2, 0], [[3], [1], [2], [0]], [3.0, 1.0, 2.0, 0.0]):
        data = load_data(
            archive(tmp_path / "four.npz", images=images, labels=labels), 3
        )
        found, classes = tensors(data)
        assert classes.tolist() == [3, 1, 2]
        assert found.amax((1, 2, 3)).tolist() == [0, 0, 1]
        assert (data.name, data.n, data.n_total) == ("four", 3, 4)
        assert data.n_classes is None and data.licence == "not stated"


def test_names_of_medmnist_are_understood(tmp_path: Path) -> None:
    spec = archive(
        tmp_path / "m.npz",
        train_images=np.zeros((9, 8, 8), np.uint8),
        test_images=np.zeros((2, 8, 8), np.uint8),
        test_labels=np.zeros((2, 1), np.uint8),
    )
    assert load_data(spec).n == 2


GOOD = np.zeros((2, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": GOOD, "b": [0, 1]}, r"holds the arrays \['a', 'b'\]; expected 'images'"),
        ({"images": GOOD}, "expected 'images' and 'labels'"),
        ({"images": GOOD, "labels": [0]}, "2 images and 1 labels"),
        ({"images": GOOD[:0], "labels": []}, "0 images and 0 labels"),
        ({"images": GOOD.astype(int), "labels": [0, 1]}, "images are int64"),
        ({"images": GOOD + 200.0, "labels": [0, 1]}, "looks like 0..255"),
        ({"images": GOOD - 1.0, "labels": [0, 1]}, "looks normalised"),
        ({"images": GOOD + np.nan, "labels": [0, 1]}, "NaN"),
        ({"images": GOOD[:, 0], "labels": [0, 1]}, r"images have shape \(2, 8\)"),
        (
            {"images": np.zeros((2, 3, 8, 3), "f"), "labels": [0, 1]},
            "on one of the two",
        ),
        ({"images": np.zeros((2, 5, 8, 9), "f"), "labels": [0, 1]}, "expected"),
        ({"images": GOOD, "labels": [0, -1]}, "labels start at -1"),
        ({"images": GOOD, "labels": [0.5, 1]}, "fractions"),
        ({"images": GOOD, "labels": [[1, 0], [0, 1]]}, "one-hot"),
        ({"images": GOOD, "labels": ["a", "b"]}, "labels are <U1"),
        ({"images": GOOD, "labels": 3}, "one number where images or labels"),
    ],
)
def test_arrays_that_are_no_images_are_refused(
    arrays: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        load_data(archive(tmp_path / "odd.npz", **arrays))


def test_files_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    archive(whole, images=GOOD, labels=[0, 1])
    contents = {
        "cut.npz": whole.read_bytes()[:200],
        "empty.npz": b"",
        "text.npz": b"no archive",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is not a NumPy archive"):
            load_data(f"npz:{tmp_path / name}")
    np.save(tmp_path / "one.npy", GOOD)
    with pytest.raises(InputError, match="holds one array"):
        load_data(f"npz:{tmp_path / 'one.npy'}")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="is not a file"):
            load_data(f"npz:{path}")


def test_nothing_pickled_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trap = np.array([Trap(), Trap()], dtype=object)
    for arrays in (
        {"images": trap, "labels": [0, 1]},
        {"images": GOOD, "labels": trap},
    ):
        with pytest.raises(InputError, match="not a NumPy archive of plain arrays"):
            load_data(archive(tmp_path / "trap.npz", **arrays))
    assert not (tmp_path / "sprung").exists()


# ------------------------------------------------------------------ real files
def test_real_archives(tax_data: Path) -> None:
    for name, shape in (
        ("mnist/test10000", (1, 28, 28)),
        ("cifar10/test_first1017", (3, 32, 32)),
    ):
        data = load_data(f"npz:{tax_data / name}.npz", 50)
        images, labels = tensors(data)
        assert images.shape == (50, *shape) and images.max() <= 1
        assert 0 <= labels.min() and labels.max() <= 9
