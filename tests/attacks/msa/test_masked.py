"""Does MSA break what only hides its gradient, where plain AutoAttack is fooled?"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import MSA, ReliabilityWarning
from torchattacks_ext.attacks.msa import run as msa_run
from torchattacks_ext.engines.autoattack import sequence as standard
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.models.adapters.hard_label import HardLabel
from torchattacks_ext.testing import GradientKiller
from torchattacks_ext.testing.masked import (
    NaNGradient,
    Quantised,
    SaturatedLogits,
    TiedLogits,
)
from torchattacks_ext.testing.props import balanced_net, example_images

SHORT = [
    AttackSpec("noise", on="target", steps=2),
    AttackSpec("apgd", steps=5),
    AttackSpec("apgd-t", steps=4, targets=2),
    AttackSpec("fab-t", steps=3, targets=2),
    AttackSpec("square", on="target", steps=20),
    AttackSpec("warm", on="best", loss="margin", steps=5),
]
IMAGES = example_images(24)


NET = balanced_net()


def measure(attack: MSA, labels: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return attack.measure(IMAGES, labels)


@pytest.fixture
def brief_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack's own sequence with 20 iterations and 60 queries, more than MSA has here."""
    real = standard.StandardSequence

    def brief(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        found.steps, found.n_queries = 20, 60
        return found

    monkeypatch.setitem(msa_run.SEQUENCES, "autoattack", brief)


# (victim, how many rows MSA must break that AutoAttack leaves). Robust of 24 at eps .03, seen:
# AutoAttack -> MSA. Its DLR and FAB are not fooled by large logits, its cross-entropy is (below).
VICTIMS: dict[str, tuple[Any, int]] = {
    "the plain net": (lambda net: net, 0),  # 7 -> 7
    "zero gradient": (GradientKiller, 6),  # 17 -> 7
    "random signs": (lambda net: GradientKiller(net, noise=True), 6),  # 16 -> 7
    "saturated": (lambda net: SaturatedLogits(net, 1e6), 0),  # 7 -> 7
    "tied": (lambda net: TiedLogits(net, 0.02), 6),  # 18 -> 9
    "nan": (NaNGradient, 6),  # 17 -> 7
    "hard label": (HardLabel, 6),  # 17 -> 7
    "quantised": (lambda net: Quantised(net, 64), 6),  # 18 -> 7
}


@cache
def robust_of_bare() -> int:
    """How many rows of the plain net stand, for all victims (under `brief_autoattack`)."""
    bare = MSA(NET, eps=0.03, version="autoattack")
    return int(measure(bare, NET(IMAGES).argmax(1)).robust.sum())


QUICK = ("the plain net", "zero gradient", "saturated", "hard label")


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in VICTIMS],
)
def test_masked_victims_are_broken_where_autoattack_is_fooled(
    name: str, brief_autoattack: None
) -> None:
    make, least = VICTIMS[name]
    victim = make(NET)
    with torch.no_grad():
        labels = victim(IMAGES).argmax(1)
    plain = measure(MSA(victim, eps=0.03, version="autoattack"), labels)
    mixed = measure(MSA(victim, [NET], eps=0.03, version="custom", plan=SHORT), labels)
    assert int(mixed.robust.sum()) <= int(plain.robust.sum()) - least
    # it is as robust as what it hides, but for the rows on the edge
    assert abs(int(mixed.robust.sum()) - robust_of_bare()) <= 2


def test_saturated_logits_fool_cross_entropy_alone_and_not_the_plan() -> None:
    """Robust of 24, seen: 24 under cross-entropy alone, 7 under the plan."""
    victim, labels = SaturatedLogits(NET, 1e6), NET(IMAGES).argmax(1)
    left = []
    for plan in ([AttackSpec("apgd", on="target", steps=20)], SHORT):
        attack = MSA(victim, [NET], eps=0.03, version="custom", plan=plan)
        left.append(int(measure(attack, labels).robust.sum()))
    assert left[1] <= left[0] - 4, left


def test_nan_gradients_are_flagged_and_never_counted_as_broken() -> None:
    victim = NaNGradient(NET)
    attack = MSA(
        victim, eps=0.2, norm="L2", version="custom", plan=[AttackSpec("apgd", steps=5)]
    )
    with pytest.warns(ReliabilityWarning, match="NaN"):
        found = attack.measure(IMAGES, NET(IMAGES).argmax(1))
    flags = {flag.code: flag for flag in found.flags}
    assert flags["non_finite_candidates"].count > 0
    broken = found.first_breaker >= 0
    kept = MSA(
        victim,
        eps=0.2,
        norm="L2",
        version="custom",
        plan=[AttackSpec("apgd", steps=5)],
        keep="memory",
    )
    images = measure(kept, NET(IMAGES).argmax(1)).images()
    assert bool(torch.isfinite(images).all())
    wrong = NET(images).argmax(1) != NET(IMAGES).argmax(1)
    assert torch.equal(wrong, broken)


def test_square_after_gradients_is_flagged_for_a_victim_without_gradient() -> None:
    plan = [AttackSpec("apgd", steps=5), AttackSpec("square", steps=60)]
    attack = MSA(GradientKiller(NET), eps=0.03, version="custom", plan=plan)
    found = measure(attack, NET(IMAGES).argmax(1))
    assert "square_after_gradients" in [flag.code for flag in found.flags]


@pytest.mark.parametrize(
    "options",
    [
        {"version": "custom", "plan": SHORT},
        pytest.param({"version": "quick"}, marks=pytest.mark.slow),
    ],
)
def test_a_victim_that_gives_no_gradient_at_all_is_flagged_and_broken(
    options: Any,
) -> None:
    class Blind(nn.Module):
        def forward(self, images: Any) -> Any:
            return NET(images.detach())

    labels = NET(IMAGES).argmax(1)
    attack = MSA(Blind(), [NET], eps=0.03, **options)
    found = measure(attack, labels)
    texts = [flag.message for flag in found.flags if flag.code == "left_out"]
    assert any("target gives no gradient" in text for text in texts)
    assert int(found.robust.sum()) < 16
