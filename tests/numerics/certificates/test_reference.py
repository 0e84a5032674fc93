"""Do the radii equal the values that were worked out by hand and by other means?"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torchattacks_ext.certify.ellips.parameters import mixture_of
from torchattacks_ext.numerics.certificates.eigen import Pairs
from torchattacks_ext.numerics.certificates.mixture import Mixture
from torchattacks_ext.numerics.certificates.radii import METHODS, Method, latent_radii
from torchattacks_ext.numerics.certificates.scene import scene_of

DOUBLE = torch.float64

WIDE = mixture_of([[0, 0], [4, 0]], [[[1, 0], [0, 1]], [[4, 0], [0, 1]]])
WIDE_DIAG = mixture_of([[0, 0], [4, 0]], [[1, 1], [4, 1]], covariance="diag")
THREE = mixture_of([[0, 0], [2, 0], [0, 3]], 1.0)
THREE_SHARED = mixture_of([[0, 0], [2, 0], [0, 3]], [[1, 0], [0, 1]])
RINGS = mixture_of([[0, 0], [0, 0]], [1, 4])
RINGS_FULL = mixture_of([[0, 0], [0, 0]], [[[1, 0], [0, 1]], [[4, 0], [0, 4]]])
LDA = mixture_of([[0, 0], [3, 1]], [[1.5, 0.3], [0.3, 0.7]], covariance="shared")

CASES = [
    # mixture, z, method, radius, tolerance
    (WIDE, (0, 0), "paper", 1.6599096559016366, 1e-9),
    (WIDE, (0, 0), "pairwise", 1.6599096559016366, 1e-9),
    (WIDE, (0, 0), "exact", 1.6599096559016366, 1e-9),
    (WIDE, (1, 1), "paper", 0.6599096559016366, 1e-9),
    (WIDE, (1, 1), "pairwise", 0.6599096559016366, 1e-9),
    (WIDE, (1, 1), "exact", 0.6599096559016366, 1e-9),
    (WIDE, (4, 0), "paper", 1.8267132048600137, 1e-9),
    (WIDE, (4, 0), "pairwise", 1.8267132048600137, 1e-9),
    (WIDE, (4, 0), "exact", 2.340090344098363, 1e-9),
    (WIDE_DIAG, (4, 0), "exact", 2.340090344098363, 1e-9),
    (WIDE, (-2, 0), "paper", 2.3265763225683034, 1e-9),
    (WIDE, (-2, 0), "pairwise", 2.3265763225683034, 1e-9),
    (WIDE, (-2, 0), "exact", 2.3265763225683034, 1e-9),
    (THREE, (0.2, 0.1), "paper", 0.5333333333333334, 1e-9),
    (THREE, (0.2, 0.1), "pairwise", 0.8, 1e-9),
    (THREE, (0.2, 0.1), "exact", 0.8, 1e-9),
    (THREE_SHARED, (0.2, 0.1), "exact", 0.8, 1e-9),
    (RINGS, (0, 0), "paper", 1.9227025154678439, 1e-11),
    (RINGS, (0, 0), "exact", 1.9227025154678439, 1e-11),
    (RINGS_FULL, (0, 0), "exact", 1.9227025154678439, 1e-11),
    (RINGS, (0.5, 0), "paper", 1.4227025154678439, 1e-9),
    (RINGS, (0.5, 0), "exact", 1.4227025154678439, 1e-9),
    (RINGS_FULL, (0.5, 0), "exact", 1.4227025154678439, 1e-9),
    (RINGS, (3, 0), "paper", 0.8838691728356043, 1e-9),
    (RINGS, (3, 0), "exact", 1.0772974845321561, 1e-9),
    (RINGS_FULL, (3, 0), "exact", 1.0772974845321561, 1e-9),
]


def point(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=DOUBLE)


@pytest.mark.parametrize(("mixture", "z", "method", "value", "tolerance"), CASES)
def test_radius_is_the_reference_value(
    mixture: Mixture,
    z: tuple[float, float],
    method: Method,
    value: float,
    tolerance: float,
) -> None:
    raw = latent_radii(Pairs(mixture, slack=False), point(*z), method).radius
    assert float(raw) == pytest.approx(value, abs=tolerance, rel=0)
    told = float(latent_radii(Pairs(mixture), point(*z), method).radius)
    assert value * (1 - 2e-9) <= told <= value


@pytest.mark.parametrize(
    ("z", "label", "margin"),
    [
        ((0, 0), 0, 5.386294361119891),
        ((1, 1), 0, 2.636294361119891),
        ((4, 0), 1, 14.61370563888011),
        ((-2, 0), 0, 6.386294361119891),
    ],
)
def test_margin_is_the_reference_value(
    z: tuple[float, float], label: int, margin: float
) -> None:
    scene = scene_of(WIDE, point(*z), slack=False)
    m = scene.margin(torch.tensor([label]))[0, 1 - label]
    assert float(m) == pytest.approx(margin, abs=1e-9, rel=0)
    assert latent_radii(Pairs(WIDE), point(*z)).label.tolist() == [label]


def test_the_edge_of_concentric_classes_is_where_it_was_worked_out() -> None:
    edge = math.sqrt(2 * math.log(4) / 0.75)
    assert edge == pytest.approx(1.9227025154678439, abs=1e-11)
    for x in (0.0, 1.0, 1.9, 1.95, 5.0):
        found = float(latent_radii(Pairs(RINGS_FULL), point(x, 0)).radius)
        assert found == pytest.approx(abs(edge - x), rel=2e-9)


def test_robust_accuracy_of_two_gaussians_of_one_covariance() -> None:
    """Of class 0, s_0 - s_1 is N(M^2, 4 M^2) and the radius of it m / (2 q)."""
    scene = scene_of(LDA, LDA.means, slack=False)
    own = torch.arange(2)
    q = float(scene.gradient_norm(own)[0, 1])
    size = math.sqrt(float(scene.margin(own)[0, 1]))
    assert (size, q) == pytest.approx((2.5, 1.976423537605237), abs=1e-9)
    values = {0: 0.894350226333, 0.25: 0.853682253596}
    values |= {0.5: 0.803645608781, 1: 0.677037505464}
    for eps, value in values.items():
        rate = torch.special.ndtr(torch.tensor(size / 2 - eps * q / size, dtype=DOUBLE))
        assert float(rate) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("k", "method", "values"),
    [
        (3, "exact", (0.92616353, 0.81866869, 0.64385799)),
        (5, "exact", (0.76490864, 0.53402542, 0.27635267)),
        (5, "paper", (0.76490864, 0.37090775, 0.06873280)),
    ],
)
def test_certified_accuracy_on_a_circle(
    k: int, method: Method, values: tuple[float, ...]
) -> None:
    """K classes at radius 2. The values are means of 4e5 draws, ours of 2e5: their difference has
    a standard deviation of at most .00137, and passes .0075 once in 2e7; nine comparisons.
    """
    angles = 2 * math.pi * torch.arange(k, dtype=DOUBLE) / k
    means = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    source = torch.Generator().manual_seed(k)
    y = torch.randint(k, (200_000,), generator=source)
    z = means[y] + torch.randn(len(y), 2, generator=source, dtype=DOUBLE)
    pairs = Pairs(mixture_of(means, torch.eye(2), covariance="shared"))
    found = latent_radii(pairs, z, method)
    for eps, value in zip((0, 0.5, 1), values):
        rate = float(((found.label == y) & (found.radius > eps)).double().mean())
        assert rate == pytest.approx(value, abs=0.0075)


def test_methods_are_the_three_of_the_table() -> None:
    assert {case[2] for case in CASES} == set(METHODS)
