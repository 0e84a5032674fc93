"""Does a run go on where an earlier one ended, and only where it is the same run?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import MSA, FIMScore, PRTest, StateError, Status, Verdict
from torchattacks_ext.engines.autoattack.sequence import StandardSequence
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import AttackSpec, Ledger
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Budget, Meter
from torchattacks_ext.testing import HalfSpace, small_net

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
N = 12
NOT_REACHED = int(Status.NOT_REACHED)


@pytest.fixture(scope="module")
def victim() -> HalfSpace:
    weight = torch.randn(16, generator=torch.Generator().manual_seed(1))
    return HalfSpace(weight, -0.5 * float(weight.sum()))


@pytest.fixture(scope="module")
def images() -> Tensor:
    grey = torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    return grey * 0.4 + 0.3


@pytest.fixture(scope="module")
def labels(victim: HalfSpace, images: Tensor) -> Tensor:
    return victim.labels(images)


LINES = [
    AttackSpec("noise", on="target", steps=2),
    AttackSpec("apgd", loss="ce", steps=5),
    AttackSpec("square", on="target", steps=30),
]


def attack(victim: HalfSpace, images: Tensor, **options: Any) -> MSA:
    eps = float(victim.radius(images).median())
    plan: dict[str, Any] = dict(version="custom", plan=LINES, batch_size=4)
    return MSA(victim, eps=eps, **(plan | options))


def reached(found: Any) -> int:
    return int((found.status != NOT_REACHED).sum())


# ---------------------------------------------------------------- MSA
def test_msa_resume_starts_over(
    victim: HalfSpace, images: Tensor, labels: Tensor
) -> None:
    """Three calls at one budget once reached the same 8 of 40 images, and paid three times."""
    whole = attack(victim, images).measure(images, labels)
    cut, counts = attack(victim, images, max_queries=260), []
    found = None
    for _ in range(8):
        found = cut.measure(images, labels, resume=found)
        counts.append(reached(found))
        if counts[-1] == N:
            break
    assert found is not None and counts[-1] == N and counts == sorted(set(counts))
    assert found.digest() == whole.digest()
    broken = sum(book["broken"] for book in found.breakdown.values())
    assert broken == found.count(Verdict.NOT_ROBUST) > 0
    spent = sum(book["forward"] for book in found.breakdown.values())
    assert spent <= found.cost.forward <= 260 * len(counts)
    assert "budget_spent" not in {flag.code for flag in found.flags}


def test_a_budget_that_one_batch_s_square_cannot_meet_ended_all(
    victim: HalfSpace, images: Tensor, labels: Tensor
) -> None:
    """Now fewer rows are taken at once, so that some are finished, and others tried by less."""
    found = attack(victim, images, max_queries=260, batch_size=N).measure(
        images, labels
    )
    assert 0 < reached(found) < N and found.cost.forward <= 260
    late = found.status == NOT_REACHED
    assert (found.verdict[late] == int(Verdict.UNDECIDED)).all()
    square = found.breakdown["target/square-30"]
    assert square["tried"] > 0


def test_a_budget_too_small_for_any_row_says_so(
    victim: HalfSpace, images: Tensor, labels: Tensor
) -> None:
    probe = attack(victim, images, max_queries=5)
    found = probe.measure(images, labels)
    assert reached(found) == 0
    (flag,) = [flag for flag in found.flags if flag.code == "budget_spent"]
    assert "gets no further" in flag.message and flag.count == N


def test_what_a_cut_component_cost_stands_in_the_books(
    victim: HalfSpace, images: Tensor, labels: Tensor
) -> None:
    """AutoAttack's sequence once booked nothing of a component that the budget cut."""
    meter = Meter()
    view = LogitsView(victim, meter=meter)
    ledger = Ledger.open(Judge(view, False, 4), images, labels, 1e-6, "Linf")
    budget = Budget(meter, max_queries=150)
    run = StandardSequence("t", view, 2, 0, 4, meter, n_queries=20, budget=budget)
    before = meter.forward
    with ForkedRng(0):
        run.run(("square",), ledger)
    book = ledger.entries["t/square"]
    assert book.tried == 4 and book.forward == meter.forward - before >= 4 * 20
    assert ledger.unfinished.sum() == N - 4


