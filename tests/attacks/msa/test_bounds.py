"""Does MSA break a linear model at its exact radius, whatever range its pixels have?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import torchattacks_ext as tax
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.unit import Unit
from torchattacks_ext.results.attack import AttackResult
from torchattacks_ext.testing import HalfSpace

LOW = torch.tensor([-2.0, -1.0, 0.0])
BOUNDS = {
    "unit": (0, 1),
    "signed": (-1, 1),
    "bytes": (0, 255),
    "a channel": (LOW, LOW + 2),
    "unequal channels": (LOW, LOW + torch.tensor([4.0, 2.0, 3.0])),
}


def victim_of(bounds: Any, n: int = 6) -> tuple[HalfSpace, Tensor]:
    """A linear model, and images in the middle of the box."""
    low, high = (torch.as_tensor(side).float().view(-1, 1, 1) for side in bounds)
    w = torch.randn(12, generator=torch.Generator().manual_seed(1))
    unit = torch.rand(n, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    images = low + (0.4 * unit + 0.3) * (high - low)
    w = w / float((high - low).max())  # logits of one size
    return HalfSpace(w, -float((images.flatten(1) @ w).mean())), images


@pytest.mark.parametrize(
    "name, engine",
    [
        pytest.param(name, engine, marks=() if quick else pytest.mark.slow)
        for name in BOUNDS
        for engine, quick in (
            ("autoattack", name == "bytes"),
            ("torchattacks", name == "signed"),
        )
    ],
)
def test_all_fall_just_beyond_the_radius_and_none_before(
    name: str, engine: Any
) -> None:
    bounds = BOUNDS[name]
    victim, images = victim_of(bounds)
    labels, radius = victim.labels(images), victim.radius(images)
    plan = [{"kind": "apgd", "steps": 15}, {"kind": "square", "steps": 100}]
    told: dict[str, Any] = {"version": "custom", "plan": plan, "engine": engine}
    for i in range(len(images)):
        for factor, wanted in (
            (1.03, tax.Verdict.NOT_ROBUST),
            (0.97, tax.Verdict.UNDECIDED),
        ):
            eps = float(radius[i]) * factor
            attack = tax.MSA(victim, eps=eps, bounds=bounds, keep="memory", **told)
            result = attack.measure(images[i : i + 1], labels[i : i + 1])
            assert int(result.verdict[0]) == int(wanted), (i, factor)
            assert float(result.norm[0]) <= eps * (1 + 1e-5)
            found = attack(images[i : i + 1], labels[i : i + 1])
            step = float((found - images[i : i + 1]).abs().max())
            assert 0.5 * eps < step <= eps * (1 + 1e-5)  # in the caller's unit


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_other_norms_scale_by_the_widest_range(norm: Any) -> None:
    rates = []
    for bounds in ((0, 1), (-1, 1), (0, 255)):
        victim, images = victim_of(bounds)
        labels, width = victim.labels(images), bounds[1] - bounds[0]
        attack = tax.MSA(
            victim, eps=0.3 * width, norm=norm, version="quick", bounds=bounds
        )
        rates.append(attack.measure(images, labels).robust_accuracy)
    assert rates[0] == rates[1] == rates[2] < 1


@pytest.mark.parametrize("name", BOUNDS)
def test_evaluate_breaks_them_alike(name: str) -> None:
    bounds = BOUNDS[name]
    victim, images = victim_of(bounds)
    sides = [torch.as_tensor(side).tolist() for side in bounds]
    eps = float(victim.radius(images).max()) * 1.03
    stages = [
        {"name": "PGD", "alpha": eps / 4},
        {"name": "FAB", "steps": 5},
        {"name": "msa", "version": "quick"},
    ]
    plan = {"eps": eps, "bounds": sides, "stages": stages}
    report = tax.evaluate(victim, (images, victim.labels(images)), plan)
    for stage in report.stages[1:]:
        assert isinstance(stage.result, AttackResult), stage.error
        assert stage.result.robust_accuracy == 0, stage.name


@pytest.mark.parametrize("version", ["quick", "autoattack", "paper"])
def test_no_bounds_are_refused(version: Any) -> None:
    victim, _ = victim_of((0, 1))
    with pytest.raises(ConfigError, match="bounds=None: MSA clips"):
        tax.MSA(victim, version=version, bounds=None)
    tax.MSA(victim, version="custom", plan=[{"kind": "noise"}], bounds=None)


def test_the_box_of_zero_and_one_is_left_alone() -> None:
    images = torch.rand(2, 3, 2, 2)
    unit = Unit((0.0, 1.0))
    assert unit.of(images) is images and unit.back(images) is images
    assert unit.radius(0.1) == 0.1
