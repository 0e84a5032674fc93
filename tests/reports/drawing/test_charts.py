"""Is every image drawn once, inside the frame, in the bin that it belongs to?"""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchattacks_ext.reports.drawing.charts import (
    Chart,
    decade_table,
    interval_mark,
    log_histogram,
)
from torchattacks_ext.reports.words import rate

positive = st.floats(1e-7, 1.0)


def draw(groups: dict[str, list[float]], anchor: float = 0.01) -> Chart | None:
    return log_histogram(
        groups, title="t", axis="a", anchor=anchor, ceiling=1.0, line="limit", say=rate
    )


def counts(chart: Chart, kind: str) -> int:
    found = [
        re.search(r": ([\d,]+) image", bar.title)
        for bar in chart.bars
        if bar.kind == kind
    ]
    return sum(int(match[1].replace(",", "")) for match in found if match)


@given(st.lists(positive, min_size=1), st.lists(positive), st.floats(1e-4, 0.9))
def test_every_value_is_drawn_once_and_inside(
    a: list[float], b: list[float], anchor: float
) -> None:
    chart = draw({"robust": a, "not robust": b}, anchor)
    assert chart is not None
    assert counts(chart, "robust") == len(a) and counts(chart, "not-robust") == len(b)
    assert sum(int(total.text) for total in chart.totals) == len(a) + len(b)
    for bar in chart.bars:
        assert "173 %" not in bar.title
        for side in bar.title.partition(":")[0].split(" to "):
            assert side.endswith("%") or float(side) < 1e-5
        assert chart.left - 1 <= bar.x and bar.x + bar.width <= chart.right + 1
        assert chart.top - 2 <= bar.y and bar.y + bar.height <= chart.base + 0.02
        assert bar.width > 0 and bar.height > 0
    assert chart.line is not None and chart.left <= chart.line.x <= chart.right
    for tick in chart.x_ticks:
        assert chart.left <= tick.x <= chart.right
    assert 2 <= len(chart.x_ticks) <= 9
    assert len({tick.text for tick in chart.x_ticks}) == len(chart.x_ticks)


def test_the_tolerance_itself_falls_left_of_its_line() -> None:
    chart = draw({"robust": [0.01], "undecided": [0.0100001]})
    assert chart is not None and chart.line is not None
    left, right = chart.bars
    assert left.x + left.width <= chart.line.x <= right.x


def test_rare_images_beside_many_stay_visible() -> None:
    chart = draw({"robust": [0.009] * 100_000, "not robust": [0.5]})
    assert chart is not None
    assert min(bar.height for bar in chart.bars) >= 1.5
    assert [total.text for total in chart.totals] == ["100k", "1"]


@pytest.mark.parametrize("values", [[], [0.0, -1.0], [math.nan, math.inf]])
def test_nothing_to_draw_is_no_chart(values: list[float]) -> None:
    assert draw({"robust": values}) is None


@pytest.mark.parametrize("tallest", [1, 2, 3, 4, 5, 9, 10, 11, 99, 12345])
def test_count_ticks_are_few_round_and_start_at_zero(tallest: int) -> None:
    chart = draw({"robust": [0.005] * tallest})
    assert chart is not None
    marks = [int(tick.text.replace(",", "")) for tick in chart.y_ticks]
    assert marks[0] == 0 and 2 <= len(marks) <= 5 and marks[-1] <= tallest
    assert str(marks[1]).rstrip("0") in ("1", "2", "5")


def test_the_description_names_the_axis() -> None:
    chart = draw({"robust": [0.005, 0.2]})
    assert chart is not None
    assert chart.description == "t: 2 images, logarithmic axis from 0.1 % to 100 %."
    assert chart.legend == (("robust", "robust", 2),)


def test_an_interval_mark_is_in_order() -> None:
    mark = interval_mark((0.0, 0.0, 1.0))
    assert (mark["value"], mark["low"], mark["high"]) == (4.0, 4.0, 128.0)


def test_the_last_bin_ends_at_the_largest_possible_value() -> None:
    chart = draw({"robust": [1.0, 0.9, 0.4]}, anchor=0.05)
    assert chart is not None
    last = chart.bars[-1]
    assert last.title.split(":")[0].endswith("to 100 %")
    assert abs(last.x + last.width - chart.right) < 1


def test_ten_decades_have_room() -> None:
    values = [10.0**-k for k in range(11)]
    chart = draw({"robust": values[8:], "undecided": values[:8]}, 1e-8)
    assert chart is not None
    assert min(bar.width for bar in chart.bars) > 15
    ticks = [tick.text for tick in chart.x_ticks]
    assert len(ticks) <= 9 and len(set(ticks)) == len(ticks)


@given(st.lists(st.floats(1e-10, 1.0)), st.lists(positive), st.floats(1e-8, 0.9))
def test_a_table_counts_every_value_once(
    a: list[float], b: list[float], anchor: float
) -> None:
    found = decade_table(
        {"robust": a, "not robust": b}, anchor=anchor, ceiling=1.0, say=rate
    )
    if not a + b:
        assert found == ()
        return
    head, *rows = found
    sums = dict.fromkeys(head[1:], 0)
    for row in rows:
        assert len(row) == len(head) and row[0].count(" to ") == 1
        for name, cell in zip(head[1:], row[1:]):
            sums[name] += int(cell)
    kept = {"robust": len(a), "not robust": len(b)}
    assert sums == {name: n for name, n in kept.items() if n}
