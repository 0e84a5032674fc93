"""Do AutoAttack's components see whole batches, in order, to the last query?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.joint.ledgers import JointLedger
from torchattacks_ext.engines.joint.runs import JointEngine
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.models.meter import Meter
from torchattacks_ext.testing.props import balanced_net

M = 6


class Scaled(nn.Module):
    """A small net on images that the statistics of the batch scale; counts its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.net = balanced_net(4)
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        spread = images.std(0, correction=0) + 0.2
        found: Tensor = self.net(0.5 + 0.3 * (images - images.mean(0)) / spread)
        return found


def run(*lines: AttackSpec, eps: float = 0.05, **models: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(M, 1, 8, 8, generator=generator)
    target = Scaled().eval()
    with torch.no_grad():
        labels = target(images).argmax(1)
    judge = Judge(target, targeted=False, batch_size=M, rechecks=False)
    ledger = JointLedger.open(judge, images, labels, eps, "Linf")
    engine = JointEngine({**models, "target": target}, torch.arange(M), 4, 0, Meter())
    with ForkedRng(0), torch.enable_grad():
        for line in lines:
            for name in [*models, "target"]:
                if bool(ledger.alive.any()):
                    engine.run(name, line, ledger)
    return target, ledger, engine


KINDS = (
    AttackSpec("noise", steps=2),
    AttackSpec("apgd", steps=6),
    AttackSpec("apgd-t", steps=4, targets=2),
    AttackSpec("square", steps=40),
    AttackSpec("warm", on="best", loss="margin", steps=5),
)


def test_no_query_is_a_part_of_the_batch() -> None:
    target, ledger, _ = run(*KINDS, eps=0.008)
    assert set(target.sizes) == {M}
    assert bool(ledger.union.any()) and not bool(ledger.union.all())


def test_square_asks_on_after_rows_are_wrong() -> None:
    target, ledger, _ = run(AttackSpec("square", steps=60), eps=0.1)
    assert set(target.sizes) == {M}
    # 60 queries, whatever fell on the way, unless all rows of one batch did
    assert len(target.sizes) >= 60 or ledger.n_errors == M
    assert ledger.n_errors > 1


def test_fab_is_left_out_with_its_reason() -> None:
    _, ledger, engine = run(AttackSpec("fab-t", steps=3))
    assert engine.skipped == {"fab-t takes rows out of the batch"}
    assert ledger.entries["target/fab-t-3"].offers == 0


def test_surrogates_propose_and_lines_on_best_stay_with_the_target() -> None:
    plain = balanced_net(4)
    warm = AttackSpec("warm", on="best", steps=4)
    _, ledger, _ = run(AttackSpec("apgd", steps=5), warm, eps=0.001, plain=plain)
    assert ledger.entries["plain/apgd-ce-5"].offers == 3  # a fifth query, two endpoints
    assert ledger.entries["plain/warm-ce-4"].tried == 0
    assert ledger.entries["target/warm-ce-4"].tried == M


def test_the_realised_batch_is_really_that_wrong() -> None:
    target, ledger, _ = run(*KINDS, eps=0.05)
    with torch.no_grad():
        wrong = target(ledger.best).argmax(1) != ledger.labels
    assert int(wrong.sum()) == ledger.n_errors > 0
    assert float((ledger.best - ledger.images).abs().max()) <= 0.05 + 1e-6
