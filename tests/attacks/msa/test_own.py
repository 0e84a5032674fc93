"""Is MSA by the own engine sound, the same in any batch, and plain about what it left?"""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import (
    MSA,
    AttackResult,
    ConfigError,
    ReliabilityWarning,
    evaluate,
)
from torchattacks_ext.attacks.msa.settings import MSASettings
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.plans import PLANS as OWN_PLANS
from torchattacks_ext.engines.own.plans import plans_in
from torchattacks_ext.models import SharedTrunk
from torchattacks_ext.testing import GradientKiller
from torchattacks_ext.testing.props import balanced_net, example_images

NET, IMAGES = balanced_net().double(), example_images(12)
LABELS = NET(IMAGES.double()).argmax(1)
EPS = 0.01
RECORD = (
    Path(__file__).resolve().parents[3] / "benchmarks/results/own_vs_autoattack.json"
)
PLAN = [
    AttackSpec("apgd", loss="pm-t", steps=6),
    AttackSpec("malt", loss="pm-t", steps=5, targets=2, gate=0.5),
    AttackSpec("smooth", on="target", steps=4, gate=0.4),
    AttackSpec("square", on="target", steps=20, gate=0.3),
]
CUSTOM = {"version": "custom", "plan": PLAN, "engine": "own", "eps": EPS}


def measure(
    attack: MSA, images: Tensor = IMAGES, labels: Tensor = LABELS, **more: Any
) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return attack.measure(images, labels, **more)


@pytest.fixture(scope="module")
def whole() -> AttackResult:
    found: AttackResult = measure(MSA(NET, **CUSTOM, keep="memory"))
    assert 2 < int((found.first_breaker >= 0).sum()) < 10
    return found


