"""Do several tables of certificates stand beside each other as what they are?"""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
import torch

import torchattacks_ext as tax
from torchattacks_ext.certify import foreign_certificates
from torchattacks_ext.errors import InputError, MissingExtra, StatusError
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.reports.certified import certified_side, plot_certified
from torchattacks_ext.results import Certificates
from torchattacks_ext.results.base.facts import Cost
from torchattacks_ext.results.certificates import TIERS


def table(
    tier: str, radius: list[float], cost: Cost = Cost(), **more: object
) -> Certificates:
    """Right answers with these radii, of a status."""
    found = foreign_certificates(
        list(range(len(radius))), radius, [0] * len(radius), norm="L2", verifier="x"
    )
    settings = {**found.settings, "tier": tier, **more}
    return replace(found, settings=settings, cost=cost)


@pytest.fixture
def tables() -> dict[str, Certificates]:
    """One of each status, the strongest last; one of a single radius."""
    found = {
        tier: table(
            tier, [0.1 * (i + 1), 0.6, 0.0, 1.5], Cost(4 * 10**i, 0, 0.004 * 10**i)
        )
        for i, tier in reversed(list(enumerate(TIERS)))
    }
    one = table(TIERS[1], [0.5, 0.5, 0.0, 0.5], Cost(800, 0, 0.1), fixed_radius=0.5)
    return {"one radius": one, **found}


def test_a_line_a_table_by_its_status(tables: dict[str, Certificates]) -> None:
    """In the order of what they are worth, none joined, each with its own dashes."""
    found = certified_side(tables, radii=[0.25, 0.5])
    assert [row[1] for row in found.rows[1:]] == [*TIERS[:1], TIERS[1], *TIERS[1:]]
    for rank in range(len(TIERS)):
        assert len(re.findall(f'class="curve tier{rank}" d="M46', found.figure)) == 1
    assert "5.00 s" not in found.figure and found.figure.count("<figure") == 2
    assert all(f"{tier}:" in " ".join(found.notes) for tier in TIERS)


def test_shares_and_prices_are_those_of_the_tables(
    tables: dict[str, Certificates],
) -> None:
    """At each radius; a single radius says nothing of others."""
    found = certified_side(tables, radii=[0.25, 0.5])
    rows = {row[0][2:]: row for row in found.rows[1:]}
    assert rows["one radius"][5] == "not asked"
    assert rows["one radius"][6].startswith("75.0 %")
    for i, tier in enumerate(TIERS):
        for column, eps in ((5, 0.25), (6, 0.5)):
            share = tables[tier].certified_accuracy(eps).value
            assert rows[tier][column].startswith(f"{100 * share:.1f} %")
        assert rows[tier][2] == f"{10**i:,}"
    assert rows[TIERS[0]][3] == "1 ms" and rows["one radius"][2] == "200"


def test_what_cannot_stand_together_is_refused(tables: dict[str, Certificates]) -> None:
    """Norms, missing labels, nothing at all."""
    plain = tables[TIERS[0]]
    other = replace(plain, settings={**plain.settings, "norm": "Linf"})
    with pytest.raises(StatusError, match="L2 and Linf cannot share an axis"):
        certified_side({"a": plain, "b": other})
    blind = replace(
        plain, reference=torch.full((4,), -1), clean_correct=plain.clean_correct * 0 - 1
    )
    with pytest.raises(InputError, match="'a' has no labels"):
        certified_side({"a": blind})
    late = replace(
        plain, status=torch.full((4,), int(tax.Status.NOT_REACHED), dtype=torch.int8)
    )
    with pytest.raises(InputError, match="'a' has no images that were reached"):
        certified_side({"a": late})
    with pytest.raises(InputError, match="0 tables"):
        certified_side({})
    with pytest.raises(InputError, match="'a' is a list"):
        certified_side({"a": []})  # type: ignore[dict-item]


def test_names_are_text_and_nothing_is_drawn_of_nothing() -> None:
    """Markup of a user's is shown as it is."""
    none = table(TIERS[0], [0.0, 0.0])
    found = certified_side({"<b>net</b>": none})
    assert "<b>" not in found.figure and "No image is certified" in found.figure
    assert found.rows[1][2:4] == ("n/a", "n/a")
    some = certified_side({"<b>net</b>": table(TIERS[0], [0.5])}).figure
    assert "<b>" not in some and "&lt;b&gt;net" in some
    linf = table(TIERS[0], [0.5, float("inf")]).converted("L1")
    assert "L1 radius in pixel units, converted" in certified_side({"a": linf}).figure


def test_the_plot_has_a_line_a_status_and_both_prices(
    tables: dict[str, Certificates], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heights of the steps are shares; without matplotlib the remedy is named."""
    pytest.importorskip("matplotlib")
    figure = plot_certified(tables, title="net")
    curves, passes, seconds = figure.axes
    lines = [line for line in curves.lines if len(line.get_xdata()) > 2]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) >= 4
    for line, tier in zip(lines, TIERS):
        share = tables[tier].certified_accuracy(float(line.get_xdata()[200])).value
        assert line.get_ydata()[200] == share
    assert "passes" in passes.get_title() and "seconds" in seconds.get_title()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"torchattacks_ext\[demo\]"):
        plot_certified(tables)


def test_a_report_of_two_certifiers_compares_them() -> None:
    """Text, Markdown and page; one certifier alone is not compared."""
    model = tax.Ellips(
        torch.nn.Flatten(),
        tax.EllipsHead.from_parameters(
            [[0.1] * 4, [0.9] * 4], 0.02, covariance="spherical"
        ),
        tax.LipschitzBound(1.0),
    ).eval()
    images = torch.linspace(0, 1, 8).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)
    labels = (images[:, 0, 0, 0] > 0.5).long()
    stages = ["certified", {"name": "smoothed", "sigma": 0.1, "n": 50, "n0": 10}]
    report = tax.evaluate(
        model, (images, labels), {"eps": 0.1, "norm": "L2", "stages": stages}
    )
    page = render_html(report)
    assert "Certificates side by side" in page and "What a certificate costs" in page
    assert "A certified" in page and "B smoothed" in page
    assert "Certificates side by side" in render_text(report)
    assert "| B smoothed | certified with confidence |" in render_markdown(report)
    alone = tax.evaluate(
        model, (images, labels), {"eps": 0.1, "norm": "L2", "stages": stages[:1]}
    )
    assert "side by side" not in render_text(alone)
