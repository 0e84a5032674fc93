"""Do drawings and tables of a random test show the rows that were drawn, in fitting words?"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.reports.rates.histograms import Spread, spreads


def spread(fake: Any, *, n: int = 200, columns: Any = None, **settings: Any) -> Spread:
    made = fake(n, n * 187 // 200)
    plain = made.test(robust=n * 3 // 4, broken=n // 10)
    known = dict(plain.result.settings) | settings
    stage = made.test(
        robust=n * 3 // 4, broken=n // 10, settings=known, **(columns or {})
    )
    (found,) = spreads(made.report(stage))
    return found


def counted(rows: tuple[tuple[str, ...], ...]) -> int:
    return sum(int(cell.replace(",", "")) for row in rows[1:] for cell in row[1:])


def test_drawings_and_tables_count_the_same_rows(fake: Any) -> None:
    found = spread(fake)
    assert [chart.title for chart in found.charts] == [t for t, _ in found.tables]
    for chart, (_, rows) in zip(found.charts, found.tables):
        assert sum(number for *_, number in chart.legend) == counted(rows) == 187
        assert rows[0] == ("range", "robust", "undecided", "not robust")
    assert found.tables[0][1][1] == ("0.1 % to 1 %", "150", "0", "0")


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("eprocess", "stops as soon as it is decided"),
        ("sprt", "stops as soon as it is decided"),
        ("fixed", "fixed beforehand"),
        ("group", "a few planned times"),
        ("splitting", "ideal kernel only"),
        (None, "stops as soon as it is decided"),
    ],
)
def test_the_caption_says_what_stops_an_image(
    fake: Any, test: str | None, words: str
) -> None:
    found = spread(fake, test=test)
    assert words in found.caption
    assert "Not shown: 13 images without any draw for a verdict" in found.caption
    noun = "Model evaluations" if test == "splitting" else "Random draws"
    assert found.charts[1].title == f"{noun} spent, per image"


def test_bounds_down_to_1e_10_have_an_axis_of_powers(fake: Any) -> None:
    upper = torch.logspace(-10, 0, 200, dtype=torch.float64)
    found = spread(
        fake, test="splitting", tolerance=1e-8, columns={"p_fail_upper": upper}
    )
    chart = found.charts[0]
    ticks = [tick.text for tick in chart.x_ticks]
    assert ticks[0] == "1e-10" and "1e-8" in ticks and ticks[-1] == "1"
    assert chart.line is not None and chart.line.text == "tolerance 1e-8"
    assert all(bar.x + bar.width <= chart.right + 1 for bar in chart.bars)
    assert "1e-10 to 1e-9" in [row[0] for row in found.tables[0][1]]


def test_rows_without_a_draw_leave_nothing_to_show(fake: Any) -> None:
    zeros = torch.zeros(200, dtype=torch.int64)
    found = spread(fake, columns={"n_samples": zeros})
    assert (found.charts, found.tables) == ((), ())
    assert "Not shown: 200 images" in found.caption


def test_text_and_markdown_have_the_tables(fake: Any) -> None:
    report = fake().full()
    assert "\n0.1 % to 1 %      150          0           0\n" in render_text(report)
    assert "| 0.1 % to 1 % | 150 | 0 | 0 |" in render_markdown(report)
    assert "Not shown: 13 images" in render_html(report).replace("\u00a0", " ")


def test_a_tolerance_that_is_not_known_draws_no_line(fake: Any) -> None:
    found = spread(fake, tolerance=None)
    assert found.charts[0].line is None and "of n/a" in found.caption
