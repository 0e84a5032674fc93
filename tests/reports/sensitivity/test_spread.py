"""Do the pictures of the input-Fisher score show every image, or say which they leave out?"""

from __future__ import annotations

import base64
import io
import math
import re
import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from torchattacks_ext.errors import ConfigError, InputError, MissingExtra
from torchattacks_ext.reports.drawing import axes
from torchattacks_ext.reports.sensitivity.direction import eigenvector_map
from torchattacks_ext.reports.sensitivity.spread import lambda_histogram, lambda_scatter

EVIL = "<script>alert('\"1&')</script>\n\x1b]"
NAN, INF = math.nan, math.inf
ODD: list[list[float]] = [
    [],
    [0.5],
    [NAN],
    [NAN, INF, -INF],
    [2.0] * 5,
    [-1466.0, 0.0, -2.0, NAN],
    [0.0, 1e-12],
    [1e30, -1e30, 0.0],
]


def parsed(figure: str) -> ElementTree.Element:
    """The figure as XML: every tag closed, every text escaped, nothing that a policy would stop."""
    bare = re.sub(r'href="[^"]*"', "", figure)
    assert "style=" not in bare and "<script" not in bare and "nan" not in bare
    root = ElementTree.fromstring(figure)
    assert root.tag == "figure" and root.attrib == {"class": "chart"}
    return root


def words(figure: str) -> str:
    return " ".join(parsed(figure).itertext())


def shapes(figure: str, tag: str) -> list[dict[str, str]]:
    drawing = parsed(figure).find("svg")
    assert drawing is not None
    return [shape.attrib for shape in drawing.iter(tag)]


def counts(figure: str) -> list[int]:
    """Images in each bar, as a pointer shows them."""
    bars = re.findall(r"<title>[^<]* to [^<]*: ([\d,]+) images?", figure)
    return [int(size.replace(",", "")) for size in bars]


@pytest.mark.parametrize("values", ODD, ids=str)
def test_odd_columns_make_whole_figures(values: list[float]) -> None:
    mask = [True] * len(values)
    for figure in (
        lambda_histogram(values),
        lambda_histogram(values, saturated=mask, title=EVIL),
        lambda_scatter(values, values, mask, title=EVIL, margin_name=EVIL),
        lambda_scatter(values, [0.0] * len(values)),
    ):
        root = parsed(figure)
        drawing = root.find("svg")
        assert drawing is not None and drawing.attrib["role"] == "img"
        assert [child.tag for child in drawing][:2] == ["title", "desc"]
        assert all(child.text for child in list(drawing)[:2])


columns = st.lists(
    st.one_of(st.floats(-60, 10), st.sampled_from([NAN, -INF, INF])), max_size=40
)


@given(values=columns, seed=st.integers(0, 9))
def test_every_image_is_drawn_or_counted(values: list[float], seed: int) -> None:
    saturated = np.random.default_rng(seed).random(len(values)) < 0.3
    figure = lambda_histogram(values, saturated=saturated)
    caption = words(figure).rpartition("Not drawn:")[2] if "Not drawn" in figure else ""
    left_out = sum(int(n) for n in re.findall(r"(\d+) images?", caption))
    assert sum(counts(figure)) + left_out == len(values)
    for bar in shapes(figure, "rect"):
        x, y, wide, tall = (float(bar[k]) for k in ("x", "y", "width", "height"))
        assert 45 < x and x + wide < 469 and wide > 0
        assert 26 <= y and y + tall <= 190.01


