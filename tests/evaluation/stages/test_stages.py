"""Does each stage say the truth of victims that are solved on paper, and cost what it must?"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import Status, Verdict
from torchattacks_ext.numerics.norms import project
from torchattacks_ext.testing import HalfSpace, small_net
from torchattacks_ext.testing.props import example_images

TEST = {"tolerance": 0.2, "significance": 0.1, "n_max": 300}
PRTEST = {"name": "prtest"} | TEST
WEIGHT = torch.tensor([1.0, -1.0]).repeat(8)


def replaced(monkeypatch: pytest.MonkeyPatch, forward: Any, name: str = "FGSM") -> None:
    """Another body for one class of torchattacks: f(images, labels) -> images."""
    kind = getattr(torchattacks, name)
    monkeypatch.setattr(kind, "forward", lambda self, images, labels: forward(images))


# ---------------------------------------------------------------- bounded attacks
@pytest.mark.parametrize("side", [1, -1])
def test_fgsm_on_a_half_space_breaks_exactly_the_images_within_reach(
    side: int, half_space: Any, run: Any, attacked: Any
) -> None:
    model, images, labels = half_space(side=side)
    report = run(model, (images, labels), "FGSM")
    result = attacked(report, "FGSM")
    radius = model.radius(images, "Linf")
    assert torch.equal(result.verdict == int(Verdict.NOT_ROBUST), radius <= 0.055)
    assert result.robust_accuracy == float((radius > 0.055).double().mean()) == 7 / 12
    # on paper: the score falls by eps ||w||_1
    expected = (model.score(images).abs() - 0.055 * 16).double().detach()
    torch.testing.assert_close(result.margin, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        result.norm, torch.full((12,), 0.055).double(), atol=1e-6, rtol=0
    )
    found = result.found_norm
    assert torch.equal(found.isnan(), radius > 0.055)
    torch.testing.assert_close(found[:5], result.norm[:5])


def test_pgd_never_says_more_than_is_true_and_here_says_it_all(
    half_space: Any, run: Any, attacked: Any
) -> None:
    model, images, labels = half_space()
    pgd = {"name": "PGD", "steps": 10, "alpha": 0.02}
    report = run(model, (images, labels), pgd, "RFGSM", eps=0.055)
    within = model.radius(images, "Linf") <= 0.055
    assert torch.equal(attacked(report, "PGD").verdict == 2, within)
    weaker = attacked(report, "RFGSM").verdict == 2
    assert not (weaker & ~within).any()
    assert torch.equal(report.survivors(), ~within)


def test_the_identity_leaves_the_clean_accuracy(run: Any, attacked: Any) -> None:
    net, images = small_net().eval(), example_images(10)
    labels = net(images).argmax(1)
    labels[:4] = (labels[:4] + 1) % 3
    report = run(net, (images, labels), "VANILA")
    result = attacked(report, "VANILA")
    assert result.robust_accuracy == result.clean_accuracy == 0.6
    assert result.margin[4:].tolist() == result.clean_margin[4:].tolist()
    assert result.norm.tolist() == [0.0] * 10 and bool(result.found_norm.isnan().all())
    assert result.verdict.tolist() == [3] * 4 + [0] * 6


@pytest.mark.parametrize(
    "n_classes", [*(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5)), 3]
)
def test_any_number_of_classes(n_classes: int, run: Any, attacked: Any) -> None:
    net, images = small_net(n_classes=n_classes).eval(), example_images(8)
    labels = net(images).argmax(1)
    square = {"name": "Square", "n_queries": 20}
    named = ["FGSM", "APGD", "FAB", square, "DeepFool", "JSMA", "APGDT", PRTEST]
    report = run(net, (images, labels), *named, eps=0.1)
    assert report.failed == ()
    unfit = [stage.name for stage in report.not_applicable]
    assert unfit == ([] if n_classes > 3 else ["APGDT"])
    if unfit:
        assert "needs at least 4 classes" in str(report["APGDT"].not_applicable)
    assert attacked(report, "FGSM").clean_accuracy == 1.0


def test_a_single_logit_and_probabilities_are_understood(
    half_space: Any, run: Any, attacked: Any
) -> None:
    model, images, labels = half_space()

    class Sigmoid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(-self.inner.score(x))

    report = run(Sigmoid(), (images, labels), "FGSM", outputs="probs")
    assert attacked(report, "FGSM").robust_accuracy == 7 / 12


# ---------------------------------------------------------------- the judge
def test_a_witness_outside_the_ball_does_not_count(
    monkeypatch: Any, half_space: Any, attacked: Any, run: Any
) -> None:
    model, images, labels = half_space()
    replaced(monkeypatch, lambda x: 1 - x)  # reflects every image to the other side
    result = attacked(run(model, (images, labels), "FGSM"), "FGSM")
    assert bool((model(1 - images).argmax(1) != labels).all())  # it would fool all
    inside = project(images, 1 - images, 0.055, "Linf")
    fooled = model(inside).argmax(1) != labels
    assert torch.equal(result.verdict == 2, fooled) and 0 < fooled.sum() < 12
    assert bool((result.norm <= 0.055 * (1 + 1e-6)).all())
    # its own number is kept: the distance it needed, twice the radius
    expected = 2 * model.radius(images, "Linf").double()
    torch.testing.assert_close(result.found_norm, expected, atol=1e-4, rtol=0)


def test_a_witness_outside_the_box_does_not_count(
    monkeypatch: Any, attacked: Any, run: Any
) -> None:
    model = HalfSpace(torch.tensor([1.0, 1.0]), 0.3)  # x >= 0: never class 1
    images, labels = torch.zeros(1, 1, 1, 2), torch.zeros(1, dtype=torch.long)
    replaced(monkeypatch, lambda x: x - 0.5)
    result = attacked(run(model, (images, labels), "FGSM", eps=0.3), "FGSM")
    assert bool((model(images - 0.5).argmax(1) != labels).all())
    assert result.robust_accuracy == 1.0 and bool(result.found_norm.isnan().all())
    assert result.norm.tolist() == [0.0]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_an_attack_that_returns_nan_breaks_nothing_and_is_flagged(
    monkeypatch: Any, odd: float, half_space: Any, attacked: Any, run: Any
) -> None:
    model, images, labels = half_space()
    replaced(monkeypatch, lambda x: torch.full_like(x, odd))
    with pytest.warns(UserWarning, match="NaN or infinite pixels"):
        report = run(model, (images, labels), "FGSM", "PGD")
    result = attacked(report, "FGSM")
    assert result.robust_accuracy == 1.0 and result.norm.tolist() == [0.0] * 12
    (flag,) = result.flags
    assert (flag.code, flag.count) == ("non_finite_candidates", 12)
    assert report.flags == (flag,)


def test_nan_logits_at_a_candidate_are_a_failure_with_its_own_status(
    attacked: Any, run: Any, half_space: Any
) -> None:
    class Fragile(HalfSpace):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return torch.where((self.score(images) < 0.3)[:, None], torch.nan, logits)

    model, images, labels = Fragile(WEIGHT, 1e-6), *half_space()[1:]
    with pytest.warns(UserWarning, match="non_finite"):
        report = run(model, (images, labels), "FGSM", eps=0.055)
    result = attacked(report, "FGSM")
    # clean scores are .16 k; the first (.16) is NaN at once, FGSM takes .88 off
    assert int(result.verdict[0]) == int(Verdict.MISCLASSIFIED)
    assert (result.verdict[1:] == 2).tolist() == [True] * 6 + [False] * 5
    odd = result.status == int(Status.NON_FINITE)
    assert odd.tolist() == [True] * 7 + [False] * 5
    assert torch.equal(result.margin == -math.inf, odd)
    assert [(f.code, f.count) for f in report.flags] == [("non_finite", 7)]


def test_what_an_attack_returns_must_be_images(
    monkeypatch: Any, half_space: Any, run: Any
) -> None:
    model, images, labels = half_space()
    replaced(monkeypatch, lambda x: x[:1])
    report = run(model, (images, labels), "FGSM")
    assert "returned" in str(report["FGSM"].error) and report["FGSM"].result is None


# ---------------------------------------------------------------- minimum-norm attacks
MINIMUM = [
    {"name": "DeepFool", "steps": 50, "overshoot": 0.02},
    {"name": "CW", "c": 10, "steps": 300, "lr": 0.0005},
]


@pytest.mark.parametrize("stage", MINIMUM, ids=lambda stage: stage["name"])
def test_a_minimum_norm_attack_finds_the_distance_and_counts_inside_the_ball_only(
    stage: dict[str, Any], half_space: Any, run: Any, attacked: Any
) -> None:
    model, images, labels = half_space(6)
    distance = model.radius(images, "L2").double()  # .04, .08, ..., .24
    report = run(model, (images, labels), stage, eps=0.13, norm="L2")
    result = attacked(report, stage["name"])
    ratio = result.found_norm / distance
    assert bool(((ratio > 1 - 1e-4) & (ratio < 1.05)).all()), ratio
    inside = result.found_norm <= 0.13
    assert torch.equal(result.verdict == int(Verdict.NOT_ROBUST), inside)
    assert result.robust_accuracy == 3 / 6  # .04, .08 and .12 are inside
    assert bool((result.norm <= 0.13 * (1 + 1e-6)).all())
    torch.testing.assert_close(result.norm[inside], result.found_norm[inside])


def test_an_attack_of_another_norm_is_judged_in_the_norm_of_the_plan(
    half_space: Any, run: Any, attacked: Any
) -> None:
    model, images, labels = half_space()
    report = run(model, (images, labels), "DeepFool", eps=0.055, norm="Linf")
    assert any("works in L2, judged in Linf" in n for n in report["DeepFool"].notes)
    # the least L2 step to the boundary is also the least Linf step here
    expected = 1.02 * model.radius(images, "Linf").double()
    torch.testing.assert_close(
        attacked(report, "DeepFool").found_norm, expected, rtol=1e-3, atol=0
    )
