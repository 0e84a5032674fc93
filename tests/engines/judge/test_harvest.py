"""Is every query looked at where the look is free, and does a look alone never decide?"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.autoattack.runs import AutoAttackEngine
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.harvest import AllBroken, Tap
from torchattacks_ext.engines.judge.ledger import AttackSpec, Ledger
from torchattacks_ext.models.adapters.shared_trunk import SharedTrunk
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Budget, Meter
from torchattacks_ext.testing import HalfSpace, small_net
from torchattacks_ext.testing.props import example_images

EPS = 0.015
LINES = [
    AttackSpec("apgd", steps=10),
    AttackSpec("apgd-t", steps=6, targets=2),
    AttackSpec("fab-t", steps=6, targets=2),
    AttackSpec("warm", steps=6, loss="margin"),
]


def relatives() -> SharedTrunk:
    """Two heads of one trunk, with small margins."""
    net, other = (small_net(n_classes=5, seed=seed).eval() for seed in (0, 3))
    with torch.no_grad():
        net[-1].bias -= net(example_images(64)).mean(0)
    near = nn.Linear(16, 5)
    with torch.no_grad():
        near.weight.copy_(net[-1].weight + other[-1].weight)
        near.bias.copy_(net[-1].bias)
    found = SharedTrunk(net[:-1], {"target": net[-1], "s": near})
    return found.eval().requires_grad_(False)


def start(
    shared: SharedTrunk, images: Tensor, peeked: bool, **options: Any
) -> tuple[AutoAttackEngine, Ledger]:
    meter = Meter()
    heads = {name: shared.head(name) for name in ("s", "target")}
    models = {name: LogitsView(head, meter=meter) for name, head in heads.items()}
    with torch.no_grad():
        labels = models["target"](images).argmax(1)
    judge = Judge(models["target"], False, 64)
    ledger = Ledger.open(judge, images, labels, EPS, "Linf")
    peeks = {"s": LogitsView(heads["target"])} if peeked else {}
    ids = torch.arange(len(images))
    engine = AutoAttackEngine(models, ids, 5, 0, meter, peeks=peeks, **options)
    return engine, ledger


def run(peeked: bool, line: AttackSpec, **options: Any) -> tuple[Ledger, Any, int]:
    """The ledger, the books of the line, and the trunk rows that it took."""
    shared, images = relatives(), example_images(24)
    engine, ledger = start(shared, images, peeked, **options)
    before = shared.trunk_rows
    with ForkedRng(0):
        engine.run("s", line, ledger)
    (entry,) = ledger.entries.values()
    return ledger, entry, shared.trunk_rows - before


def broken(ledger: Ledger) -> Tensor:
    return torch.from_numpy(ledger.breaker >= 0)


# ---------------------------------------------------------------- strength and cost
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.label)
def test_peeks_find_no_less_than_asking_each_query_and_cost_less(
    line: AttackSpec,
) -> None:
    asked, dear, rows = run(False, line, probe_every=1)
    ledger, entry, fewer = run(True, line)
    assert not bool((broken(asked) & ~broken(ledger)).any())
    assert 0 < int(broken(ledger).sum()) < 24
    assert fewer < rows and entry.forward < dear.forward


def test_peeks_see_what_each_fifth_query_does_not() -> None:
    line = LINES[0]
    few, all_ = run(False, line)[0], run(True, line)[0]
    assert not bool((broken(few) & ~broken(all_)).any())
    assert int(broken(all_).sum()) > int(broken(few).sum())


def test_a_run_costs_its_queries_its_ends_and_one_look_a_row() -> None:
    """No trunk row for a peek: exactly what the books say, and what the plan predicts."""
    shared, images = relatives(), example_images(24)
    engine, ledger = start(shared, images, True)
    ledger.eps = 1e-6  # nothing is broken, nothing is near
    before, metered = shared.trunk_rows, engine.meter.snapshot()
    with ForkedRng(0):
        engine.run("s", AttackSpec("apgd", steps=10), ledger)
    passed = engine.meter.since(metered).forward
    # 11 queries, two ends; and where the way came nearer than the ends, that
    assert 13 * 24 <= passed <= 14 * 24
    assert shared.trunk_rows - before <= passed
    dear = run(False, AttackSpec("apgd", steps=10), probe_every=1)[2]
    assert dear > passed


def test_the_trunk_runs_once_a_query() -> None:
    """Graph features serve the peek; no backward pass stands between."""
    shared, images = relatives(), example_images(6)
    _, ledger = start(shared, images, False)
    peek, view = LogitsView(shared.head("target")), LogitsView(shared.head("s"))
    tap = Tap(view, ledger, "s/x", 5, False, peek)
    tap.watch(torch.arange(6))
    for step in range(3):
        x = (images + step * EPS / 4).requires_grad_()
        before = shared.trunk_rows
        logits = tap(x)
        assert shared.trunk_rows == before + 6
        (gradient,) = torch.autograd.grad(logits.sum(), x)
        assert bool(gradient.abs().sum() > 0)
        with torch.no_grad():
            tap(x.detach() + 1e-4)
        assert shared.trunk_rows == before + 12


# ---------------------------------------------------------------- who decides
class Wrong(nn.Module):
    """A peek that calls every row wrong, and counts how often it is asked."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.asked = logits, 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += 1
        return self.logits.expand(len(images), -1)


