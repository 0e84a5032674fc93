"""Does test="splitting" of PRTest see rates that draws cannot, and does it say what it does not?

A half-space under Gaussian noise has an exact failure rate; the law of the deaths is that of an
ideal kernel, so limits of random tests hold for an ideal one.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext import (
    ConfigError,
    ProbRobustness,
    PRTest,
    ReliabilityWarning,
    Status,
    StatusError,
    Verdict,
)
from torchattacks_ext.samplers import Gaussian
from torchattacks_ext.testing import LinearGaussian

SIGMA = 0.5
WEIGHT = torch.tensor([1.0, -2.0, 0.5, 3.0] * 3)
VICTIM = LinearGaussian(WEIGHT, 0.0)
SPREAD = SIGMA * float(WEIGHT.norm())
LAW = Gaussian(SIGMA, boundary="none")
SMALL: dict[str, Any] = dict(n_systems=2, n_particles=8, n_moves=10)


def zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.long)


def make(model: Any = VICTIM, **options: Any) -> PRTest:
    settings: dict[str, Any] = dict(
        sampler=LAW, bounds=None, test="splitting", tolerance=1e-3, significance=0.01
    )
    return PRTest(model, **(settings | options))


def measured(test: PRTest, images: Tensor, labels: Any = None, **more: Any) -> Any:
    labels = zeros(len(images)) if labels is None else labels
    with pytest.warns(ReliabilityWarning, match="ideal_kernel"):
        return test.measure(images, labels, **more)


def in_deviations(form: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A model whose margin is a function of the score in standard deviations of the noise."""

    def model(images: Tensor) -> Tensor:
        margin = form(VICTIM.score(images) / SPREAD)
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    return model


# ---------------------------------------------------------------- truth
def check_deaths(p: float, n: int) -> ProbRobustness:
    images = VICTIM.images_at(p, SIGMA, n)
    result = measured(make(tolerance=p / 100), images)
    mean = -128 * math.log(p)
    found = result.n_deaths.double()
    assert abs(float(found.mean()) - mean) < 5 * math.sqrt(mean / n)
    assert 0.4 < float(found.var()) / mean < 2.2
    assert result.count(Verdict.NOT_ROBUST) == n
    assert (result.p_fail_lower <= result.p_fail).all()
    assert (result.p_fail <= result.p_fail_upper).all()
    variance = p ** (-1 / 128) - 1  # of the estimate in units of p, exactly
    assert abs(float(result.p_fail.mean()) / p - 1) < 6 * math.sqrt(variance / n)
    missed = (result.p_fail_upper < p) | (result.p_fail_lower > p)
    assert int(missed.sum()) <= stats.binom.isf(1e-6, n, 2 * 0.01)
    return result


@pytest.fixture(scope="module")
def whole() -> ProbRobustness:
    """16 images of rate 1e-4, in full: mean deaths five deviations off once in 2e6."""
    return check_deaths(1e-4, 16)


