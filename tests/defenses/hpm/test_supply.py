"""Does a run end the same whatever held its images, and go on where they cannot be held?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
)

from torchattacks_ext import InputError, StateError
from torchattacks_ext.defenses import finetune_hpm
from torchattacks_ext.defenses.hpm.training.supply import (
    ByPosition,
    InMemory,
    make_supply,
)

from .conftest import Make, images_of

RUN: dict[str, Any] = {"eps": 0.02, "steps": 1, "batch_size": 8, "rate": 1e-2}
N = 20


def data() -> tuple[Tensor, Tensor]:
    return images_of(N, 4), torch.arange(N) % 5


class Dicts(Dataset[Any]):
    """Items as dicts; counts what is read."""

    def __init__(self) -> None:
        self.images, self.labels = data()
        self.read: list[int] = []

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        self.read.append(i)
        return {"pixel_values": self.images[i], "label": int(self.labels[i])}


class Flow(IterableDataset[Any]):
    """Has no positions."""

    def __iter__(self) -> Iterator[Any]:
        return iter([(x, int(y)) for x, y in zip(*data())])


class Noisy(Dicts):
    """Answers differently each time, as one that draws crops."""

    def __getitem__(self, i: int) -> Any:
        item = super().__getitem__(i)
        return item | {"pixel_values": torch.rand(1, 8, 8)}


def batches() -> list[Any]:
    images, labels = data()
    return [(images[:7], labels[:7]), {"images": images[7:], "labels": labels[7:]}]


FORMS: dict[str, Callable[[], Any]] = {
    "arrays": lambda: tuple(side.numpy() for side in data()),
    "dataset": lambda: TensorDataset(*data()),
    "dicts": Dicts,
    "loader": lambda: DataLoader(TensorDataset(*data()), batch_size=3, shuffle=True),
    "batches": batches,
    "generator": lambda: iter(batches()),
    "flow": lambda: DataLoader(Flow(), batch_size=6),
}


@pytest.fixture(scope="module")
def start(make: Make) -> Any:
    return make()


@pytest.fixture(scope="module")
def ended(start: Any) -> Any:
    model = copy.deepcopy(start)
    finetune_hpm(model, data(), **RUN)
    return model.state_dict()


@pytest.mark.parametrize("form", FORMS)
def test_a_run_ends_as_with_tensors(start: Any, ended: Any, form: str) -> None:
    model = copy.deepcopy(start)
    state = torch.get_rng_state()
    assert finetune_hpm(model, FORMS[form](), **RUN).done
    if form != "flow":  # whose loader draws for itself when it is read
        assert torch.equal(state, torch.get_rng_state())
    for name, one in model.state_dict().items():
        assert torch.equal(one, ended[name]), name


def test_a_data_set_is_streamed_and_gone_on_with(
    start: Any, ended: Any, tmp_path: Path
) -> None:
    first, path = Dicts(), tmp_path / "at"
    finetune_hpm(copy.deepcopy(start), first, max_steps=1, **RUN)
    assert len(first.read) == 8  # no more than the step, without a checkpoint
    for most in (1, 1, None):
        model, one = copy.deepcopy(start), Dicts()
        finetune_hpm(model, one, checkpoint=path, max_steps=most, **RUN)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, ended[name]), name
    other = Dicts()
    other.labels = other.labels.flip(0)
    with pytest.raises(StateError, match="data differ"):
        finetune_hpm(copy.deepcopy(start), other, checkpoint=path, **RUN)


def test_a_data_set_that_draws_is_known_by_its_labels(
    start: Any, tmp_path: Path
) -> None:
    path, run = tmp_path / "at", RUN | {"steps": 1}
    for most in (1, None):
        model = copy.deepcopy(start)
        done = finetune_hpm(model, Noisy(), checkpoint=path, max_steps=most, **run)
    assert done.done and done.steps == 3


@pytest.mark.slow
def test_workers_read_ahead_and_change_nothing(start: Any, ended: Any) -> None:
    model = copy.deepcopy(start)
    loader = DataLoader(TensorDataset(*data()), batch_size=4, num_workers=2)
    finetune_hpm(model, loader, **RUN)
    for name, one in model.state_dict().items():
        assert torch.equal(one, ended[name]), name


def test_a_sampler_that_picks_is_obeyed() -> None:
    whole = TensorDataset(*data())
    picked = DataLoader(whole, batch_size=4, sampler=SubsetRandomSampler([1, 5, 6]))
    found = make_supply(picked, 5)
    assert isinstance(found, InMemory) and sorted(found.labels.tolist()) == [0, 1, 1]
    some = DataLoader(
        whole, sampler=torch.utils.data.RandomSampler(whole, num_samples=4)
    )
    assert make_supply(some, 5).n == 4
    for loader in (DataLoader(whole, shuffle=True), DataLoader(whole, drop_last=True)):
        assert isinstance(make_supply(loader, 5), ByPosition)
    as_batches = DataLoader(
        TensorDataset(*(side[:, None] for side in data())), batch_size=None
    )
    assert make_supply(as_batches, 5).n == N


def test_refusals(start: Any) -> None:
    images, labels = data()
    wrong: list[tuple[Any, str]] = [
        (images, "expected .images, labels."),
        ((images,), "a tuple of 1"),
        (7, "data is int"),
        ([], "no images"),
        ([images], "labels are needed"),
        (TensorDataset(images), "labels are needed"),
        (TensorDataset(255 * images, labels), "0..255"),
        (TensorDataset(images, labels + 1), "labels run from"),
        ([(images, labels[:3])], "labels have shape"),
        (
            DataLoader(Dicts(), collate_fn=lambda items: items[0]),
            "one an image|\\(N, ...\\)",
        ),
        (
            DataLoader(Dicts(), collate_fn=lambda x: (images[:1], labels[:1])),
            "1 images for 8 positions",
        ),
    ]
    for given, words in wrong:
        with pytest.raises(InputError, match=words):
            finetune_hpm(copy.deepcopy(start), given, **RUN)
