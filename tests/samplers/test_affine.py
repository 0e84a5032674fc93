"""Are images turned, moved and resized as told, each by its own numbers?"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import Affine, warp

RATE = 1e-7  # chance that one of the random tests below fails although all is well
PADDINGS = ("zeros", "border", "reflection")


def pictures(n: int, *shape: int) -> Tensor:
    """n pictures (n, *shape) in [0, 1), the same everywhere."""
    size = math.prod(shape)
    return uniform(4, torch.arange(n), "pictures", 0, size).reshape(n, *shape)


def moved(
    images: Tensor, degrees: float = 0, x: float = 0, y: float = 0, scale: float = 1
) -> Any:
    """`warp` with the same numbers for every image."""
    ones = torch.ones(len(images))
    shift = torch.tensor([[x, y]]).expand(len(images), 2)
    return warp(images, degrees * ones, shift, scale * ones)


def pixel(image: Tensor, row: int, column: int, padding: str) -> float:
    """One pixel (H, W), also outside: black, the edge, or mirrored at the edge."""
    sizes, place = image.shape, [row, column]
    for d in range(2):
        if padding == "border":
            place[d] = min(max(place[d], 0), sizes[d] - 1)
        elif padding == "reflection":
            place[d] %= 2 * sizes[d]
            place[d] = min(place[d], 2 * sizes[d] - 1 - place[d])
        elif not 0 <= place[d] < sizes[d]:
            return 0.0
    return float(image[place[0], place[1]])


def naive(
    image: Tensor, degrees: float, x: float, y: float, scale: float, padding: str
) -> Tensor:
    """The formula of `warp`, pixel by pixel, in Python floats."""
    (height, width), out = image.shape, torch.empty_like(image)
    angle = math.radians(degrees)
    for i in range(height):
        for j in range(width):
            right = j - (width - 1) / 2 - x * width
            down = i - (height - 1) / 2 - y * height
            column = (right * math.cos(angle) - down * math.sin(angle)) / scale
            row = (right * math.sin(angle) + down * math.cos(angle)) / scale
            column, row = column + (width - 1) / 2, row + (height - 1) / 2
            left, top = math.floor(column), math.floor(row)
            total = 0.0
            for r, c in (
                (top, left),
                (top, left + 1),
                (top + 1, left),
                (top + 1, left + 1),
            ):
                weight = (1 - abs(row - r)) * (1 - abs(column - c))
                total += weight * pixel(image, r, c, padding)
            out[i, j] = total
    return out


@pytest.mark.parametrize("padding", PADDINGS)
def test_warp_follows_its_formula_pixel_by_pixel(padding: Any) -> None:
    images = pictures(5, 1, 4, 7).double()
    degrees = torch.tensor([0.0, 30.0, -100.0, 179.0, 7.0])
    shift = torch.tensor([[0.0, 0.0], [0.1, -0.2], [0.5, 0.1], [-0.3, 0.3], [0, 0.9]])
    scale = torch.tensor([1.5, 1.0, 0.6, 0.9, 1.1])
    found = warp(images, degrees, shift, scale, padding)
    for k in range(5):
        numbers = (float(degrees[k]), *shift[k].tolist(), float(scale[k]))
        expected = naive(images[k, 0], *numbers, padding)
        torch.testing.assert_close(found[k, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 7, 28, 32, 224])
@pytest.mark.parametrize("k", [1, 2, 3, -1])
def test_quarter_turns_are_rot90(side: int, k: int) -> None:
    images = pictures(2, 3, side, side)
    expected = torch.rot90(images, k, (2, 3))
    torch.testing.assert_close(moved(images, 90 * k), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (1, 5, 9), (3, 224, 224)])
def test_no_move_gives_the_image_back(shape: Any) -> None:
    images = pictures(2, *shape)
    torch.testing.assert_close(moved(images), images, rtol=0, atol=1e-6)
    law = Affine(rotation=30, translation=0.2, scale=0.3)
    half = lambda size, purpose="": torch.full((2, size), 0.5)  # noqa: E731
    torch.testing.assert_close(law.sample(images, half), images, rtol=0, atol=1e-6)


def test_shifts_go_right_and_down_by_a_share_of_the_side() -> None:
    images = pictures(1, 2, 4, 8)
    right, down = moved(images, x=0.25), moved(images, y=0.25)
    torch.testing.assert_close(right[..., 2:], images[..., :-2], rtol=0, atol=1e-6)
    torch.testing.assert_close(down[:, :, 1:], images[:, :, :-1], rtol=0, atol=1e-6)
    assert float(right[..., :2].abs().max()) < 1e-6
    assert float(down[:, :, :1].abs().max()) < 1e-6


def test_images_that_are_not_square_keep_their_angles() -> None:
    """A disc turned in a wide image stays a disc; in its own units it would be sheared."""
    y, x = torch.meshgrid(
        torch.arange(21.0) - 10, torch.arange(41.0) - 20, indexing="ij"
    )
    disc = torch.exp(-(x**2 + y**2) / 18).view(1, 1, 21, 41)
    torch.testing.assert_close(moved(disc, 37), disc, rtol=0, atol=0.03)
    bar = ((x.abs() < 8) & (y.abs() < 1)).float().view(1, 1, 21, 41)
    upright = moved(bar, 90)[0, 0]
    expected = ((y.abs() < 8) & (x.abs() < 1)).float()
    torch.testing.assert_close(upright, expected, rtol=0, atol=1e-5)


def test_a_larger_scale_enlarges() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[..., 3:6, 3:6] = 1
    assert float(moved(image, scale=2.0).sum()) == pytest.approx(4 * 9, rel=0.1)
    assert float(moved(image, scale=0.5).sum()) < 5


def test_each_image_of_a_batch_has_its_own_numbers() -> None:
    images = pictures(1, 1, 9, 9).expand(50, 1, 9, 9).contiguous()
    for law in (Affine(rotation=40), Affine(translation=0.3), Affine(scale=0.4)):
        found = law.sample(images, keyed(0, torch.arange(50), 0, law.name)).flatten(1)
        gaps = (found[:, None] - found).abs().amax(2) + torch.eye(50)
        assert float(gaps.min()) > 0


def test_the_numbers_are_uniform_on_their_ranges() -> None:
    """Seen through what they do to a ramp, exactly linear in shift and scale."""
    n = 4000
    ramp = torch.arange(41.0).div(40).expand(1, 1, 41, 41)
    images, ids = ramp.expand(n, 1, 41, 41).contiguous(), torch.arange(n)
    for law, axis in ((Affine(translation=0.1), 3), (Affine(translation=0.1), 2)):
        turned = images if axis == 3 else images.transpose(2, 3).contiguous()
        middle = law.sample(turned, keyed(0, ids, 0, law.name))[:, 0, 20, 20]
        shift = (0.5 - middle.double()) * 40 / 41
        assert stats.kstest(shift, stats.uniform(-0.1, 0.2).cdf).pvalue > RATE
    law = Affine(scale=0.2)
    drawn = law.sample(images, keyed(0, ids, 0, law.name))[:, 0, 20, 30].double()
    factor = 0.25 / (drawn - 0.5)
    assert stats.kstest(factor, stats.uniform(0.8, 0.4).cdf).pvalue > RATE
    law = Affine(rotation=25)
    drawn = law.sample(images, keyed(0, ids, 0, law.name)).double()
    right, down = drawn[:, 0, 20, 30] - 0.5, drawn[:, 0, 30, 20] - 0.5
    angle = torch.rad2deg(torch.atan2(-down, right))
    assert stats.kstest(angle, stats.uniform(-25, 50).cdf).pvalue > RATE


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rotation=st.floats(0, 180),
    translation=st.floats(0.01, 1),
    scale=st.floats(0, 0.9),
    padding=st.sampled_from(PADDINGS),
    seed=st.integers(0, 2**40),
)
def test_values_stay_between_those_of_the_image(
    rotation: float, translation: float, scale: float, padding: Any, seed: int
) -> None:
    images = pictures(4, 2, 5, 6) * 3 + 1
    law = Affine(rotation, translation, scale, padding=padding)
    found = law.sample(images, keyed(seed, torch.arange(4), 0, law.name))
    low = 0.0 if padding == "zeros" else float(images.min())
    assert low <= float(found.min()) and float(found.max()) <= float(images.max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_are_rounded_once(dtype: torch.dtype) -> None:
    images, law = pictures(6, 3, 5, 5).to(dtype), Affine(20, 0.1, 0.1)
    u = keyed(0, torch.arange(6), 0, law.name)
    found = law.sample(images, u)
    assert torch.equal(found, law.sample(images.float(), u).to(dtype))


@pytest.mark.parametrize("shape", [(2, 16), (2, 4, 4), (2, 1, 3, 4, 4)])
def test_only_pictures_can_be_moved(shape: Any) -> None:
    law = Affine(10)
    with pytest.raises(
        InputError, match=r"images have shape \(2, .*expected \(B, C, H, W\)"
    ):
        law.sample(torch.zeros(shape), keyed(0, torch.arange(2), 0, law.name))


def test_settings_are_json() -> None:
    law = Affine(10, 0.1, 0.2, padding="border")
    assert json.loads(json.dumps(law.settings())) == {
        "name": "affine",
        "norm": None,
        "eps": None,
        "rotation": 10.0,
        "translation": 0.1,
        "scale": 0.2,
        "padding": "border",
    }
    assert law.latent_size((3, 32, 32)) == 4 and law.norm is None


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="rotation=181 must .* <= 180; .* degrees"):
        Affine(181)
    with pytest.raises(ConfigError, match="translation=3 must .* <= 1; .* share"):
        Affine(translation=3)
    for scale in (1.0, -0.1, math.nan):
        with pytest.raises(ConfigError, match="scale=.* must .*; 0.1 draws factors"):
            Affine(scale=scale)
    with pytest.raises(ConfigError, match="padding='wrap' is not one of"):
        Affine(10, padding="wrap")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="move nothing; give one of them"):
        Affine()