# ---------------------------------------------------------------- all of them
def test_fimscore_resume_starts_over(images: Tensor) -> None:
    probe = FIMScore(small_net((1, 4, 4), 3).eval(), batch_size=3, max_queries=130)
    first = probe.measure(images)
    assert 0 < reached(first) < N
    again = probe.measure(images, resume=first)
    assert reached(again) > reached(first)
    old = first.status != NOT_REACHED
    assert torch.equal(again.log_lam[old], first.log_lam[old])


def test_kept_images_of_the_rows_that_stay_were_lost(
    victim: HalfSpace, images: Tensor, labels: Tensor
) -> None:
    options: dict[str, Any] = dict(max_queries=260, keep="memory")
    first = attack(victim, images, **options).measure(images, labels)
    options.pop("max_queries")
    whole = attack(victim, images, **options).measure(images, labels, resume=first)
    assert whole.images().shape == images.shape


def probes(victim: HalfSpace, images: Tensor) -> dict[str, Any]:
    test = PRTest(victim, eps=0.02, tolerance=0.2, significance=0.1, n_max=200)
    plan = [AttackSpec("noise", on="target", steps=1)]
    return {
        "PRTest": test,
        "MSA": attack(victim, images, plan=plan),
        "FIMScore": FIMScore(small_net((1, 4, 4), 2).eval()),
    }


@pytest.mark.parametrize("kind", ["PRTest", "MSA", "FIMScore"])
def test_resume_with_other_labels_kept_the_verdicts_of_the_first(
    kind: str, victim: HalfSpace, images: Tensor, labels: Tensor
) -> None:
    """With ids= the labels are no part of an id, so that nothing else sees the difference."""
    probe, ids = probes(victim, images)[kind], range(N)
    first = probe.measure(images, labels, ids=ids)
    with pytest.raises(StateError, match="other labels or targets for 1 of"):
        other = labels.clone()
        other[3] = 1 - other[3]
        probe.measure(images, other, ids=ids, resume=first)


# ---------------------------------------------------------------- targets
def aimed(net: Any, kth: int) -> PRTest:
    probe = PRTest(net, eps=0.3, tolerance=0.2, significance=0.1, n_max=100)
    probe.set_mode_targeted_least_likely(kth, quiet=True)
    return probe


def test_resume_other_kth(images: Tensor) -> None:
    """`kth_min` was no setting: a result for the least likely class was taken for another's."""
    net = small_net((1, 4, 4), 5, seed=3).eval()
    with torch.no_grad():
        answers = net(images).argmax(1)
    first = aimed(net, 1).measure(images, answers)
    assert first.settings["kth_min"] == 1
    with pytest.raises(StateError, match="kth_min"):
        aimed(net, 4).measure(images, answers, resume=first)
    second = aimed(net, 4).measure(images[:1] / 2, answers[:1])
    with pytest.raises(StateError, match="kth_min"):
        type(first).concat([first, second])
    probe = PRTest(net, eps=0.3)
    assert "kth_min" not in probe.settings()


def test_resume_with_another_function_of_targets_kept_the_first_targets(
    images: Tensor, labels: Tensor
) -> None:
    net = small_net((1, 4, 4), 5, seed=3).eval()

    def make(step: int) -> PRTest:
        probe = PRTest(net, eps=0.3, tolerance=0.2, significance=0.1, n_max=100)
        probe.set_mode_targeted_by_function(lambda _, y: (y + step) % 5, quiet=True)
        return probe

    first = make(1).measure(images, labels)
    assert make(1).measure(images, labels, resume=first).digest() == first.digest()
    with pytest.raises(StateError, match="targets for 12 of 12"):
        make(2).measure(images, labels, resume=first)


def test_resume_behind_another_normalisation_kept_the_rows_of_the_first(
    victim: HalfSpace, images: Tensor, labels: Tensor
) -> None:
    def make(std: float) -> PRTest:
        probe = PRTest(victim, eps=0.02, tolerance=0.2, significance=0.1, n_max=200)
        probe.set_normalization_used([0.5], [std])
        return probe

    scaled = [(images - 0.5) / std for std in (0.5, 0.25)]
    first = make(0.5).measure(scaled[0], labels, ids=range(N))
    with pytest.raises(StateError, match="another scale"):
        make(0.25).measure(scaled[1], labels, ids=range(N), resume=first)
    again = make(0.25).measure(scaled[1], labels, ids=range(N, 2 * N))
    with pytest.raises(StateError, match="another scale"):
        type(first).concat([first, again])
