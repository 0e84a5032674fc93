"""Do 8-bit images stay inside the ball in which their float images lay?"""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.numerics.quantise import SLACK, quantise_towards

UNIT = 1 / 255
SHAPE = (3, 7)
LEVELS = arrays.arrays(np.uint8, SHAPE)
FLOATS = arrays.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
# near grid points, on either side, where rounding goes wrong
STEPS = arrays.arrays(np.int64, SHAPE, elements=st.integers(-40, 40))
NOISE = arrays.arrays(
    np.float32, SHAPE, elements=st.sampled_from([0, 1, -1, 3, -3, 9, -9, 300, -300])
)


def grid(levels: np.ndarray) -> Tensor:
    return torch.from_numpy(levels.astype(np.float32)) / 255


def near(clean: Tensor, steps: np.ndarray, noise: np.ndarray) -> Tensor:
    """Some steps of the grid away from clean, and some 1e-8 beside."""
    moved = clean + torch.from_numpy(steps) * UNIT + torch.from_numpy(noise) * 1e-8
    return moved.clamp(0, 1).to(clean.dtype)


def on_grid(images: Tensor) -> bool:
    levels = (images.double() * 255).round()
    return torch.equal((levels / 255).to(images.dtype), images)


def check(clean: Tensor, perturbed: Tensor) -> None:
    """On the grid, in the box, no pixel farther, no norm larger (within the rounding said)."""
    found = quantise_towards(clean, perturbed)
    assert found.dtype == perturbed.dtype and found.shape == perturbed.shape
    assert on_grid(found) and 0 <= float(found.min()) and float(found.max()) <= 1
    before, after = ((x - clean).double().abs() for x in (perturbed, found))
    assert bool((after <= before + 2 * SLACK).all())
    n = clean[0].numel()
    for p, slack in ((np.inf, 1.0), (2, n**0.5), (1, float(n))):
        norms = (torch.linalg.vector_norm(x, p, dim=1) for x in (before, after))
        one, two = norms
        assert bool((two <= one + 2 * SLACK * slack).all())


@given(LEVELS, FLOATS)
def test_no_pixel_is_farther_and_no_norm_larger(
    levels: np.ndarray, floats: np.ndarray
) -> None:
    check(grid(levels), torch.from_numpy(floats))
    check(grid(levels).double(), torch.from_numpy(floats).double())


@given(LEVELS, STEPS, NOISE)
def test_no_pixel_is_farther_beside_the_grid(
    levels: np.ndarray, steps: np.ndarray, noise: np.ndarray
) -> None:
    clean = grid(levels)
    check(clean, near(clean, steps, noise))


@given(LEVELS, STEPS, NOISE)
def test_a_pixel_gives_up_less_than_one_step(
    levels: np.ndarray, steps: np.ndarray, noise: np.ndarray
) -> None:
    """The next step towards the clean pixel, not the clean pixel itself."""
    clean = grid(levels)
    moved = near(clean, steps, noise)
    found = quantise_towards(clean, moved)
    lost = (moved - clean).abs() - (found - clean).abs()
    assert bool((lost <= UNIT + 1e-6).all())


def test_a_pixel_just_short_of_a_step_goes_one_back_and_not_home() -> None:
    clean = torch.tensor([[100 / 255]])
    for beside in (6e-7, 1e-6, 2e-6, 1e-5, 1e-4):
        for sign in (1, -1):
            moved = clean + sign * (8 * UNIT - beside)
            step = round(float((quantise_towards(clean, moved) - clean) * 255))
            assert step == sign * 7, (beside, sign)


@given(LEVELS, LEVELS)
def test_images_on_the_grid_stay_bit_by_bit(one: np.ndarray, two: np.ndarray) -> None:
    for dtype in (torch.float32, torch.float64):
        clean, moved = (torch.from_numpy(x).to(dtype) / 255 for x in (one, two))
        assert torch.equal(quantise_towards(clean, moved), moved)
        assert torch.equal(quantise_towards(clean, clean), clean)


@given(FLOATS, FLOATS)
def test_off_the_grid_a_pixel_ends_within_half_a_step(
    one: np.ndarray, two: np.ndarray
) -> None:
    clean, moved = torch.from_numpy(one), torch.from_numpy(two)
    found = quantise_towards(clean, moved)
    before, after = (moved - clean).abs(), (found - clean).abs()
    assert on_grid(found)
    assert bool((after <= torch.clamp(before, min=UNIT / 2) + 2 * SLACK).all())


@given(LEVELS, FLOATS)
def test_twice_is_once(levels: np.ndarray, floats: np.ndarray) -> None:
    clean = grid(levels)
    once = quantise_towards(clean, torch.from_numpy(floats))
    assert torch.equal(quantise_towards(clean, once), once)


def test_the_whole_ball_survives_at_whole_steps() -> None:
    """A sign step of exactly 8/255, computed in float32, loses no pixel."""
    clean = torch.arange(256).float()[None] / 255
    for eps in range(1, 17):
        for sign in (1, -1):
            moved = (clean + sign * eps / 255).clamp(0, 1)
            expected = (torch.arange(256) + sign * eps).clamp(0, 255)
            found = quantise_towards(clean, moved) * 255
            assert torch.equal(found.round().long()[0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_keep_their_dtype_and_level(dtype: torch.dtype) -> None:
    clean = (torch.arange(0, 256, 5).float()[None] / 255).to(dtype)
    found = quantise_towards(clean, clean)
    assert found.dtype == dtype and torch.equal(found, clean)
    assert bool((quantise_towards(clean, clean * 0.9) <= clean).all())


def test_any_shape_and_no_rows() -> None:
    for shape in ((0, 3, 4, 4), (2, 5), (2, 1, 3, 3)):
        images = torch.full(shape, 0.4)
        assert quantise_towards(images, images).shape == shape
