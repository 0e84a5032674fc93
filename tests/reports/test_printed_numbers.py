"""Is a printed number never more than the number itself? 100 % is for all, a radius is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from torchattacks_ext.reports import (
    render_html,
    render_json,
    render_markdown,
    render_text,
    words,
)
from torchattacks_ext.reports.breakdown import breakdowns
from torchattacks_ext.reports.laws import law_text
from torchattacks_ext.reports.sensitivity.words import sensitivity_words
from torchattacks_ext.results.correlation import correlate_columns

PAGES = (render_text, render_markdown, render_html)


def books(broken: int, tried: int) -> dict[str, Any]:
    account = {"fooled": 0, "offers": 0, "forward": 0, "backward": 0, "seconds": 1.0}
    account |= {"tried": tried, "broken": broken}
    return {"twin/apgd-ce-10": account, "target/noise-10": account}


def attacked(fake: Any, n: int, broken: int) -> Any:
    """A report of n images, all right, of which an attack broke so many."""
    made = fake(n, n)
    settings = {"method": "MSA", "eps": 0.1 / 7, "norm": "Linf"}
    stage = made.attack("msa", n - broken, settings=settings)
    origin = {"breakdown": books(broken, n)}
    stage = replace(stage, result=replace(stage.result, provenance=origin))
    return made.report(made.clean(), stage)


@pytest.mark.parametrize("render", PAGES)
def test_the_matrix_never_says_100_percent_where_a_row_is_left(
    fake: Any, render: Any
) -> None:
    page = render(attacked(fake, 250, 249))
    assert "1e+02" not in page and "99.6" in page
    page = render(attacked(fake, 5000, 4999)).replace("&gt;", ">")
    assert "> 99.9" in page and "1e+02" not in page


def test_the_heat_map_and_the_table_say_the_same(fake: Any) -> None:
    (told,) = breakdowns(attacked(fake, 250, 249))
    assert told.heat is not None
    assert {cell.text for cell in told.heat.cells if cell.text} == {"99.6 %"}
    assert told.matrix[1][1] == "99.6 %"


def test_a_share_of_a_score_never_says_100_percent_where_a_row_is_left() -> None:
    said = {"median": 1.0, "top_share": 0.99996, "saturated_fraction": 0.9998, "n": 9}
    _, details = sensitivity_words(said)
    assert any("hold > 99.9 %" in text for text in details)
    assert "softmax saturated for > 99.9 %" in details
    assert words.rate(0.99996) == "> 99.9 %" and words.rate(1.0) == "100 %"
    assert words.confidence_text(1 - 1e-8) == "99.999999 %"


def test_a_prompt_never_shows_1_where_a_row_is_left(fake: Any) -> None:
    report = attacked(fake, 50_000, 1)
    result = report["msa"].result
    assert "robust_accuracy=0.99998" in repr(result)
    assert "0.99998" in result._repr_html_()
    assert "worst_case=0.99998" in repr(report)
    x = torch.arange(100.0).double()
    y = x.clone()
    y[:2] = y[:2].flip(0)  # Spearman 1 - 6 * 2 / (n^3 - n)
    table = correlate_columns({"x": x}, y, n_resamples=100)
    assert "x=0.99999" in repr(table) and "0.99999" in table._repr_html_()


@pytest.mark.parametrize(
    ("eps", "shown"),
    [
        (8 / 255, "8/255"),
        (8 * (1 + 1e-6) / 255, "about 0.0314"),
        (0.012345, "0.012345"),
        (0.5 / 255, "0.5/255"),
        (0.1 / 7, "about 0.0143"),
        (1.53e-6, "1.53e-6"),
    ],
)
def test_a_radius_in_prose_is_exact_or_marked_as_rounded(
    fake: Any, eps: float, shown: str
) -> None:
    assert words.radius(eps) == shown
    law = law_text({"norm": "L2", "eps": eps, "sampler": None})
    assert f"radius {shown}" in law
    if "/255" in shown or "about" in shown:
        return
    assert law_text({"sampler": {"name": "gaussian", "sigma": eps}}).endswith(shown)


@pytest.mark.parametrize("render", [*PAGES, render_json])
def test_every_page_marks_a_rounded_radius(fake: Any, render: Any) -> None:
    page = " ".join(render(attacked(fake, 200, 10)).split())
    assert "ball of radius about 0.0143" in page
    # a bound of what a pixel moves is rounded upwards: 0.1 / 7 is 1.42857 %
    assert "by more than 1.43" in page


def test_a_tolerance_in_prose_is_not_rounded_down(fake: Any) -> None:
    made = fake(200, 187)
    stage = made.test(150)
    settings = {**stage.result.settings, "tolerance": 0.012345}
    stage = replace(stage, result=replace(stage.result, settings=settings))
    for render in (render_text, render_markdown):
        page = " ".join(render(made.report(made.clean(), stage)).split())
        assert "1.2345 %" in page and "tolerance 1.23 %" not in page
        assert "at most 1.23 %" not in page and "tolerance of 1.23 %" not in page
