"""Is a radius of 1e-6 held as strictly as one of 0.1? No slack that does not shrink with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import evaluate
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.harvest import Glance
from torchattacks_ext.engines.judge.ledger import Ledger
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.samplers import LinfUniform
from torchattacks_ext.testing import HalfSpace, check_sampler


def beside(radius: float) -> tuple[HalfSpace, Tensor]:
    """A half-space and 8 images at exactly this L2 distance from its edge, in float64."""
    w = torch.randn(16, generator=torch.Generator().manual_seed(1)).double()
    base = torch.rand(8, 16, generator=torch.Generator().manual_seed(2)).double()
    flat, side = base * 0.3 + 0.35, torch.tensor([1.0, -1.0] * 4).double()
    bias = -float((flat @ w).mean())
    away = side * radius * w.norm() - (flat @ w + bias)
    return HalfSpace(w, bias), (flat + (away / (w @ w))[:, None] * w).view(8, 1, 4, 4)


@pytest.mark.parametrize("eps", [1e-6, 1e-9])
def test_what_is_found_beyond_a_tiny_radius_is_not_lost(eps: float) -> None:
    victim, images = beside(1.5 * eps)
    plan = {"eps": eps, "norm": "L2", "stages": ["DeepFool"]}
    report = evaluate(victim, (images, victim.labels(images)), plan)
    result: Any = report["DeepFool"].result
    assert bool((result.found_norm > 1.4 * eps).all())
    assert bool((result.found_norm < 1.7 * eps).all())
    assert result.robust_accuracy == 1.0  # and none of it counts: it is outside
    for page in (render_text(report), render_markdown(report), render_html(report)):
        assert "it fooled the model on no correct image" not in " ".join(page.split())


def test_a_glance_does_not_take_a_candidate_outside_a_tiny_ball() -> None:
    """Twice the radius is no nearer failure: it is outside, and stays what it was."""
    victim, images = beside(5e-6)
    judge = Judge(victim, targeted=False, batch_size=8)
    labels, rows = victim.labels(images), torch.arange(8)
    ledger = Ledger.open(judge, images, labels, 1e-6, "L2")
    glance = Glance(victim)
    glance.begin(ledger, rows)
    step = victim.weight / victim.weight.norm() * (1 - 2 * labels)[:, None] * -1e-6
    glance.look(ledger, rows, images + 1.9 * step.view_as(images))
    assert bool(glance.margin.isinf().all())
    glance.look(ledger, rows, images + step.view_as(images))  # on the sphere: inside
    assert bool(glance.margin.isfinite().all())


class TooFar(LinfUniform):
    """Says eps, and draws half as far again."""

    def sample(self, images: Tensor, u: Any) -> Tensor:
        """The same draws, stretched."""
        drawn = images + 1.5 * (super().sample(images, u) - images)
        return drawn.clamp(0, 1)


@pytest.mark.parametrize("eps", [1e-6, 0.01])
def test_the_contract_of_a_law_sees_draws_outside_a_tiny_ball(eps: float) -> None:
    assert check_sampler(LinfUniform(eps), n=4, shape=(1, 3, 3))
    with pytest.raises(AssertionError, match="draws stay in the ball"):
        check_sampler(TooFar(eps), n=4, shape=(1, 3, 3))
