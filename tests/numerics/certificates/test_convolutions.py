"""Are bounds of convolutions above their dense operators, for every option, and how close?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.certificates.axes import GRID, axis_of
from torchattacks_ext.numerics.certificates.convolutions import (
    convolution_norm,
    reshape_norm,
    transform_norm,
)
from torchattacks_ext.numerics.certificates.operators import dense

SLIDE: Any = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
COUNTEREXAMPLE = torch.tensor(
    [
        [[[-2.0, 0.0, 2.0], [1.0, -2.0, 0.0], [0.0, -1.0, 1.0]]],
        [[[2.0, 0.0, 2.0], [-2.0, 2.0, -2.0], [2.0, 1.0, 2.0]]],
    ]
)


def operator(weight: torch.Tensor, size: list[int], *options: Any) -> float:
    """The exact norm: of the matrix from images to images."""
    groups = options[3] if len(options) > 3 else 1
    shape = (weight.shape[1] * groups, *size)
    slide = SLIDE[len(size)]
    matrix = dense(lambda x: slide(x, weight, None, *options), shape)
    return float(torch.linalg.matrix_norm(matrix, 2))


def drawn(
    rng: np.random.Generator, n_axes: int
) -> tuple[torch.Tensor, list[int], list[Any]]:
    """A weight, a size, and stride, padding, dilation, groups that go with them."""
    while True:
        stride, dilation, padding, kernel = (
            rng.integers(low, high, n_axes).tolist()
            for low, high in ((1, 4), (1, 4), (0, 4), (1, 5))
        )
        size = rng.integers(1, 9 if n_axes < 3 else 5, n_axes).tolist()
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        if all(n + 2 * p >= r for n, p, r in zip(size, padding, reach)):
            break
    groups = int(rng.choice([1, 1, 2]))
    n_out = groups * int(rng.integers(1, 4))
    shape = (n_out, int(rng.integers(1, 4)), *kernel)
    return (
        torch.from_numpy(rng.standard_normal(shape)),
        size,
        [stride, padding, dilation, groups],
    )


def check(seed: int, n_axes: int) -> float:
    """Bound / truth of a random convolution; fails where it is below 1."""
    weight, size, options = drawn(np.random.default_rng([seed, n_axes]), n_axes)
    stride, _, dilation, groups = options
    given = {"stride": stride, "dilation": dilation, "groups": groups}
    truth = operator(weight, size, *options)
    both = transform_norm(weight, size, **given), reshape_norm(weight, **given)
    assert min(both) >= truth * (1 - 1e-12), (seed, weight.shape, size, options)
    assert convolution_norm(weight, size, **given) <= min(both) * (1 + 1e-9)
    return min(both) / truth if truth else 1.0


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_no_convolution_is_bounded_too_low(n_axes: int) -> None:
    found = [check(seed, n_axes) for seed in range(25)]
    assert np.median(found) < 1.35  # images of a few pixels are mostly edge


@pytest.mark.slow
@pytest.mark.parametrize("n_axes", [1, 2])
def test_none_of_200_convolutions_is_bounded_too_low(n_axes: int) -> None:
    for seed in range(100, 300):
        check(seed, n_axes)


def test_the_transform_on_as_many_points_as_pixels_is_false() -> None:
    truth = operator(COUNTEREXAMPLE.double(), [3, 3], 1, 1)
    on_n = torch.fft.fft2(COUNTEREXAMPLE[:, 0].double()).permute(1, 2, 0)
    assert truth == pytest.approx(8.7156, abs=5e-5)
    assert float(on_n.norm(dim=2).max()) == pytest.approx(7.0711, abs=5e-5)
    assert truth <= convolution_norm(COUNTEREXAMPLE, (3, 3)) < 1.21 * truth


def test_windows_that_do_not_overlap_are_exact() -> None:
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 2, 2, 3)))
    truth = float(torch.linalg.matrix_norm(weight.flatten(1), 2))
    given = {"stride": (2, 3)}
    for found in (
        transform_norm(weight, (6, 9), **given),
        reshape_norm(weight, **given),
    ):
        assert truth <= found <= truth * (1 + 1e-10)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_circular_convolutions_are_exact(stride: int) -> None:
    rng = np.random.default_rng(stride)
    weight, size = torch.from_numpy(rng.standard_normal((3, 2, 3, 3))), [6, 6]

    def slide(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), weight, None, stride)

    truth = float(torch.linalg.matrix_norm(dense(slide, (2, *size)), 2))
    found = transform_norm(weight, size, stride=stride, circular=True)
    assert truth <= found <= truth * (1 + 1e-10)


def test_circular_with_a_stride_that_does_not_divide_is_above() -> None:
    weight = torch.from_numpy(np.random.default_rng(5).standard_normal((3, 2, 3)))

    def slide(x: torch.Tensor) -> torch.Tensor:
        return F.conv1d(F.pad(x, (1, 1), mode="circular"), weight, None, 2)

    truth = float(torch.linalg.matrix_norm(dense(slide, (2, 7)), 2))
    assert truth <= transform_norm(weight, (7,), stride=2, circular=True)


def test_a_kernel_longer_than_the_circle_wraps_round() -> None:
    weight = torch.from_numpy(np.random.default_rng(6).standard_normal((1, 1, 5)))
    circle = torch.zeros(3, dtype=torch.float64)
    for q in range(5):
        circle[q % 3] += weight[0, 0, q]
    truth = float(torch.fft.fft(circle).abs().max())
    assert transform_norm(weight, (3,), circular=True) == pytest.approx(
        truth, rel=1e-10
    )


def test_a_coarse_grid_bounds_all_frequencies() -> None:
    """On 2 taps the top lies anywhere between the points of the coarse grid."""
    for angle in np.linspace(0, 2 * math.pi / GRID, 9):
        turned = [
            [math.cos(angle), -math.sin(angle)],
            [math.sin(angle), math.cos(angle)],
        ]
        pair = torch.eye(2, dtype=torch.float64), torch.tensor(
            turned, dtype=torch.float64
        )
        weight = torch.stack(pair, dim=2)
        found = transform_norm(weight, (10_000,))  # the supremum over all angles is 2
        assert 2 * (1 - 1e-15) <= found <= 2 * 1.0013
    assert axis_of(10_000, 2, 1, 1).n_grid == GRID


def test_channels_that_stay_apart_are_bounded_apart() -> None:
    weight = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])
    assert convolution_norm(weight, (5,), groups=2) == pytest.approx(3, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_a_scale_goes_through(scale: float) -> None:
    one = convolution_norm(COUNTEREXAMPLE.double(), (5, 5))
    assert convolution_norm(COUNTEREXAMPLE.double() * scale, (5, 5)) == pytest.approx(
        one * scale, rel=1e-10
    )


def test_zero_weights_have_norm_zero() -> None:
    assert convolution_norm(torch.zeros(2, 2, 3, 3), (5, 5)) == 0


@pytest.mark.parametrize(
    ("shape", "size", "groups"),
    [
        ((2, 2), (3,), 1),
        ((2, 2, 3), (3, 3), 1),
        ((3, 1, 3), (3,), 2),
        ((2, 1, 3), (0,), 1),
    ],
)
def test_what_does_not_go_together_is_refused(
    shape: tuple[int, ...], size: tuple[int, ...], groups: int
) -> None:
    with pytest.raises(InputError):
        transform_norm(torch.ones(shape), size, groups=groups)
