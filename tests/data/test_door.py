"""Does the door let in what is right, as it is, and say of all else what to do about it?"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.data.door import (
    TOLERANCE,
    as_bounds,
    check_images,
    check_label_range,
    check_labels,
)
from torchattacks_ext.errors import ConfigError, InputError

BOX = (0.0, 1.0)


def door(images: Any, bounds: Any = BOX, dtype: torch.dtype = torch.float32) -> Tensor:
    return check_images(images, as_bounds(bounds), dtype)


def pixels(*shape: int) -> Tensor:
    n = int(np.prod(shape))
    return (torch.arange(n).reshape(shape) % 256).float() / 255


# ---------------------------------------------------------------------- refusals
def test_uint8_images_are_told_to_divide() -> None:
    with pytest.raises(InputError, match=r"uint8 \(0..255\).*images.float\(\) / 255"):
        door(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(InputError, match="uint8"):
        door(np.zeros((2, 3, 4, 4), dtype=np.uint8))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
def test_tokens_are_told_to_be_embeddings(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=f"{dtype}.*tokens.*embeddings.*bounds=None"):
        door(torch.zeros(2, 7, dtype=dtype))


@pytest.mark.parametrize("bounds", [BOX, None, (torch.zeros(3), torch.ones(3))])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_images_are_refused(value: float, bounds: Any) -> None:
    images = pixels(2, 3, 4, 4)
    images[1, 2, 3, 3] = value
    with pytest.raises(InputError, match="NaN or infinite.*nan_to_num"):
        door(images, bounds)


def test_images_of_0_to_255_are_told_to_divide() -> None:
    with pytest.raises(InputError, match=r"\[0, 255\].*\(0.0, 1.0\).*images / 255"):
        door(pixels(2, 3, 16, 16) * 255)


def test_images_that_look_normalised_are_told_how_to_say_so() -> None:
    with pytest.raises(InputError) as error:
        door((pixels(2, 3, 16, 16) - 0.45) / 0.25)
    for word in ("[-1.8, 2.2]", "set_normalization_used", "NormalizedModel", "bounds="):
        assert word in str(error.value)


def test_one_image_is_told_to_unsqueeze() -> None:
    for images in (torch.zeros(5), torch.tensor(0.5)):
        with pytest.raises(InputError, match=r"expected \(N, ...\).*unsqueeze\(0\)"):
            door(images)


@pytest.mark.parametrize("images", ["text", object(), None, [["a"]], {"images": 1}])
def test_what_is_no_array_is_refused(images: Any) -> None:
    with pytest.raises(InputError, match="images are .*expected"):
        door(images)


# ---------------------------------------------------------------------- what comes in
def test_numpy_images_come_in_without_a_word() -> None:
    array = pixels(2, 3, 4, 4).numpy()
    assert torch.equal(door(array), torch.from_numpy(array))
    frozen = array.copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(door(frozen), torch.from_numpy(array))
    turned = array[:, ::-1]  # torch refuses negative strides
    assert torch.equal(door(turned), torch.from_numpy(array).flip(1))
    assert torch.equal(door(array.tolist()), torch.from_numpy(array))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_come_in_as_the_working_dtype(dtype: torch.dtype) -> None:
    images = torch.tensor([[0.0, 0.5, 1.0]], dtype=dtype)
    assert door(images).dtype == torch.float32
    assert door(images, dtype=torch.float64).dtype == torch.float64
    assert door(images).tolist() == [[0.0, 0.5, 1.0]]


def test_permuted_and_channels_last_become_contiguous() -> None:
    images = pixels(2, 3, 4, 5)
    for odd in (
        images.to(memory_format=torch.channels_last),
        images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        images.repeat_interleave(2, dim=3)[..., ::2],
        images[:1].expand(2, 3, 4, 5),
    ):
        assert not odd.is_contiguous()
        found = door(odd)
        assert found.is_contiguous() and torch.equal(found, odd)


def test_images_that_are_right_are_not_copied() -> None:
    images = pixels(2, 3, 4, 4)
    assert door(images).data_ptr() == images.data_ptr()


def test_the_graph_stays_outside() -> None:
    images = pixels(2, 3, 4, 4).requires_grad_(True)
    assert not door(images).requires_grad and images.requires_grad


def test_rounding_beyond_the_bounds_is_clipped_and_the_input_left_alone() -> None:
    images = torch.tensor([[-0.9 * TOLERANCE, 0.5, 1 + 0.9 * TOLERANCE]])
    before = images.clone()
    assert door(images).tolist() == [[0.0, 0.5, 1.0]]
    assert torch.equal(images, before)
    for outside in (-1.1 * TOLERANCE, 1 + 1.1 * TOLERANCE):
        with pytest.raises(InputError, match="expected bounds"):
            door(torch.tensor([[0.5, outside]]))


def test_an_empty_batch_comes_in() -> None:
    for bounds in (BOX, None, (torch.zeros(3), torch.ones(3))):
        found = door(torch.zeros(0, 3, 4, 4, dtype=torch.float64), bounds)
        assert found.shape == (0, 3, 4, 4) and found.dtype == torch.float32


# ---------------------------------------------------------------------- bounds
def test_bounds_of_each_channel() -> None:
    low, high = torch.tensor([0.0, -1.0, 2.0]), torch.tensor([1.0, 1.0, 3.0])
    images = low.view(1, 3, 1, 1) + pixels(2, 3, 4, 4) * (high - low).view(1, 3, 1, 1)
    assert torch.equal(door(images, (low, high)), images)
    images[0, 2, 0, 0] = 1.5  # inside [-1, 3], outside the third channel
    with pytest.raises(
        InputError, match=r"bounds=\(\[0.0, -1.0, 2.0\], \[1.0, 1.0, 3.0\]\)"
    ):
        door(images, (low, high))
    images[0, 2, 0, 0] = 2 - TOLERANCE / 2
    found = door(images, (low, high))
    assert found.shape == images.shape and float(found[0, 2, 0, 0]) == 2
    assert torch.equal(found[1], images[1])
    assert torch.equal(door(images, (0 * low - 1, 3.0)), images)  # one side a number


def test_bounds_of_each_feature() -> None:
    low, high = torch.tensor([0.0, 10.0]), torch.tensor([1.0, 20.0])
    images = torch.tensor([[0.5, 15.0], [1.0, 10.0]])
    assert torch.equal(door(images, (low, high)), images)
    with pytest.raises(InputError):
        door(images.flip(1), (low, high))


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 4, 4, 4), (2, 4)])
def test_bounds_that_do_not_fit_the_channels_are_refused(
    shape: tuple[int, ...],
) -> None:
    # one channel would broadcast to three: the images would come out in another shape
    bounds = (torch.zeros(3), torch.ones(3))
    for images in (torch.full(shape, 0.5), torch.full(shape, -TOLERANCE / 2)):
        with pytest.raises(InputError, match="does not fit"):
            door(images, bounds)


def test_no_bounds_let_any_finite_number_in() -> None:
    images = torch.tensor([[-1e30, 0.0, 1e30]])
    assert torch.equal(door(images, None), images)


def test_bounds_of_other_scales() -> None:
    assert door(torch.full((1, 2), 255.0), (0, 255)).tolist() == [[255, 255]]
    with pytest.raises(InputError, match=r"\[-1, 0\], expected bounds=\(0.0, 255.0\)"):
        door(torch.tensor([[-1.0, 0.0]]), (0, 255))


def test_bounds_become_floats_or_tensors() -> None:
    assert as_bounds(None) is None
    assert (
        as_bounds((0, 1)) == (0.0, 1.0) == as_bounds([torch.tensor(0), np.float32(1)])
    )
    low, high = as_bounds(([0, 0], np.ones(2))) or (0, 0)
    assert isinstance(low, Tensor) and isinstance(high, Tensor) and len(high) == 2


@pytest.mark.parametrize(
    "bounds",
    [
        1,
        (0, 1, 2),
        (1, 0),
        (0, 0),
        (float("nan"), 1),
        (0, float("nan")),
        (-float("inf"), float("inf")),
        ("a", "b"),
        (torch.zeros(3), torch.tensor([1.0, 0.0, 1.0])),
        (torch.zeros(3), torch.ones(2)),
        "unit",
    ],
)
def test_bounds_that_are_none_are_refused(bounds: Any) -> None:
    with pytest.raises(ConfigError, match="bounds=.*images are"):
        as_bounds(bounds)


# ---------------------------------------------------------------------- labels
@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([2, 0, 1], dtype=torch.int32),
        torch.tensor([2, 0, 1], dtype=torch.uint8),
        torch.tensor([2.0, 0.0, 1.0]),
        torch.tensor([2.0, 0.0, 1.0], dtype=torch.float16),
        torch.tensor([[2], [0], [1]]),
        torch.tensor([[2.0], [0.0], [1.0]]),
        np.array([2, 0, 1], dtype=np.int16),
        np.array([1, 0, 2])[::-1],
        [2, 0, 1],
        (2, 0, 1),
    ],
)
def test_labels_become_int64(labels: Any) -> None:
    found = check_labels(labels, 3)
    assert found.dtype == torch.int64 and found.tolist() == [2, 0, 1]


def test_labels_of_a_series_come_in_whatever_their_index() -> None:
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series([2, 0, 1], index=[10, 11, 12])
    assert check_labels(labels, 3).tolist() == [2, 0, 1]


def test_one_hot_labels_are_told_to_use_argmax() -> None:
    for dtype in (torch.int64, torch.float32):
        with pytest.raises(InputError, match=r"\(3, 3\).*argmax\(1\)"):
            check_labels(torch.eye(3, dtype=dtype), 3)


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf"), -float("inf")])
def test_labels_that_are_no_class_numbers_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="fractions, NaN or infinities"):
        check_labels(torch.tensor([1.0, value]), 2)


@pytest.mark.parametrize(
    "labels", [[1, 2], torch.tensor(1), [[1, 2, 3]], torch.zeros(3, 1, 1), []]
)
def test_labels_of_another_length_are_refused(labels: Any) -> None:
    with pytest.raises(InputError, match=r"labels have shape .*expected \(3,\)"):
        check_labels(labels, 3)


@pytest.mark.parametrize("labels", [None, ["cat", "dog", "cat"], object()])
def test_labels_that_are_no_numbers_are_refused(labels: Any) -> None:
    with pytest.raises(InputError, match="labels are"):
        check_labels(labels, 3)


def test_labels_out_of_range_are_told_the_number_of_classes() -> None:
    check_label_range(torch.tensor([0, 9]), 10)
    check_label_range(torch.tensor([], dtype=torch.int64), 10)
    for labels in ([0, 10], [-1, 3]):
        with pytest.raises(InputError, match=r"the model has 10 classes \(0 .. 9\)"):
            check_label_range(torch.tensor(labels), 10)
