"""Is each corruption what was published? Slow float64 twins, one picture at a time."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.samplers.corruptions import DEFINITIONS, Corruption
from torchattacks_ext.samplers.corruptions.noise import FEW, poisson
from torchattacks_ext.testing.props import example_images

Array = np.ndarray[Any, Any]
Draws = Callable[..., Array]
TOLERANCE = 1.001


def normal(u: Draws, n: int, purpose: str) -> Array:
    m = (n + 1) // 2
    both = u(2 * m, purpose)
    radius, angle = np.sqrt(-2 * np.log1p(-both[:m])), 2 * np.pi * both[m:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]


def planes(numbers: Array, x: Array) -> Array:
    """Numbers in the order of (C, H, W) as an (H, W, C) picture."""
    return numbers.reshape(x.shape[2], *x.shape[:2]).transpose(1, 2, 0)


def gaussian_noise(x: Array, u: Draws, sigma: float) -> Array:
    return x + planes(normal(u, x.size, "normal"), x) * sigma


def speckle_noise(x: Array, u: Draws, sigma: float) -> Array:
    return x + x * planes(normal(u, x.size, "normal"), x) * sigma


def shot_noise(x: Array, u: Draws, photons: float) -> Array:
    level = planes(u(x.size, "photons"), x)
    return stats.poisson.ppf(level, x * photons).clip(0) / photons


def impulse_noise(x: Array, u: Draws, amount: float) -> Array:
    lost, salt = (planes(u(x.size, name), x) for name in ("lost", "salt"))
    out = x.copy()
    out[(lost <= amount) & (salt <= 0.5)] = 1
    out[(lost <= amount) & (salt > 0.5)] = 0
    return out


def gaussian_blur(x: Array, u: Draws, sigma: float) -> Array:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)


def defocus_blur(x: Array, u: Draws, radius: float, alias: float) -> Array:
    reach = 8 if radius <= 8 else int(radius)
    size = 3 if radius <= 8 else 5
    y, z = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (y**2 + z**2 <= radius**2) / (y**2 + z**2 <= radius**2).sum()
    line = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * alias**2))
    smooth = np.outer(line, line) / line.sum() ** 2
    kernel = ndimage.correlate(disk, smooth, mode="mirror")
    return ndimage.correlate(x, kernel[..., None], mode="mirror")


def glass_blur(x: Array, u: Draws, sigma: float, delta: int, times: int) -> Array:
    levels = np.floor(gaussian_blur(x, u, sigma) * 255 + 1e-6)
    height, width = x.shape[:2]
    for k in range(times):
        n = (height - 2 * delta) * (width - 2 * delta)
        dx, dy = (np.floor(u(2 * n, f"round {k}") * 2 * delta) - delta).reshape(2, n)
        for h in range(height - delta, delta, -1):
            for w in range(width - delta, delta, -1):
                at = (h - delta - 1) * (width - 2 * delta) + w - delta - 1
                levels[h, w] = levels[h + int(dy[at]), w + int(dx[at])]
    return gaussian_blur(levels / 255, u, sigma)


def smear(x: Array, degrees: float, radius: float, sigma: float) -> Array:
    """A direct convolution with the kernel of the motion."""
    n = 2 * int(np.ceil(radius)) + 1
    kernel = np.zeros((2 * n + 1, 2 * n + 1))
    weights = np.exp(-(np.arange(n) ** 2) / (2 * sigma**2))
    for i, weight in enumerate(weights / weights.sum()):
        right = int(np.ceil(i * np.cos(np.radians(degrees)) - 0.5))
        down = int(np.ceil(i * np.sin(np.radians(degrees)) - 0.5))
        kernel[n + down, n + right] += weight
    return ndimage.correlate(x, kernel[..., None], mode="nearest")


def eight_bits(x: Array) -> Array:
    return np.round(x.clip(0, 1) * 255) / 255


def motion_blur(x: Array, u: Draws, radius: float, sigma: float) -> Array:
    return eight_bits(smear(x, u(1, "angle")[0] * 90 - 45, radius, sigma))


def zoomed(x: Array, factor: float) -> Array:
    size = [int(np.ceil(n / factor)) for n in x.shape[:2]]
    top, left = ((n - m) // 2 for n, m in zip(x.shape, size))
    part = x[top : top + size[0], left : left + size[1]]
    big = ndimage.zoom(part, (factor, factor, 1), order=1)
    top, left = ((m - n) // 2 for n, m in zip(x.shape[:2], big.shape))
    return big[top : top + x.shape[0], left : left + x.shape[1]]


def zoom_blur(x: Array, u: Draws, stop: float, step: float) -> Array:
    factors = np.arange(1, stop, step)
    return (x + sum(zoomed(x, f) for f in factors)) / (len(factors) + 1)


def plasma(u: Draws, side: int, decay: float, purpose: str) -> Array:
    size = 1
    while size < side:
        size *= 2
    grid, step, reach = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half, n = step // 2, size // step
        noise = u(3 * n * n, f"{purpose} {step}").reshape(3, n, n) * 2 - 1
        noise *= reach**2
        at = [(i, j) for i in range(n) for j in range(n)]
        for i, j in at:
            y, x = i * step, j * step
            ends = [(y, x), (y + step, x), (y, x + step), (y + step, x + step)]
            mean = sum(grid[a % size, b % size] for a, b in ends) / 4
            grid[y + half, x + half] = mean + noise[0, i, j]
        for i, j in at:
            y, x = i * step, j * step
            ends = [(y, x), (y, x + step), (y + half, x + half), (y - half, x + half)]
            mean = sum(grid[a % size, b % size] for a, b in ends) / 4
            grid[y, x + half] = mean + noise[1, i, j]
        for i, j in at:
            y, x = i * step, j * step
            ends = [(y, x), (y + step, x), (y + half, x + half), (y + half, x - half)]
            mean = sum(grid[a % size, b % size] for a, b in ends) / 4
            grid[y + half, x] = mean + noise[2, i, j]
        step, reach = half, reach / decay
    grid -= grid.min()
    return grid / grid.max()


def fog(x: Array, u: Draws, density: float, decay: float) -> Array:
    cloud = plasma(u, max(x.shape[:2]), decay, "fog")[: x.shape[0], : x.shape[1], None]
    return (x + density * cloud) * x.max() / (x.max() + density)


def snow(x: Array, u: Draws, *numbers: float) -> Array:
    mean, sigma, zoom, threshold, radius, blur, kept = numbers
    flakes = normal(u, x[..., 0].size, "flakes").reshape(*x.shape[:2], 1)
    layer = zoomed(flakes * sigma + mean, zoom)
    layer[layer < threshold] = 0
    layer = np.floor(layer.clip(0, 1) * 255) / 255
    layer = eight_bits(smear(layer, u(1, "angle")[0] * 90 - 135, radius, blur))
    luma = (0.299, 0.587, 0.114) if x.shape[2] == 3 else (1.0,)
    pale = np.maximum(x, (x @ np.array(luma))[..., None] * 1.5 + 0.5)
    return kept * x + (1 - kept) * pale + layer + np.rot90(layer, k=2)


def hsv(x: Array, change: Callable[[float, float, float], Any]) -> Array:
    """Each pixel through the standard library's HSV; a grey picture by its value."""
    rgb = x.repeat(3, 2) if x.shape[2] == 1 else x
    flat = [
        colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*p)))
        for p in rgb.reshape(-1, 3)
    ]
    return np.array(flat).reshape(rgb.shape)[..., : x.shape[2]]


