"""Is a batch judged whole, and a row alone only beside clean companions?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import InputError
from torchattacks_ext.engines.joint.ascent import ascend, bystanders, focus
from torchattacks_ext.engines.joint.ledgers import (
    POOL,
    Isolated,
    IsolatedLedger,
    JointLedger,
)
from torchattacks_ext.engines.joint.realised import realise
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.models.adapters.frozen_batch import FrozenBatch

M = 6


class Centred(nn.Module):
    """logits (z, -z), z_i = sum x_i - mean over the batch + 0.3; counts its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        scores = images.flatten(1).sum(1)
        scores = scores - scores.mean() + 0.3
        return torch.stack([scores, -scores], 1)


def data(m: int = M, size: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = 0.4 + 0.2 * torch.rand(m, size, generator=generator)
    return images, torch.zeros(m, dtype=torch.long)


def opened(model: nn.Module, eps: float = 0.1) -> JointLedger:
    images, labels = data()
    judge = Judge(model, targeted=False, batch_size=M, rechecks=False)
    return JointLedger.open(judge, images, labels, eps, "Linf")


ROWS = torch.arange(M)


def test_every_look_is_one_pass_of_the_whole_batch() -> None:
    model = Centred()
    ledger = opened(model)
    ledger.offer(ROWS, ledger.images - 0.05, "down")
    focus(model, ledger)
    realise(ledger)
    bystanders(model, ledger, ROWS < 3)
    assert set(model.sizes) == {M}


def test_a_part_of_a_batch_and_a_judge_that_cuts_it_are_refused() -> None:
    ledger = opened(Centred())
    with pytest.raises(InputError, match="a batch-dependent model is asked about all"):
        ledger.offer(ROWS[:2], ledger.images[:2], "part")
    judge = Judge(Centred(), targeted=False, batch_size=M - 1)
    with pytest.raises(InputError, match="must see it whole"):
        JointLedger.open(judge, *data(), 0.1, "Linf")


def test_rows_with_odd_pixels_are_shown_clean_and_counted() -> None:
    ledger = opened(Centred())
    odd = ledger.images - 0.05
    odd[2, 0] = float("nan")
    ledger.offer(ROWS, odd, "odd")
    assert ledger.n_odd == 1 and torch.isfinite(ledger.best).all()
    assert torch.isfinite(ledger.pool).all()


def test_candidates_are_projected_before_they_are_judged() -> None:
    ledger = opened(Centred(), eps=0.01)
    ledger.offer(ROWS, ledger.images - 1.0 * (ROWS < 1)[:, None], "far")
    length = (ledger.witness - ledger.images).abs().max()
    assert float(length) <= 0.01 + 1e-7


def test_a_row_counts_in_union_once_wrong_and_realised_is_one_batch() -> None:
    ledger = opened(Centred(), eps=0.5)
    images = ledger.images
    first, second = images.clone(), images.clone()
    first[0] -= 0.3
    second[1:3] -= 0.3
    ledger.offer(ROWS, first, "first")
    ledger.offer(ROWS, second, "second")
    assert ledger.union.tolist()[:3] == [True] * 3
    assert ledger.n_errors == 2 and ledger.wrong.tolist()[:3] == [False, True, True]
    assert torch.equal(ledger.best[1:3], second[1:3])
    assert torch.equal(ledger.witness[0], first[0])
    sources = [ledger.sources[i] for i in ledger.breaker[:3]]
    assert sources == ["first", "second", "second"]
    assert bool(ledger.alive.all())


def test_the_pool_holds_the_smallest_margins_in_order() -> None:
    ledger = opened(Centred(), eps=1.0)
    steps = [0.01 * k for k in range(7)]
    for step in steps:
        shifted = ledger.images.clone()
        shifted[0] -= step
        ledger.offer(ROWS, shifted, "row 0")
    shown = [float((one - ledger.images)[0, 0]) for one in ledger.candidates()]
    expected = [-step for step in sorted(steps, reverse=True)[:POOL]]
    assert shown == pytest.approx(expected, abs=1e-6)


def test_one_row_alone_is_answered_as_in_a_frozen_batch() -> None:
    model, (images, _) = Centred(), data()
    changed = images + 0.1 * torch.randn(images.shape)
    alone = Isolated(model, images)
    found = alone(changed)
    for row in range(M):
        others = torch.cat([images[:row], images[row + 1 :]])
        want = FrozenBatch(model, others)(changed[row : row + 1])
        assert torch.allclose(found[row : row + 1], want, atol=1e-6)


def test_the_gradient_of_a_row_alone_does_not_reach_its_companions() -> None:
    model, (images, _) = Centred(), data()
    asked = images.clone().requires_grad_()
    logits = Isolated(model, images)(asked)
    gradient = torch.autograd.grad(logits[0, 0], asked)[0]
    assert float(gradient[1:].abs().max()) == 0
    assert torch.allclose(gradient[0], torch.full((3,), 1 - 1 / M))


def test_rows_that_are_wrong_alone_are_not_asked_again() -> None:
    model, (images, labels) = Centred(), data()
    alone = Isolated(model, images)
    judge = Judge(alone, targeted=False, batch_size=M, rechecks=False)
    ledger = IsolatedLedger.open(judge, images, labels, 0.5, "Linf")
    alone.asked = ~ledger.union
    down = images.clone()
    down[:2] -= 0.4
    ledger.offer(ROWS, down, "down")
    broken = int(ledger.union.sum())
    assert broken >= 2 and int(alone.asked.sum()) == M - broken
    model.sizes.clear()
    ledger.offer(ROWS, images, "again")
    assert model.sizes == [M] * (M - broken)
    assert int(ledger.union.sum()) == broken


def test_composed_candidates_of_different_batches_fall_short_and_repair_helps() -> None:
    """Each row was wrong once, alone among helpers; at once they raise each other's mean."""
    ledger = opened(Centred(), eps=0.12)
    for row in range(M):
        one = ledger.images + 0.12
        one[row] -= 0.24
        ledger.offer(ROWS, one, f"row {row}")
    assert bool(ledger.union.all()) and ledger.n_errors == 1
    composed = ledger.candidates()[0]
    naive = int(ledger.look(composed).failed.sum())
    realise(ledger)
    assert ledger.n_errors > max(naive, 1)
    again = ledger.look(ledger.best)
    assert int(again.failed.sum()) == ledger.n_errors


def test_ascent_moves_free_rows_only_and_stays_in_the_ball() -> None:
    model, ledger = Centred(), opened(Centred())
    free, aim = ROWS < 2, ROWS >= 2
    for batch, wrong in ascend(model, ledger, ledger.images, free, aim, steps=5):
        assert torch.equal(batch[2:], ledger.images[2:]) and len(wrong) == M
        assert float((batch - ledger.images).abs().max()) <= 0.1 + 1e-6
    assert float((batch - ledger.images)[:2].abs().min()) > 0.05


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_ascent_uses_the_whole_radius_in_other_norms(norm: str) -> None:
    model, (images, labels) = Centred(), data()
    judge = Judge(model, targeted=False, batch_size=M, rechecks=False)
    ledger = JointLedger.open(judge, images, labels, 0.1, norm)  # type: ignore[arg-type]
    aim = ROWS == 0
    *_, (batch, _) = ascend(model, ledger, images, torch.ones(M) > 0, aim)
    length = (batch - images).norm(p=2 if norm == "L2" else 1, dim=1)
    assert float(length.max()) <= 0.1 + 1e-6 and float(length.min()) > 0.09


def test_helpers_break_a_row_that_no_row_could_break_alone() -> None:
    model = Centred()
    ledger = opened(model, eps=0.08)
    alone = Isolated(model, ledger.images)
    down = alone(ledger.images - 0.08)
    assert bool((down.argmax(1) == 0).any()), "the case decides nothing"
    focus(model, ledger)
    clean = model(ledger.images)[:, 0]
    assert torch.equal(ledger.union, clean < 2 * 3 * 0.08 * (M - 1) / M)
    assert int(ledger.union.sum()) > int((down[:, 0] < 0).sum())


def test_a_shortcut_answers_but_close_calls_are_the_models() -> None:
    model, (images, _) = Centred(), data()
    whole = Isolated(model, images)
    asked: list[int] = []

    def quick(shown: Tensor, places: Tensor) -> Tensor:
        asked.extend(places.tolist())
        answers = whole(images.index_copy(0, places, shown))[places]
        return answers.detach() + torch.tensor([0.0, 5e-5])  # rounding that is seen

    alone = Isolated(model, images, quick)
    moved = images.clone()
    moved[0] -= model(images)[0, 0].detach() * M / (M - 1) / 3
    with torch.no_grad():
        found, truth = alone(moved), whole(moved)
    close = (truth[:, 0] - truth[:, 1]).abs() <= 1e-4 * truth.abs().amax(1)
    assert sorted(asked) == list(range(M))
    exact = (found == truth).all(1)
    assert torch.equal(exact, close)