def test_deaths_follow_the_poisson_law(whole: ProbRobustness) -> None:
    assert (whole.n_failures > 0).all() and (whole.worst_margin < 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("p", [1e-6, 1e-8, 1e-10])
def test_deaths_follow_the_poisson_law_far_out(p: float) -> None:
    """100 images; a mean five deviations off comes once in 2e6."""
    check_deaths(p, 100)


@pytest.mark.slow
def test_wrong_claims_at_the_tolerance_stay_near_the_level() -> None:
    """100 images with p_fail = tolerance = 1e-3, level .05: limits of false alarm 1e-6."""
    options: dict[str, Any] = dict(n_systems=4, n_particles=16, significance=0.05)
    result = measured(make(**options), VICTIM.images_at(1e-3, SIGMA, 100))
    most = stats.binom.isf(1e-6, 100, 0.05)
    assert result.count(Verdict.ROBUST) <= most
    assert result.count(Verdict.NOT_ROBUST) <= most


@pytest.mark.slow
def test_a_rare_failure_is_certified_at_the_planned_cost() -> None:
    test = make(tolerance=1e-3)
    result = measured(test, VICTIM.images_at(1e-9, SIGMA, 2))
    assert result.count(Verdict.ROBUST) == 2
    assert (result.p_fail_upper <= 1e-3).all() and (result.p_fail_lower == 0).all()
    assert result.p_fail.isnan().all()  # stopped: there is no estimate
    assert (result.n_samples <= test.draws_to_certify).all()
    assert (result.n_samples >= test.draws_to_certify - 20 * 8).all()
    assert (result.n_drawn > result.n_samples).all()  # a pilot came first
    assert result.cost.forward >= int(result.n_drawn.sum())


def test_verdict_and_bounds_never_disagree(whole: ProbRobustness) -> None:
    few = measured(make(**SMALL), VICTIM.images_at(3e-3, SIGMA, 12))
    for result, tolerance in ((whole, 1e-6), (few, 1e-3)):
        lower, upper = result.p_fail_lower, result.p_fail_upper
        verdict = torch.where(lower > tolerance, 2, (upper <= tolerance).long())
        assert torch.equal(verdict.to(torch.int8), result.verdict)
        assert (lower <= result.p_fail.nan_to_num(nan=0.0)).sum() >= len(result) // 2
        certified = result.verdict == int(Verdict.ROBUST)
        assert torch.equal(result.p_value_robust <= 0.01, certified)


# ---------------------------------------------------------------- what is said of it
def test_the_guarantee_is_named_and_claims_of_the_data_set_are_left_out(
    whole: ProbRobustness,
) -> None:
    assert whole.settings["guarantee"] == "ideal-kernel"
    assert whole.settings["test"] == "splitting"
    assert "ideal_kernel" in [flag.code for flag in whole.flags]
    found = whole.summary()
    assert found["count_bound"] is None and found["population_bounds"] is None
    assert "ideal kernel" in found["left_out"]["count_bound"]
    assert found["guarantee"] == "ideal-kernel" and found["not_robust"] == 16
    with pytest.raises(ConfigError, match="ebh"):
        whole.corrected("ebh")
    assert torch.equal(whole.corrected("none"), whole.p_value_robust)
    back = ProbRobustness.from_dict(json.loads(whole.to_json()))
    assert back.to_dict() == whole.to_dict()


@pytest.mark.slow
def test_the_same_run_twice_is_the_same_to_the_byte() -> None:
    images = VICTIM.images_at(1e-3, SIGMA, 2)

    def run(**options: Any) -> dict[str, Any]:
        found = measured(make(**SMALL, **options), images).to_dict()
        del found["provenance"]["finished"], found["cost"]["seconds"]
        return copy.deepcopy(found)

    first = run()
    assert json.dumps(first) == json.dumps(run())
    assert run(seed=1)["columns"]["n_deaths"] != first["columns"]["n_deaths"]


def test_kept_images_have_the_worst_margin() -> None:
    images = VICTIM.images_at(1e-3, SIGMA, 5)
    test = make(keep="memory", **SMALL)
    result = measured(test, images)
    shown = VICTIM.score(result.images()).double()
    torch.testing.assert_close(shown, result.worst_margin, rtol=1e-4, atol=1e-5)
    assert (result.worst_draw == -1).all()
    with pytest.raises(StatusError, match="keep="):
        test.replay(images, result.ids, result.worst_draw)


def test_a_law_without_latents_is_refused() -> None:
    with pytest.raises(ConfigError, match="from_latent"):
        PRTest(VICTIM, sampler=lambda x, u: x + u(1), bounds=None, test="splitting")


# ---------------------------------------------------------------- budgets
@pytest.mark.parametrize(
    "limit", [60, 400, 1500, pytest.param(4001, marks=pytest.mark.slow)]
)
def test_max_queries_is_kept_and_what_is_left_is_undecided(limit: int) -> None:
    p, images = 1e-4, VICTIM.images_at(1e-4, SIGMA, 6)
    test = make(max_queries=limit, tolerance=1e-6, batch_size=32, **SMALL)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = measured(test, images)
    assert result.cost.forward <= limit
    assert result.count(Verdict.UNDECIDED) >= 1 and result.count(Verdict.ROBUST) == 0
    assert (result.p_fail_upper >= p).all() and (result.p_fail_lower <= p).all()
    reached = result.status != int(Status.NOT_REACHED)
    assert torch.equal(reached, result.n_samples > 0)


def test_a_run_that_was_cut_goes_on_with_the_images_not_reached() -> None:
    images, size = VICTIM.images_at(0.1, SIGMA, 6), dict(batch_size=8, **SMALL)
    whole = measured(make(**size), images)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        cut = measured(make(max_queries=1500, **size), images)
    assert 0 < int((cut.n_samples > 0).sum()) < 6
    resumed = measured(make(**size), images, resume=cut)
    done = cut.verdict != int(Verdict.UNDECIDED)
    again = done | (cut.n_samples == 0)
    assert torch.equal(resumed.n_deaths[again], whole.n_deaths[again])
    assert torch.equal(resumed.verdict[again], whole.verdict[again])


@pytest.mark.parametrize(
    "n_max", [16, 17, 300, pytest.param(999, marks=pytest.mark.slow)]
)
def test_n_max_is_kept(n_max: int) -> None:
    with pytest.warns(ReliabilityWarning, match="can certify no image"):
        test = make(n_max=n_max, tolerance=1e-6, **SMALL)
    with pytest.warns(ReliabilityWarning, match="cannot_certify"):
        result = measured(test, VICTIM.images_at(1e-4, SIGMA, 4))
    assert (result.n_samples <= n_max).all() and (result.n_samples > 0).all()
    assert result.count(Verdict.UNDECIDED) == 4
    assert (result.p_fail_upper >= 1e-4).all() and (result.n_deaths >= 0).all()


def test_n_max_below_the_first_particles_was_exceeded() -> None:
    with pytest.raises(ConfigError, match="n_max=15 is below the 16 particles"):
        make(n_max=15, **SMALL)


def test_few_moves_are_told() -> None:
    with pytest.warns(ReliabilityWarning, match="n_moves=5 leaves copies near"):
        make(n_moves=5)


# ---------------------------------------------------------------- ties
FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "hard": lambda m: 2 * torch.sign(m),
    "saturated": lambda m: m.clamp(max=0.5),
    "in steps of a tenth": lambda m: (10 * m).round() / 10,
    "in steps of a hundredth": lambda m: (100 * m).round() / 100,
}
LONG = ("in steps of a tenth", "in steps of a hundredth")


