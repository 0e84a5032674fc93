"""Does APGD walk as its paper says, and break what a linear model allows? Beside a slow twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.halving import checkpoints
from torchattacks_ext.engines.own.objectives import OBJECTIVES
from torchattacks_ext.testing.props import balanced_net, example_images

from .conftest import nearest_naive

RunOwn = Callable[..., Any]
NORMS = [("Linf", 0.01), ("L2", 0.1)]


def test_checkpoints_are_those_of_the_paper() -> None:
    marks = checkpoints(100)
    places = [22, 41, 57, 70, 80, 87, 93, 99]
    assert marks.nonzero()[0].tolist() == places
    assert marks[places].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    for steps in (1, 2, 5, 20):
        assert 0 < checkpoints(steps).sum() <= steps


def apgd_naive(
    net: nn.Module, image: Tensor, label: int, eps: float, steps: int, norm: str
) -> list[Tensor]:
    """One image, the paper's Algorithm 1 line by line, as long as it is right; all points."""

    def ask(x: Tensor) -> tuple[float, Tensor, bool]:
        x = x.clone().requires_grad_()
        logits = net(x[None])
        loss = OBJECTIVES["pm-t"](logits, torch.tensor([label]), None).sum()
        (slope,) = torch.autograd.grad(loss, x)
        return float(loss.detach()), slope, int(logits.argmax()) == label

    def direction(slope: Tensor) -> Tensor:
        if norm == "Linf":
            return slope.sign()
        stuck = ((x <= 1e-6) & (slope < 0)) | ((x >= 1 - 1e-6) & (slope > 0))
        return slope.masked_fill(stuck, 0) / slope.masked_fill(stuck, 0).norm()

    x = old = best = image
    step, best_loss, best_slope = 2 * eps, -math.inf, torch.zeros_like(image)
    places = [0, 0.22]
    while places[-1] < 1:
        places.append(places[-1] + max(places[-1] - places[-2] - 0.03, 0.06))
    due = {math.ceil(p * steps - 1e-9) for p in places[1:]}
    last, rises, before, then, halved = 0, 0, math.inf, -math.inf, True
    points = []
    for t in range(steps):
        points.append(x)
        loss, slope, right = ask(x)
        if not right:
            return points
        if loss > best_loss:
            best, best_loss, best_slope = x, loss, slope
        rises, before = rises + (loss > before), loss
        if t in due and t > last:
            few, stuck = rises < 0.75 * (t - last), not halved and best_loss <= then
            halved = few or stuck
            if halved:
                step, x, slope = step / 2, best, best_slope
            last, rises, then = t, 0, best_loss
        u = nearest_naive(image, x + step * direction(slope), eps, norm)
        onward = u if t == 0 else x + 0.75 * (u - x) + 0.25 * (x - old)
        x, old = nearest_naive(image, onward, eps, norm), x
    return [*points, x]


@pytest.mark.parametrize("norm, eps", NORMS)
def test_apgd_naive_finds_the_same(run_own: RunOwn, norm: Any, eps: float) -> None:
    net, images = balanced_net().double(), example_images(12).double()
    labels = net(images).argmax(1)
    line = AttackSpec("apgd", loss="pm-t", steps=14)
    ledger, _ = run_own(net, images, [line], eps, norm)
    broken = 0
    for row, (image, label) in enumerate(zip(images, labels)):
        points = apgd_naive(net, image, int(label), eps, 14, norm)
        logits = net(torch.stack(points))
        own = logits[:, label].clone()
        logits[:, label] = -math.inf
        margins = own - logits.amax(1)
        assert (ledger.breaker[row] >= 0) == bool(margins.min() < 0)
        assert abs(float(margins.min()) - ledger.margin[row]) < 1e-7
        broken += bool(margins.min() < 0)
    assert 0 < broken < 12


def test_a_row_without_a_gradient_costs_one_step(run_own: RunOwn) -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return 0 * x.flatten(1)[:, :3] + torch.tensor([2.0, 1.0, 0.0])

    line = AttackSpec("apgd", loss="pm-t", steps=50)
    _, engine = run_own(Flat(), example_images(4), [line])
    assert engine.open is not None and engine.open.all()
    assert engine.meter.backward == 4


def test_the_last_point_is_asked_too(run_own: RunOwn) -> None:
    """One step of a linear model, eps a little above what it needs."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double().requires_grad_(False)
    image = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64)
    logits, w = net(image)[0], net[1].weight
    need = float((logits[0] - logits[1]).abs() / (w[0] - w[1]).abs().sum())
    for share, fallen in ((1.01, True), (0.99, False)):
        line = AttackSpec("apgd", loss="pm-t", steps=1)
        ledger, _ = run_own(net, image, [line], share * need)
        assert (ledger.breaker[0] >= 0) == fallen


def test_a_row_that_one_step_breaks_costs_one_gradient(run_own: RunOwn) -> None:
    """Clean forward; forward and backward there; the point after the step, which the judge asks."""
    net, images = balanced_net().double(), example_images(12).double()
    line = AttackSpec("apgd", loss="pm-t", steps=20)
    ledger, engine = run_own(net, images, [line], 0.5)
    assert (ledger.breaker >= 0).all()
    assert engine.meter.backward == 12
    assert engine.meter.forward <= 12 + 3 * 12 + 1


def test_far_from_a_boundary_no_point_is_asked_twice(run_own: RunOwn) -> None:
    """Where the slope says that one step breaks nothing, each step is one forward."""
    net, images = balanced_net().double(), example_images(12).double()
    line = AttackSpec("apgd", loss="pm-t", steps=5)
    ledger, engine = run_own(net, images, [line], 1e-6)
    assert (ledger.breaker < 0).all()
    assert engine.meter.backward == 12 * 5
    seen = engine.meter.forward
    assert seen <= 12 * (1 + 1 + 5 + 2)  # clean twice, steps, last and nearest
