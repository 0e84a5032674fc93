"""What may be part of the worst case of an evaluation? Only what stays in the plan's ball."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattacks_ext import ProbRobustness, evaluate
from torchattacks_ext.testing import RateVictim


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
    only = evaluate(victim, data, {"eps": 0.1, "stages": stages[1:]})
    assert only.worst_case() is None