@given(values=columns, seed=st.integers(0, 9))
def test_every_point_lies_inside(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    margin, correct = rng.standard_cauchy(len(values)), rng.random(len(values)) < 0.7
    figure = lambda_scatter(values, margin, correct)
    caption = words(figure).rpartition("Not drawn:")[2] if "Not drawn" in figure else ""
    left_out = sum(int(n) for n in re.findall(r"(\d+) images?", caption))
    circles = shapes(figure, "circle")
    diamonds = re.findall(r"M([\d.]+) ([\d.]+)l3.2", figure)
    assert len(circles) + len(diamonds) + left_out == len(values)
    places = [(c["cx"], c["cy"]) for c in circles] + diamonds
    for x, y in places:
        assert 46 <= float(x) <= 468 and 20 <= float(y) <= 250


def test_saturated_rows_stand_apart() -> None:
    values = np.log([0.1, 0.1, 0.1, 1e-7])
    figure = lambda_histogram(values, saturated=[False, False, True, True])
    told = words(figure)
    assert "not saturated (2)" in told and "saturated (p_max rounds to 1) (2)" in told
    assert figure.count('class="bar undecided"') == 3  # two bars and the key
    assert "saturated" not in words(lambda_histogram(values))


def test_the_axis_is_a_decimal_logarithm() -> None:
    told = words(lambda_histogram(np.log([1e-3] * 9)))
    assert "median −3" in told and "nats per squared pixel unit" in told
    assert "log10 of lambda from −3 to −3" in told
    assert "−3 to −2.9: 9 images" in told


def test_an_outlier_does_not_press_the_rest_together() -> None:
    values = np.append(np.linspace(-3, 1, 99) * math.log(10), -1466.0)
    figure = lambda_histogram(values)
    assert len(counts(figure)) > 15
    assert "Not drawn: 1 image far outside the axes." in words(figure)


def test_two_marks_for_right_and_wrong() -> None:
    lam, margin = [0.0, -1.0, -2.0], [2.0, 1.0, -1.0]
    figure = lambda_scatter(lam, margin, torch.tensor([True, True, False]))
    assert len(shapes(figure, "circle")) == 2
    assert len(re.findall(r"l3.2 3.2-3.2 3.2", figure)) == 1
    assert "correct (2)" in words(figure) and "incorrect (1)" in words(figure)
    assert 'class="limit"' in figure
    unknown = lambda_scatter(lam, margin)
    assert "images (3)" in words(unknown) and "correct" not in words(unknown)
    assert 'class="limit"' not in unknown


def test_many_points_are_thinned_without_chance() -> None:
    rng = np.random.default_rng(0)
    lam, margin = rng.standard_normal((2, 5000))
    correct = margin > -1
    figure = lambda_scatter(lam, margin, correct, points=500)
    order = rng.permutation(5000)
    again = lambda_scatter(lam[order], margin[order], correct[order], points=500)
    assert again == figure
    circles = len(shapes(figure, "circle"))
    assert circles == math.ceil(500 * correct.sum() / 5000)
    assert "correct (4,2" in words(figure) and "of 5,000 images drawn" in words(figure)
    kept = {c["cx"] for c in shapes(figure, "circle")}
    whole = [float(c["cx"]) for c in shapes(lambda_scatter(lam, margin), "circle")]
    assert f"{max(whole):g}" in kept
    assert len(figure) < 60_000


def pngs(figure: str) -> list[Any]:
    found = [shape["href"] for shape in shapes(figure, "image")]
    heads = {uri.partition(",")[0] for uri in found}
    assert heads <= {"data:image/png;base64"}
    parts = (base64.b64decode(uri.partition(",")[2]) for uri in found)
    return [np.asarray(Image.open(io.BytesIO(part))) for part in parts]


def test_the_map_shows_sign_and_size() -> None:
    u1 = np.zeros((3, 2, 2))
    u1[:, 0, 0] = 0.5, 0.1, -0.2
    u1[:, 1, 1] = -0.8, 0.1, 0.0
    image = np.random.default_rng(0).integers(0, 256, (3, 2, 2), dtype=np.uint8)
    figure = eigenvector_map(u1, image)
    shown, coloured, grey, over = pngs(figure)
    assert np.array_equal(shown, image.transpose(1, 2, 0))
    assert np.array_equal(over, coloured) and coloured.shape == (2, 2, 4)
    assert np.abs(grey - image.mean(0)).max() <= 0.5
    orange, blue = coloured[0, 0], coloured[1, 1]
    assert orange[0] > orange[2] and blue[2] > blue[0]
    assert blue[3] == 255 and orange[3] == pytest.approx(255 * 0.4 / 0.7, abs=6)
    assert coloured[0, 1, 3] == coloured[1, 0, 3] == 0
    strongest = pngs(eigenvector_map(u1, reduce="max"))[0]
    assert strongest[0, 0, 3] == pytest.approx(255 * 0.5 / 0.8, abs=6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_number_of_channels(channels: int) -> None:
    rng = np.random.default_rng(0)
    u1, image = rng.standard_normal((channels, 5, 9)), rng.random((channels, 5, 9))
    found = pngs(eigenvector_map(torch.tensor(u1), torch.tensor(image), reduce="max"))
    assert [png.shape[:2] for png in found] == [(5, 9)] * 4
    unit = np.rint(255 * image)
    expected = unit.transpose(1, 2, 0) if channels == 3 else unit.mean(0)
    assert np.abs(found[0] - expected).max() <= 0.5


def test_the_map_says_what_it_is() -> None:
    figure = eigenvector_map(
        np.eye(6)[None], np.zeros((1, 6, 6)), title=EVIL, alt=EVIL * 3
    )
    told = words(figure)
    assert "Signed map of 6 by 6 pixels, colours from −1 (blue) to 1 (orange)" in told
    assert "sign of the direction as a whole is arbitrary" in told
    assert max(len(text.text or "") for text in parsed(figure).iter("text")) <= 24


@pytest.mark.parametrize("value", [0.0, NAN, INF])
def test_no_direction(value: float) -> None:
    figure = eigenvector_map(np.full((1, 4, 4), value))
    assert "No direction: the map is zero." in words(figure)
    assert not pngs(figure)[0][..., 3].any()


@pytest.mark.parametrize("shape", [(1, 1), (400, 3), (3, 400), (1, 32, 32)])
def test_panels_stay_inside(shape: tuple[int, ...]) -> None:
    u1 = np.random.default_rng(0).standard_normal(shape)
    figure = eigenvector_map(u1, np.zeros(shape))
    box = re.search(r'viewBox="0 0 (\d+) ([\d.]+)"', figure)
    assert box is not None
    for shape_ in shapes(figure, "image") + shapes(figure, "rect"):
        x, y, wide, tall = (float(shape_[k]) for k in ("x", "y", "width", "height"))
        assert 0 <= x and x + wide <= 480.1 and wide > 0 and tall > 0
        assert 0 <= y and y + tall <= float(box.group(2))


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"log_lam is \(1, 2\), expected \(N,\)"):
        lambda_histogram([[1.0, 2.0]])
    with pytest.raises(InputError, match=r"saturated is \(1,\), expected \(2,\)"):
        lambda_histogram([1.0, 2.0], saturated=[True])
    with pytest.raises(InputError, match=r"margin is \(1,\), expected \(2,\)"):
        lambda_scatter([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match=r"u1 is \(4,\), expected \(C, H, W\)"):
        eigenvector_map(np.zeros(4))
    with pytest.raises(InputError, match=r"image is \(1, 3, 3\), expected \(1, 2, 2\)"):
        eigenvector_map(np.zeros((1, 2, 2)), np.zeros((1, 3, 3)))
    with pytest.raises(ConfigError, match="'mean' is neither"):
        eigenvector_map(np.zeros((1, 2, 2)), reduce="mean")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="pillow"):
        eigenvector_map(np.eye(2)[None])


@given(
    low=st.floats(-1e6, 1e6),
    span=st.floats(1e-6, 1e6),
    most=st.integers(1, 10),
)
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    axis = axes.Axis(low, low + span, 0.0, 100.0)
    ticks = axis.ticks(most)
    assert len(ticks) <= most + 1
    places = [place for place, _ in ticks]
    assert places == sorted(places) and all(-0.1 <= at <= 100.1 for at in places)
