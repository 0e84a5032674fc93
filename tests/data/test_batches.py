"""Are data of any making taken apart, or refused with what to do about them?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchattacks_ext import FIMScore, InputError, PRTest, evaluate
from torchattacks_ext.data.batches import data_raised, open_batch, raw_batches
from torchattacks_ext.data.door import as_tensor
from torchattacks_ext.errors import BackendError
from torchattacks_ext.testing import small_net

image = pytest.importorskip("PIL.Image")
PIL = "items hold PIL images; give the data set transform=ToTensor"
SIZES = "items have unequal sizes, .*8, 8.* and .*9, 8.*: give .* Resize and CenterCrop"


class Items(Dataset[Any]):
    """Six items made by a function of their number."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        return self.make(i)


class Flow(IterableDataset[Any]):
    """Items without a length."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        return iter([self.make(i) for i in range(6)])


def picture(i: int) -> Any:
    return image.new("L", (8, 8), 40 * i)


FORMS: dict[str, tuple[Any, str]] = {
    "PIL tuples": (Items(lambda i: (picture(i), i % 3)), PIL),
    "PIL dicts": (Items(lambda i: {"image": picture(i), "label": i % 3}), PIL),
    "PIL alone": (Items(picture), PIL),
    "a flow of PIL": (Flow(lambda i: (picture(i), i % 3)), PIL),
    "a loader of PIL": (DataLoader(Items(lambda i: (picture(i), 0))), PIL),
    "a list of PIL": ([picture(0), picture(1)], PIL),
    "batches of lists of PIL": ([([picture(0), picture(1)], [0, 1])], PIL),
    "tensors": (Items(lambda i: (torch.rand(1, 8 + i, 8), i % 3)), SIZES),
    "arrays": (Items(lambda i: (np.zeros((1, 8 + i, 8)), i % 3)), SIZES),
    "lists of tensors": (
        [([torch.rand(1, 8, 8), torch.rand(1, 9, 8)], [0, 1])],
        SIZES,
    ),
    "a loader of tensors": (
        DataLoader(Items(lambda i: (torch.rand(1, 8 + i, 8), 0)), batch_size=3),
        SIZES,
    ),
    "no label": (
        Items(lambda i: (torch.rand(1, 8, 8), None)),
        "the data raised TypeError at batch 0 .*NoneType.*mend the data set",
    ),
    "a broken item": (
        Items(lambda i: {}["x"]),
        "the data raised KeyError at batch 0 .*'x'; mend the data set",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_foreign_errors_of_data_become_one_sentence(form: str) -> None:
    data, words = FORMS[form]
    net = small_net().eval()
    verbs = (
        lambda: evaluate(net, data, {"eps": 0.01, "stages": ["FGSM"]}),
        lambda: PRTest(net, eps=0.01).measure(data),
        lambda: FIMScore(net, eps=0.01).measure(data),
    )
    for measure in verbs:
        with pytest.raises(InputError, match=words) as caught:
            measure()
        assert "pytorch.org" not in str(caught.value)


def test_what_the_data_raised_is_the_cause() -> None:
    with pytest.raises(InputError, match="at batch 0") as caught:
        list(raw_batches(Items(lambda i: {}["x"]), None, 4))
    assert isinstance(caught.value.__cause__, KeyError)

    def two() -> Iterator[Any]:
        yield torch.zeros(1, 2)
        raise OSError("disk gone")

    with pytest.raises(InputError, match="raised OSError at batch 1 .*: disk gone"):
        list(raw_batches(two(), None, 4))


def test_our_own_refusals_and_full_memory_pass() -> None:
    for error in (BackendError("ours"), MemoryError("full")):

        def fails(error: Exception = error) -> Iterator[Any]:
            yield torch.zeros(1, 2)
            raise error

        with pytest.raises(type(error), match=str(error)):
            list(raw_batches(fails(), None, 4))


def test_of_a_workers_traceback_only_the_last_line_is_told() -> None:
    text = "Caught ValueError in DataLoader worker process 0.\nTraceback\nValueError: x"
    assert ": ValueError: x; mend" in str(data_raised(RuntimeError(text), 0))


def test_lists_of_tensors_are_to_be_stacked() -> None:
    with pytest.raises(InputError, match=r"torch.stack\(images\)"):
        as_tensor([torch.zeros(1, 2), torch.ones(1, 2)], "images")
    with pytest.raises(InputError, match=PIL):
        open_batch(picture(1))
