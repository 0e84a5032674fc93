"""Do words and figures say what was measured, and no more?"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from torchattacks_ext.errors import InputError
from torchattacks_ext.reports.heads import angle_histogram, fair_figure, render_heads
from torchattacks_ext.results.heads import (
    BINS,
    AngleLaw,
    HeadNumbers,
    HeadPair,
    HeadSensitivity,
)

EVIL = "<script>alert('\"1&')</script>\n\x1b]"


def law(of: str, among: str, at: int, n: int) -> AngleLaw:
    counts = [0] * BINS
    counts[at], counts[at + 1] = n - n // 4, n // 4
    mean = math.radians(3 * at + 2)
    return AngleLaw(
        of=of,
        among=among,
        n=n,
        mean=mean,
        deviation=0.03,
        gap=0.1,
        counts=tuple(counts),
    )


def head(name: str, kind: str, scale: float = 1.0) -> HeadNumbers:
    values = tuple(scale * x for x in (0.2, 0.5, 1.0, 2.0, 40.0))
    top = () if kind == "linear" else values
    laws = tuple(law(of, among, at, n) for of, among, at, n in (
        ("features", "own", 20, 40), ("features", "other", 31, 360), ("step", "own", 38, 40),
    ))  # fmt: skip
    return HeadNumbers(
        name=name,
        kind=kind,
        n_right=38,
        n_kept=20,
        laws=laws,
        own=values,
        other=values,
        highest_own=top,
        highest_other=top,
        raw=values,
        normalised=values,
        distance=values,
        moved=values,
        reach=values,
    )


PAIR = HeadPair(
    linear="fc",
    distance="l2",
    isotropic=0.4987,
    isotropic_at=0.9,
    own=0.01,
    other=0.5,
    mixed=0.45,
    held_own=0.02,
    held_other=0.52,
    larger_own=0.03,
    larger_other=0.56,
    n=38,
    steadier=30,
    farther=5,
    only_linear=3,
    only_distance=3,
)


def whole(name: str = "fc") -> HeadSensitivity:
    heads = (head(name, "linear"), head("l2", "distance", 2.0))
    return HeadSensitivity(
        n=40,
        size=16,
        n_classes=10,
        eps=8 / 255,
        norm="Linf",
        attack=f"PGD {name}",
        heads=heads,
        pairs=(PAIR,),
    )


def parsed(figure: str) -> ElementTree.Element:
    assert "style=" not in figure and "<script" not in figure and "nan" not in figure
    return ElementTree.fromstring(figure)


def test_the_text_says_measures_and_where_they_go_against_the_claim() -> None:
    text = render_heads(whole())
    assert "These are measures" in text and "robust" not in text
    assert "AGAINST the claim that 'l2' is the less sensitive head" in text
    against = next(line for line in text.splitlines() if "AGAINST" in line)
    assert "(ii)" in against and "(iii)" not in against
    favour = next(line for line in text.splitlines() if "In favour" in line)
    assert "(iii)" in favour and "(ii)," not in favour
    assert (
        "Open at 95 %: the images that one head alone has right under attack." in text
    )
    assert "right: 95.0 % (38 of 40); under attack: 50.0 % (20 of 40)" in text
    assert "sup S_d" in text and "isotropic 0.499" in text
    assert "AGAINST" not in render_heads(replace(whole(), pairs=()))


def test_names_are_one_line_of_text() -> None:
    text = render_heads(whole(EVIL))
    assert "\x1b" not in text and all(line.strip() != "" for line in text.split("\n\n"))
    for figure in (angle_histogram(whole(EVIL).heads[0]), fair_figure(whole(EVIL))):
        parsed(figure)


@pytest.mark.parametrize("of", ["features", "step"])
def test_the_histogram_has_every_angle_and_each_law(of: str) -> None:
    one = whole().heads[0]
    figure = angle_histogram(one, of)
    root = parsed(figure)
    counted = [int(n) for n in re.findall(r"°: ([\d]+) angles?", figure)]
    laws = [law for law in one.laws if law.of == of]
    assert sum(counted) == sum(law.n for law in laws)
    curves = [p for p in root.iter("path") if p.get("fill") == "none"]
    assert len(curves) == len(laws)
    # equal areas: 30 of 40 and 270 of 360 angles in the first bin are as tall
    tall = [float(r.get("height", 0)) for r in root.iter("rect") if r.get("x")]
    assert max(tall) == pytest.approx(tall[0])
    assert "gap 0.1" in "".join(root.itertext())


def test_fair_figures_show_each_head_and_the_mark_at_one() -> None:
    for of, words in (("reach", "as long"), ("normalised", "an error")):
        root = parsed(fair_figure(whole(), of))
        said = " ".join(root.itertext())
        assert words in said and "Tails end at the axis." in said
        first, second = (float(c.get("cx", 0)) for c in root.iter("circle"))
        assert first < second
    flat = head("fc", "linear", math.inf)
    parsed(fair_figure(replace(whole(), heads=(flat,))))


def test_what_was_not_measured_is_not_drawn() -> None:
    none = replace(head("fc", "linear"), laws=(), reach=(math.nan,) * 5)
    assert "no histogram" in angle_histogram(none)
    assert "no figure" in fair_figure(replace(whole(), heads=(none,)))
    with pytest.raises(InputError, match="of='angle'"):
        angle_histogram(none, "angle")
    with pytest.raises(InputError, match="of='raw'"):
        fair_figure(whole(), "raw")
