"""What may be part of the worst case of an evaluation? Only what stays in the plan's ball."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattacks_ext import ProbRobustness, evaluate
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.testing import RateVictim

PAGES = (render_text, render_markdown, render_html)


def test_draws_outside_the_ball_of_the_plan_are_no_part_of_the_worst_case() -> None:
    """A caller's own law may go anywhere; its failures say nothing about the ball."""

    def far(images: Tensor, u: Any) -> Tensor:
        return images.clamp(max=0.0)

    images = torch.full((4, 1, 4, 4), 0.5)
    images[:, 0, 1, 1] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    data = (images, torch.zeros(4, dtype=torch.long))
    stages = ["VANILA", {"name": "prtest", "sampler": far, "n_max": 800}]
    report = evaluate(RateVictim(0.0), data, {"eps": 0.1, "stages": stages})
    found = report["prtest"].result
    assert isinstance(found, ProbRobustness) and bool((found.n_failures == 0).all())
    victim = RateVictim(0.5, eps=0.5)  # fails where the first pixel is 0
    report = evaluate(victim, data, {"eps": 0.1, "stages": stages})
    found = report["prtest"].result
    assert isinstance(found, ProbRobustness) and bool((found.n_failures > 0).all())
    worst = report.worst_case()
    assert worst is not None and worst["robust_accuracy"] == 1.0
    assert worst["stages"] == ["VANILA"] and worst["outside_the_ball"] == ["prtest"]
    for page in map(" ".join, (render(report).split() for render in PAGES)):
        assert "rests on VANILA" in page
        assert "not in it: prtest, whose draws leave the ball of the plan" in page
    only = evaluate(victim, data, {"eps": 0.1, "stages": stages[1:]})
    assert only.worst_case() is None


def test_care_is_asked_for_where_worst_cases_rest_on_other_stages() -> None:
    """A law outside the ball is in no worst case: it makes no difference, and hides none."""
    images = torch.full((3, 1, 2, 2), 0.5)
    images[:, 0, 1, 1] = torch.tensor([0.1, 0.2, 0.3])
    data = (images, torch.zeros(3, dtype=torch.long))
    wide = {"name": "gaussian", "sigma": 0.2}
    noise = {"name": "prtest", "n_max": 800}
    plans: list[list[Any]] = [["VANILA"], ["VANILA", {**noise, "sampler": wide}]]
    plans.append(["VANILA", noise])
    one, two, three = (
        evaluate(RateVictim(0.0), data, {"eps": 0.1, "stages": stages})
        for stages in plans
    )
    care = "the worst cases rest on different stages"
    assert care not in render_text([one, two])
    for render in PAGES:
        page = " ".join(render([two, three]).split())
        assert care in page and "VANILA; " in page and "VANILA and prtest" in page
