"""Who goes on to which line, and what is kept? Gates, odd rows, surrogates, bounds, budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.judge.harvest import Graded
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.engine import passes_of_own
from torchattacks_ext.engines.own.plans import PLANS, plans_in
from torchattacks_ext.models import Budget
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.testing import GradientKiller, Quantised
from torchattacks_ext.testing.masked import NaNGradient
from torchattacks_ext.testing.props import balanced_net, example_images

RunOwn = Callable[..., Any]
NET, IMAGES = balanced_net().double(), example_images(16).double()
A = AttackSpec("apgd", loss="pm-t", steps=6)
SQUARE = AttackSpec("square", on="target", steps=10, gate=0.25)


def short(name: str, norm: Any = "Linf") -> list[AttackSpec]:
    """A plan with few steps, without what is borrowed and has a first pattern of 5 x 5 windows."""
    lines = [replace(line, steps=min(line.steps, 8)) for line in plans_in(norm)[name]]
    return [line for line in lines if norm == "Linf" or line.kind != "square"]


def tried(ledger: Any, label: str) -> int:
    entry = ledger.entries.get(f"target/{label}")
    return 0 if entry is None else int(entry.tried)


def test_a_gate_asks_for_a_share_of_the_rows_own_margin(run_own: RunOwn) -> None:
    lines = [A, AttackSpec("malt", loss="pm-t", steps=2, targets=1, gate=0.5)]
    before, _ = run_own(NET, IMAGES, lines[:1], 0.006)
    rel = before.margin / before.clean_margin
    inside = np.flatnonzero((rel < 0.5) & (before.breaker < 0))
    beyond = np.flatnonzero((rel >= 0.5) & (before.breaker < 0))
    assert len(inside) and len(beyond)
    ledger, _ = run_own(NET, IMAGES, lines, 0.006)
    assert tried(ledger, "malt-1-2") == len(inside)
    assert ledger.stopped == {int(row): "target/malt-1-2" for row in beyond}


def test_a_row_that_goes_on_after_all_has_not_stopped(run_own: RunOwn) -> None:
    lines = [A, replace(SQUARE, gate=1e-9), replace(SQUARE, gate=float("inf"))]
    ledger, _ = run_own(NET, IMAGES, lines, 1e-6)
    assert tried(ledger, "square-10") == 16 and ledger.stopped == {}


@pytest.mark.parametrize(
    "name, make",
    [
        ("standard", GradientKiller),
        ("standard", lambda net: Quantised(net, 8)),
        ("standard", lambda net: NaNGradient(net)),
        ("standard", lambda net: Detached(net)),
        ("fast", lambda net: GradientKiller(net)),
        ("fast", lambda net: Detached(net)),
    ],
)
def test_rows_without_a_gradient_reach_the_last_stage(
    run_own: RunOwn, name: str, make: Callable[[nn.Module], nn.Module]
) -> None:
    """Their margin cannot fall below a gate; every one of them gets there all the same."""
    target = make(balanced_net()).eval()
    ledger, engine = run_own(target, IMAGES.float(), short(name), 1e-4)
    left = int(ledger.alive.sum()) + ledger.entries["target/square-8"].broken
    assert left > 8 and tried(ledger, "square-8") == left
    assert ledger.stopped == {}


class OnWide(nn.Module):
    """A net of images on [0, 1], asked about such on [-1, 1]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net((x + 1) / 2)


