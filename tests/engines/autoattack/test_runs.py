"""Does each kind of attack run on any model, break what it must, and stop when all is broken?"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from crossed import crossed
from torch import Tensor, nn

from torchattacks_ext.engines.autoattack.runs import AutoAttackEngine
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.harvest import Tap
from torchattacks_ext.engines.judge.ledger import AttackSpec, Ledger
from torchattacks_ext.engines.judge.spec import KINDS
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Meter
from torchattacks_ext.testing import HalfSpace, small_net
from torchattacks_ext.testing.props import balanced_net, example_images

NORMS = [("Linf", 0.02), ("L2", 0.2), ("L1", 1.0)]
SHORT = {"steps": 6, "targets": 2}


def start(
    target: nn.Module,
    images: Tensor,
    eps: Any,
    norm: Any,
    surrogates: dict[str, nn.Module] | None = None,
    labels: Tensor | None = None,
    **options: Any,
) -> tuple[AutoAttackEngine, Ledger]:
    meter = Meter()
    models = {
        name: LogitsView(model, meter=meter)
        for name, model in {**(surrogates or {}), "target": target}.items()
    }
    with torch.no_grad():
        logits = models["target"](images)
    labels = logits.argmax(1) if labels is None else labels
    judge = Judge(models["target"], False, 64)
    ledger = Ledger.open(judge, images, labels, eps, norm)
    ids = options.pop("ids", torch.arange(len(images)))
    engine = AutoAttackEngine(models, ids, logits.shape[1], 0, meter, **options)
    return engine, ledger


def run(
    engine: AutoAttackEngine, ledger: Ledger, *lines: Any, on: str = "target"
) -> None:
    with ForkedRng(0):
        for line in lines:
            engine.run(on, line, ledger)


# ---------------------------------------------------------------- every kind, every K
@pytest.mark.parametrize("n_classes, norm, eps", crossed([2, 3, 4, 5, 10], NORMS))
def test_every_kind_runs_for_every_number_of_classes(
    n_classes: int, norm: Any, eps: float, near: Any
) -> None:
    net, images = balanced_net(n_classes), example_images(5)
    other = near(n_classes)
    for kind, on in itertools.product(KINDS, ("s", "target")):
        engine, ledger = start(net, images, eps, norm, {"s": other}, probe_every=2)
        run(engine, ledger, AttackSpec(kind, restarts=2, **SHORT), on=on)
        entry = ledger.entries[f"{on}/{AttackSpec(kind, **SHORT).label}"]
        assert entry.tried >= 5 and entry.offers > 0 and entry.forward > 0
        assert (entry.backward > 0) is (kind not in ("noise", "square"))
        assert entry.broken == int((ledger.breaker >= 0).sum())
        assert not engine.skipped


@pytest.mark.parametrize(
    "shape", [(7,), (3, 7), (2, 6, 5), (1, 4, 4), (1, 12, 5), (1, 10, 10)]
)
@pytest.mark.parametrize("norm, eps", NORMS)
def test_every_kind_runs_on_images_of_any_shape_or_says_why_not(
    shape: tuple[int, ...], norm: Any, eps: float
) -> None:
    net, images = small_net(shape, 4).eval(), example_images(3, shape)
    engine, ledger = start(net, images, eps, norm)
    run(engine, ledger, *[AttackSpec(kind, **SHORT) for kind in KINDS])
    why = "square needs images (N, C, H, W)" if len(shape) != 3 else ""
    if shape in ((1, 4, 4), (1, 12, 5)) and norm != "Linf":
        why = "square in L2 and L1 has no first pattern for images of "
        why += f"{shape[1]} x {shape[2]} pixels"
    assert engine.skipped == ({why} if why else set())


def test_a_double_model_and_channels_last_images_work() -> None:
    """FAB: "Index put requires .. dtypes match"; APGD: "view size is not compatible"."""
    net = balanced_net(4, (3, 8, 8)).double()
    images = example_images(4, (3, 8, 8)).double()
    images = images.to(memory_format=torch.channels_last)
    net = net.to(memory_format=torch.channels_last)
    for norm, eps in NORMS:
        engine, ledger = start(net, images, eps, norm)
        run(engine, ledger, *[AttackSpec(kind, **SHORT) for kind in KINDS])
        assert ledger.best.dtype == torch.float64


# ---------------------------------------------------------------- closed form
def half_spaces(norm: Any, n: int = 40) -> tuple[HalfSpace, Tensor, Tensor]:
    """A half-space, grey images near its boundary (so that the box does not bind), radii."""
    signs = torch.where(torch.arange(64) % 3 == 0, -1.0, 1.0)
    weight = signs * torch.linspace(0.5, 1.5, 64)
    noise = example_images(n) * 0.02 - 0.01
    images = (0.5 + noise).reshape(n, 1, 8, 8)
    victim = HalfSpace(weight, -float((weight * 0.5).sum()))
    victim.requires_grad_(False)
    return victim, images, victim.radius(images, norm)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize(
    "line",
    [
        AttackSpec("apgd", steps=20),
        AttackSpec("apgd", loss="margin", steps=20),
        AttackSpec("apgd", loss="dlr", steps=20),
        AttackSpec("apgd-t", steps=20),
        AttackSpec("fab-t", steps=10),
        AttackSpec("fab", steps=10),
        AttackSpec("warm", loss="margin", steps=20),
    ],
    ids=lambda line: line.label,
)
def test_on_a_half_space_rows_within_reach_are_broken_and_no_others(
    norm: Any, line: AttackSpec
) -> None:
    victim, images, radius = half_spaces(norm)
    eps = float(radius.median())
    engine, ledger = start(victim, images, eps, norm)
    run(engine, ledger, line)
    broken = torch.from_numpy(ledger.breaker >= 0)
    assert not bool(broken[radius > eps * 1.0001].any())
    sure = radius < 0.99 * eps
    assert 10 < int(sure.sum()) < 30 and bool(broken[sure].all())


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("kind", ["apgd", "fab-t"])
def test_rows_with_a_radius_each_are_broken_by_their_own(norm: Any, kind: Any) -> None:
    victim, images, radius = half_spaces(norm, 12)
    factor = torch.tensor([0.9, 1.1]).repeat(6)
    engine, ledger = start(victim, images, radius * factor, norm)
    run(engine, ledger, AttackSpec(kind, steps=20))
    assert ((ledger.breaker >= 0) == (factor > 1).numpy()).all()


@pytest.mark.parametrize("kind", ["apgd", "square"])
def test_a_radius_whose_rows_all_fall_does_not_end_the_run_of_the_others(
    kind: Any,
) -> None:
    """The stop of one radius used to be the stop of the run: rows of the next were not tried."""
    victim, images, radius = half_spaces("L1", 12)
    sorted_ = torch.tensor([1.5, 4.0]).repeat(6) * radius.max()
    engine, ledger = start(victim, images, sorted_, "L1")
    run(engine, ledger, AttackSpec(kind, steps=40))
    if kind == "apgd":
        assert (ledger.breaker >= 0).all()
        assert ledger.entries["target/apgd-ce-40"].fooled == 12
    engine, ledger = start(victim, images, sorted_ * 0 + sorted_[1], "L1")
    run(engine, ledger, AttackSpec(kind, steps=40))


# ---------------------------------------------------------------- what is harvested
def test_more_probes_never_find_less(near: Any) -> None:
    """Every query asked is a superset of every fifth, which is one of the ends of runs."""
    target, surrogate = balanced_net(5), near(5)
    images, line = example_images(24), AttackSpec("apgd", steps=10)
    broken, offers = {}, {}
    for every in (0, 5, 1):
        engine, ledger = start(
            target, images, 0.02, "Linf", {"s": surrogate}, probe_every=every
        )
        run(engine, ledger, line, on="s")
        broken[every] = torch.from_numpy(ledger.breaker >= 0)
        offers[every] = ledger.entries["s/apgd-ce-10"].offers
    assert offers == {0: 2, 5: 4, 1: 13}
    assert not bool((broken[0] & ~broken[5]).any())
    assert not bool((broken[5] & ~broken[1]).any())
    assert int(broken[1].sum()) > int(broken[0].sum())


def test_results_do_not_depend_on_how_batches_are_cut() -> None:
    target, surrogate = balanced_net(5), balanced_net(5, seed=3)
    images = example_images(12)
    lines = [AttackSpec(kind, **SHORT) for kind in KINDS]

    def flags(rows: list[int]) -> list[int]:
        place = torch.tensor(rows)
        engine, ledger = start(
            target,
            images[place],
            0.02,
            "Linf",
            {"s": surrogate},
            probe_every=2,
            ids=place,
        )
        for line in lines:
            for on in ("s", "target"):
                run(engine, ledger, line, on=on)
        return (ledger.breaker >= 0).tolist()

    whole = flags(list(range(12)))
    assert 0 < sum(whole) < 12
    assert flags([0, 1, 2, 3, 4]) + flags([5, 6, 7, 8, 9, 10, 11]) == whole
    assert flags(list(range(11, -1, -1)))[::-1] == whole


# ---------------------------------------------------------------- when to stop
def test_nothing_is_asked_once_all_rows_are_broken() -> None:
    net, images = balanced_net(5), example_images(8)
    for every, most in ((1, 4), (2, 5)):
        engine, ledger = start(net, images, 0.3, "Linf", {"s": net}, probe_every=every)
        line = AttackSpec("apgd", steps=100, restarts=3)
        run(engine, ledger, line, on="s")
        assert not bool(ledger.alive.any())
        entry = ledger.entries["s/apgd-ce-100"]
        # of 100 iterations a few on the surrogate and as many looks at the target
        assert entry.forward <= 2 * most * 8 and entry.tried == 8
        before = engine.meter.snapshot()
        for kind in KINDS:
            run(engine, ledger, AttackSpec(kind), on="s")
            run(engine, ledger, AttackSpec(kind), on="target")
        assert engine.meter.since(before).forward == 0


def test_a_run_starts_with_the_rows_that_are_left() -> None:
    net, images = balanced_net(5), example_images(12)
    engine, ledger = start(net, images, 0.015, "Linf")
    run(engine, ledger, AttackSpec("apgd", steps=10))
    left = int(ledger.alive.sum())
    assert 0 < left < 12
    run(engine, ledger, AttackSpec("apgd", loss="margin", steps=3))
    entry = ledger.entries["target/apgd-margin-3"]
    assert entry.tried == left and entry.forward >= 4 * left
    run(engine, ledger, AttackSpec("apgd", steps=4, gate=1e-9))
    assert ledger.entries["target/apgd-ce-4"].tried == 0


# ---------------------------------------------------------------- no traces
def test_models_are_left_as_they_are() -> None:
    net, other = small_net(n_classes=4).eval(), small_net(n_classes=4, seed=1).eval()
    values = [t.clone() for m in (net, other) for t in m.state_dict().values()]
    engine, ledger = start(net, example_images(3), 0.02, "Linf", {"s": other})
    for on in ("s", "target"):
        run(engine, ledger, *[AttackSpec(kind, **SHORT) for kind in KINDS], on=on)
    now = [t for m in (net, other) for t in m.state_dict().values()]
    assert all(map(torch.equal, values, now))
    for model in (net, other):
        assert not any(part.training for part in model.modules())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert not any(
            part._forward_hooks or part._forward_pre_hooks for part in model.modules()
        )


def test_the_images_of_the_caller_are_never_written_to() -> None:
    images = example_images(4)
    before = images.clone()
    for norm, eps in NORMS:
        engine, ledger = start(balanced_net(4), images, eps, norm)
        run(engine, ledger, *[AttackSpec(kind, **SHORT) for kind in KINDS])
        assert torch.equal(images, before)


# ---------------------------------------------------------------- models without gradient
class NoGradient(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        with torch.no_grad():
            return self.net(images)


def test_a_surrogate_that_gives_no_gradient_does_not_crash_the_run() -> None:
    """autograd raised: 'element 0 of tensors does not require grad'."""
    net = balanced_net(4)
    for kind in KINDS:
        engine, ledger = start(
            net, example_images(4), 0.02, "Linf", {"s": NoGradient(net)}
        )
        run(engine, ledger, AttackSpec(kind, **SHORT), on="s")
        blind = kind not in ("noise", "square")
        assert engine.skipped == (
            {"s gives no gradient to attack it by"} if blind else set()
        )


def test_queries_of_another_length_are_no_candidates() -> None:
    net, images = balanced_net(4), example_images(4)
    _, ledger = start(net, images, 0.02, "Linf")
    tap = Tap(net, ledger, "x", 1, False)
    tap(images)
    assert not ledger.entries
    tap.watch(torch.arange(4))
    tap(images[:3])
    assert not ledger.entries
    tap(images)
    assert ledger.entries["x"].offers == 1 and tap.n_fooled == 0
    tap.rest()
    tap(images)
    assert ledger.entries["x"].offers == 1
