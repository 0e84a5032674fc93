"""Does APGD walk in L1 as its paper says? Beside a slow twin; and does it come in from outside?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.apgd import stretches
from torchattacks_ext.engines.own.objectives import OBJECTIVES
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.testing.props import balanced_net, example_images

from .conftest import nearest_naive

RunOwn = Callable[..., Any]


def walk_naive(
    net: nn.Module, image: Tensor, label: int, eps: float, plan: list[tuple[int, float]]
) -> list[Tensor]:
    """One image, line by line, through the balls of the plan; the points of the last of them."""

    def ask(x: Tensor) -> tuple[float, Tensor, bool]:
        x = x.clone().requires_grad_()
        logits = net(x[None])
        loss = OBJECTIVES["pm-t"](logits, torch.tensor([label]), None).sum()
        (slope,) = torch.autograd.grad(loss, x)
        return float(loss.detach()), slope, int(logits.argmax()) == label

    def changed(x: Tensor, radius: float) -> int:
        return int(((x - image).abs() > 1e-6 * radius).sum())

    n, best, points = image.numel(), image, []
    for steps, scale in plan:
        radius, every = scale * eps, max(int(0.04 * steps), 1)
        x = best = nearest_naive(image, best, radius, "L1")
        top, step, old = -math.inf, radius, changed(x, radius) or n
        k = old / 1.5 if changed(x, radius) else 0.2 * n
        for t in range(steps):
            loss, slope, right = ask(x)
            length = float((x - image).abs().sum())
            if length <= eps * (1 + 1e-5):
                points.append(x)
                if not right:
                    return points
            if loss > top:
                best, top, best_slope = x, loss, slope
            if t and t % every == 0:
                now = changed(best, radius)
                if now < 0.95 * old:
                    step, x, slope = radius, best, best_slope
                else:
                    step = max(step / 1.5, radius / 10)
                k, old = now / 1.5, now
            slope = slope.clone()
            slope[((x <= 1e-6) & (slope < 0)) | ((x >= 1 - 1e-6) & (slope > 0))] = 0
            size = slope.abs().flatten()
            count = min(max(math.ceil(k), 1), n)
            sign = slope.sign() * (
                slope.abs() >= size.sort(descending=True).values[count - 1]
            )
            x = x + step * sign / max(float(sign.abs().sum()), 1)
            x = nearest_naive(image, x, radius, "L1")
    return [*points, x]


@pytest.mark.parametrize("reach", [1.0, 3.0])
def test_walk_naive_finds_the_same(run_own: RunOwn, reach: float) -> None:
    net, images = balanced_net().double(), example_images(12).double()
    labels, eps, steps = net(images).argmax(1), 0.4, 27
    line = AttackSpec("apgd", loss="pm-t", steps=steps, reach=reach)
    ledger, _ = run_own(net, images, [line], eps, "L1")
    broken = 0
    for row, (image, label) in enumerate(zip(images, labels)):
        points = walk_naive(net, image, int(label), eps, stretches(steps, reach))
        logits = net(torch.stack(points))
        own = logits[:, label].clone()
        logits[:, label] = -math.inf
        least = float((own - logits.amax(1)).min())
        assert (ledger.breaker[row] >= 0) == (least < 0)
        assert abs(least - ledger.margin[row]) < 1e-4 * ledger.clean_margin[row]
        broken += least < 0
    assert 0 < broken < 12
    assert float(norm_of(ledger.best - images, "L1").max()) <= eps * (1 + 1e-6)


@pytest.mark.parametrize("norm, eps", [("Linf", 0.01), ("L2", 0.1), ("L1", 0.3)])
def test_what_lies_outside_is_not_offered(
    run_own: RunOwn, norm: Any, eps: float
) -> None:
    """A net that is wrong only beyond the ball: no point of it goes to the judge."""

    class Shell(nn.Module):
        def forward(self, x: Tensor) -> Any:
            out = norm_of(x - images[:1], norm) > 1.2 * eps
            s = x.flatten(1).mean(1) + out.double()
            return torch.stack([1.5 + 0 * s, s, 0 * s], 1)

    images = torch.full((2, 1, 8, 8), 0.4, dtype=torch.float64)
    line = AttackSpec("apgd", loss="pm-t", steps=20, reach=3)
    ledger, engine = run_own(Shell(), images, [line], eps, norm)
    assert ledger.alive.all()
    # the clean images, twenty steps, the last point and the nearest before it
    assert engine.meter.forward <= 2 * (2 + 20 + 2) and engine.meter.backward == 40


def test_stretches_add_up() -> None:
    for steps in (1, 2, 3, 4, 10, 33, 100):
        for reach in (1.0, 1.5, 3.0):
            found = stretches(steps, reach)
            assert sum(count for count, _ in found) == steps
            assert all(count > 0 for count, _ in found) and found[-1][1] == 1