@pytest.mark.parametrize(
    "form",
    [form for form in FORMS if form not in LONG]
    + [pytest.param(form, marks=pytest.mark.slow) for form in LONG],
)
def test_margins_that_repeat_are_undecided_and_flagged(form: str) -> None:
    images = VICTIM.images_at(1e-5, SIGMA, 4)
    with pytest.warns(ReliabilityWarning, match="tied_margins"):
        result = measured(make(in_deviations(FORMS[form])), images)
    assert result.count(Verdict.UNDECIDED) == 4 and (result.n_deaths == -1).all()
    flag = next(flag for flag in result.flags if flag.code == "tied_margins")
    assert flag.count == 4
    assert (result.p_fail_upper == 1).all() and (result.p_fail_lower == 0).all()
    assert (result.p_value_robust == 1).all()


@pytest.mark.parametrize("n_moves", [5, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "p, inside, tolerance",
    [
        pytest.param(1e-8, 1e-5, 1e-9, marks=pytest.mark.slow),
        (1e-7, 1e-4, 1e-8),
    ],
)
def test_a_plateau_beside_the_boundary_was_certified(
    p: float, inside: float, tolerance: float, n_moves: int
) -> None:
    """All draws beyond rate `inside` have one margin: 9 of 12 images with p = 10 tolerance were
    ROBUST, by deaths that brought no particle nearer."""
    edge = float(stats.norm.isf(p) - stats.norm.isf(inside))

    def flat(m: Tensor) -> Tensor:
        return torch.where((m > 0) & (m < edge), torch.full_like(m, edge), m)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_moves=", ReliabilityWarning)
        test = make(in_deviations(flat), tolerance=tolerance, n_moves=n_moves)
    with pytest.warns(ReliabilityWarning, match="tied_margins"):
        warnings.filterwarnings("ignore", ".few_moves. ", ReliabilityWarning)
        result = measured(test, VICTIM.images_at(p, SIGMA, 6))
    assert result.count(Verdict.ROBUST) == 0


# ---------------------------------------------------------------- other rows
def test_nan_logits_are_failures() -> None:
    """They were taken for repeated margins and the image left undecided.

    A last pixel that the score does not see says which image gets NaN where it fails.
    """
    victim = LinearGaussian(torch.cat([WEIGHT, torch.zeros(1)]), 0.0)

    def broken(images: Tensor) -> Tensor:
        logits = victim(images)
        bad = (logits[:, 0] < 0) & (images[:, -1] > 0)
        return torch.where(bad[:, None], torch.nan, logits)

    images = victim.images_at(1e-3, SIGMA, 4)
    images[:, -1] = torch.tensor([100.0, -100.0, 100.0, -100.0])
    plain = measured(make(victim, **SMALL), images)
    with pytest.warns(ReliabilityWarning, match="non_finite"):
        result = measured(make(broken, **SMALL), images)
    assert torch.equal(result.n_deaths, plain.n_deaths)
    assert torch.equal(result.n_failures, plain.n_failures)
    bad = torch.tensor([True, False, True, False])
    assert torch.equal(result.status == int(Status.NON_FINITE), bad)
    assert torch.equal(result.worst_margin == -torch.inf, bad)


def test_an_image_that_is_wrong_already_has_no_particles() -> None:
    images = VICTIM.images_at(1e-3, SIGMA, 3)
    result = measured(make(**SMALL), images, torch.tensor([0, 1, 0]))
    assert result.verdict[1] == int(Verdict.MISCLASSIFIED)
    assert result.n_samples[1] == 0 and result.n_deaths[1] == -1
    assert (result.n_samples[[0, 2]] > 0).all()


@pytest.mark.slow
def test_reaching_a_target_is_the_failure_of_targeted_mode() -> None:
    images = VICTIM.images_at(1e-3, SIGMA, 4)
    plain, test = measured(make(**SMALL), images), make(**SMALL)
    test.set_mode_targeted_by_label(quiet=True)
    ones = torch.ones(4, dtype=torch.long)
    result = measured(test, images, ones, ids=plain.ids)
    assert torch.equal(result.n_deaths, plain.n_deaths)
    assert (result.clean_correct == -1).all() and (result.reference == 1).all()


def test_an_image_that_mostly_fails_is_refuted_at_once() -> None:
    result = measured(make(tolerance=1e-6), VICTIM.images_at(0.45, SIGMA, 3))
    assert result.count(Verdict.NOT_ROBUST) == 3
    assert (result.p_fail_lower > 0.2).all() and (result.p_fail_upper < 0.8).all()