def half_space(
    n: int = 4,
) -> tuple[HalfSpace, Ledger, Tensor]:
    """A victim whose boundary is .1 away; the ball has radius .05."""
    victim = HalfSpace(torch.tensor([1.0, 0.0]), -0.4)
    images = torch.tensor([[0.5, 0.5]]).repeat(n, 1)
    judge = Judge(victim, False, 8)
    labels = torch.zeros(n, dtype=torch.int64)
    return victim, Ledger.open(judge, images, labels, 0.05, "Linf"), images


def test_what_fools_the_target_outside_the_ball_is_never_counted() -> None:
    victim, ledger, images = half_space()
    tap = Tap(victim, ledger, "s/x", 1, False, victim)
    tap.watch(torch.arange(4))
    far = images - torch.tensor([0.3, 0.0])
    assert victim(far).argmax(1).tolist() == [1, 1, 1, 1]
    for _ in range(3):
        tap(far)
    tap.offer_nearest()
    assert ledger.alive.all() and (ledger.breaker == -1).all()
    assert float((ledger.best - images).abs().max()) <= 0.05 * (1 + 1e-6)


def test_a_peek_that_errs_breaks_nothing_and_is_not_believed_twice() -> None:
    victim, ledger, images = half_space()
    peek = Wrong(torch.tensor([0.0, 1.0]))
    tap = Tap(victim, ledger, "s/x", 5, False, peek)
    tap.watch(torch.arange(4))
    for _ in range(10):
        tap(images - 0.01)
    assert ledger.alive.all() and peek.asked == 10
    # the first query, and then each fifth
    assert ledger.entries["s/x"].offers == 3


def test_candidates_outside_wait_for_their_turn() -> None:
    victim, ledger, images = half_space()
    tap = Tap(victim, ledger, "s/x", 5, False, victim)
    tap.watch(torch.arange(4))
    for _ in range(10):
        tap(images - 0.2)
    assert ledger.entries["s/x"].offers == 2
    on_target = Tap(victim, ledger, "target/x", 5, True)
    on_target.watch(torch.arange(4))
    for _ in range(10):
        on_target(images - 0.2)
    assert ledger.entries["target/x"].offers == 2


def test_a_broken_row_is_not_offered_again_and_the_last_ends_the_run() -> None:
    victim, ledger, images = half_space()
    ledger.eps = 0.2
    tap = Tap(victim, ledger, "s/x", 5, False, victim)
    tap.watch(torch.arange(4))
    one = images.clone()
    one[0] -= 0.15
    tap(one)
    tap(one)
    assert ledger.alive.tolist() == [False, True, True, True]
    assert ledger.entries["s/x"].offers == 1 and ledger.entries["s/x"].broken == 1
    with pytest.raises(AllBroken):
        tap(images - 0.15)


def test_a_peek_without_finite_numbers_is_a_reason_to_ask() -> None:
    victim, ledger, images = half_space()
    tap = Tap(victim, ledger, "s/x", 5, False, Wrong(torch.tensor([math.nan, 1.0])))
    tap.watch(torch.arange(4))
    tap(images)
    tap.offer_nearest()
    assert ledger.alive.all() and ledger.entries["s/x"].offers == 1


def test_the_nearest_candidate_of_the_way_is_kept() -> None:
    victim, ledger, images = half_space()
    tap = Tap(victim, ledger, "s/x", 5, False, victim)
    tap.watch(torch.arange(4))
    for step in (0.01, 0.04, 0.02):
        tap(images - step)
    assert not ledger.entries
    tap.offer_nearest()
    assert torch.equal(ledger.best, images - 0.04)
    assert ledger.entries["s/x"].offers == 1
    tap.offer_nearest()  # no news
    assert ledger.entries["s/x"].offers == 1


def test_no_probes_means_no_peeks() -> None:
    victim, ledger, images = half_space()
    peek = Wrong(torch.tensor([0.0, 1.0]))
    tap = Tap(victim, ledger, "s/x", 0, False, peek)
    tap.watch(torch.arange(4))
    tap(images)
    tap.offer_nearest()
    assert not peek.asked and not ledger.entries


# ---------------------------------------------------------------- the budget
def test_a_peeked_run_needs_room_for_its_queries_alone() -> None:
    shared, images = relatives(), example_images(24)
    line = AttackSpec("apgd", steps=10)
    for peeked in (True, False):
        engine, ledger = start(shared, images, peeked, probe_every=1)
        room = 24 * (11 + 8)
        engine.budget = Budget(engine.meter, max_queries=room)
        assert engine._affords(24, "s", line) is peeked
        engine.budget = Budget(engine.meter, max_queries=room)
        before = engine.meter.snapshot()
        with ForkedRng(0):
            engine.run("s", line, ledger)
        assert engine.meter.since(before).forward <= room
