"""Is the plain text aligned, no wider than asked, and the same as yesterday?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.reports import render_json, render_markdown, render_text
from torchattacks_ext.reports.text import table

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, text: str) -> None:
    """Compare with a file; TAX_GOLDEN=write makes it anew, to be read before it is kept."""
    path = GOLDEN / name
    if os.environ.get("TAX_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


def pair(fake: Any) -> list[Any]:
    made = fake(200, 171)
    stages = (made.clean(), made.attack("PGD", 141), made.test(robust=166, broken=2))
    return [fake(200, 187).full(), made.report(*stages, name="smallnet-at")]


def test_golden_of_one_model(fake: Any) -> None:
    check_golden("one.txt", render_text(fake(200, 187).full()))


def test_golden_of_two_models(fake: Any) -> None:
    check_golden("two.txt", render_text(pair(fake)))


def test_golden_of_an_empty_narrow_report(fake: Any) -> None:
    made = fake(0, 0)
    report = made.report(made.clean(), made.test(robust=0, broken=0), name="empty")
    check_golden("empty.txt", render_text(report, width=60))


@pytest.mark.parametrize("width", [60, 72, 100, 160])
def test_no_line_is_wider_than_asked(fake: Any, width: int) -> None:
    name, error = "a very long model name " * 4, "x" * 400
    made = fake()
    report = made.report(made.clean(), made.failed("CW", error), made.test(), name=name)
    text = render_text([report, report], width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("x") >= 2 * 400
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_too_narrow_is_refused(fake: Any) -> None:
    with pytest.raises(ConfigError, match="width=59"):
        render_text(fake().full(), 59)


@given(
    st.lists(
        st.lists(st.text("ab c", max_size=30), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    ),
    st.integers(20, 60),
)
def test_a_table_fits_and_keeps_every_letter(rows: list[list[str]], width: int) -> None:
    lines = table(rows, width, "lrl")
    assert all(len(line) <= width for line in lines)
    shown = "".join(lines[:1] + lines[1:])
    for letter in "abc":
        assert shown.count(letter) == sum(
            cell.count(letter) for row in rows for cell in row
        )


def test_columns_are_aligned() -> None:
    lines = table([["name", "n"], ["a", "1,000"], ["bc", "7"]], 40, "lr")
    assert lines == ["name      n", "----  -----", "a     1,000", "bc        7"]


def test_terminal_codes_never_reach_the_terminal(fake: Any) -> None:
    made = fake()
    evil = "\x1b]0;pwned\x07\x1b[2J\r\u202e"
    stages = (made.clean(), made.failed(f"s{evil}", f"e{evil}"))
    facts = {"plan": {evil: evil}, "data": {evil: evil}, "model": {"class": evil}}
    report = made.report(*stages, name=f"m{evil}", **facts)
    for render in (render_text, render_markdown, render_json):
        text = render([report, report])
        assert not set(text) & set("\x1b\x07\r\u202e")


def test_renderers_print_nothing(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for render in (render_text, render_markdown, render_json):
        assert isinstance(render(fake().full()), str)
    assert capsys.readouterr() == ("", "")


def test_no_report_is_refused() -> None:
    for render in (render_text, render_markdown, render_json):
        with pytest.raises(InputError, match="no reports"):
            render([])


def test_the_interval_level_is_named(fake: Any) -> None:
    text = render_text(pair(fake), confidence=0.9)
    assert "Comparison (90 % intervals)" in text and "90 % interval " in text
