"""Do objects of a user's become labelled pixels by their form, MAITE's among them?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from torchattacks_ext.data.loaders.foreign import as_named
from torchattacks_ext.data.named import load_data
from torchattacks_ext.errors import InputError


class Maite:
    """A data set of MAITE's form, with images and targets as given."""

    metadata = {"id": "pets", "index2label": {0: "cat", 1: "dog", 2: "owl"}}

    def __init__(self, images: Any, targets: Any) -> None:
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], self.targets[index], {"id": f"p{index}"}


BYTES = np.arange(4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 2)
FLOATS = BYTES.astype(np.float64) / 255


@pytest.mark.parametrize(
    "images", [BYTES, FLOATS, torch.from_numpy(BYTES), list(BYTES)]
)
@pytest.mark.parametrize(
    "targets",
    [
        np.eye(3)[[2, 0, 1, 1]],  # one-hot
        torch.eye(3)[[2, 0, 1, 1]] * 4 - 2,  # logits
        [2, 0, 1, 1],  # class numbers, which the protocol lets through
        [np.int64(2), 0, torch.tensor(1), np.array([1])],
    ],
)
def test_maite(images: Any, targets: Any) -> None:
    data = as_named(Maite(images, targets), "m:f", 3)
    pixels, labels = next(iter(data.loader(8)))
    assert torch.allclose(pixels, torch.from_numpy(BYTES[:3]) / 255, atol=1e-7)
    assert labels.tolist() == [2, 0, 1] and pixels.dtype == torch.float32
    assert (data.n, data.n_total, data.classes) == (3, 4, ("cat", "dog", "owl"))
    assert data.notes == ("MAITE's form, id pets: the class is the largest target",)


@pytest.mark.parametrize(
    ("image", "target", "said"),
    [
        (
            BYTES[0].astype(np.float32),
            [1, 0, 0],
            "item 0: images lie in .*looks like 0..255",
        ),
        (
            BYTES[0].transpose(1, 2, 0),
            [1, 0, 0],
            r"shape \(2, 2, 3\), expected \(C, H, W\)",
        ),
        (FLOATS[0], [0.5, 0.5, 0], "has no single largest score"),
        (FLOATS[0], [[1, 0], [0, 1]], r"the target has shape \(2, 2\)"),
        ("text", 0, "the image is a str"),
        (BYTES[0].astype(np.uint16), 0, "expected floats"),
    ],
)
def test_items_that_are_none_are_named(image: Any, target: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        as_named(Maite([image], [target]), "m:f").dataset[0]


def test_other_forms() -> None:
    images, labels = torch.rand(5, 1, 2, 2), torch.arange(5)
    plain = as_named(TensorDataset(images, labels), "m:f", 2)
    assert torch.equal(plain.dataset[1][0], images[1]) and plain.n_total == 5
    pair = as_named((images, labels[:, None]), "m:f", 3)
    assert [int(y) for _, y in pair.dataset] == [0, 1, 2] and pair.n_total == 5
    known = load_data("digits", 9)
    assert as_named(known, "m:f") is known and as_named(known, "m:f", 4).n == 4
    assert len(as_named(known, "m:f", 4).dataset) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "m:f returned int, expected a data set"),
        ([], "returned an empty data set"),
        ((torch.rand(2, 1, 2, 2) * 9, torch.arange(2)), "m:f: images lie in"),
        ((torch.rand(2, 1, 2, 2), torch.arange(3)), "m:f: labels have shape"),
    ],
)
def test_what_is_no_data_set_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        as_named(value, "m:f")
    with pytest.raises(InputError, match="item 0 is a int, expected"):
        as_named([1], "m:f").dataset[0]
