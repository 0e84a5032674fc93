"""Does the curve show the shares that it claims?"""

from __future__ import annotations

import re

import numpy as np
import pytest

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.reports.certified import certified_curve

BASE, TOP, LEFT, RIGHT = 210.0, 26.0, 46.0, 468.0


def corners(page: str) -> list[tuple[float, float]]:
    """The corners of the step curve, in pixels."""
    (path,) = re.findall(r'class="curve" d="([^"]+)"', page)
    x, y = map(float, re.match(r"M(\S+) ([\d.]+)", path).groups())  # type: ignore[union-attr]
    found = [(x, y)]
    for kind, value in re.findall(r"([HV])([\d.]+)", path):
        x, y = (float(value), y) if kind == "H" else (x, float(value))
        found.append((x, y))
    return found


def share_at(page: str, x: float) -> float:
    """Height of the curve at a pixel, as a share."""
    y = [b for a, b in corners(page) if a <= x][-1]
    return (BASE - y) / (BASE - TOP)


def test_the_curve_is_the_share_beyond_each_radius() -> None:
    """At every radius that was drawn, to the tenth of a pixel."""
    rng = np.random.default_rng(0)
    radii = np.where(rng.random(300) < 0.1, -1.0, rng.gamma(2.0, 0.5, 300))
    page = certified_curve(radii, marks=[0.5])
    places = [a for a, _ in corners(page)]
    assert places == sorted(places) and places[0] == LEFT and places[-1] == RIGHT
    ((at, height),) = re.findall(r'class="dot" cx="([\d.]+)" cy="([\d.]+)"', page)
    scale = (float(at) - LEFT) / 0.5
    for eps in (0.0, 0.3, 0.5, 1.1):
        wanted = (radii > eps).mean()
        assert share_at(page, LEFT + scale * eps + 0.05) == pytest.approx(
            wanted, abs=0.011
        )
    assert (BASE - float(height)) / (BASE - TOP) == pytest.approx(
        (radii > 0.5).mean(), abs=1e-3
    )
    assert f"{100 * (radii > 0.5).mean():.1f} % beyond 0.5" in page


def test_many_images_give_a_short_path() -> None:
    """And the picture stays within a few kilobytes, with the band around the curve."""
    radii = np.linspace(0, 1, 50_000)
    page = certified_curve(radii)
    assert len(page) < 16_000 and len(corners(page)) < 900
    assert share_at(page, (LEFT + RIGHT) / 2) == pytest.approx(0.49, abs=0.01)
    (band,) = re.findall(r'class="area" d="M([^"]+)Z"', page)
    ends = [tuple(map(float, corner.split())) for corner in band.split("L")]
    upper, lower = ends[: len(ends) // 2], ends[len(ends) // 2 :][::-1]
    for (a, high), (b, low) in zip(upper, lower):
        assert a == b and high <= low  # pixels grow downwards
        assert high - 1 <= BASE - share_at(page, a) * (BASE - TOP) <= low + 1


def test_far_and_infinite_radii_are_counted_beyond_the_end() -> None:
    """A few of them do not press the rest together."""
    radii = np.concatenate([np.full(400, 0.5), [np.inf, 90.0]])
    page = certified_curve(radii)
    assert "2 images beyond the right end" in page
    assert share_at(page, RIGHT) == pytest.approx(2 / 402, abs=1e-3)


def test_radii_without_end_are_certified() -> None:
    """Of all images, whatever the axis."""
    page = certified_curve([np.inf, np.inf, -1.0])
    assert share_at(page, RIGHT) == pytest.approx(2 / 3, abs=1e-3)
    assert "2 images beyond the right end" in page


@pytest.mark.parametrize("radii", [[], [-1.0, -1.0], [0.0]])
def test_without_a_certified_image_it_says_so(radii: list[float]) -> None:
    """No drawing, and no failure."""
    page = certified_curve(radii)
    assert "No image is certified" in page and "<path" not in page


def test_status_and_names_are_text() -> None:
    """The tier is in the picture; markup of a user's is shown as it is."""
    page = certified_curve([0.2], tier="conditional: L assumed", title="<b>net</b>")
    assert "<b>" not in page and page.count("conditional: L assumed") == 2


def test_wrong_input_is_refused() -> None:
    """By shape and by confidence."""
    with pytest.raises(InputError):
        certified_curve(np.zeros((2, 2)))
    with pytest.raises(ConfigError):
        certified_curve([0.1], confidence=1.0)
