"""Do targets that share batches find what they find one after the other, in fewer calls?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from crossed import crossed
from torch import Tensor, nn

from torchattacks_ext.engines.autoattack.runs import AutoAttackEngine
from torchattacks_ext.engines.autoattack.stacked import StackedEngine
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import AttackSpec, Ledger
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Budget, Meter
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

LINES = [
    AttackSpec("apgd-t", steps=8, targets=3),
    AttackSpec("fab-t", steps=8, targets=3),
    AttackSpec("warm", steps=8, loss="margin", restarts=2),
]
NORMS = [("Linf", 0.02), ("L2", 0.2), ("L1", 1.0)]


class Counted(nn.Module):
    """A net that remembers how many rows each call had."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.sizes = net, list[int]()

    def forward(self, images: Tensor) -> Any:
        self.sizes.append(len(images))
        return self.net(images)


def centred(seed: int = 0) -> nn.Module:
    """small_net in which all classes occur, with small margins."""
    net = small_net(n_classes=5, seed=seed).eval().requires_grad_(False)
    with torch.no_grad():
        net[-1].bias -= net(example_images(64)).mean(0)
    return net.double()


def run(
    kind: type[AutoAttackEngine],
    lines: list[AttackSpec],
    norm: Any = "Linf",
    eps: Any = 0.02,
    size: int = 64,
    on: str = "s",
    n: int = 16,
    budget: int | None = None,
) -> tuple[Ledger, Counted, AutoAttackEngine]:
    """The ledger after the lines; nets in double, so that batches of any size agree."""
    images = example_images(n).double()
    target, other = centred(), Counted(centred())
    with torch.no_grad():
        other.net[-1].weight += centred(3)[-1].weight
        labels = target(images).argmax(1)
    meter = Meter()
    models: dict[str, nn.Module] = {
        "s": LogitsView(other, meter=meter),
        "target": LogitsView(target, meter=meter),
    }
    judge = Judge(models["target"], False, size)
    ledger = Ledger.open(judge, images, labels, eps, norm)
    engine = kind(models, torch.arange(n), 5, 0, meter)
    if budget is not None:
        engine.budget = Budget(meter, max_queries=budget)
    with ForkedRng(0):
        for line in lines:
            engine.run(on, line, ledger)
    return ledger, other, engine


@pytest.mark.parametrize("norm, eps, on", crossed(NORMS, ["s", "target"]))
def test_flags_are_those_of_runs_one_by_one(norm: Any, eps: float, on: str) -> None:
    one = run(AutoAttackEngine, LINES, norm, eps, on=on)[0]
    many = run(StackedEngine, LINES, norm, eps, on=on)[0]
    assert (one.alive == many.alive).all()
    assert 0 < int(one.alive.sum()) < 16
    alive = one.alive.numpy()
    assert (one.margin[alive] >= many.margin[alive] - 1e-9).all()


@pytest.mark.parametrize("line", LINES[:2], ids=lambda line: line.label)
def test_what_is_seen_of_each_target_is_the_same(line: AttackSpec) -> None:
    """A ball in which nothing breaks: every run goes to its end on every row."""
    eps = 1e-4
    one, seen, _ = run(AutoAttackEngine, [line], eps=eps)
    many, stacked, _ = run(StackedEngine, [line], eps=eps)
    assert one.alive.all() and many.alive.all()
    assert abs(one.margin - many.margin).max() < 1e-9
    assert sum(seen.sizes) - sum(stacked.sizes) == (32 if line.kind == "apgd-t" else 32)
    assert len(stacked.sizes) < 0.4 * len(seen.sizes)
    books = [ledger.entries[f"s/{line.label}"] for ledger in (one, many)]
    assert books[0].tried == books[1].tried and books[0].fooled == books[1].fooled


@pytest.mark.parametrize("size", [5, 16, 40, 64])
def test_no_batch_is_larger_than_the_judges(size: int) -> None:
    _, seen, _ = run(StackedEngine, LINES, size=size, eps=1e-4)
    assert max(seen.sizes) <= max(size, 16)
    assert (max(seen.sizes) > 16) is (size >= 32)


@pytest.mark.parametrize("kind", ["apgd-t", "fab-t"])
def test_rows_with_a_radius_each(kind: Any) -> None:
    eps = torch.tensor([0.01, 0.03], dtype=torch.float64).repeat(8)
    line = AttackSpec(kind, steps=8, targets=3)
    one = run(AutoAttackEngine, [line], eps=eps)[0]
    many = run(StackedEngine, [line], eps=eps)[0]
    assert (one.alive == many.alive).all()


def test_a_run_that_does_not_fit_is_not_begun() -> None:
    line = AttackSpec("apgd-t", steps=8, targets=3)
    _, seen, engine = run(StackedEngine, [line], budget=3 * 16 * 9, eps=1e-4)
    assert not sum(seen.sizes) and engine.copies == 1
    _, seen, _ = run(StackedEngine, [line], budget=3 * 16 * 25, eps=1e-4)
    assert 3 * 16 * 9 <= sum(seen.sizes) <= 3 * 16 * 25


def test_other_kinds_run_as_before() -> None:
    lines = [AttackSpec("apgd", steps=8, restarts=2), AttackSpec("square", steps=8)]
    lines += [AttackSpec("fab", steps=8), AttackSpec("noise", steps=3)]
    one, seen, _ = run(AutoAttackEngine, lines)
    many, stacked, _ = run(StackedEngine, lines)
    assert seen.sizes == stacked.sizes and (one.alive == many.alive).all()
