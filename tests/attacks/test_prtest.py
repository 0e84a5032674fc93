"""Does PRTest say what it claims?

Exact numbers, one answer for any batching, error rates by simulation.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    LinfUniform,
    NormalizedModel,
    ProbRobustness,
    PRTest,
    ReliabilityWarning,
    StateError,
    StatusError,
    Verdict,
)
from torchattacks_ext.engines.active import keyed
from torchattacks_ext.testing import LinearGaussian, RateVictim, small_net
from torchattacks_ext.testing.props import example_images

GREY = torch.full((1, 1, 4, 4), 0.5)
ZERO = torch.zeros(1, dtype=torch.long)


def greys(n: int) -> tuple[Tensor, Tensor, np.ndarray]:
    return GREY.expand(n, 1, 4, 4), ZERO.expand(n), np.arange(n)


class Scripted(nn.Module):
    """Fails exactly at the given draws of one image with one id."""

    def __init__(self, draws: list[int], sample_id: int = 1, seed: int = 0) -> None:
        super().__init__()
        ids = torch.full((len(draws),), sample_id)
        noise = keyed(seed, ids, torch.tensor(draws), "linf")
        drawn = LinfUniform(0.1).sample(GREY.expand(len(draws), 1, 4, 4), noise)
        self.register_buffer("marks", drawn.flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        hit = (images.flatten(1)[:, None] == self.marks[None]).all(2).any(1)
        sign = 1 - 2 * hit.to(images.dtype)
        return torch.stack([sign, -sign], 1)


# ---------------------------------------------------------------- exact numbers
def test_an_image_that_never_fails_costs_505_samples() -> None:
    result = PRTest(RateVictim(0.0), eps=0.1, significance=0.01).measure(GREY, ZERO)
    assert result.n_samples.tolist() == [505] and result.n_failures.tolist() == [0]
    assert result.verdict.tolist() == [int(Verdict.ROBUST)]
    assert f"{float(result.p_fail_upper):.5f}" == "0.01000"
    assert float(result.p_value_robust) <= 0.01 < float(result.p_value_not_robust)
    model_checks = 5  # one image: looked at five times, no companions to compare with
    assert result.cost.forward == 505 + 1 + model_checks


def test_the_default_costs_744_samples_at_significance_one_in_a_thousand() -> None:
    result = PRTest(RateVictim(0.0), eps=0.1).measure(GREY, ZERO)
    assert result.n_samples.tolist() == [744]


def test_a_failure_every_time_is_refuted_at_the_first_look() -> None:
    result = PRTest(RateVictim(1.0), eps=0.1, significance=0.01).measure(GREY, ZERO)
    assert result.verdict.tolist() == [int(Verdict.NOT_ROBUST)]
    assert result.n_samples.tolist() == [8] == result.n_failures.tolist()


def test_scripted_failures_resume_to_what_one_run_says() -> None:
    """A cap that is no look would have refuted at 33 what one long run certifies at 1,551."""
    victim = Scripted([9, 19, 29, 32])  # draws are counted from 0
    options: dict[str, Any] = dict(eps=0.1, significance=0.01)
    with pytest.warns(ReliabilityWarning, match="can certify no image"):
        short = PRTest(victim, n_max=33, **options)
    with pytest.warns(ReliabilityWarning, match="cannot_certify"):
        first = short.measure(GREY, ZERO, ids=[1])
    assert first.settings["n_max"] == int(first.n_samples) < 33
    assert first.verdict.tolist() == [int(Verdict.UNDECIDED)]
    long = PRTest(victim, **options)
    resumed = long.measure(GREY, ZERO, ids=[1], resume=first)
    whole = long.measure(GREY, ZERO, ids=[1])
    assert whole.n_samples.tolist() == [1551] and whole.n_failures.tolist() == [4]
    assert whole.verdict.tolist() == [int(Verdict.ROBUST)]
    assert resumed.digest() == whole.digest()
    assert resumed.to_dict()["columns"] == whole.to_dict()["columns"]
    assert whole.settings["n_max"] == 16932


@pytest.mark.parametrize("n_max", [7, 0, -3, 2.5])
def test_a_cap_below_the_first_look_is_refused(n_max: Any) -> None:
    with pytest.raises(ConfigError, match="n_max"):
        PRTest(RateVictim(0.0), eps=0.1, n_max=n_max)


def test_a_plan_that_cannot_certify_warns_with_the_needed_number() -> None:
    with pytest.warns(ReliabilityWarning, match="n_max >= 744"):
        test = PRTest(RateVictim(0.0), eps=0.1, n_max=700)
    with pytest.warns(ReliabilityWarning, match="cannot_certify"):
        result = test.measure(GREY, ZERO)
    assert result.count(Verdict.UNDECIDED) == 1


# ---------------------------------------------------------------- one answer
def variants(test: Any, images: Tensor, labels: Tensor) -> dict[str, ProbRobustness]:
    """The same measurement in every way that must not matter."""
    n = len(images)
    order = torch.from_numpy(np.random.default_rng(0).permutation(n))
    found = {
        f"batch {size}": test(size).measure(images, labels) for size in (1, 7, 128)
    }
    found["shuffled"] = test(64).measure(images[order], labels[order])
    halves = [slice(None, n // 2), slice(n // 2, None)]
    found["halves"] = ProbRobustness.concat(
        [test(16).measure(images[half], labels[half]) for half in halves]
    )
    return found


def measurements_agree(one: ProbRobustness, other: ProbRobustness) -> None:
    one, other = one.sort(), other.sort()
    for spec in one.columns():
        if spec.kind == "measurement":
            torch.testing.assert_close(
                getattr(one, spec.name),
                getattr(other, spec.name),
                rtol=1e-4,
                atol=1e-5,
                equal_nan=True,
            )


def check_one_answer(test: Any, images: Tensor, labels: Tensor, cap: int) -> None:
    whole = test(256).measure(images, labels)
    for name, other in variants(test, images, labels).items():
        assert other.digest() == whole.digest(), name
        measurements_agree(whole, other)
    short = test(32, n_max=cap).measure(images, labels)
    assert short.digest() != whole.digest()
    resumed = test(64).measure(images, labels, resume=short)
    assert resumed.digest() == whole.digest()
    measurements_agree(whole, resumed)


def test_rate_victims_give_one_answer() -> None:
    shades = torch.linspace(0.41, 0.59, 40).reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3)

    class Shaded(nn.Module):
        """Fails more the darker the second pixel of the clean image would be."""

        def forward(self, images: Tensor) -> Tensor:
            score = images.flatten(1)[:, 0] - 0.42
            return torch.stack([score, torch.zeros_like(score)], 1)

    def test(batch_size: int, n_max: int = 3000) -> PRTest:
        return PRTest(
            Shaded(), eps=0.1, tolerance=0.05, n_max=n_max, batch_size=batch_size
        )

    labels = (shades[:, 0, 0, 0] < 0.42).long()
    check_one_answer(test, shades.contiguous(), labels, cap=200)


def test_normalised_and_plain_wrapping_give_one_digest() -> None:
    net = small_net((3, 8, 8)).eval()
    images = example_images(12, (3, 8, 8))
    mean, std = [0.48, 0.45, 0.4], [0.22, 0.24, 0.26]
    wrapped = NormalizedModel(net, mean, std).eval()
    labels = wrapped(images).argmax(1)
    options: dict[str, Any] = dict(eps=0.2, tolerance=0.1, n_max=400)
    inside = PRTest(wrapped, **options).measure(images, labels)
    outside = PRTest(net, **options)
    outside.set_normalization_used(mean, std)
    shape = (1, 3, 1, 1)
    scaled = (images - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(
        shape
    )
    found = outside.measure(scaled, labels)
    assert found.digest() == inside.digest()
    measurements_agree(found, inside)


def test_a_close_draw_is_decided_at_batch_one() -> None:
    """A model whose answer beside the boundary depends on the batch size, as float noise does."""

    def jumpy(images: Tensor) -> Tensor:
        score = images.flatten(1)[:, 0] - 0.45
        noise = 2e-5 * (1 if len(images) > 1 else -1)
        return torch.stack([score + noise, torch.zeros_like(score)], 1) + 0.9

    images = torch.linspace(0.46, 0.54, 9).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    results = [
        PRTest(jumpy, eps=0.1, tolerance=0.3, n_max=2000, batch_size=size).measure(
            images, torch.zeros(9)
        )
        for size in (1, 64)
    ]
    assert int(results[1].n_close.sum()) > 0
    assert results[0].n_failures.tolist() == results[1].n_failures.tolist()


# ---------------------------------------------------------------- truth
def test_verdict_and_interval_never_disagree() -> None:
    images, labels, ids = greys(300)
    for p_fail in (0.0, 0.03, 0.1, 0.3):
        test = PRTest(RateVictim(p_fail), eps=0.1, tolerance=0.1, n_max=500)
        result = test.measure(images, labels, ids=ids)
        lower, upper = result.p_fail_lower, result.p_fail_upper
        expected = torch.where(lower > 0.1, 2, torch.where(upper <= 0.1, 1, 0))
        assert torch.equal(expected.to(torch.int8), result.verdict)
        assert bool((lower <= result.p_fail).all() and (result.p_fail <= upper).all())
        small = result.p_value_robust <= 1e-3
        assert torch.equal(small, result.verdict == int(Verdict.ROBUST))


@pytest.mark.parametrize("tolerance", [0.1, 0.05])
def test_wrong_certificates_stay_below_the_level(tolerance: float) -> None:
    """At p_fail = tolerance both claims are wrong: each may come with probability <= significance.

    2,000 images; the bound is the count that Bin(2000, significance) passes once in 1e7.
    """
    images, labels, ids = greys(2000)
    level = 0.05
    test = PRTest(
        RateVictim(tolerance),
        eps=0.1,
        tolerance=tolerance,
        significance=level,
        n_max=600,
    )
    result = test.measure(images, labels, ids=ids)
    most = stats.binom.isf(1e-7, 2000, level)
    assert 0 < result.count(Verdict.ROBUST) <= most
    assert 0 < result.count(Verdict.NOT_ROBUST) <= most


def test_bounds_cover_the_true_rate_at_any_stop() -> None:
    images, labels, ids = greys(2000)
    test = PRTest(
        RateVictim(0.02), eps=0.1, tolerance=0.1, significance=0.05, n_max=300
    )
    result = test.measure(images, labels, ids=ids)
    most = stats.binom.isf(1e-7, 2000, 0.05)
    assert int((result.p_fail_upper < 0.02).sum()) <= most
    assert int((result.p_fail_lower > 0.02).sum()) <= most


def test_counts_follow_the_closed_form_of_a_linear_model_under_gaussian_noise() -> None:
    """A caller's own sampler.

    Box-Muller on the keyed uniforms; exact rate Phi(-margin / (sigma |w|)).
    """
    sigma = 0.5

    def gaussian(images: Tensor, u: Any) -> Tensor:
        size = images[0].numel()
        radius = (-2 * torch.log1p(-u(size, "radius"))).sqrt()
        normal = radius * torch.cos(2 * torch.pi * u(size, "angle"))
        return images + sigma * normal.reshape(images.shape)

    victim = LinearGaussian(torch.tensor([1.0, -2.0, 0.5, 3.0]), 0.1)
    for p_fail in (0.3, 0.05):
        image = victim.images_at(p_fail, sigma, 1)
        test = PRTest(
            victim,
            sampler=gaussian,
            bounds=None,
            tolerance=p_fail,
            significance=1e-6,
            n_max=20_000,
        )
        result = test.measure(image, ZERO)
        n, s = int(result.n_samples), int(result.n_failures)
        low, high = stats.binom.ppf([5e-8, 1 - 5e-8], n, p_fail)
        assert n > 5000 and low <= s <= high
        assert "not_replayable" not in [flag.code for flag in result.flags]


def test_a_sampler_that_draws_elsewhere_is_flagged() -> None:
    generator = torch.Generator().manual_seed(0)

    def elsewhere(images: Tensor, u: Any) -> Tensor:
        return images + 0.01 * torch.rand(images.shape, generator=generator)

    with pytest.warns(ReliabilityWarning, match="not_replayable"):
        PRTest(RateVictim(0.0), eps=0.1, sampler=elsewhere, n_max=800).measure(
            GREY, ZERO
        )


@pytest.mark.parametrize(
    "options",
    [
        dict(sampler=LinfUniform(0.2), eps=0.1),
        dict(sampler=LinfUniform(0.1), eps=0.1, norm="L2"),
        dict(norm="L2", eps=0.5),
        dict(sampler="gaussian"),
        dict(reference="majority"),
        dict(tolerance=0.0),
        dict(tolerance=1.0),
        dict(significance=0.5),
        dict(significance=-1),
    ],
)
def test_contradictions_and_wrong_domains_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        PRTest(RateVictim(0.0), **options)


# ---------------------------------------------------------------- worst draws
@pytest.mark.parametrize("keep", ["memory", "files"])
def test_the_worst_draw_is_replayed_and_kept(keep: str, tmp_path: Any) -> None:
    net = small_net().eval()
    images = example_images(9)
    labels = net(images).argmax(1)
    place = "memory" if keep == "memory" else tmp_path / "kept"
    test = PRTest(net, eps=0.2, tolerance=0.1, n_max=200, keep=place, batch_size=5)
    result = test.measure(images, labels)
    shown = test.replay(images, result.ids, result.worst_draw)
    assert torch.equal(result.images(), shown)
    with torch.no_grad():
        logits = net(shown)
    rest = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    margin = logits.gather(1, labels[:, None])[:, 0] - rest
    torch.testing.assert_close(
        margin.double(), result.worst_margin, rtol=1e-4, atol=1e-5
    )
    failing = result.n_failures > 0
    assert bool((logits.argmax(1) != labels)[failing].all())
    back = type(result).from_json(result.to_json())
    if keep == "files":
        assert torch.equal(back.images(), shown)


def test_the_worst_draw_is_the_worst_of_all_draws() -> None:
    net = small_net().eval()
    images = example_images(3)
    labels = net(images).argmax(1)
    test = PRTest(net, eps=0.2, tolerance=0.1, n_max=100)
    result = test.measure(images, labels)
    for row in range(3):
        n = int(result.n_samples[row])
        ids = result.ids[row].expand(n)
        drawn = test.replay(images[row].expand(n, -1, -1, -1), ids, torch.arange(n))
        with torch.no_grad():
            logits = net(drawn)
        label = labels[row].expand(n)
        rest = logits.scatter(1, label[:, None], -torch.inf).amax(1)
        margin = logits.gather(1, label[:, None])[:, 0] - rest
        assert int((logits.argmax(1) != label).sum()) == int(result.n_failures[row])
        assert float(margin.min()) == pytest.approx(
            float(result.worst_margin[row]), abs=1e-5
        )


def test_a_call_shows_the_worst_of_its_draws() -> None:
    net = small_net().eval()
    images = example_images(5)
    labels = net(images).argmax(1)
    test = PRTest(net, eps=0.2, n_queries=40)
    found = test(images, labels)
    ids = test._ids(images, labels)
    best = torch.full((5,), float("inf"))
    expected = images.clone()
    for draw in range(40):
        drawn = test.replay(images, ids, torch.full((5,), draw))
        with torch.no_grad():
            logits = net(drawn)
        rest = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        margin = logits.gather(1, labels[:, None])[:, 0] - rest
        better = margin < best
        expected[better], best[better] = drawn[better], margin[better]
    assert torch.equal(found, expected)


# ---------------------------------------------------------------- resume
def test_resume_refuses_what_does_not_fit() -> None:
    images = example_images(6)
    net = small_net().eval()
    labels = net(images).argmax(1)
    options: dict[str, Any] = dict(eps=0.1, tolerance=0.1, significance=0.1)
    first = PRTest(net, n_max=60, **options).measure(images, labels)
    longer = PRTest(net, n_max=200, **options)
    with pytest.raises(StateError, match="other settings"):
        PRTest(net, n_max=200, **(options | {"eps": 0.2})).measure(
            images, labels, resume=first
        )
    with pytest.raises(StateError, match="another model"):
        PRTest(small_net(seed=3), n_max=200, **options).measure(
            images, labels, resume=first
        )
    with pytest.raises(StateError, match="same data"):
        longer.measure(images[:3], labels[:3], resume=first)
    with pytest.raises(StateError, match="not in the result"):
        longer.measure(1 - images, labels, resume=first)
    with pytest.raises(StatusError):
        longer.measure(images, labels, resume={"n": 3})


def test_resume_through_a_file() -> None:
    images = example_images(6)
    net = small_net().eval()
    labels = net(images).argmax(1)
    options: dict[str, Any] = dict(eps=0.2, tolerance=0.1)
    first = PRTest(net, n_max=100, **options).measure(images, labels)
    stored = ProbRobustness.from_dict(json.loads(first.to_json()))
    whole = PRTest(net, n_max=400, **options).measure(images, labels)
    test = PRTest(net, n_max=400, **options)
    resumed = test.measure(images, labels, resume=stored)
    assert resumed.digest() == whole.digest()
    measurements_agree(resumed, whole)
    again = test.measure(images, labels, resume=resumed)
    assert (
        again.digest() == whole.digest() and again.cost.forward == resumed.cost.forward
    )


def test_prediction_is_a_reference_that_needs_no_labels() -> None:
    images = example_images(6)
    net = small_net().eval()
    predicted = net(images).argmax(1)
    test = PRTest(net, eps=0.1, tolerance=0.1, reference="prediction")
    result = test.measure(images)
    assert torch.equal(result.reference, predicted)
    assert (
        result.count(Verdict.MISCLASSIFIED) == 0 and (result.clean_correct == -1).all()
    )
    assert test(images).shape == images.shape


def test_misclassified_images_cost_one_pass_and_claim_nothing() -> None:
    images = example_images(6)
    net = small_net().eval()
    wrong = (net(images).argmax(1) + 1) % 3
    result = PRTest(net, eps=0.1).measure(images, wrong)
    assert result.count(Verdict.MISCLASSIFIED) == 6 and int(result.n_samples.sum()) == 0
    assert (result.p_fail_lower == 0).all() and (result.p_fail_upper == 1).all()
    assert result.pra == 0.0
