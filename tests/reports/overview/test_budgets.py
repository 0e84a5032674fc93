"""Is a sampled attack never told as a full run, in no form of the report?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from torchattacks_ext.reports import (
    render_html,
    render_json,
    render_markdown,
    render_text,
    scorecard,
)
from torchattacks_ext.results.datasets.budgeted import Budgeted
from torchattacks_ext.results.evaluation import EvaluationReport, StageReport

SETTINGS = {
    "confidence": 0.95,
    "method": "planned",
    "combine": "joint",
    "eps": 0.1,
    "norm": "Linf",
    "attack": {"name": "autoattack"},
    "cheap": [{"name": "PGD", "steps": 20, "alpha": 0.025}],
}


def report(attacked: int) -> EvaluationReport:
    """100 images: 10 wrong, 30 broken by PGD; 10 of 60 known; `attacked` of 50 sampled."""
    verdict = torch.zeros(100, dtype=torch.int8)
    verdict[:10], verdict[10:40], verdict[40:43] = 3, 2, 2
    clean = (torch.arange(100) >= 10).to(torch.int8)
    stratum = torch.full((100,), -1)
    stratum[40:50], stratum[50:] = 0, 7
    looked = (torch.arange(100) >= 40) & (torch.arange(100) < 50 + attacked)
    result = Budgeted(
        ids=torch.arange(100),
        status=torch.zeros(100, dtype=torch.int8),
        verdict=verdict,
        reference=torch.zeros(100, dtype=torch.int64),
        clean_correct=clean,
        margin=torch.ones(100, dtype=torch.float64),
        attacked=looked.to(torch.int8),
        stratum=stratum,
        settings=SETTINGS,
    )
    stage = StageReport("budgeted", "budgeted", result)
    plan = {"eps": 0.1, "norm": "Linf", "seed": 0}
    return EvaluationReport("net", plan, {}, {"n": 100}, (stage,))


RENDERERS: dict[str, Any] = {
    "text": render_text,
    "markdown": render_markdown,
    "html": render_html,
    "json": render_json,
}


@pytest.mark.parametrize("form", RENDERERS)
def test_a_sample_is_told_as_one(form: str) -> None:
    told = " ".join(RENDERERS[form](report(20)).split())
    for words in ("30 of", "60", "not a full run", "PGD"):
        assert words in told, words
    assert "No attack was run" not in told
    if form == "json":
        summary = json.loads(told)["summary"]["budgeted"]
        assert (summary["attacked"], summary["survivors"]) == (30, 60)
        assert summary["full_run"] is False
    else:
        assert "It was not run on all" in told and "estimated" in told


def test_a_worst_case_says_that_it_does_not_count_a_sampled_attack(fake: Any) -> None:
    """Else "broken by no stage" would be said of images that the report knows to be broken."""
    one = fake(100, 90)
    sampled = report(20).stages[0]
    whole = one.report(one.clean(), one.attack("FGSM", 80), sampled)
    row = scorecard(whole)[-1]
    assert row.value == "80.0 % (80 of 100)"
    said = "does not count budgeted, which broke 33.0 % (33 of 100) of the images"
    assert row.details == ("rests on FGSM", said)
    assert said in " ".join(render_text(whole).split())


def test_a_full_run_has_its_number_in_plain_words_and_no_draw() -> None:
    told = " ".join(render_text(report(50)).split())
    assert "57.0 % (57 of 100) of the images are still answered correctly" in told
    assert "over the draw" not in told and "over the draw" in render_text(report(20))


@pytest.mark.parametrize("form", RENDERERS)
def test_a_full_run_is_one_number(form: str) -> None:
    told = " ".join(RENDERERS[form](report(50)).split())
    assert "not a full run" not in told and "It was not run on all" not in told
    assert "estimated" not in told if form != "json" else '"full_run": true' in told
    assert "57" in told


def test_the_line_of_the_scorecard() -> None:
    row = scorecard(report(20))[0]
    low, high = report(20).stages[0].result.accuracy().lower, 0.57  # type: ignore
    assert (
        row.value == f"{100 * low:.1f} to {100 * high:.1f} % (estimated from a sample)"
    )
    assert row.guarantee.startswith("interval for what a full run")
    assert any("30 of the 60 images that PGD" in text for text in row.details)
    assert scorecard(report(50))[0].value == "57.0 % (57 of 100)"


def test_rows_that_were_chosen_have_no_interval() -> None:
    whole = report(20)
    result = whole.stages[0].result
    assert isinstance(result, Budgeted)
    part = result.select(result.ids[:70])
    assert "robust_accuracy_bounds" in part.summary()["left_out"]
    stage = replace(whole.stages[0], result=part)
    told = render_text(replace(whole, stages=(stage,)))
    assert "not known" in told and "not a full run" not in told
