"""Is the first target of a linear model the nearest class, in each norm, and does it fall?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.judge.harvest import Graded
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.malt import by_logits, nearest
from torchattacks_ext.engines.own.slope import Slope
from torchattacks_ext.numerics.unit import Unit
from torchattacks_ext.testing.props import example_images

RunOwn = Callable[..., Any]
ORDER = {"Linf": 1, "L2": 2, "L1": float("inf")}


def linear(k: int, seed: int = 0) -> nn.Sequential:
    """A linear net whose classes differ in steepness; every class occurs."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, k)).double().requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        net[1].weight.normal_(generator=draw)
        net[1].weight *= torch.linspace(0.2, 2, k)[:, None]
        net[1].bias -= net(torch.full((1, 1, 8, 8), 0.5).double())[0]
    return net


def grey(n: int) -> Tensor:
    """Images far from the borders of the box."""
    return 0.4 + 0.2 * example_images(n).double()


def radii(net: nn.Sequential, images: Tensor, labels: Tensor, norm: str) -> Tensor:
    """(n, K) radius at which each class wins, inf for the label."""
    logits, w = net(images), net[1].weight
    gaps = logits.gather(1, labels[:, None]) - logits
    sizes = torch.stack([(w[y] - w).norm(ORDER[norm], dim=1) for y in labels])
    return torch.where(sizes > 0, gaps / sizes, torch.inf)


@pytest.mark.parametrize("norm", sorted(ORDER))
def test_targets_come_in_the_order_of_their_radii(norm: Any) -> None:
    net, images = linear(6), grey(32)
    labels = net(images).argmax(1)
    slope = Slope(Graded(net), Unit((0.0, 1.0)))
    found = nearest(slope, images, labels, norm)
    want = radii(net, images, labels, norm).argsort(1)[:, :-1]
    assert torch.equal(found, want)
    ranks = by_logits(net(images), labels)
    assert (ranks != found).any(), "the two orders never differ: nothing is tested"


@pytest.mark.parametrize("norm, steps", [("Linf", 1), ("L2", 1), ("L1", 30)])
def test_a_linear_row_falls_where_its_radius_says(
    run_own: RunOwn, norm: Any, steps: int
) -> None:
    """In L1 the first step goes to a fifth of the pixels, and later ones to fewer, down to one."""
    net, images = linear(6), grey(32)
    labels = net(images).argmax(1)
    least = radii(net, images, labels, norm).amin(1)
    eps = float(least.median())
    assert eps < 0.4, "the box binds"
    line = AttackSpec("malt", loss="pm-t", steps=steps, targets=1)
    ledger, _ = run_own(net, images, [line], eps, norm)
    sure = (least - eps).abs() > 1e-3 * eps
    fallen = torch.from_numpy(ledger.breaker >= 0)
    assert torch.equal(fallen[sure], (least < eps)[sure])
    assert 8 < int(fallen.sum()) < 24


def test_gradients_that_say_nothing_leave_the_order_of_the_logits() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return 0 * x.flatten(1)[:, :4] + torch.tensor([4.0, 1.0, 3.0, 3.0])

    slope = Slope(Graded(Flat()), Unit((0.0, 1.0)))
    found = nearest(slope, example_images(2), torch.tensor([0, 0]), "Linf")
    assert found.tolist() == [[2, 3, 1], [2, 3, 1]]


def test_two_classes_have_no_targets(run_own: RunOwn) -> None:
    line = AttackSpec("malt", loss="pm-t", steps=5, targets=1)
    ledger, engine = run_own(linear(2), grey(4), [line], 0.2)
    assert engine.meter.backward == 0 and ledger.alive.all() and not engine.skipped


def test_a_rank_is_asked_once_for_all_lines(run_own: RunOwn) -> None:
    lines = [AttackSpec("malt", loss="pm-t", steps=n, targets=2) for n in (1, 2)]
    _, engine = run_own(linear(6), grey(4), lines, 1e-6)
    # 5 classes a row ranked once, then 2 targets x (1 + 2) steps
    assert engine.meter.backward == 4 * (5 + 2 * 3)
