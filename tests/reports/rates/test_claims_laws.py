"""Is every test with every law rendered, and never called more exact than it is?"""

from __future__ import annotations

import re
from typing import Any

import pytest

from torchattacks_ext.reports import (
    plain_summary,
    render_html,
    render_markdown,
    render_text,
    scorecard,
)
from torchattacks_ext.reports.rates.claims import claims
from torchattacks_ext.samplers.choose import SAMPLERS, choose_sampler

RENDERERS = (render_text, render_markdown, render_html)
SPLIT = {"test": "splitting", "guarantee": "ideal-kernel", "tolerance": 1e-8}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "gaussian": {"sigma": 0.1},
    "affine": {"rotation": 10},
    "photometric": {"blur": 1.0},
    "compose": {"laws": ["linf", {"name": "affine", "scale": 0.1}]},
    "corruption": {"corruption": "snow", "severity": 4},
    "eight_bit": {"law": "linf"},
}


def known(fake: Any, **changes: Any) -> dict[str, Any]:
    return dict(fake().test().result.settings) | changes


@pytest.mark.parametrize("test", ["eprocess", "sprt", "fixed", "group", "splitting"])
@pytest.mark.parametrize("law", [*sorted(SAMPLERS), "rain"])
def test_every_test_and_law_is_rendered(fake: Any, test: str, law: str) -> None:
    made, norm = fake(40, 36), {"l2": "L2", "l1": "L1"}.get(law, "Linf")
    if law == "rain":
        sampler: dict[str, Any] = {"name": "rain", "norm": None, "eps": None}
        sampler["function"] = "weather.<b>rain</b>"
    else:
        told = {"name": law, **ARGUMENTS.get(law, {})}
        sampler = choose_sampler(told, 0.1, norm, (0, 1)).settings()  # type: ignore
    settings = known(fake, sampler=sampler, norm=norm, eps=0.1, test=test)
    if test == "splitting":
        settings |= SPLIT
    stage = made.test(robust=30, broken=3, settings=settings)
    report = made.report(made.clean(), made.attack(left=20), stage)
    for render in RENDERERS:
        text = render(report).replace("None was raised", "")
        assert not re.search(r"\bnan\b|\bNone\b|<b>", text)
    (block,) = claims(report)
    rows = dict(block.rows)
    assert (rows["guarantee"][:5] == "ideal") == (test == "splitting")
    assert "evaluations" in rows["total draws"] or test != "splitting"
    ball = rows["ball (eps, norm)"]
    assert (ball == "none holds every draw") == (
        law not in ("linf", "l2", "l1", "eight_bit")
    )
    assert 4 <= len(plain_summary(report)) <= 8


def test_splitting_is_never_called_exact(fake: Any) -> None:
    made = fake()
    report = made.report(made.clean(), made.test(settings=known(fake, **SPLIT)))
    card = scorecard(report)[1]
    assert "for an ideal kernel only" in card.guarantee
    assert any("model evaluations, median" in text for text in card.details)
    assert "mix well, which was not checked" in " ".join(plain_summary(report))
    assert "exact:" not in dict(claims(report)[0].rows)["guarantee"]


def test_the_plain_words_name_a_law_that_no_ball_holds(fake: Any) -> None:
    made = fake()
    law = choose_sampler({"name": "gaussian", "sigma": 0.1}, 0.1, "Linf", (0, 1))
    settings = known(fake, sampler=law.settings())
    noise, attack = made.test(settings=settings), made.attack()
    told = plain_summary(made.report(made.clean(), noise))
    assert told[0].endswith(
        "unchanged and with random changes that no ball bounds (Gaussian noise, standard "
        "deviation 0.1, clamped to [0, 1])."
    )
    told = plain_summary(made.report(made.clean(), attack, noise))
    assert "Linf ball of radius 8/255" in told[0] and "3.14 %" in told[0]
    assert "After 1 attack (PGD), " in told[2]  # the noise is no search of the ball
    turned = choose_sampler({"name": "affine", "rotation": 9}, 0.1, "Linf", (0, 1))
    stage = made.test(settings=known(fake, sampler=turned.settings()))
    page = render_text(made.report(made.clean(), stage))
    assert "Other perturbations: translation, blur" in page
