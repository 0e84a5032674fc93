"""Does an id follow the content, whatever the memory, the batch and the last bits of the floats?"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.errors import InputError, StateError
from torchattacks_ext.numerics.ids import IdBook, content_hashes, from_hex, to_hex
from torchattacks_ext.numerics.streams import to_signed, word

UNIT = (0.0, 1.0)


def pictures(n: int, levels: int, seed: int = 0) -> Tensor:
    """(n, 3, 8, 8) pictures with grey levels 0, 1/levels, ..., 1."""
    grey = np.random.default_rng(seed).integers(0, levels + 1, (n, 3, 8, 8))
    return torch.from_numpy(grey / levels).float()


def round_trip(images: Tensor) -> Tensor:
    """Normalise and undo it, on a machine that is off by up to 3e-7: what loaders do to pixels."""
    mean, std = (
        torch.tensor(v).view(3, 1, 1)
        for v in ([0.4914, 0.48, 0.45], [0.247, 0.24, 0.26])
    )
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return ((images - mean) / std * std + mean) + 3e-7 * (2 * noise - 1)


def test_the_hash_is_what_the_docstring_says() -> None:
    """Naive twin: plain hashlib over the same bytes, and two stored values."""
    images, labels = torch.arange(12.0).view(2, 1, 2, 3) / 11, torch.tensor([0, 1])
    found = content_hashes(images, labels, UNIT)
    assert (
        found.dtype == torch.int64
        and found.shape == (2,)
        and found.device.type == "cpu"
    )
    steps = [
        [min(255, int(255 * float(v) + 0.5 + 1 / 48)) for v in x.flatten()]
        for x in images
    ]
    for row, label, number in zip(steps, labels.tolist(), found.tolist()):
        data = b"steps (1, 2, 3) labelled %d " % label + bytes(row)
        digest = blake2b(data, digest_size=8).digest()
        assert number == int.from_bytes(digest, "little", signed=True)
    assert to_hex(found) == ["b5df79d9d72d3d72", "6af7b48881c640b6"]
    raw = to_hex(content_hashes(images, None, None))
    assert raw == ["be9ffa62c4bc5da7", "37bbde3954d88f38"]


@pytest.mark.parametrize(
    "levels", [1, 2, 4, 8, 16, 17, 32, 51, 64, 128, 255, 1000, 1023]
)
def test_float_noise_does_not_change_the_id(levels: int) -> None:
    clean = pictures(50, levels)
    noisy = round_trip(clean)
    assert bool((clean != noisy).any((1, 2, 3)).all())
    wanted = content_hashes(clean, None, UNIT)
    assert torch.equal(content_hashes(noisy, None, UNIT), wanted)
    for shift in (3e-7, -3e-7, 1e-6, -1e-6):
        assert torch.equal(content_hashes(clean + shift, None, UNIT), wanted)
    assert torch.equal(content_hashes(clean.double(), None, UNIT), wanted)


def test_plain_rounding_would_not_do() -> None:
    """The reason for the offset: 8/16 is step 127.5, and noise decides where it goes."""
    half = torch.full((1, 3, 8, 8), 0.5)
    plain = {
        (255 * (half + shift)).add(0.5).floor().max().item() for shift in (3e-7, -3e-7)
    }
    assert plain == {127.0, 128.0}


def test_scale_and_bounds_are_divided_out() -> None:
    images = pictures(4, 255)
    wanted = content_hashes(images, None, UNIT)
    scaled = (images * 255).to(torch.uint8)
    assert torch.equal(content_hashes(scaled, None, (0, 255)), wanted)
    low, width = torch.tensor([-2.0, -1.0, 0.5]), torch.tensor([4.0, 5.0, 0.7])
    shifted = images * width.view(3, 1, 1) + low.view(3, 1, 1)
    assert torch.equal(content_hashes(shifted, None, (low, low + width)), wanted)
    wide = low.view(1, 3, 1, 1), (low + width).view(3, 1, 1)
    assert torch.equal(content_hashes(shifted, None, wide), wanted)


def test_memory_order_batches_and_gradients_do_not_matter() -> None:
    images, labels = pictures(6, 255), torch.arange(6)
    wanted = content_hashes(images, labels, UNIT)
    last = images.to(memory_format=torch.channels_last)
    strided = images.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    for view in (last, strided, images.clone().requires_grad_()):
        assert torch.equal(content_hashes(view, labels, UNIT), wanted)
        raw = content_hashes(view, labels, None)
        assert torch.equal(raw, content_hashes(images, labels, None))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.equal(
        content_hashes(images[order], labels[order], UNIT), wanted[order]
    )
    alone = [
        content_hashes(images[i : i + 1], labels[i : i + 1], UNIT) for i in range(6)
    ]
    assert torch.equal(torch.cat(alone), wanted)


def test_label_shape_and_pixels_change_the_id() -> None:
    image = pictures(1, 255)
    other = image.clone()
    other[0, 0, 0, 0] = (other[0, 0, 0, 0] + 0.5) % 1
    found = [
        content_hashes(image, None, UNIT),
        content_hashes(image, torch.tensor([0]), UNIT),
        content_hashes(image, torch.tensor([1]), UNIT),
        content_hashes(image.flatten(1), None, UNIT),
        content_hashes(other, None, UNIT),
        content_hashes(image, None, None),
    ]
    assert len(torch.cat(found).unique()) == 6


def test_without_bounds_every_bit_counts_but_the_sign_of_zero() -> None:
    x = torch.tensor([[0.0, 1.0]])
    wanted = content_hashes(x, None, None)
    assert torch.equal(content_hashes(torch.tensor([[-0.0, 1.0]]), None, None), wanted)
    next_up = torch.nextafter(x, torch.full_like(x, 2.0))
    assert not torch.equal(content_hashes(next_up, None, None), wanted)


def test_duplicates_get_distinct_ids_in_order_of_occurrence() -> None:
    a, b = pictures(1, 255, seed=1), pictures(1, 255, seed=2)
    book = IdBook()
    ids = book.assign(torch.cat([a, b, a, a]), None, UNIT)
    assert len(ids.unique()) == 4 and book.n_duplicates == 2
    content = int(content_hashes(a, None, UNIT))
    assert ids[[0, 2, 3]].tolist() == [
        content,
        *(to_signed(word(content, k)) for k in (1, 2)),
    ]
    split = IdBook()
    parts = [split.assign(x, None, UNIT) for x in (b, a, torch.cat([a, a]))]
    assert torch.cat(parts)[[1, 0, 2, 3]].tolist() == ids.tolist()
    assert split.n_duplicates == 2
    again = IdBook().assign(a, None, UNIT)
    assert again.tolist() == [content]
    labelled = IdBook()
    labelled.assign(torch.cat([a, a]), torch.tensor([0, 1]), UNIT)
    assert labelled.n_duplicates == 0


def test_given_integers_are_kept_and_strings_are_hashed() -> None:
    numbers = [0, -1, 2**63 - 1, -(2**63)]
    for ids in (
        numbers,
        torch.tensor(numbers),
        np.array(numbers),
        list(np.array(numbers)),
    ):
        assert IdBook().given(ids).tolist() == numbers
    assert IdBook().given(torch.tensor([3, 4], dtype=torch.uint8)).tolist() == [3, 4]
    assert IdBook().given(list(torch.tensor([3, 4]))).tolist() == [3, 4]
    digest = blake2b("Käse.png".encode(), digest_size=8).digest()
    wanted = [int.from_bytes(digest, "little", signed=True)]
    assert IdBook().given(["Käse.png"]).tolist() == wanted
    assert IdBook().given(np.array(["Käse.png"])).tolist() == wanted
    assert IdBook().given([]).shape == (0,)
    assert IdBook().given(["a"]).dtype == torch.int64


@pytest.mark.parametrize(
    "ids",
    [
        [1.0],
        [True],
        [2**63],
        [None],
        [b"a"],
        "abc",
        torch.zeros(2),
        torch.zeros(2, 2).int(),
    ],
)
def test_other_ids_are_refused(ids: object) -> None:
    with pytest.raises(InputError, match="id"):
        IdBook().given(ids)  # type: ignore[arg-type]


def test_an_id_can_be_used_once_a_measurement() -> None:
    book = IdBook()
    book.given([5, 6])
    with pytest.raises(
        StateError, match="id 6 of row 1 is used twice.*give every row its own id"
    ):
        book.given([7, 6])
    book.given([7])  # the refused call left nothing behind
    with pytest.raises(StateError, match="'x'"):
        book.given(["x", "x"])
    image = pictures(1, 255)
    book.given(content_hashes(image, None, UNIT))
    with pytest.raises(
        StateError, match=f"id {to_hex(content_hashes(image, None, UNIT))[0]}"
    ):
        book.assign(image, None, UNIT)


def test_labels_must_fit() -> None:
    image = pictures(2, 255)
    for labels in (torch.tensor([1]), torch.tensor([0.0, 1.0])):
        with pytest.raises(InputError, match="labels must be"):
            content_hashes(image, labels, UNIT)
    assert content_hashes(image[:0], torch.arange(0), UNIT).shape == (0,)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9))
def test_hex_and_back(numbers: list[int]) -> None:
    words = to_hex(torch.tensor(numbers, dtype=torch.int64))
    assert words == to_hex(numbers) and all(len(w) == 16 for w in words)
    assert from_hex(words).tolist() == numbers


@pytest.mark.parametrize(
    "text", ["", "12", "0" * 17, "g" * 16, "0x" + "0" * 14, "0" * 16 + "\n"]
)
def test_other_words_are_no_ids(text: str) -> None:
    with pytest.raises(InputError, match="16 hexadecimal digits"):
        from_hex([text])
