"""Do contrast, brightness and blur do what they say, each image by its own numbers?"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import Photometric, blurred

RATE = 1e-7  # chance that one of the random tests below fails although all is well


def pictures(n: int, *shape: int) -> Tensor:
    """n pictures (n, *shape) in [0, 1), the same everywhere."""
    size = math.prod(shape)
    return uniform(4, torch.arange(n), "pictures", 0, size).reshape(n, *shape)


def test_light_and_contrast_follow_their_formula_in_float64() -> None:
    images = pictures(9, 3, 4, 5).double()
    u = keyed(2, torch.arange(9), 1, "twin")
    law = Photometric(brightness=0.3, contrast=0.4)
    found, numbers = law.sample(images, u), 2 * u(3).double() - 1
    assert found.dtype == torch.float64
    for i, image in enumerate(images):
        c, b = 0.4 * float(numbers[i, 0]), 0.3 * float(numbers[i, 1])
        expected = image.mean() + (1 + c) * (image - image.mean()) + b
        torch.testing.assert_close(found[i], expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_blur_is_scipys_gaussian_filter() -> None:
    """Same cut-off (3 deviations at 2 pixels), same repeated edge; other weights elsewhere."""
    images = pictures(3, 2, 9, 7).double()
    found = blurred(images, torch.full((3,), 2.0), 6)
    expected = ndimage.gaussian_filter(
        images.numpy(), (0, 0, 2, 2), mode="nearest", radius=(0, 0, 6, 6)
    )
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_each_image_has_its_own_deviation() -> None:
    images = pictures(1, 1, 8, 8).expand(4, 1, 8, 8).contiguous()
    deviation = torch.tensor([0.0, 0.3, 1.0, 2.0])
    found = blurred(images, deviation, 6)
    assert torch.equal(found[0], images[0])
    for i in range(4):
        alone = blurred(images[i : i + 1], deviation[i : i + 1], 6)
        assert torch.equal(alone[0], found[i])
    spread = found.flatten(1).std(dim=1)
    assert bool((spread.diff() < 0).all())
    small = blurred(images, torch.full((4,), 1e-30), 6)
    assert torch.equal(small, images)


def test_blur_keeps_flat_images_and_follows_light() -> None:
    flat = torch.full((5, 3, 6, 6), 0.4)
    law = Photometric(blur=2.0)
    u = keyed(0, torch.arange(5), 0, law.name)
    torch.testing.assert_close(law.sample(flat, u), flat, rtol=0, atol=1e-6)
    images = pictures(5, 3, 6, 6)
    both = Photometric(0.1, 0.2, 1.5, bounds=None).sample(images, u)
    light = Photometric(0.1, 0.2, bounds=None).sample(images, u)
    expected = blurred(light, 1.5 * u(3)[:, 2], 5)
    torch.testing.assert_close(both, expected, rtol=0, atol=1e-6)


def test_the_numbers_are_uniform_on_their_ranges() -> None:
    n = 4000
    images, ids = torch.tensor([0.4, 0.6]).expand(n, 2), torch.arange(n)
    law = Photometric(brightness=0.1, contrast=0.5)
    found = law.sample(images, keyed(0, ids, 0, law.name)).double()
    shift, stretch = found.mean(1) - 0.5, found.diff(dim=1)[:, 0] / 0.2
    assert stats.kstest(shift, stats.uniform(-0.1, 0.2).cdf).pvalue > RATE
    assert stats.kstest(stretch, stats.uniform(0.5, 1.0).cdf).pvalue > RATE
    dot = torch.zeros(n, 1, 1, 9)
    dot[..., 4] = 1
    law = Photometric(blur=1.0)
    found = law.sample(dot, keyed(0, ids, 0, law.name))[:, 0, 0].double()
    ratio = (found[:, 5] / found[:, 4]).clamp_min(1e-30)
    deviation = (-0.5 / ratio.log()).sqrt()
    seen = deviation[deviation > 0.2]
    assert stats.kstest(seen, stats.uniform(0.2, 0.8).cdf).pvalue > RATE
    low, high = stats.binom.ppf([RATE / 2, 1 - RATE / 2], n, 0.8)
    assert low <= len(seen) <= high


def test_draws_are_clipped_to_the_bounds() -> None:
    images = pictures(40, 3, 4, 4)
    wide, law = Photometric(0.9, 1.0, bounds=None), Photometric(0.9, 1.0)
    u = keyed(0, torch.arange(40), 0, law.name)
    assert torch.equal(wide.sample(images, u).clamp(0, 1), law.sample(images, u))
    assert float(wide.sample(images, u).max()) > 1
    low, high = torch.tensor([0.0, -1.0, 0.2]), torch.tensor([0.5, 1.0, 0.8])
    found = Photometric(0.9, bounds=(low, high)).sample(images, u)
    for c in range(3):
        assert low[c] <= found[:, c].min() and found[:, c].max() <= high[c]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_are_rounded_once(dtype: torch.dtype) -> None:
    images, law = pictures(6, 3, 5, 5).to(dtype), Photometric(0.1, 0.2, 1.0)
    u = keyed(0, torch.arange(6), 0, law.name)
    found = law.sample(images, u)
    assert torch.equal(found, law.sample(images.float(), u).to(dtype))


def test_blur_needs_pictures_and_light_does_not() -> None:
    rows, u = torch.rand(2, 6), keyed(0, torch.arange(2), 0, "photometric")
    assert Photometric(0.1, 0.2).sample(rows, u).shape == (2, 6)
    with pytest.raises(
        InputError, match=r"shape \(2, 6\), blur=1 needs \(B, C, H, W\)"
    ):
        Photometric(blur=1.0).sample(rows, u)


def test_settings_are_json() -> None:
    law = Photometric(0.1, 0.2, 0.3)
    assert json.loads(json.dumps(law.settings())) == {
        "name": "photometric",
        "norm": None,
        "eps": None,
        "brightness": 0.1,
        "contrast": 0.2,
        "blur": 0.3,
        "bounds": [0.0, 1.0],
    }
    assert law.latent_size((3, 32, 32)) == 3


def test_bad_settings_are_named() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        (dict(brightness=-1), "brightness=-1 must .* >= 0; it is in the units"),
        (dict(contrast=1.5), "contrast=1.5 must .* <= 1; 0.2 draws factors"),
        (dict(blur=math.inf), "blur=inf must .*; it is a standard deviation in pixels"),
        (dict(brightness=0.1, bounds=(1, 0)), "lo < hi"),
        ({}, "change nothing; give one of them"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ConfigError, match=message):
            Photometric(**arguments)
