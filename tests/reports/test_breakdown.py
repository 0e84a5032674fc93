"""Does every report show what each part of an attack did, and mark what is censored?"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.reports.breakdown import CENSORED, HEAD, breakdowns
from torchattacks_ext.reports.overview.context import methods

EVIL = "<img src=x onerror=alert(1)>|b"


def entry(tried: int, fooled: int, broken: int, seconds: float = 1.5) -> dict[str, Any]:
    return {
        "tried": tried,
        "fooled": fooled,
        "broken": broken,
        "offers": 3,
        "forward": 1200 * tried,
        "backward": 600 * tried,
        "seconds": seconds,
    }


def report(fake: Any, books: Any, sources: Any = None, name: str = "msa") -> Any:
    """A clean stage and an attack with these books."""
    made = fake(200, 187)
    settings = {"method": "MSA", "eps": 0.1, "norm": "Linf", "version": "quick"}
    settings["sources"] = list(books if sources is None else sources)
    stage = made.attack(name, 80, settings=settings)
    result = replace(stage.result, provenance={"breakdown": books})
    return made.report(made.clean(), replace(stage, result=result))


BOOKS = {
    "target/noise-10": entry(187, 0, 7),
    f"{EVIL}/apgd-ce-20": entry(180, 60, 90, 75.0),
    "target/apgd-ce-20": entry(90, 10, 10),
}


def test_rows_in_words(fake: Any) -> None:
    sources = [*BOOKS, "target/square-500"]
    (told,) = breakdowns(report(fake, BOOKS, sources))
    assert len(HEAD) == 8 and all(len(row) == 8 for row in told.rows)
    assert told.rows[0][:5] == ("target/noise-10", "187", "-", "-", "7")
    assert told.rows[1][1:] == (
        "180",
        "60",
        "150.0 %",
        "90",
        "216,000",
        "108,000",
        "75 s",
    )
    assert told.rows[3][:2] == ("target/square-500", "not run")
    assert told.notes[0] == "107 images of 200 broken in all."


def test_verdicts_count_where_the_parts_name_more(fake: Any) -> None:
    more = BOOKS | {"target/square-500": entry(80, 0, 1)}
    (told,) = breakdowns(report(fake, more))
    assert told.notes[0].startswith(
        "107 images of 200 broken in all; the parts name 108"
    )


def test_no_books_no_table(fake: Any) -> None:
    plain = fake().full()
    assert breakdowns(plain) == []
    for render in (render_text, render_markdown, render_html):
        assert "What each part" not in render(plain)


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_every_renderer_shows_it_and_says_that_it_is_censored(
    fake: Any, render: Any
) -> None:
    page = " ".join(render(report(fake, BOOKS)).split())
    assert "What each part of the attack did: msa" in page
    assert CENSORED.split(":")[0] in page and "216,000" in page
    assert "Share of the tried rows" in page


def test_the_matrix_only_with_surrogates(fake: Any) -> None:
    (told,) = breakdowns(report(fake, BOOKS))
    assert told.matrix[0][:2] == ("attack", "target")
    assert told.matrix[1:] == (
        ("noise-10", "3.7 %", ""),
        ("apgd-ce-20", "11.1 %", "50.0 %"),
    )
    alone = {name: book for name, book in BOOKS.items() if name.startswith("target")}
    (told,) = breakdowns(report(fake, alone))
    assert told.matrix == () and told.heat is None
    assert "Share of the tried rows" not in render_text(report(fake, alone))


def test_the_heat_map_lies_inside_and_speaks(fake: Any) -> None:
    many = {
        f"model number {i}/attack-{j}": entry(9, 3, i) for i in range(8) for j in "ab"
    }
    (told,) = breakdowns(report(fake, many))
    heat = told.heat
    assert heat is not None and len(heat.cells) == 16
    for cell in heat.cells:
        assert 0 <= cell.x and cell.x + cell.width <= heat.width
        assert 0 <= cell.y and cell.y + cell.height <= heat.height
        assert 0 <= cell.opacity <= 0.62
    assert (
        heat.cells[3].title == "model number 3/attack-a: 3 of 9 tried rows broken first"
    )
    assert "2 attacks by 8 models" in heat.description
    assert max(len(mark.text) for mark in heat.columns) * 7 <= 344 / 8 + 7


def test_the_page_is_safe(fake: Any) -> None:
    page = render_html(report(fake, BOOKS, name=EVIL))
    assert "<img src=x" not in page and " style=" not in page
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing.replace("\u00a0", " "))
    assert page.count("</table>") == page.count("<table")
    markdown = render_markdown(report(fake, BOOKS, name=EVIL))
    assert "<img" not in markdown
    rows = [line for line in markdown.splitlines() if "apgd-ce-20 |" in line]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9, 4}


def test_text_stays_inside_the_width(fake: Any) -> None:
    long = {f"{'surrogate ' * 9}/apgd-ce-20": entry(10**6, 10**6, 10**5)} | BOOKS
    for width in (60, 100):
        text = render_text(report(fake, long), width)
        assert max(map(len, text.splitlines())) <= width


def test_damaged_books_do_not_stop_a_report(fake: Any) -> None:
    odd = {"a": {}, "b/c": {"tried": "x", "seconds": None}, "/": entry(1, 0, 0)}
    told = breakdowns(report(fake, odd))[0]
    assert told.rows[1][1:] == ("0", "0", "n/a", "0", "0", "0", "n/a")
    render_html(report(fake, odd))


@pytest.mark.parametrize("name", ["msa", "autoattack"])
def test_whom_to_cite(fake: Any, name: str) -> None:
    made = report(fake, BOOKS, name=name)
    cited = dict(methods(made))
    assert "arXiv:2003.01690" in cited["AutoAttack"]
    assert "torchattacks" not in " ".join(cited.values())
    assert ("MSA" in cited) is True
