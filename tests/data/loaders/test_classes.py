"""Are labels turned into the model's numbers by name, and is what does not match refused?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchattacks_ext.data.doubts import named_classes
from torchattacks_ext.data.loaders.classes import Names, as_model, match_classes
from torchattacks_ext.data.loaders.labelled import LabelledTensors, NamedData
from torchattacks_ext.data.named import load_data
from torchattacks_ext.errors import ConfigError, InputError


def names(*classes: str) -> Names:
    return tuple(tuple(one.split("|")) for one in classes)


def data(*classes: str) -> NamedData:
    """One image a class."""
    n = len(classes)
    held = LabelledTensors(torch.zeros(n, 1, 2, 2), torch.arange(n), classes)
    return NamedData("set", held, n, n, n, classes=classes)


@given(st.permutations(["cat", "dog", "bird", "frog"]), st.integers(1, 4))
def test_every_order_and_subset_finds_its_numbers(order: list[str], n: int) -> None:
    model = names("bird", "cat", "dog", "frog")
    found = match_classes(order[:n], model)
    assert [model[k][0] for k in found] == order[:n]
    turned = as_model(data(*order[:n]), model)
    labels = [int(turned.dataset[i][1]) for i in range(n)]
    assert labels == found and turned.n_classes == 4
    assert named_classes(turned.dataset) == 4  # a subset of the classes is no doubt


def test_synonyms_and_spelling() -> None:
    model = names("tench, Tinca tinca|tench|Tinca tinca|n01440764", "red_fox|n02119022")
    assert match_classes(["n02119022", "Tench"], model) == [1, 0]
    assert match_classes(["Red-Fox"], model) == [1]
    assert match_classes(["07", "11"], names("11", "7")) == [1, 0]


def test_equal_names_in_equal_order_may_repeat() -> None:
    model = names("crane", "maillot", "crane")
    assert match_classes(["crane", "maillot", "crane"], model) == [0, 1, 2]
    with pytest.raises(InputError, match="several classes called 'crane'"):
        match_classes(["crane"], model)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (
            ["cat", "unicorn"],
            "1 classes of the data are none of the model's: 'unicorn'; the model",
        ),
        (
            ["a", "b", "c", "d", "e"],
            "5 classes .*'a', 'b', 'c' and 2 more; .*'bird', 'cat', 'dog'",
        ),
        (
            ["cat", "puss"],
            r"classes 'cat', 'puss' of the data are one class of the model \(cat\)",
        ),
    ],
)
def test_a_mismatch_names_both(classes: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        match_classes(classes, names("bird", "cat|puss", "dog"))


def test_a_stray_folder_shifts_nothing(tmp_path: Path) -> None:
    """torchvision would call .ipynb_checkpoints class 0 and number every other one higher."""
    pil = pytest.importorskip("PIL.Image")
    for name in ("dog", "cat", ".ipynb_checkpoints", ".git", "__MACOSX"):
        (tmp_path / name).mkdir()
        if name != ".git":
            pil.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name / "a.png")
            (tmp_path / name / "._a.png").write_bytes(b"no image")
    found = load_data(f"imagefolder:{tmp_path}")
    assert found.classes == ("cat", "dog") and found.n == 2
    assert any(".git, .ipynb_checkpoints, __MACOSX" in note for note in found.notes)
    turned = as_model(found, names("dog", "cat"))
    assert [int(turned.dataset[i][1]) for i in range(2)] == [1, 0]
    assert "2 have another number" in turned.notes[-1]
    (tmp_path / "frog").mkdir()
    pil.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "frog" / "a.png")
    with pytest.raises(InputError, match="'frog'; the model has 'dog', 'cat'"):
        as_model(load_data(f"imagefolder:{tmp_path}"), names("dog", "cat"))


def test_numbers_as_names_are_not_guessed() -> None:
    """As text '10' comes before '2': one of two readings is wrong."""
    ten = sorted(map(str, range(1, 12)))
    with pytest.raises(ConfigError, match="1, 10, 11, 2, ...: in the order of text"):
        as_model(data(*ten), None)
    assert as_model(data("0", "1", "2"), None).notes == ()
    by_number = as_model(data(*ten), names(*map(str, range(1, 12))))
    assert [int(by_number.dataset[i][1]) for i in range(3)] == [0, 9, 10]
    with pytest.raises(
        InputError, match="'1', '10', '11' and 8 more; the model has 'cat'"
    ):
        as_model(data(*ten), names("cat", "dog"))


def test_without_names_nothing_is_turned() -> None:
    plain = data("a")
    assert as_model(plain, None) is plain
    unnamed = NamedData("set", plain.dataset, 1, 1)
    assert as_model(unnamed, names("b")) is unnamed
