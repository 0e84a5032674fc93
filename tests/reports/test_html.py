"""Is the page self-contained, well formed, accessible, and deaf to what users write?"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from torchattacks_ext.errors import InputError, MissingExtra
from torchattacks_ext.reports import render_html
from torchattacks_ext.results.base.facts import Flag

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "img", "br", "hr", "link", "input"}
EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Collects elements and complains about anything that is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"repeated attribute in <{tag}>"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def pair(fake: Any) -> list[Any]:
    made = fake(200, 171)
    stages = (made.clean(), made.attack("PGD", 141), made.test(robust=166, broken=2))
    return [fake(200, 187).full(), made.report(*stages, name="smallnet-at")]


def poisoned(fake: Any, evil: str) -> Any:
    """A report in which the user named everything `evil`."""
    made = fake()
    flag = Flag(evil, evil, 2)
    stages = (
        made.clean(),
        made.attack(evil, 10, notes=(evil,), flags=(flag,)),
        made.failed(evil + "2", evil),
        made.test(evil + "3", settings={"sampler": evil, "tolerance": 0.01}),
    )
    made_report = made.report(*stages, name=evil, flags=(flag,))
    facts = {
        "plan": {evil: [evil]},
        "model": {evil: evil},
        "data": {evil: {evil: evil}},
    }
    gallery = tuple(replace(item, id=evil, stage=evil) for item in made.full().gallery)
    return replace(made_report, gallery=gallery, provenance={evil: evil}, **facts)


@pytest.fixture(scope="module")
def allowed() -> set[str]:
    """Every element that the page may hold."""
    words = "html head meta title style body header main section h1 h2 h3 h4 p ul li dl dt dd div"
    words += " span strong code pre a table caption thead tbody tr th td figure figcaption img"
    return set((words + " svg path circle rect text").split())


def test_only_the_known_elements_and_attributes(fake: Any, allowed: set[str]) -> None:
    for report in (pair(fake), poisoned(fake, EVIL)):
        page = Page(render_html(report, title=EVIL))
        assert {name for name, _ in page.elements} <= allowed
        for _, attrs in page.elements:
            assert "style" not in attrs and not any(
                key.startswith("on") for key in attrs
            )


def test_what_users_write_is_shown_as_text(fake: Any) -> None:
    page = Page(render_html([poisoned(fake, EVIL)] * 2, title=EVIL))
    assert page.text.count(EVIL) > 20
    assert {image["src"][:22] for image in page.all("img")} == {
        "data:image/png;base64,"
    }


def test_nothing_is_loaded(fake: Any) -> None:
    text = render_html(pair(fake))
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "base"} & {
        name for name, _ in page.elements
    }
    assert "@import" not in text and "url(" not in text
    for name, attrs in page.elements:
        for key, value in attrs.items():
            if "://" in value or value.startswith("//"):
                assert (name, key) == ("a", "href")
                assert value.startswith(
                    ("https://arxiv.org/abs/", "https://doi.org/10.")
                )


def test_the_policy_allows_exactly_the_inline_style(fake: Any) -> None:
    text = render_html(fake().full())
    (policy,) = (m["content"] for m in Page(text).all("meta") if "http-equiv" in m)
    (style,) = re.findall("<style>(.*?)</style>", text, re.S)
    key = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(
        f"default-src 'none'; img-src data:; style-src 'sha256-{key}'"
    )
    assert "unsafe" not in policy
    assert text.index("http-equiv") < text.index("<style>")


def test_tables_pictures_and_drawings_are_named(fake: Any) -> None:
    page = Page(render_html(pair(fake)))
    assert page.all("th") and all("scope" in attrs for attrs in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs["alt"] for attrs in page.all("img"))
    for attrs in page.all("svg"):
        assert attrs.get("aria-hidden") == "true" or attrs.get("role") == "img"
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [
        attrs["aria-labelledby"]
        for _, attrs in page.elements
        if "aria-labelledby" in attrs
    ]
    assert set(named) <= set(ids)
    assert page.all("html") == [{"lang": "en"}] and len(page.all("h1")) == 1


def test_headings_do_not_jump(fake: Any) -> None:
    for report in (fake().full(), pair(fake)):
        page = Page(render_html(report))
        levels = [
            int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)
        ]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))


def test_the_plain_words_come_before_every_table(fake: Any) -> None:
    text = render_html(pair(fake))
    assert text.index("In plain words") < text.index("<table")
    assert text.index('id="comparison"') < text.index('id="m1-card"')


def test_every_part_is_there(fake: Any) -> None:
    text = Page(render_html(pair(fake), title="Two nets")).text
    for part in (
        "Two nets",
        "93.5 % (187 of 200)",
        "upper bound: no attack proves robustness",
        "433,029 forward",
        "failed BackendError: out of memory",
        "Upper bound of the failure rate, per image",
        "Random draws spent, per image",
        "tolerance 1 %",
        "class 3 → 8",
        "difference × 15",
        "What was not tested",
        "arXiv:1706.06083",
        "ab" * 32,
        '"tolerance": 0.01',
        "How to read the numbers",
        "that needs a paired test",
    ):
        assert part in text, part


def test_one_model_has_no_comparison(fake: Any) -> None:
    text = render_html(fake().full())
    assert 'id="comparison"' not in text and text == render_html([fake().full()])


@pytest.mark.parametrize(
    "parts", ["nothing", "no images", "no test", "no draws", "odd gallery"]
)
def test_thin_reports_are_rendered_too(fake: Any, pictures: Any, parts: str) -> None:
    made = fake(0, 0) if parts == "no images" else fake(3, 0)
    broken = {"robust": 0, "broken": 0}
    report = {
        "nothing": lambda: made.report(data={}, plan={}, model={}, provenance={}),
        "no images": lambda: made.report(
            made.clean(), made.attack(left=0), made.test(**broken)
        ),
        "no test": lambda: made.report(made.clean(), made.attack(left=0)),
        "no draws": lambda: made.report(made.clean(), made.test(**broken)),
        "odd gallery": lambda: made.report(
            made.clean(), gallery=pictures((1, 3, 2, 4))
        ),
    }[parts]()
    page = Page(render_html(report))
    assert not re.search(r"\bnan\b|\bNone\b", page.text)
    if parts == "no draws":
        assert "there is nothing to show" in page.text


def test_the_page_is_the_same_every_time(fake: Any) -> None:
    assert render_html(pair(fake)) == render_html(pair(fake))


def test_text_colours_are_readable_on_their_ground() -> None:
    style = (ROOT / "torchattacks_ext/reports/templates/report.css").read_text("utf-8")
    themes = re.findall(r":root \{(.*?)\}", style, re.S)
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{3,6});", theme))
        for ground in ("paper", "panel"):
            for ink in ("ink", "soft", "accent", "alarm"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2 of two colours."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_no_report_is_refused() -> None:
    with pytest.raises(InputError, match="no reports"):
        render_html([])


def test_without_jinja2_the_remedy_is_named(
    fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match="pip install jinja2"):
        render_html(fake().full())


def test_importing_the_reports_loads_neither_jinja2_nor_pillow() -> None:
    code = (
        "import sys, torch, torchattacks; before = set(sys.modules);"
        "import torchattacks_ext.reports;"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before};"
        "sys.exit(bool(new & {'jinja2', 'PIL', 'matplotlib', 'pandas', 'pydantic'}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr
