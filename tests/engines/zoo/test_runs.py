"""Do runs of torchattacks' components find what AutoAttack's find, judged by the same ledger?"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from crossed import crossed
from torch import Tensor

from torchattacks_ext.engines.autoattack.runs import AutoAttackEngine
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import AttackSpec, Ledger
from torchattacks_ext.engines.judge.spec import KINDS, LOSSES
from torchattacks_ext.engines.zoo.runs import ZooEngine
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Budget, Meter
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.testing import GradientKiller, HalfSpace, small_net
from torchattacks_ext.testing.props import balanced_net, example_images

NORMS = [("Linf", 0.012), ("L2", 0.12)]
SHORT = {"steps": 6, "targets": 2}
WARM = "warm needs a start, which torchattacks' APGD does not take"
RUN = [kind for kind in KINDS if kind != "warm"]
LINES = [AttackSpec(kind, **SHORT) for kind in KINDS]


def start(
    target: Any,
    images: Tensor,
    eps: Any,
    norm: Any,
    surrogates: dict[str, Any] | None = None,
    kind: Any = ZooEngine,
    limit: int | None = None,
    **options: Any,
) -> tuple[Any, Ledger]:
    meter = Meter()
    every = {**(surrogates or {}), "target": target}
    models = {name: LogitsView(model, meter=meter) for name, model in every.items()}
    with torch.no_grad():
        logits = models["target"](images)
    ledger = Ledger.open(
        Judge(models["target"], False, 64), images, logits.argmax(1), eps, norm
    )
    meter.forward = 0
    if limit is not None:
        options["budget"] = Budget(meter, limit)
    ids, seed = torch.arange(len(images)), options.pop("seed", 0)
    return kind(models, ids, logits.shape[1], seed, meter, **options), ledger


def run(engine: Any, ledger: Ledger, *lines: Any, on: str = "target") -> None:
    with ForkedRng(0):
        for line in lines:
            engine.run(on, line, ledger)


# ---------------------------------------------------------------- every kind, every K
@pytest.mark.parametrize("n_classes, norm, eps", crossed([2, 3, 5, 10, 12], NORMS))
def test_every_kind_runs_for_every_number_of_classes(
    n_classes: int, norm: Any, eps: float, near: Any
) -> None:
    net, images, other = balanced_net(n_classes), example_images(5), near(n_classes)
    lines = [AttackSpec(kind, **SHORT) for kind in RUN]
    lines += [AttackSpec("apgd", loss=loss, restarts=2, steps=6) for loss in LOSSES]
    for line, on in itertools.product(lines, ("s", "target")):
        engine, ledger = start(net, images, eps, norm, {"s": other}, probe_every=2)
        run(engine, ledger, line, on=on)
        entry = ledger.entries[f"{on}/{line.label}"]
        assert entry.tried >= 5 and entry.offers > 0 and entry.forward > 0
        assert (entry.backward > 0) is (line.kind not in ("noise", "square"))
        assert entry.broken == int((ledger.breaker >= 0).sum())
        assert not engine.skipped


@pytest.mark.parametrize(
    "n_classes",
    [2, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 10, 12))],
)
def test_queries_steps_and_targets_are_those_of_the_line(n_classes: int) -> None:
    """Row-passes of rows that no attack breaks, what a run ends with judged."""
    most, net, images = (
        min(9, n_classes - 1),
        balanced_net(n_classes),
        example_images(4),
    )
    for targets in (2, 9):
        tried = min(targets, most)
        lines: dict[Any, int] = {"apgd": 7 + 2, "fab": 14 + 1, "square": 7 + 1}
        lines |= {"apgd-t": tried * (8 + 2), "fab-t": tried * (15 + 1)}
        for kind, passes in lines.items():
            engine, ledger = start(net, images, 1e-7, "L2", {"s": net}, probe_every=0)
            run(engine, ledger, AttackSpec(kind, steps=6, targets=targets), on="s")
            assert bool(ledger.alive.all()) and engine.meter.forward == 4 * passes, kind


def test_warm_is_skipped_with_a_reason() -> None:
    engine, ledger = start(balanced_net(4), example_images(3), 0.02, "Linf")
    run(engine, ledger, AttackSpec("warm", restarts=2))
    assert engine.skipped == {WARM} and engine.meter.forward == 0
    assert ledger.entries["target/warm-ce-100"].tried == 0


def test_l1_and_a_radius_for_each_row_are_refused() -> None:
    net, images = balanced_net(4), example_images(3)
    for line in LINES:
        engine, ledger = start(net, images, 1.0, "L1")
        with pytest.raises(ConfigError, match='engine="autoattack"'):
            run(engine, ledger, line)
        engine, ledger = start(net, images, torch.ones(3), "L2")
        with pytest.raises(InputError, match='one a row: say engine="autoattack"'):
            run(engine, ledger, line)


@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 6, 5), (1, 4, 4), (1, 6, 10)])
def test_images_of_any_shape_run_or_it_says_why_not(
    shape: Any, norm: Any, eps: float
) -> None:
    net, images = small_net(shape, 4).eval(), example_images(3, shape)
    engine, ledger = start(net, images, eps, norm)
    run(engine, ledger, *LINES)
    odd = len(shape) != 3 or (norm == "L2" and shape != (2, 6, 5))
    assert [why[:6] for why in sorted(engine.skipped)] == ["square"] * odd + ["warm n"]


def test_a_double_model_and_channels_last_images_work() -> None:
    net = balanced_net(4, (3, 8, 8)).double().to(memory_format=torch.channels_last)
    images = example_images(4, (3, 8, 8)).to(memory_format=torch.channels_last).double()
    for norm, eps in NORMS:
        engine, ledger = start(net, images, eps, norm)
        run(engine, ledger, *LINES)
        assert ledger.best.dtype == torch.float64 and engine.skipped == {WARM}


# ---------------------------------------------------------------- as strong
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(
    "line",
    [
        *(AttackSpec("apgd", loss=loss, steps=20) for loss in LOSSES),
        AttackSpec("apgd-t", steps=20),
        AttackSpec("fab-t", steps=10),
        AttackSpec("fab", steps=10),
    ],
    ids=lambda line: line.label,
)
def test_on_a_half_space_rows_within_reach_are_broken_and_no_others(
    norm: Any, line: AttackSpec
) -> None:
    signs = torch.where(torch.arange(64) % 3 == 0, -1.0, 1.0)
    weight = signs * torch.linspace(0.5, 1.5, 64)
    images = 0.5 + example_images(40) * 0.02 - 0.01
    victim = HalfSpace(weight, -float((weight * 0.5).sum())).requires_grad_(False)
    radius = victim.radius(images, norm)
    eps = float(radius.median())
    engine, ledger = start(victim, images, eps, norm)
    run(engine, ledger, line)
    broken = torch.from_numpy(ledger.breaker >= 0)
    assert not bool(broken[radius > eps * 1.0001].any())
    sure = radius < 0.99 * eps
    assert 10 < int(sure.sum()) < 30 and bool(broken[sure].all())


@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize("n_classes", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_robust_flags_are_close_to_those_of_autoattacks_components(
    n_classes: int, norm: Any, eps: float
) -> None:
    """Of 30 rows at most two differ: other starts, other squares, no warm restart."""
    net, images = balanced_net(n_classes, (3, 8, 8)), example_images(30, (3, 8, 8))
    lines = [
        AttackSpec("noise", steps=2),
        AttackSpec("apgd", loss="margin", steps=15),
        AttackSpec("apgd", steps=15),
        AttackSpec("apgd-t", steps=15),
        AttackSpec("fab-t", steps=5),
        AttackSpec("square", steps=60),
        AttackSpec("warm", loss="margin", steps=15),
    ]
    found = []
    for kind in (ZooEngine, AutoAttackEngine):
        engine, ledger = start(net, images, eps, norm, kind=kind)
        run(engine, ledger, *lines)
        found.append(ledger.alive)
    assert int((found[0] != found[1]).sum()) <= 2
    assert 0 < int(found[0].sum()) < 29


def test_the_ledger_judges_and_candidates_lie_in_the_ball(near: Any) -> None:
    net, images, other = balanced_net(5), example_images(16), near(5)
    for norm, eps in NORMS:
        for kind in RUN:
            engine, ledger = start(net, images, eps, norm, {"s": other})
            run(engine, ledger, AttackSpec(kind, **SHORT), on="s")
            broken = torch.from_numpy(ledger.breaker >= 0)
            wrong = net(ledger.best).argmax(1) != ledger.labels
            assert torch.equal(wrong, broken) and torch.equal(~ledger.alive, broken)
            length = norm_of(ledger.best - images, norm)
            assert bool((length <= eps * (1 + 1e-6)).all())
            assert 0 <= float(ledger.best.min()) and float(ledger.best.max()) <= 1


# ---------------------------------------------------------------- when to stop
def test_nothing_is_asked_once_all_rows_are_broken() -> None:
    net, images = balanced_net(5), example_images(8)
    engine, ledger = start(net, images, 0.3, "Linf", {"s": net}, probe_every=1)
    run(engine, ledger, AttackSpec("apgd", restarts=3), on="s")
    assert not bool(ledger.alive.any())
    # of 100 iterations a few on the surrogate and as many looks at the target
    assert ledger.entries["s/apgd-ce-100"].forward <= 8 * 8
    before = engine.meter.snapshot()
    for kind in KINDS:
        run(engine, ledger, AttackSpec(kind), on="s")
        run(engine, ledger, AttackSpec(kind), on="target")
    assert engine.meter.since(before).forward == 0


def test_each_kind_stops_when_the_last_row_falls() -> None:
    """On a half-space all rows fall early: no kind walks its 50 steps to the end."""
    victim, images = HalfSpace(torch.ones(64), -31.9), example_images(6)
    for kind in ("apgd", "apgd-t", "fab-t", "fab", "square"):
        engine, ledger = start(victim.requires_grad_(False), images, 0.4, "Linf")
        run(engine, ledger, AttackSpec(kind, steps=50))
        assert not bool(ledger.alive.any()) and engine.meter.forward <= 6 * 30


@pytest.mark.parametrize("on", ["s", pytest.param("target", marks=pytest.mark.slow)])
def test_the_budget_is_kept(on: str, near: Any) -> None:
    net, images = balanced_net(5), example_images(4)
    for kind, limit in itertools.product(RUN, (0, 60, 150, 2000)):
        engine, ledger = start(
            net, images, 1e-6, "Linf", {"s": near(5)}, limit=limit, probe_every=2
        )
        run(engine, ledger, AttackSpec(kind, restarts=9, **SHORT), on=on)
        assert engine.meter.forward <= limit
    assert engine.meter.forward > 0


# ---------------------------------------------------------------- no traces
def test_models_images_and_random_numbers_are_left_as_they_are(capsys: Any) -> None:
    net, other = small_net(n_classes=4).eval(), small_net(n_classes=4, seed=1).eval()
    images = example_images(4)
    before, state = images.clone(), torch.get_rng_state()
    for norm, eps in NORMS:
        engine, ledger = start(net, images, eps, norm, {"s": other})
        for on in ("s", "target"):
            run(engine, ledger, *LINES, on=on)
    assert torch.equal(state, torch.get_rng_state()) and torch.equal(images, before)
    for model in (net, other):
        assert not any(part.training for part in model.modules())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert not any(part._forward_hooks for part in model.modules())
    bare = HalfSpace(torch.ones(64), -32.0)  # torchattacks finds no device, and says so
    run(*start(bare, images, 0.01, "L2"), *LINES)
    assert capsys.readouterr() == ("", "")


def test_the_same_seed_finds_the_same_another_seed_and_restarts_another() -> None:
    net, images = balanced_net(5), example_images(12)

    def margin(seed: int, restarts: int = 1) -> Tensor:
        engine, ledger = start(net, images, 0.008, "Linf", seed=seed)
        run(engine, ledger, AttackSpec("square", steps=5))
        torch.rand(3)  # what stands between runs does not matter
        run(engine, ledger, AttackSpec("apgd", steps=2, restarts=restarts))
        return torch.from_numpy(ledger.margin)

    first, again, other, more = margin(0), margin(0), margin(2**40), margin(0, 4)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert bool((more <= first).all()) and bool((more < first).any())


@pytest.mark.parametrize("norm, eps", NORMS)
def test_surrogates_without_gradient_do_not_end_the_run(norm: Any, eps: float) -> None:
    net = balanced_net(4)
    hard: dict[bool, Any] = {
        True: lambda x: net(x).detach(),
        False: GradientKiller(net),
    }
    for kind, blind in itertools.product(RUN, hard):
        engine, ledger = start(net, example_images(4), eps, norm, {"s": hard[blind]})
        run(engine, ledger, AttackSpec(kind, **SHORT), on="s")
        blind = blind and kind not in ("noise", "square")
        assert ("s gives no gradient to attack it by" in engine.skipped) is blind
