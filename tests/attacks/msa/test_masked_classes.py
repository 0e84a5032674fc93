"""Does a class masked with -inf disturb no gradient attack, which breaks what it breaks without?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, evaluate
from torchattacks_ext.engines.joint.ascent import ascend
from torchattacks_ext.engines.joint.ledgers import JointLedger
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import AttackSpec

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
IMAGES = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(3))


class Bent(nn.Module):
    """A small net of `k` classes behind a form of its output."""

    def __init__(self, k: int, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        gen = torch.Generator().manual_seed(k)
        self.one = nn.Parameter(torch.randn(36, 12, generator=gen) / 6)
        self.two = nn.Parameter(torch.randn(12, k, generator=gen))
        self.form = form

    def forward(self, images: Tensor) -> Tensor:
        return self.form(((images - 0.5).flatten(1) @ self.one).tanh() @ self.two)


def twins(k: int, n_off: int) -> tuple[nn.Module, nn.Module, Tensor]:
    """The net with its last classes masked, the one without them, and their answers."""
    off = torch.arange(k) >= k - n_off
    mine = Bent(k, lambda logits: logits.masked_fill(off, float("-inf")))
    theirs = Bent(k, lambda logits: logits[:, ~off])
    return mine, theirs, theirs(IMAGES).argmax(1)


LINES = {
    "ce": AttackSpec("apgd", loss="ce", steps=12),
    "dlr": AttackSpec("apgd", loss="dlr", steps=12),
    "margin": AttackSpec("apgd", loss="margin", steps=12),
    "targeted": AttackSpec("apgd-t", steps=12, targets=3),
    "fab-t": AttackSpec("fab-t", steps=12, targets=3),
}


@pytest.mark.parametrize("engine", ["autoattack", "torchattacks"])
@pytest.mark.parametrize("kind", list(LINES))
@pytest.mark.parametrize(("k", "n_off"), [(6, 2), (3, 1)], ids=["4 left", "2 left"])
def test_gradient_attacks_break_what_they_break_without_the_masked_class(
    k: int, n_off: int, kind: str, engine: Any
) -> None:
    mine, theirs, labels = twins(k, n_off)
    options: dict[str, Any] = {"version": "custom", "plan": [LINES[kind]]}
    options |= {"eps": 0.05, "engine": engine}
    one, two = (MSA(net, **options).measure(IMAGES, labels) for net in (mine, theirs))
    assert 0 < two.robust_accuracy < 1
    assert torch.equal(one.verdict, two.verdict)
    assert not one.flags


def test_batches_are_attacked_jointly_beside_a_masked_class() -> None:
    found = []
    for net in twins(4, 2)[:2]:
        images = IMAGES[:4]
        labels = net(images).argmax(1)
        judge = Judge(net, targeted=False, batch_size=4, rechecks=False)
        ledger = JointLedger.open(judge, images, labels, 0.05, "Linf")
        every = torch.ones(4, dtype=torch.bool)
        seen = ascend(net, ledger, images, every, every, steps=3)
        found.append(torch.stack([batch for batch, _ in seen]))
    assert torch.allclose(*found)
    assert not torch.equal(found[0][0], found[0][3])


@pytest.mark.parametrize(
    "stage",
    [
        {"attack": "FGSM"},
        {"attack": "PGD", "steps": 5},
        {"attack": "CW", "steps": 5, "c": 5.0},
        {"attack": "APGD", "steps": 5, "loss": "dlr"},
        {"attack": "FAB", "steps": 5},
        {"attack": "DeepFool", "steps": 5},
        {"attack": "Square", "n_queries": 30},
    ],
    ids=lambda stage: stage["attack"],
)
def test_the_zoo_breaks_what_it_breaks_without_the_masked_class(
    stage: dict[str, Any],
) -> None:
    mine, theirs, labels = twins(6, 2)
    results = []
    for net in (mine, theirs):
        stages = [{"name": "attack", "label": "it", **stage}]
        report = evaluate(net, (IMAGES, labels), {"eps": 0.05, "stages": stages})
        results.append(report["it"].result)
    assert torch.equal(results[0].verdict, results[1].verdict)
