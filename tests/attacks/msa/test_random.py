"""Is a randomised target judged by draws that chose nothing? Victims with known chances."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from scipy.stats import binom
from torch import Tensor, nn

from torchattacks_ext import MSA, ReliabilityWarning, Verdict
from torchattacks_ext.attacks.msa.plans import PLANS

N, EPS, SIGMA, LUCK = 24, 0.04, 0.5, 1e-6
"""LUCK: chance that a sound attack fails one of these tests."""


class NoisyHalfSpace(nn.Module):
    """z = w x + b + sigma noise, one normal number a row: P(right) = Phi(z / sigma)."""

    def __init__(self, sigma: float = SIGMA) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(16, generator=generator))
        self.sigma = sigma

    def margin(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ self.weight + 0.5

    def chance(self, images: Tensor, reach: float = 0.0) -> Tensor:
        """Of a right answer after a change that lowers z by `reach`."""
        margin = (self.margin(images).detach() - reach).double()
        return torch.special.ndtr(margin / self.sigma)

    @property
    def reach(self) -> float:
        """How far z can be lowered inside the ball."""
        return EPS * float(self.weight.detach().abs().sum())

    def forward(self, images: Tensor) -> Tensor:
        margin = self.margin(images)
        margin = margin + self.sigma * torch.randn(len(images))
        return torch.stack([margin, -margin], 1)


def middle() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.5 + 0.4 * (torch.rand(N, 1, 4, 4, generator=generator) - 0.5)


def measure(model: Any, surrogates: Any = (), **options: Any) -> Any:
    images, labels = middle(), torch.zeros(N, dtype=torch.long)
    settings = {"eps": EPS, "version": "quick", **options}
    torch.manual_seed(7)  # the victim's own stream
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return MSA(model, surrogates, **settings).measure(images, labels, ids=range(N))


def test_counts_of_fresh_draws_are_those_of_the_solved_victim() -> None:
    victim, images = NoisyHalfSpace(), middle()
    found = measure(victim, fresh_draws=200)
    worst, clean = victim.chance(images, victim.reach), victim.chance(images)
    assert (found.fresh_draws == 200).all()
    for counts, chance in (
        (found.clean_fresh_correct, clean),
        (found.fresh_correct, worst),
    ):
        low = binom.ppf(LUCK / (4 * N), 200, chance.numpy())
        assert (counts.numpy() >= low)[found.clean_correct == 1].all()
    # within a tenth of the radius of the best there is, or search ended at one draw in twenty
    near = victim.chance(images, 0.9 * victim.reach).clamp_min(0.25).numpy()
    high = binom.ppf(1 - LUCK / (4 * N), 200, near)
    assert (found.fresh_correct.numpy() <= high)[found.clean_correct == 1].all()


def test_verdicts_follow_the_majority_and_intervals_cover_the_chance() -> None:
    victim, images = NoisyHalfSpace(), middle()
    found = measure(victim)
    right = found.clean_correct == 1
    lost = right & (found.fresh_correct * 2 < found.fresh_draws)
    assert torch.equal(found.verdict == int(Verdict.NOT_ROBUST), lost)
    low, high = found.fresh_bounds(1 - LUCK / N)
    worst = victim.chance(images, victim.reach)
    assert (high >= worst)[right].all()
    assert (low <= victim.chance(images))[right].all()
    facts = found.randomised
    assert facts["majority_accuracy"] == found.robust_accuracy
    assert facts["expected_accuracy"] == pytest.approx(
        float((found.fresh_correct / 100.0)[right].sum()) / N
    )
    assert {"randomised_model", "fresh_draws"} <= {flag.code for flag in found.flags}
    assert found.summary()["randomised"] == facts


def test_with_no_radius_nothing_is_broken_and_one_draw_would_break_most() -> None:
    """The control: the rule on untouched images, and what a single lucky draw would claim."""
    found = measure(NoisyHalfSpace(0.3), eps=0.0)
    facts = found.randomised
    assert facts["control_broken_by_one_draw"] > 0.2
    assert facts["control_broken_by_majority"] <= 2 / N
    assert facts["majority_accuracy"] >= facts["clean_majority_accuracy"] - 2 / N


@pytest.mark.slow
def test_plain_autoattack_counts_lucky_draws_as_broken_images() -> None:
    """Its protocol drops a row after one wrong draw; fresh draws give most of them back."""
    victim, images = NoisyHalfSpace(), middle()
    found = measure(victim, version="autoattack", eps=0.001)
    worst = victim.chance(images, 0.001 * float(victim.weight.detach().abs().sum()))
    truth = float((worst > 0.5).double().mean())
    books = found.breakdown
    claimed = 1 - sum(book["fooled"] for book in books.values()) / N
    assert claimed < truth - 0.3  # rows whose search met one wrong answer
    assert abs(found.robust_accuracy - truth) <= 2 / N


class NoisyGradient(NoisyHalfSpace):
    """w itself is redrawn in each pass, so that one gradient says next to nothing."""

    def __init__(self) -> None:
        super().__init__(0.05)
        self.spread = 12.0

    def forward(self, images: Tensor) -> Tensor:
        noise = self.spread * torch.randn(16)
        flat = images.flatten(1)
        margin = self.margin(images) + (flat - flat.detach()) @ noise
        margin = margin + self.sigma * torch.randn(len(images))
        return torch.stack([margin, -margin], 1)


@pytest.mark.slow
def test_averaged_gradients_break_what_single_ones_leave() -> None:
    """EOT (version rand) against the same steps on single draws; the value itself is not masked."""
    victim, images = NoisyGradient(), middle()
    plan = [line for line in PLANS["rand"] if line.kind == "apgd" and line.steps == 20]
    single = measure(victim, version="custom", plan=plan)
    mean = measure(victim, version="rand")
    truth = float((victim.chance(images, victim.reach) > 0.5).double().mean())
    assert mean.robust_accuracy < single.robust_accuracy
    assert truth - 1 / N <= mean.robust_accuracy <= truth + 4 / N
    # each query of a gradient line costs twenty draws
    books = mean.breakdown
    assert (
        books["target/apgd-ce-20"]["forward"] > 10 * books["target/noise-10"]["tried"]
    )


@pytest.mark.slow
def test_a_fixed_surrogate_is_not_averaged() -> None:
    fixed = NoisyHalfSpace(0.0)
    fixed.forward = lambda images: torch.stack(  # type: ignore[method-assign]
        [fixed.margin(images), -fixed.margin(images)], 1
    )
    found = measure(NoisyHalfSpace(), {"fixed": fixed}, version="rand", eps=0.001)
    books = found.breakdown
    own, other = books["target/apgd-ce-20"], books["fixed/apgd-ce-20"]
    assert own["backward"] > 15 * other["backward"] > 0


def test_the_victims_stream_is_never_rewound() -> None:
    victim = NoisyHalfSpace()
    seen: list[float] = []
    victim.register_forward_hook(
        lambda *args: seen.append(float(args[2].detach()[:, 0].sum()))
    )
    measure(victim, eps=0.0)
    assert len(set(seen)) > 0.99 * len(seen)


def test_a_call_gives_images_in_the_ball() -> None:
    images = middle()
    attack = MSA(NoisyHalfSpace(), eps=EPS, version="quick")
    shown = attack(images, torch.zeros(N, dtype=torch.long))
    assert float((shown - images).abs().max()) <= EPS + 1e-6
    victim = NoisyHalfSpace()
    lower = (victim.margin(images) - victim.margin(shown)).detach()
    attacked = lower > 0  # rows that are wrong by majority stay as they are
    assert int(attacked.sum()) > N / 2
    assert float(lower[attacked].median()) > 0.9 * victim.reach


@pytest.mark.parametrize("version", ["quick", "rand"])
@pytest.mark.parametrize("limit", [5_000, pytest.param(12_000, marks=pytest.mark.slow)])
def test_a_query_budget_is_kept_and_rows_beyond_it_are_undecided(
    version: Any, limit: int
) -> None:
    found = measure(NoisyHalfSpace(), version=version, max_queries=limit, batch_size=8)
    assert found.cost.forward <= limit
    late = found.status == 2
    assert bool(late.any()) or limit > 5_000
    assert (found.fresh_draws[late] == 0).all()