class Detached(nn.Module):
    """A net from which no gradient comes at all."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net(x.detach())


def test_squares_of_fast_are_for_rows_without_a_gradient(run_own: RunOwn) -> None:
    """No other row goes on to them, and none of the others was stopped there."""
    ledger, _ = run_own(NET, IMAGES, short("fast"), 1e-4)
    assert tried(ledger, "square-8") == tried(ledger, "noise-8") == 0
    assert not any("square" in source for source in ledger.stopped.values())


def test_a_clean_margin_that_is_none_passes_every_gate(run_own: RunOwn) -> None:
    """Below 1e-6 of the spread of the logits a share of it says nothing."""

    class Tiny(nn.Module):
        def forward(self, x: Tensor) -> Any:
            s = x.flatten(1).mean(1)
            return torch.stack([1 + s, 1 + s - 1e-8, 0 * s], 1)

    ledger, _ = run_own(Tiny(), IMAGES[:3], [A, SQUARE], 0.01)
    assert tried(ledger, "square-10") == 3


# ---------------------------------------------------------------- surrogates
def test_a_surrogate_is_left_when_the_target_falls(run_own: RunOwn) -> None:
    """Only the target decides; its own account says what the surrogate's points did."""
    ledger, engine = run_own(
        GradientKiller(NET), IMAGES, [A], 0.03, surrogates={"kin": NET}
    )
    alone, _ = run_own(NET, IMAGES, [A], 0.03)
    entry = ledger.entries["kin/apgd-pm-t-6"]
    assert (ledger.breaker >= 0).tolist() == (alone.breaker >= 0).tolist()
    assert entry.broken == int((alone.breaker >= 0).sum()) > 4
    assert torch.equal(ledger.best, alone.best)


def test_late_stages_are_the_targets_alone() -> None:
    for plan in PLANS.values():
        for line in plan:
            late = line.kind in ("smooth", "warm", "square", "noise")
            assert (line.on == "target") == late


# ---------------------------------------------------------------- bounds, radii, norms
@pytest.mark.parametrize("norm, eps", [("Linf", 0.006), ("L2", 0.05), ("L1", 0.2)])
def test_other_bounds_are_the_same_attack(
    run_own: RunOwn, norm: Any, eps: float
) -> None:
    lines = short("standard", norm)
    want, _ = run_own(NET, IMAGES, lines, eps, norm)
    found, _ = run_own(
        OnWide(NET), 2 * IMAGES - 1, lines, 2 * eps, norm, bounds=(-1.0, 1.0)
    )
    assert found.breaker.tolist() == want.breaker.tolist()
    # in L1 a pixel more or less may change by rounding, and with it the way of a row
    rtol = 0.1 if norm == "L1" else 1e-6
    np.testing.assert_allclose(found.margin, want.margin, rtol=rtol)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_every_row_has_its_own_radius_and_stays_inside(
    run_own: RunOwn, norm: Any
) -> None:
    scale = {"Linf": 1.0, "L2": 8.0, "L1": 30.0}[norm]
    eps = scale * torch.linspace(0, 0.02, 16, dtype=torch.float64)
    lines = short("standard", norm)
    ledger, _ = run_own(NET, IMAGES, lines, eps, norm)
    length = norm_of(ledger.best - IMAGES, norm)
    assert (length <= eps * (1 + 1e-6)).all() and ledger.breaker[0] == -1
    assert ((ledger.best >= 0) & (ledger.best <= 1)).all()
    with torch.no_grad():
        wrong = NET(ledger.best).argmax(1) != ledger.labels
    assert wrong.tolist() == (ledger.breaker >= 0).tolist() and wrong.any()


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", ["standard", "full"])
def test_few_classes(run_own: RunOwn, k: int, name: str) -> None:
    net, images = balanced_net(k), example_images(6)
    lines = [replace(line, gate=float("inf")) for line in short(name)]
    ledger, engine = run_own(net, images, lines, 0.002)
    assert ledger.alive.any() and not engine.skipped
    assert (k == 2) == ("target/malt-1-8" not in ledger.entries)


