"""Does every form of data give the same rows, ids and positions, one batch at a time?"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchattacks_ext.data.batches import open_batch
from torchattacks_ext.data.door import as_bounds, check_images
from torchattacks_ext.data.stream import Batch, Stream
from torchattacks_ext.errors import InputError, StateError
from torchattacks_ext.models.checks import ModelTraits
from torchattacks_ext.numerics.ids import IdBook

N = 7
IMAGES = (torch.arange(N * 12).reshape(N, 3, 2, 2) * 37 % 256).float() / 255
LABELS = torch.arange(N) % 3


def prepare(images: Any) -> Tensor:
    return check_images(images, as_bounds((0, 1)), torch.float32)


def stream(data: Any, labels: Any = None, **options: Any) -> Stream:
    return Stream(data, labels, **({"prepare": prepare, "batch_size": 3} | options))


def whole(source: Stream) -> Batch:
    """All batches of a stream as one."""
    parts = list(source)
    labels = [part.labels for part in parts if part.labels is not None]
    groups = [g for part in parts for g in part.groups or ()]
    return Batch(
        torch.cat([part.ids for part in parts]),
        torch.cat([part.images for part in parts]),
        torch.cat(labels) if labels else None,
        torch.cat([part.index for part in parts]),
        tuple(groups) or None,
    )


class Dicts(Dataset[dict[str, Any]]):
    """A map-style data set of dicts under other names."""

    def __init__(self, image: str = "image", label: str = "label") -> None:
        self.names = image, label

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {self.names[0]: IMAGES[row], self.names[1]: int(LABELS[row])}


class Running(IterableDataset[tuple[Tensor, int]]):
    """A data set that only runs; it counts how many rows were asked for."""

    asked = 0

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for row in range(N):
            self.asked += 1
            yield IMAGES[row], int(LABELS[row])


def batches(size: int = 3) -> list[tuple[Tensor, Tensor]]:
    return list(zip(IMAGES.split(size), LABELS.split(size)))


PAIRS = TensorDataset(IMAGES, LABELS)
FORMS = {
    "tensor": lambda: (IMAGES, LABELS),
    "numpy": lambda: (IMAGES.numpy(), LABELS.numpy()),
    "tensor and list": lambda: (IMAGES, LABELS.tolist()),
    "TensorDataset": lambda: (PAIRS, None),
    "dicts": lambda: (Dicts(), None),
    "dicts of another name": lambda: (Dicts("pixel_values", "labels"), None),
    "dicts of a third name": lambda: (Dicts("img"), None),
    "IterableDataset": lambda: (Running(), None),
    "loader of tuples": lambda: (DataLoader(PAIRS, batch_size=2), None),
    "loader of dicts": lambda: (DataLoader(Dicts(), batch_size=4), None),
    "loader of a running data set": lambda: (DataLoader(Running(), batch_size=4), None),
    "list of batches": lambda: (batches(), None),
    "list of lists": lambda: ([list(b) for b in batches(4)], None),
    "list of arrays": lambda: ([(x.numpy(), y.numpy()) for x, y in batches()], None),
    "generator": lambda: ((batch for batch in batches(2)), None),
    "mappings": lambda: (
        [UserDict({"images": x, "labels": y}) for x, y in batches()],
        None,
    ),
    "with an empty batch": lambda: ([(IMAGES[:0], LABELS[:0]), *batches()], None),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows_ids_and_positions(form: str) -> None:
    data, labels = FORMS[form]()
    found = whole(stream(data, labels))
    assert torch.equal(found.images, IMAGES)
    assert found.labels is not None and torch.equal(found.labels, LABELS)
    assert found.labels.dtype == torch.int64 and found.groups is None
    assert torch.equal(found.index, torch.arange(N))
    assert torch.equal(found.ids, IdBook().assign(IMAGES, LABELS, (0.0, 1.0)))


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
def test_ids_and_positions_are_equal_for_any_batch_size(size: int) -> None:
    twice = torch.cat([IMAGES, IMAGES.flip(0)]), torch.cat([LABELS, LABELS.flip(0)])
    usual = whole(stream(*twice))
    other = stream(*twice, batch_size=size)
    parts = list(other)
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert torch.equal(torch.cat([p.ids for p in parts]), usual.ids)
    assert torch.equal(torch.cat([p.index for p in parts]), torch.arange(2 * N))
    assert other.n_duplicates == N


def test_shuffling_moves_the_ids_along() -> None:
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    usual, mixed = whole(stream(IMAGES, LABELS)), stream(IMAGES[order], LABELS[order])
    assert torch.equal(whole(mixed).ids, usual.ids[order])


def test_duplicates_are_counted_and_get_ids_of_their_own() -> None:
    images = IMAGES[[0, 1, 0, 0, 2, 1]]
    source = stream(images, LABELS[[0, 1, 0, 0, 2, 1]], batch_size=2)
    found = whole(source)
    assert source.n_duplicates == 3 and len(set(found.ids.tolist())) == 6
    assert torch.equal(whole(source).ids, found.ids)  # a new pass counts anew
    assert source.n_duplicates == 3


def test_duplicates_are_known_when_their_batch_arrives() -> None:
    source = stream(IMAGES[[0, 0]], LABELS[[0, 0]], batch_size=2)
    next(iter(source))
    assert source.n_duplicates == 1


def test_the_label_is_part_of_the_content() -> None:
    one, two = whole(stream(IMAGES, LABELS)), whole(stream(IMAGES, LABELS + 1))
    bare = whole(stream(IMAGES, need_labels=False))
    assert not (set(one.ids.tolist()) & set(two.ids.tolist()))
    assert not (set(one.ids.tolist()) & set(bare.ids.tolist()))
    assert bare.labels is None


# ---------------------------------------------------------------------- ids of the caller
@pytest.mark.parametrize("form", ["tensor", "loader of dicts", "generator"])
def test_given_ids_follow_the_order_of_the_data(form: str) -> None:
    data, labels = FORMS[form]()
    numbers = [5, -3, 2**62, 0, 9, 11, 4]
    for ids in (numbers, tuple(numbers), torch.tensor(numbers), np.array(numbers)):
        data, labels = FORMS[form]()
        assert whole(stream(data, labels, ids=ids)).ids.tolist() == numbers
    data, labels = FORMS[form]()
    assert whole(stream(data, labels, ids=iter(numbers))).ids.tolist() == numbers


def test_string_ids_are_hashed_alike_everywhere() -> None:
    names = [f"cat_{row}.png" for row in range(N)]
    expected = IdBook().given(names)
    assert torch.equal(whole(stream(IMAGES, LABELS, ids=names)).ids, expected)
    parts = [names[:3], names[3:6], names[6:]]
    keyed = [
        {"images": x, "labels": y, "sample_ids": part}
        for (x, y), part in zip(batches(), parts)
    ]
    assert torch.equal(whole(stream(keyed)).ids, expected)
    assert torch.equal(whole(stream(DataLoader(PAIRS), ids=names)).ids, expected)


def test_ids_of_the_call_go_before_those_of_the_batches() -> None:
    batch = {"images": IMAGES, "labels": LABELS, "sample_ids": torch.arange(N)}
    assert whole(stream([batch])).ids.tolist() == list(range(N))
    assert whole(stream([batch], ids=range(10, 10 + N))).ids[0] == 10


@pytest.mark.parametrize("form", ["tensor", "TensorDataset", "list of batches"])
@pytest.mark.parametrize("n_ids", [0, 3, N - 1, N + 1])
def test_too_few_or_too_many_ids_are_refused(form: str, n_ids: int) -> None:
    data, labels = FORMS[form]()
    with pytest.raises(InputError, match=f"images but {n_ids} ids; expected as many"):
        list(stream(data, labels, ids=list(range(n_ids))))


@pytest.mark.parametrize("n_ids", [2, 4])
def test_too_few_or_too_many_sample_ids_of_a_batch_are_refused(n_ids: int) -> None:
    batch = {"images": IMAGES[:3], "labels": LABELS[:3], "sample_ids": range(n_ids)}
    with pytest.raises(InputError, match=f"3 images but {n_ids} sample_ids"):
        list(stream([batch]))


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(StateError, match="used twice"):
        list(stream(IMAGES, LABELS, ids=[1, 2, 3, 4, 5, 6, 1]))


@pytest.mark.parametrize("ids", ["abcdefg", 7, 0.5, torch.tensor(3)])
def test_ids_that_are_no_list_are_refused(ids: Any) -> None:
    with pytest.raises(InputError, match="ids="):
        stream(IMAGES, LABELS, ids=ids)


# ---------------------------------------------------------------------- groups
@pytest.mark.parametrize(
    "groups", [["a", "b", "a"], ("a", "b", "a"), torch.tensor([4, 5, 4]), np.arange(3)]
)
def test_groups_become_words(groups: Any) -> None:
    batch = {"images": IMAGES[:3], "labels": LABELS[:3], "groups": groups}
    (found,) = stream([batch])
    names = groups.tolist() if hasattr(groups, "tolist") else groups
    assert found.groups == tuple(str(name) for name in names)


@pytest.mark.parametrize("groups", [["a"], list("abcd"), "abc", 5])
def test_groups_that_do_not_fit_are_refused(groups: Any) -> None:
    batch = {"images": IMAGES[:3], "labels": LABELS[:3], "groups": groups}
    with pytest.raises(InputError, match="groups"):
        list(stream([batch]))


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "form", ["TensorDataset", "loader of tuples", "list of batches"]
)
def test_labels_beside_a_loader_are_refused(form: str) -> None:
    with pytest.raises(InputError, match="labels= belongs to image tensors"):
        stream(FORMS[form]()[0], LABELS)


def test_missing_labels_are_refused_only_where_they_are_needed() -> None:
    loader = DataLoader(TensorDataset(IMAGES), batch_size=3)
    with pytest.raises(InputError, match=r"measure\(images, labels\)"):
        stream(IMAGES)
    for data in (loader, [{"images": IMAGES}], [IMAGES], [(IMAGES, None)]):
        with pytest.raises(InputError, match="labels are needed"):
            list(stream(data))
        found = whole(stream(data, need_labels=False))
        assert torch.equal(found.images, IMAGES) and found.labels is None


def test_labels_that_are_there_are_used_where_none_are_needed() -> None:
    found = whole(stream(batches(), need_labels=False))
    assert found.labels is not None and torch.equal(found.labels, LABELS)


def test_a_tuple_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="tuple; pass images and labels as two"):
        stream((IMAGES, LABELS))


@pytest.mark.parametrize(
    "data",
    [{"images": IMAGES, "labels": LABELS}, "folder/of/images", 5, None, object()],
)
def test_what_is_no_data_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match="data is "):
        stream(data)


@pytest.mark.parametrize("n", [0, 1, N - 1, N + 1])
def test_another_number_of_labels_is_refused(n: int) -> None:
    with pytest.raises(
        InputError, match=rf"labels have shape \({n},\), expected \({N},\)"
    ):
        stream(IMAGES, torch.zeros(n))


def test_labels_of_one_number_are_refused() -> None:
    for labels in (3, torch.tensor(3)):
        with pytest.raises(InputError, match=r"labels have shape \(\)"):
            stream(IMAGES, labels)
    with pytest.raises(InputError, match="single number"):
        stream(torch.tensor(0.5), LABELS)


@pytest.mark.parametrize(
    "batch",
    [(IMAGES, LABELS, LABELS), (), "text", 5, {"x": IMAGES}, {"labels": LABELS}],
)
def test_a_batch_of_an_unknown_form_is_named(batch: Any) -> None:
    with pytest.raises(InputError, match="a batch (is|has)"):
        open_batch(batch)


def test_labels_out_of_range_name_the_number_of_classes() -> None:
    def look(images: Tensor) -> ModelTraits:
        return ModelTraits(2, False, False, False)

    with pytest.raises(InputError, match="the model has 2 classes"):
        list(stream(IMAGES, LABELS, look=look))


# ---------------------------------------------------------------------- thrift
def test_the_model_is_looked_at_once() -> None:
    seen: list[int] = []

    def look(images: Tensor) -> ModelTraits:
        seen.append(len(images))
        return ModelTraits(3, False, False, False)

    source = stream(IMAGES, LABELS, look=look)
    assert len(list(source)) == 3 == len(list(source))
    assert seen == [3] and source.traits is not None and source.traits.n_classes == 3


def test_a_loader_is_consumed_at_most_one_batch_ahead() -> None:
    given: list[int] = []

    def loader() -> Iterator[tuple[Tensor, Tensor]]:
        for number, batch in enumerate(batches(1)):
            given.append(number)
            yield batch

    for used, _ in enumerate(stream(loader()), 1):
        assert len(given) <= used + 1
    assert len(given) == N
    rows = Running()
    for used, _ in enumerate(stream(rows, batch_size=2), 1):
        assert rows.asked <= 2 * (used + 1)


def test_nothing_is_drawn_from_the_global_generator() -> None:
    """A torch DataLoader draws a seed for its workers when it starts."""
    state = torch.get_rng_state()
    for form in ("tensor", "TensorDataset", "dicts", "IterableDataset", "generator"):
        list(stream(*FORMS[form]()))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_total_is_the_number_of_rows_where_it_is_known() -> None:
    unknown = {"IterableDataset", "loader of a running data set", "generator"}
    unknown |= {"mappings", "with an empty batch"}
    unknown |= {"list of batches", "list of lists", "list of arrays"}
    for form in FORMS:
        assert stream(*FORMS[form]()).total == (None if form in unknown else N), form


def test_an_empty_data_set_is_an_empty_stream() -> None:
    assert list(stream(IMAGES[:0], LABELS[:0])) == []
    assert list(stream([])) == []
    assert stream(IMAGES[:0], LABELS[:0]).total == 0
