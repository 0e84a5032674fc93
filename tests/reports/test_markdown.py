"""Is the Markdown well formed, and can no name become markup?"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from torchattacks_ext.reports import render_markdown
from torchattacks_ext.reports.markdown import escape

GOLDEN = Path(__file__).parent / "golden" / "two.md"
CELL = re.compile(r"(?<!\\)\|")


def pair(fake: Any) -> list[Any]:
    made = fake(200, 171)
    stages = (made.clean(), made.attack("PGD", 141), made.test(robust=166, broken=2))
    return [fake(200, 187).full(), made.report(*stages, name="smallnet-at")]


def test_golden_of_two_models(fake: Any) -> None:
    text = render_markdown(pair(fake))
    if os.environ.get("TAX_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8", newline="\n")
    assert text == GOLDEN.read_text(encoding="utf-8")


def check_tables(text: str) -> None:
    """Every row of a table has as many cells as its head."""
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("|"):
            assert len({len(CELL.findall(line)) for line in lines}) == 1, block


def test_tables_are_rectangular(fake: Any) -> None:
    check_tables(render_markdown(pair(fake)))
    made = fake(0, 0)
    check_tables(render_markdown(made.report(made.clean(), made.failed())))


def test_names_cannot_become_markup(fake: Any) -> None:
    evil = "a|b\n# c <script>alert(1)</script> ![i](http://x/y) **d** `e` $f$ \\"
    made = fake()
    stage = made.failed(evil, evil)
    facts = {"plan": {evil: evil}, "data": {evil: evil}, "model": {evil: {evil: evil}}}
    text = render_markdown([made.report(made.clean(), stage, name=evil, **facts)] * 2)
    check_tables(text)
    assert "<script" not in text and "](" not in text.replace("\\](", "")
    assert not re.search(r"(?<!\\)[`*$]|(?<!\\)\*\*", text)
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert all(re.match(r"#{1,3} \S", head) for head in heads)


@given(st.text())
def test_escaped_text_is_one_line_without_live_marks(text: str) -> None:
    shown = escape(text)
    assert "\n" not in shown and "<" not in shown and ">" not in shown
    bare = re.sub(r"\\[\\`*_\[\]|~#$]", "", shown)
    assert not re.search(r"[\\`*_\[\]|~#$]", bare)


@given(st.text("abc|\\<>&*_", max_size=30).map(lambda text: " ".join(text.split())))
def test_escape_loses_nothing(text: str) -> None:
    back = re.sub(r"\\(.)", r"\1", escape(text))
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        back = back.replace(entity, char)
    assert back == text


def test_a_failed_stage_says_so(fake: Any) -> None:
    text = render_markdown(fake().full())
    line, *_ = (line for line in text.splitlines() if line.startswith("| CW |"))
    assert "failed" in line and "FAILED: BackendError: out of memory" in line
