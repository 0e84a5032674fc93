"""Is the estimate of a dry run within a factor of two of what is spent?"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchattacks_ext import evaluate
from torchattacks_ext.evaluation.demo import demo_net
from torchattacks_ext.evaluation.dry.costs import (
    USUAL,
    Shares,
    expected_passes,
    expected_runs,
    passes_per_image,
)
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.plans.profiles import profile_stages
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.numerics.populations.spending import SpendSettings
from torchattacks_ext.testing.props import example_images


def built(*stages: Any) -> Any:
    return build_stages(check_plan({"eps": 0.1, "stages": list(stages)}))


@pytest.mark.parametrize(
    ("stage", "passes"),
    [
        ("clean", 1),
        ("VANILA", 1),
        ("FGSM", 3),
        ({"name": "PGD", "steps": 20}, 41),
        ({"name": "Square", "n_queries": 200}, 202),
        ("JSMA", None),
        ({"name": "prtest", "tolerance": 0.01, "significance": 1e-3}, 930),
        ({"name": "stress", "severities": [1, 3]}, 30),
    ],
)
def test_of_one_image_that_withstands_everything(
    stage: Any, passes: float | None
) -> None:
    found = expected_passes(built(stage)[-1], 1, Shares(1.0, 1.0))
    assert found == pytest.approx(passes) if passes is not None else found is None


def test_fewer_classes_leave_fewer_to_aim_at() -> None:
    _, auto, fim, fool = built("autoattack", "fim", "DeepFool")
    for stage, ten, two in ((auto, 9780, 5716), (fim, 28.8, 5.76), (fool, 84, 28)):
        for n_classes, passes in ((10, ten), (2, two)):
            found = expected_passes(stage, 1, Shares(1.0, 1.0, n_classes))
            assert found == pytest.approx(passes)


def test_what_a_class_of_others_costs_is_unknown_and_no_error() -> None:
    stage = built("torchattacks:FGSM")[-1]
    assert expected_passes(stage, 50) is None and passes_per_image(stage) is None


def test_wrong_and_broken_images_cost_less() -> None:
    _, pgd, square, auto = built("PGD", "Square", "autoattack")
    for stage in (pgd, square, auto):
        whole = expected_passes(stage, 50, Shares(1.0, 1.0))
        half = expected_passes(stage, 50, Shares(0.5, 1.0))
        broken = expected_passes(stage, 50, Shares(1.0, 0.1))
        assert whole is not None and half is not None and broken is not None
        assert half == pytest.approx(whole / 2)
        assert broken == whole if stage is pgd else broken < whole / 3
    assert passes_per_image(pgd) == expected_passes(pgd, 1, USUAL)


def test_a_budget_costs_a_part_of_the_full_attack() -> None:
    name = {"name": "budgeted", "attack": "autoattack"}
    _, auto, sampled = built("autoattack", name)
    seen = Shares(0.7, 0.8)
    whole, part = (expected_passes(stage, 10_000, seen) for stage in (auto, sampled))
    assert whole is not None and part is not None
    assert 10_000 * 0.7 * 41 < part < whole / 5
    assert passes_per_image(sampled) is None
    settings = SpendSettings(half_width=0.01)
    assert expected_runs(0, 100, settings) == 0
    assert expected_runs(2, 1000, settings) == 1  # too few to matter
    assert 300 < expected_runs(5600, 10_000, settings) < 500


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
def test_the_fast_profile_of_a_small_net() -> None:
    torch.manual_seed(0)
    net, images = demo_net().eval().requires_grad_(False), example_images(8)
    with torch.no_grad():
        labels = net(images).argmax(1)
    labels[::4] = (labels[::4] + 1) % 10
    plan = {"eps": 0.002, "stages": profile_stages("fast", 0.002, "Linf")}
    report = evaluate(net, (images, labels), plan)
    left = float(report["PGD"].result.robust.sum() / 6)  # type: ignore[union-attr]
    stages = build_stages(check_plan(plan))
    expected = sum(expected_passes(s, 8, Shares(0.75, left)) or 0.0 for s in stages)
    spent = sum(s.cost.forward + s.cost.backward for s in report.stages)
    assert 0.5 < expected / spent < 2