@pytest.mark.parametrize("norm, eps", [("L2", 0.05), ("L1", 0.2)])
def test_batches_and_order_change_nothing(
    run_own: RunOwn, norm: Any, eps: float
) -> None:
    lines = short("standard", norm)
    want, _ = run_own(NET, IMAGES, lines, eps, norm)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    found, _ = run_own(NET, IMAGES[order], lines, eps, norm, size=3, ids=order)
    assert found.breaker.tolist() == want.breaker[order].tolist()
    np.testing.assert_allclose(found.margin, want.margin[order], rtol=1e-6)
    assert 0 < (want.breaker >= 0).sum() < 16


# ---------------------------------------------------------------- scale, monotone, budget
@pytest.mark.parametrize(
    "scale", [pytest.param(2.0**-10, marks=pytest.mark.slow), 2.0**10]
)
def test_the_scale_of_the_logits_changes_nothing(run_own: RunOwn, scale: float) -> None:
    """Stages A and B, the same rows and images; with the published loss it would fail."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = balanced_net()

        def forward(self, x: Tensor) -> Any:
            return scale * self.net(x)

    images = IMAGES.float()
    for loss, equal in (("pm-t", True), ("pm", False)):
        lines = [replace(line, loss=loss) for line in PLANS["standard"][:2]]
        one, _ = run_own(balanced_net(), images, lines, 0.01)
        other, _ = run_own(Scaled(), images, lines, 0.01)
        same = one.breaker.tolist() == other.breaker.tolist()
        assert same or not equal
        assert torch.equal(one.best, other.best) == equal


@pytest.mark.parametrize("norm, eps", [("Linf", 0.008), ("L2", 0.06), ("L1", 0.2)])
def test_fast_breaks_nothing_that_standard_does_not(
    run_own: RunOwn, norm: Any, eps: float
) -> None:
    fast, _ = run_own(NET, IMAGES, short("fast", norm), eps, norm)
    whole, _ = run_own(NET, IMAGES, short("standard", norm), eps, norm)
    few, many = fast.breaker >= 0, whole.breaker >= 0
    assert few.any() and (many | ~few).all()
    assert torch.equal(fast.best[few], whole.best[few])


def test_a_run_that_does_not_fit_the_budget_is_cut(run_own: RunOwn) -> None:
    ledger, engine = run_own(NET, IMAGES, [A], 1e-6)
    engine.budget = Budget(engine.meter, max_queries=1000)
    engine.run("target", replace(SQUARE, gate=float("inf"), steps=5000), ledger)
    assert ledger.cut == set(range(16)) and "target/square-5000" in ledger.entries
    assert tried(ledger, "square-5000") == 0


@pytest.mark.parametrize("line", PLANS["full"], ids=lambda line: str(line.label))
def test_no_line_costs_more_than_it_says(run_own: RunOwn, line: AttackSpec) -> None:
    if line.kind == "fab-t":
        pytest.skip("a borrowed kind: its price is tested where it is driven")
    line = replace(line, steps=min(line.steps, 12))
    ledger, engine = run_own(NET, IMAGES[:3], [], 1e-6)
    before = engine.meter.forward
    engine.run("target", line, ledger)
    spent = engine.meter.forward - before
    least = line.steps * 3 * (line.kind != "square")  # not every square is asked
    assert least <= spent <= 3 * passes_of_own(line, engine.n_classes, False)


# ---------------------------------------------------------------- a model that answers at random
def test_loss_and_gradient_are_means_over_draws() -> None:
    """Of a model with two equal draws and two opposite ones."""
    from torchattacks_ext.engines.own.objectives import margin
    from torchattacks_ext.engines.own.slope import Slope
    from torchattacks_ext.numerics.unit import Unit

    class Turns(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Any:
            self.calls += 1
            return x * float(self.calls)

    slope = Slope(Graded(Turns()), Unit((0.0, 1.0)), draws=4)
    x = torch.tensor([[0.75, 0.25]])
    found = slope.pull(x, torch.tensor([0]), None, margin)
    assert found.loss.tolist() == [-0.5 * (1 + 2 + 3 + 4) / 4]
    assert found.gradient.tolist() == [[-2.5, 2.5]]
