"""Is what is found of a row its own: in any batch, in any order, alone, beside any target?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own import pursuit
from torchattacks_ext.testing.props import balanced_net, example_images

RunOwn = Callable[..., Any]
N = 24
NET, IMAGES = balanced_net().double(), example_images(N).double()
LINES = [
    AttackSpec("square", on="target", steps=30),
    AttackSpec("apgd-t", steps=1, targets=2),
    AttackSpec("smooth", on="target", steps=2, copies=2),
    AttackSpec("malt", loss="pm-t", steps=3, targets=3),
    AttackSpec("apgd", loss="ce", steps=5, restarts=2),
    AttackSpec("apgd", loss="pm-t", steps=6),
    AttackSpec("warm", loss="margin", steps=4, restarts=2),
]
EPS = 0.01


class Watched(nn.Module):
    """A net that remembers how many rows each call had; moody: the other answer with gradients."""

    def __init__(self, moody: bool = False) -> None:
        super().__init__()
        self.net, self.sizes, self.moody = NET, list[int](), moody

    def forward(self, x: Tensor) -> Any:
        self.sizes.append(len(x))
        logits = self.net(x)
        return -logits if self.moody and x.requires_grad else logits


@pytest.fixture(scope="module")
def whole(run_own: RunOwn) -> Any:
    """All rows as one batch."""
    ledger, _ = run_own(NET, IMAGES, LINES, EPS)
    assert 4 < int((ledger.breaker >= 0).sum()) < N - 4
    assert (
        len(set(ledger.breaker.tolist())) > 2
    ), "one attack breaks all: nothing is tested"
    return ledger


def same(found: Any, want: Any, rows: Any = slice(None)) -> None:
    names = [None if b < 0 else found.sources[b] for b in found.breaker]
    wanted = [None if b < 0 else want.sources[b] for b in want.breaker[rows]]
    assert names == wanted
    assert torch.equal(found.best, want.best[rows])
    assert found.prediction.tolist() == want.prediction[rows].tolist()


@pytest.mark.parametrize(
    "size",
    [
        10,
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param(16, marks=pytest.mark.slow),
    ],
)
def test_any_batch_size(run_own: RunOwn, whole: Any, size: int) -> None:
    ledger, _ = run_own(NET, IMAGES, LINES, EPS, size=size)
    same(ledger, whole)


def test_any_order(run_own: RunOwn, whole: Any) -> None:
    order = torch.from_numpy(np.random.default_rng(0).permutation(N))
    ledger, _ = run_own(NET, IMAGES[order], LINES, EPS, size=10, ids=order)
    same(ledger, whole, order.numpy())


def test_alone(run_own: RunOwn, whole: Any) -> None:
    for row in range(0, N, 8):
        one = slice(row, row + 1)
        ids = torch.tensor([row])
        ledger, _ = run_own(NET, IMAGES[one], LINES, EPS, ids=ids)
        same(ledger, whole, one)


def test_a_device_that_is_looked_at_seldom(
    run_own: RunOwn, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an accelerator: the host asks each fifth step; the first hit counts all the same."""
    before = pursuit.Pursuit.__post_init__

    def late(self: Any) -> None:
        before(self)
        self.every = 5

    monkeypatch.setattr(pursuit.Pursuit, "__post_init__", late)
    ledger, _ = run_own(NET, IMAGES, LINES, EPS)
    same(ledger, whole)


def test_rows_that_are_broken_leave_the_batch(run_own: RunOwn) -> None:
    """With a queue behind it a batch stays full, and dead rows cost at most a tenth."""
    watched, line = Watched(), AttackSpec("apgd", loss="pm-t", steps=20)
    ledger, engine = run_own(watched, IMAGES, [line], 0.03, size=8)
    assert (ledger.breaker >= 0).mean() > 0.6
    assert engine.meter.backward < 0.5 * N * 20
    assert max(watched.sizes[2:]) == 8


def test_a_verdict_that_the_judge_does_not_share_is_no_break(run_own: RunOwn) -> None:
    """The model's answer in the batch says wrong; asked again by the judge it says right."""
    line = AttackSpec("apgd", loss="pm-t", steps=5)
    ledger, engine = run_own(Watched(moody=True), IMAGES[:4], [line], 1e-6)
    assert ledger.alive.all() and (ledger.margin <= ledger.clean_margin).all()
    assert engine.meter.backward == 4 * 5


def test_the_global_generators_are_left_alone(run_own: RunOwn) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    run_own(NET, IMAGES[:4], LINES, EPS)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # type: ignore[index]


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations whose answer the host waits for, where tensors lie on an accelerator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        names = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal.default")
        self.n += any(name in str(func) for name in names)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "line",
    [
        AttackSpec("apgd", loss="pm-t", steps=40),
        AttackSpec("smooth", on="target", steps=40, copies=2),
        AttackSpec("square", on="target", steps=40),
    ],
    ids=lambda line: str(line.label),
)
def test_the_host_waits_at_looks_alone(
    run_own: RunOwn, monkeypatch: pytest.MonkeyPatch, line: AttackSpec
) -> None:
    """Not in the steps between them: twice as many steps between two looks, half the waits."""
    before = pursuit.Pursuit.__post_init__
    found = []
    for every in (1, 5, 10):

        def seldom(self: Any, every: int = every) -> None:
            before(self)
            self.every = every

        monkeypatch.setattr(pursuit.Pursuit, "__post_init__", seldom)
        with Waits() as waits:
            run_own(NET, IMAGES[:4], [line], 1e-6)
        found.append(waits.n)
    looks = [40, 8, 4]
    each = (found[0] - found[2]) / (looks[0] - looks[2])
    assert each <= 3 and found[1] - found[2] == pytest.approx(4 * each, abs=4)
    # on the host Square looks at each answer: waiting costs nothing there
    assert found[2] < 40 or line.kind == "square"