def brightness(x: Array, u: Draws, more: float) -> Array:
    return hsv(x, lambda h, s, v: (h, s, min(v + more, 1)))


def saturate(x: Array, u: Draws, factor: float, more: float) -> Array:
    return hsv(x, lambda h, s, v: (h, min(s * factor + more, 1), v))


def contrast(x: Array, u: Draws, factor: float) -> Array:
    mean = x.mean((0, 1), keepdims=True)
    return (x - mean) * factor + mean


def as_file(x: Array) -> Image.Image:
    levels = np.round(x * 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if x.shape[2] == 1 else levels)


def from_file(picture: Image.Image, x: Array) -> Array:
    return np.asarray(picture, dtype=np.float64).reshape(x.shape) / 255


def pixelate(x: Array, u: Draws, share: float) -> Array:
    height, width = x.shape[:2]
    small = as_file(x).resize((int(width * share), int(height * share)), Image.BOX)
    return from_file(small.resize((width, height), Image.BOX), x)


def jpeg_compression(x: Array, u: Draws, quality: int) -> Array:
    file = BytesIO()
    as_file(x).save(file, "JPEG", quality=quality)
    return from_file(Image.open(file), x)


def elastic_transform(
    x: Array, u: Draws, strength: float, sigma: float, shift: float
) -> Array:
    height, width, channels = x.shape
    side = min(height, width)
    middle, half = np.array([width // 2, height // 2]), side // 3
    old = np.array([middle + half, middle + [half, -half], middle - half], dtype=float)
    new = old + (u(6, "corners").reshape(3, 2) * 2 - 1) * shift * side
    forth = np.linalg.solve(np.c_[old, np.ones(3)], new).T  # new = forth @ (x, y, 1)
    back = np.linalg.inv(np.vstack([forth, [0, 0, 1]]))
    rows, columns = np.mgrid[:height, :width]
    at = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    from_x, from_y = (back @ at)[:2]

    def sampled(picture: Array, where: list[Array], mode: str) -> Array:
        each = [
            ndimage.map_coordinates(picture[..., c], where, order=1, mode=mode)
            for c in range(channels)
        ]
        return np.stack(each, -1).reshape(x.shape)

    bent = sampled(x, [from_y, from_x], "mirror")
    fields = [
        (u(height * width, name) * 2 - 1).reshape(height, width)
        for name in ("across", "down")
    ]
    across, down = (
        ndimage.gaussian_filter(f, sigma * side, mode="reflect", truncate=3)
        * (strength * side)
        for f in fields
    )
    return sampled(bent, [(rows + down).ravel(), (columns + across).ravel()], "reflect")


def frost(
    x: Array, u: Draws, kept: float, share: float, textures: list[Array]
) -> Array:
    drawn = u(3, "texture")
    texture = textures[int(drawn[0] * len(textures))]
    top, left = (int(d * (t - n)) for d, t, n in zip(drawn[1:], texture.shape, x.shape))
    part = texture[top : top + x.shape[0], left : left + x.shape[1]]
    if x.shape[2] == 1:
        part = (part @ np.array([0.299, 0.587, 0.114]))[..., None]
    return kept * x + share * part


TWINS = {
    f.__name__: f
    for f in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
        speckle_noise,
        gaussian_blur,
        saturate,
    )
}
UNPUBLISHED = {"frost_procedural", "rotation", "translation"}
OTHERS = sorted(set(TWINS) - {"frost"})


def test_every_published_corruption_has_a_twin() -> None:
    assert set(TWINS) | UNPUBLISHED == set(DEFINITIONS)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frost")
    levels = (example_images(2, (3, 130, 120)) * 255).round().byte()
    for k, one in enumerate(levels):
        Image.fromarray(one.permute(1, 2, 0).numpy()).save(folder / f"frost{k}.png")
    return folder


def compare(
    name: str, images: torch.Tensor, parameters: Any, textures: Any = None
) -> None:
    ids = torch.arange(5, 5 + len(images))
    for severity in range(1, 6):
        law = Corruption(name, severity, parameters=parameters, textures=textures)
        found = law.sample(images, keyed(3, ids, 0, law.name)).double() * 255
        numbers: Any = DEFINITIONS[name].numbers(parameters, severity)
        if textures is not None:
            step = slice(2, None, 5) if parameters == "cifar" else slice(None)
            files = [Image.open(file) for file in sorted(textures.iterdir())]
            numbers = *numbers, [np.asarray(f)[step, step] / 255 for f in files]
        for i, image in enumerate(images):

            def u(size: int, purpose: str, i: int = i) -> Array:
                key = keyed(3, ids[i : i + 1], 0, f"corruption/{name} {purpose}")
                return key(size)[0].double().numpy()

            x = np.round(image.double().permute(1, 2, 0).numpy() * 255) / 255
            twin = np.floor(TWINS[name](x, u, *numbers).clip(0, 1) * 255 + 1e-6)
            far = np.abs(found[i].permute(1, 2, 0).numpy() - twin).max()
            assert far <= TOLERANCE, (name, severity, i, far)


@pytest.mark.parametrize("parameters", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", OTHERS)
def test_it_is_what_was_published(name: str, parameters: Any) -> None:
    compare(name, example_images(2, (3, 16, 16)), parameters)
    if name != "saturate":
        compare(name, example_images(1, (1, 13, 10)), parameters)


@pytest.mark.parametrize("parameters", ["cifar", "imagenet"])
def test_frost_is_what_was_published(photographs: Path, parameters: Any) -> None:
    compare("frost", example_images(4, (3, 16, 16)), parameters, photographs)
    compare("frost", example_images(1, (1, 13, 10)), parameters, photographs)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_it_is_what_was_published_at_full_size(name: str) -> None:
    compare(name, example_images(4, (3, 32, 32)), "cifar")
    compare(name, example_images(1, (3, 224, 224)), "imagenet")


def test_poisson_numbers_are_quantiles() -> None:
    level = torch.linspace(0, 1 - 2**-24, 5 * FEW, dtype=torch.float64)
    for mean in (
        torch.linspace(0, 500, 5 * FEW).double(),
        (torch.arange(5 * FEW) % 256) / 4.25,
    ):
        mean = mean.double()
        assert (len(mean.unique()) <= FEW) == (float(mean.max()) < 100)
        twin = stats.poisson.ppf(level.numpy(), mean.numpy()).clip(0)
        assert np.array_equal(poisson(level, mean).numpy(), twin)