# ---------------------------------------------------------------- who may say what
@pytest.mark.parametrize(
    "told, words",
    [
        ({"version": "autoattack", "engine": "own"}, "AutoAttack itself"),
        ({"version": "fast"}, 'a plan of engine="own"'),
        ({"version": "full", "engine": "torchattacks"}, 'a plan of engine="own"'),
        ({"version": "custom", "plan": PLAN}, 'by engine="own" alone'),
        ({"version": "fast", "engine": "own", "bounds": None}, "bounds=None"),
    ],
)
def test_what_does_not_go_together_is_refused(told: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MSA(NET, **told)


def settings(engine: Any, version: Any = "standard") -> MSASettings:
    return MSASettings(eps=EPS, norm="Linf", version=version, engine=engine)


@pytest.mark.parametrize("norm, eps", [("L2", 0.1), ("L1", 0.4)])
def test_other_norms_have_plans_of_their_own(norm: Any, eps: float) -> None:
    attack = MSA(NET, eps=eps, norm=norm, version="standard", engine="own")
    assert attack.plan == plans_in(norm)["standard"] != OWN_PLANS["standard"]
    found = measure(MSA(NET, **CUSTOM | {"norm": norm, "eps": eps}))
    assert (found.first_breaker >= 0).any()
    assert float(found.norm.max()) <= eps * (1 + 1e-6)


def test_versions_of_other_engines_go_on() -> None:
    for version in ("quick", "rand", "paper"):
        mine, theirs = settings("own", version), settings("autoattack", version)
        assert mine.lines == theirs.lines and not mine.is_own
        assert mine.is_sequence == theirs.is_sequence
    one, two = (settings(name).facts()["plan"] for name in ("own", "autoattack"))
    assert one != two


def test_lines_of_every_engine_run_by_our_stages() -> None:
    lines = [AttackSpec("noise", on="target", steps=2), AttackSpec("apgd", steps=5)]
    found = measure(MSA(NET, **CUSTOM | {"plan": lines}))
    assert list(found.breakdown) == ["target/noise-2", "target/apgd-ce-5"]
    assert (found.first_breaker == 1).any()


class Noisy(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return NET(images.double() + 0.05 * torch.randn_like(images.double()))


class Centred(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return NET((images - 0.3 * images.mean(0)).double())


@pytest.mark.parametrize(
    "target, words",
    [
        (Noisy, 'at random: say version="rand" or engine="autoattack"'),
        (Centred, 'by the batch: say engine="autoattack"'),
    ],
)
def test_targets_without_a_fixed_answer_are_refused(target: Any, words: str) -> None:
    for version in ("fast", "standard"):
        attack = MSA(target(), eps=EPS, version=version, engine="own")
        for verb in (attack, attack.measure):
            with warnings.catch_warnings(), pytest.raises(ConfigError, match=words):
                warnings.simplefilter("ignore", ReliabilityWarning)
                verb(IMAGES[:4], LABELS[:4])


@pytest.mark.slow
def test_a_randomised_target_goes_on_with_version_rand() -> None:
    found = measure(
        MSA(Noisy(), eps=0.03, version="rand", engine="own", fresh_draws=20),
        IMAGES[:3],
        LABELS[:3],
    )
    assert found.randomised["expected_accuracy"] < 0.9
    assert "target/apgd-dlr-100" in found.breakdown


# ---------------------------------------------------------------- what comes out
def test_images_are_inside_and_wrong_by_a_fresh_pass(whole: AttackResult) -> None:
    images = whole.images().double()
    assert float((images - IMAGES.double()).abs().max()) <= EPS + 1e-6
    wrong = NET(images).argmax(1) != LABELS
    assert wrong.tolist() == (whole.first_breaker >= 0).tolist()


@pytest.mark.parametrize("size", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_any_batch_size_and_order(whole: AttackResult, size: int) -> None:
    order = torch.randperm(12, generator=torch.Generator().manual_seed(size))
    attack = MSA(NET, **CUSTOM, batch_size=size, keep="memory")
    found = measure(attack, IMAGES[order], LABELS[order])
    assert found.digest() == whole.digest()
    assert torch.equal(found.images(), whole.images()[order])


def test_parts_resumed_and_joined_say_the_same(whole: AttackResult) -> None:
    half = measure(MSA(NET, **CUSTOM), IMAGES[:6], LABELS[:6])
    other = measure(MSA(NET, **CUSTOM), IMAGES[6:], LABELS[6:])
    assert AttackResult.concat([half, other]).digest() == whole.digest()
    attack = MSA(NET, **CUSTOM, batch_size=4, max_queries=120)
    first = measure(attack)
    assert bool(first.unknown.any())
    attack.max_queries = None
    again = measure(attack, resume=first)
    assert again.digest() == measure(attack).digest()


def test_rows_that_stop_at_a_gate_are_told(whole: AttackResult) -> None:
    stopped = whole.stopped_by >= 0
    assert stopped.any() and not (stopped & (whole.first_breaker >= 0)).any()
    names = {whole.sources[i] for i in whole.stopped_by[stopped]}
    assert names <= {f"target/{line.label}" for line in PLAN[1:]}
    assert (whole.rel[stopped] >= 0.3).all()
    flags = {flag.code: flag for flag in whole.flags}
    assert flags["stopped_at_gates"].count == int(stopped.sum())
    back = AttackResult.from_dict(whole.to_dict())
    assert torch.equal(back.stopped_by, whole.stopped_by)


def test_no_row_of_another_engine_has_stopped() -> None:
    lines = [AttackSpec("apgd", steps=5, gate=1e-9)]
    attack = MSA(NET, eps=EPS, version="custom", plan=lines)
    found = measure(attack, IMAGES[:4], LABELS[:4])
    assert (found.stopped_by == -1).all()
    assert "stopped_at_gates" not in {flag.code for flag in found.flags}


def test_masked_gradients_are_called_unreliable() -> None:
    """Noise and squares break what gradients leave: the run says so, and what to run."""
    lines = [PLAN[0], AttackSpec("square", on="target", steps=60, gate=0.3)]
    mine = CUSTOM | {"plan": lines, "eps": 0.1}
    found = measure(MSA(GradientKiller(NET), **mine))
    flags = {flag.code: flag for flag in found.flags}
    assert 'version="full"' in flags["unreliable_gradients"].message
    assert "square_after_gradients" not in flags
    assert "stopped_at_gates" not in flags  # rows without a gradient pass all gates
    honest = measure(MSA(NET, **mine))
    assert "unreliable_gradients" not in {flag.code for flag in honest.flags}


class Detached(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return NET(images.detach().double())


def test_a_target_without_any_gradient_is_searched_by_scores() -> None:
    """Version "fast" too, which has no squares for others; and the run says what it left out."""
    attack = MSA(Detached(), eps=0.1, version="fast", engine="own")
    found = measure(attack)
    assert found.robust_accuracy < 0.9
    books = found.breakdown
    fell = books["target/noise-10"]["broken"] + books["target/square-1000"]["broken"]
    assert books["target/noise-10"]["tried"] == 12 and fell > 0
    flags = {flag.code: flag for flag in found.flags}
    assert "target gives no gradient" in flags["left_out"].message
    assert "stopped_at_gates" not in flags and not found.unknown.any()


def test_a_surrogate_helps_where_the_target_has_no_gradient() -> None:
    mine = CUSTOM | {"plan": PLAN[:2]}
    found = measure(MSA(GradientKiller(NET), {"kin": NET}, **mine))
    assert found.first_breaker.max() >= 0
    assert {found.sources[i].split("/")[0] for i in found.first_breaker if i >= 0} == {
        "kin"
    }


def test_a_shared_trunk_is_asked_once_for_surrogate_and_target() -> None:
    """Every point on the way is the target's to judge; of one trunk that costs nothing."""
    net = balanced_net()
    trunk, head = net[:-1], net[-1]
    shared = SharedTrunk(trunk, {"t": head, "s": copy.deepcopy(head)})
    images, mine = IMAGES[:6], CUSTOM | {"eps": 1e-6}
    labels = net(images).argmax(1)
    mine["plan"] = [AttackSpec("apgd", on="s", loss="pm-t", steps=10)]
    for surrogate, each in ((shared.head("s"), 1), (nn.Sequential(trunk, head), 2)):
        attack = MSA(shared.head("t"), {"s": surrogate}, **mine)
        book = measure(attack, images, labels).breakdown["s/apgd-pm-t-10"]
        assert book["backward"] == 60
        assert 60 * each <= book["forward"] <= 60 * each + 3 * 6


def test_it_is_a_stage_of_an_evaluation() -> None:
    lines = [line.facts() for line in PLAN]
    stages = [{"name": "msa", "version": "custom", "engine": "own", "plan": lines}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        report = evaluate(NET, (IMAGES, LABELS), {"eps": EPS, "stages": stages})
        want = measure(MSA(NET, **CUSTOM))
    found = report["msa"].result
    assert torch.equal(found.verdict, want.verdict)
    assert torch.equal(found.stopped_by, want.stopped_by)


def test_the_shop_window_knows_the_plans() -> None:
    assert set(OWN_PLANS) == {"fast", "standard", "full"}
    kinds = {line.kind for line in OWN_PLANS["full"]}
    assert kinds == {"apgd", "malt", "smooth", "warm", "apgd-t", "fab-t", "square"}
    assert all(line.gate == float("inf") for line in OWN_PLANS["full"])


# ---------------------------------------------------------------- real models
def broken(real: ModuleType, rows: list[dict[str, Any]], version: Any) -> list[bool]:
    found = []
    for name in sorted({row["model"] for row in rows}):
        own = [row for row in rows if row["model"] == name]
        eps = torch.tensor([row["eps"] for row in own])
        attack = MSA(
            real.model(name), eps=float(eps.max()), version=version, engine="own"
        )
        ledger = attack.attack_ledger(
            torch.stack([row["image"] for row in own]),
            torch.tensor([row["label"] for row in own]),
            torch.tensor([row["row"] for row in own]),
            eps,
        )
        assert (torch.from_numpy(ledger.lengths()) <= eps.double() * (1 + 1e-6)).all()
        found += (ledger.breaker >= 0).tolist()
    return found


@pytest.mark.slow
def test_every_falsified_row_is_broken(real: ModuleType) -> None:
    rows = real.verified_rows("falsified")
    found = broken(real, rows, "standard")
    assert len(found) == 41 and all(found)


@pytest.mark.slow
def test_no_proved_row_is_broken(real: ModuleType) -> None:
    assert not any(broken(real, real.verified_rows("robust"), "standard"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, share", [("cifar10_resnet2b_at2", 0.04), ("mnist_fast_pgd", 0.06)]
)
def test_no_row_of_autoattack_is_left(
    real: ModuleType, name: str, share: float
) -> None:
    """The flags of AutoAttack's own code as recorded; before Square a few of its passes."""
    case = json.loads(RECORD.read_text(encoding="utf-8"))["models"][name]
    truth, n = case["autoattack/0"], case["n"]
    images, labels = real.test_images(name.partition("_")[0], n)
    eps = {"2/255": 2 / 255, ".3": 0.3}[case["eps"]]
    attack = MSA(real.model(name), eps=eps, engine="own", batch_size=n)
    found = measure(attack, images, labels, ids=list(range(n)))
    fallen = set((found.first_breaker >= 0).nonzero().flatten().tolist())
    assert set(truth["broken"]) <= fallen
    books = [book for key, book in found.breakdown.items() if "square" not in key]
    passes = sum(book["forward"] + book["backward"] for book in books)
    assert passes <= share * (truth["forward"] + truth["backward"])


@pytest.mark.slow
def test_a_real_net_gives_the_same_flags_in_any_batch(real: ModuleType) -> None:
    """Batches of 32, 100 and 200, shuffled, and some rows alone."""
    images, labels = real.test_images("cifar10", 200)
    model, ids = real.model("cifar10_resnet2b_at2"), torch.arange(200)

    def flags(rows: Tensor, size: int) -> list[bool]:
        attack = MSA(model, eps=2 / 255, version="fast", engine="own", batch_size=size)
        found = measure(attack, images[rows], labels[rows], ids=rows.tolist())
        return list((found.first_breaker >= 0).tolist())

    want = torch.tensor(flags(ids, 200))
    shuffled = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    for rows, size in ((ids, 32), (ids, 100), (shuffled, 100)):
        assert flags(rows, size) == want[rows].tolist()
    for row in range(0, 200, 20):
        assert flags(ids[row : row + 1], 200) == [bool(want[row])]


@pytest.mark.slow
def test_late_stages_break_what_a_masked_net_hides(real: ModuleType) -> None:
    """mnist_mmr_universal: noise and squares break 14 rows of 128 that A and B did not."""
    images, labels = real.test_images("mnist", 128)
    attack = MSA(real.model("mnist_mmr_universal"), eps=51 / 255, engine="own")
    found = measure(attack, images, labels)
    late = sum(
        b["broken"]
        for k, b in found.breakdown.items()
        if "smooth" in k or "square" in k
    )
    assert late >= 14
    assert "unreliable_gradients" in {flag.code for flag in found.flags}
