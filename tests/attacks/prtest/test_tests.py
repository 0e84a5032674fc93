"""Does PRTest keep its promises with each of its tests, by their names?

Error rates by simulation, one answer for any batching, resume, and the two sides of a budget.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    ProbRobustness,
    PRTest,
    ReliabilityWarning,
    StateError,
    Verdict,
)
from torchattacks_ext.attacks.prtest.design import make_rule
from torchattacks_ext.testing import RateVictim, small_net
from torchattacks_ext.testing.props import example_images

TESTS = ("eprocess", "sprt", "fixed", "group")
every_test = pytest.mark.parametrize("name", TESTS)


def slow_but(*quick: str) -> Any:
    """Every test; those that are not named are left to the slow ones."""
    slow = (pytest.param(name, marks=pytest.mark.slow) for name in TESTS)
    return pytest.mark.parametrize(
        "name", [n if n in quick else s for n, s in zip(TESTS, slow)]
    )


GREY = torch.full((1, 1, 4, 4), 0.5)


def greys(n: int) -> tuple[Tensor, Tensor, Tensor]:
    return GREY.expand(n, 1, 4, 4), torch.zeros(n, dtype=torch.long), torch.arange(n)


class Shaded(nn.Module):
    """Images of shade 0.42 + x fail at a rate of (0.1 - x) / 0.2 under Linf noise of 0.1."""

    def forward(self, images: Tensor) -> Tensor:
        score = images.flatten(1)[:, 0] - 0.42
        return torch.stack([score, torch.zeros_like(score)], 1)


def shades(n: int) -> tuple[Tensor, Tensor]:
    images = torch.linspace(0.41, 0.56, n).reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3)
    return images.contiguous(), (images[:, 0, 0, 0] < 0.42).long()


def columns(result: ProbRobustness) -> Any:
    return json.dumps(result.to_dict()["columns"])


# ---------------------------------------------------------------- truth
@slow_but("eprocess")
def test_wrong_claims_at_the_tolerance_stay_below_the_level(name: str) -> None:
    """2,000 images; the limit is passed once in 1e7. Verdicts are those of the bounds."""
    images, labels, ids = greys(2000)
    test = PRTest(
        RateVictim(0.1), 0.1, test=name, tolerance=0.1, significance=0.05, n_max=400
    )
    result = test.measure(images, labels, ids=ids)
    most = stats.binom.isf(1e-7, 2000, 0.05)
    assert 0 < result.count(Verdict.ROBUST) <= most
    assert 0 < result.count(Verdict.NOT_ROBUST) <= most
    lower, upper = result.p_fail_lower, result.p_fail_upper
    expected = torch.where(lower > 0.1, 2, (upper <= 0.1).long()).to(torch.int8)
    assert torch.equal(expected, result.verdict)
    assert int((upper < 0.1).sum()) <= most and int((lower > 0.1).sum()) <= most
    small = result.p_value_robust <= 0.05
    assert bool(small[result.verdict == int(Verdict.ROBUST)].all())
    assert int(small.sum()) <= most


@pytest.mark.parametrize(
    "name, draws",
    [("eprocess", 505), ("sprt", 915), ("fixed", 6269), ("group", 625)],
)
def test_defaults_certify_an_image_that_never_fails(name: str, draws: int) -> None:
    """n_max is None: 20,000 draws, or the 6,314 of the fixed test with power .99 at half."""
    test = PRTest(RateVictim(0.0), 0.1, test=name, significance=0.01)
    if name == "group":
        draws = int(test.draws_to_certify)
        assert draws in [round(20_000 / 2**j) for j in range(8)] and draws >= 459
    assert test.draws_to_certify == draws
    result = test.measure(GREY, torch.zeros(1, dtype=torch.long))
    assert result.n_samples.tolist() == [draws]
    assert result.verdict.tolist() == [int(Verdict.ROBUST)]
    cap = {"fixed": 6314, "group": 20_000}.get(name)
    assert result.settings["n_max"] == (
        cap or make_rule(name, 0.01, 0.01, None).boundaries.n_max
    )
    assert result.settings["guarantee"] == "exact"
    assert result.settings["test"] == name and (result.n_deaths == -1).all()


# ---------------------------------------------------------------- one answer
@slow_but("eprocess")
def test_batching_and_order_do_not_change_the_digest(
    name: str, measurements_agree: Any
) -> None:
    images, labels = shades(30)

    def test(size: int) -> PRTest:
        options: dict[str, Any] = dict(tolerance=0.05, significance=0.01, n_max=500)
        return PRTest(Shaded(), 0.1, test=name, batch_size=size, **options)

    whole = test(256).measure(images, labels)
    assert len(set(whole.verdict.tolist())) >= 3
    order = torch.arange(30).flip(0)
    found = [test(size).measure(images, labels) for size in (1, 7, 128)]
    found.append(test(64).measure(images[order], labels[order]))
    halves = [test(16).measure(images[i::2], labels[i::2]) for i in (0, 1)]
    found.append(ProbRobustness.concat(halves))
    for other in found:
        assert other.digest() == whole.digest()
        measurements_agree(whole, other)
    back = ProbRobustness.from_dict(json.loads(whole.to_json()))
    assert back.to_dict() == whole.to_dict() and back.digest() == whole.digest()


# ---------------------------------------------------------------- resume
@pytest.mark.parametrize("name", ["eprocess", "sprt"])
def test_a_larger_budget_gives_what_one_long_run_gives(name: str) -> None:
    images, labels = shades(30)

    def test(n_max: int) -> PRTest:
        options: dict[str, Any] = dict(tolerance=0.1, significance=0.01)
        return PRTest(Shaded(), 0.1, test=name, n_max=n_max, **options)

    first = test(150).measure(images, labels)
    resumed = test(3000).measure(images, labels, resume=first)
    whole = test(3000).measure(images, labels)
    assert first.digest() != whole.digest() == resumed.digest()
    assert columns(resumed) == columns(whole)


@pytest.mark.parametrize("name", ["fixed", "group"])
def test_a_planned_test_refuses_another_plan_and_goes_on_after_a_cut(name: str) -> None:
    images, labels = shades(30)

    def test(n_max: int = 400, **more: Any) -> PRTest:
        options: dict[str, Any] = dict(tolerance=0.1, significance=0.01, batch_size=64)
        return PRTest(Shaded(), 0.1, test=name, n_max=n_max, **(options | more))

    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        cut = test(max_queries=3000 if name == "fixed" else 1500).measure(
            images, labels
        )
    going = (cut.verdict == int(Verdict.UNDECIDED)) & (cut.n_samples > 0)
    assert bool(going.any())
    with pytest.raises(StateError, match="n_max"):
        test(800).measure(images, labels, resume=cut)
    resumed = test().measure(images, labels, resume=cut)
    whole = test().measure(images, labels)
    assert resumed.digest() == whole.digest() and columns(resumed) != columns(cut)
    drawn = "n_drawn"  # a round that was cut is drawn again and counted once
    one, other = (r.to_dict()["columns"] for r in (resumed, whole))
    assert {k: v for k, v in one.items() if k != drawn} == {
        k: v for k, v in other.items() if k != drawn
    }


@pytest.mark.parametrize("name", ["sprt", "fixed"])
def test_a_row_that_was_given_up_stays_so(name: str) -> None:
    """Between half and twice the tolerance Wald ends; a fixed test ends when nothing can come."""
    images, labels, ids = greys(60)
    options: dict[str, Any] = dict(test=name, tolerance=0.1, significance=0.05)
    n_max = 2000 if name == "sprt" else 300
    victim = RateVictim(0.1)
    first = PRTest(victim, 0.1, n_max=n_max, **options).measure(images, labels, ids=ids)
    early = (first.verdict == 0) & (first.n_samples < first.settings["n_max"])
    assert int(early.sum()) > 5
    longer = PRTest(
        victim, 0.1, n_max=2 * n_max if name == "sprt" else n_max, **options
    )
    resumed = longer.measure(images, labels, ids=ids, resume=first)
    assert torch.equal(resumed.n_samples[early], first.n_samples[early])
    assert bool((resumed.verdict[early] == 0).all())
    whole = longer.measure(images, labels, ids=ids)
    assert resumed.digest() == whole.digest()


# ---------------------------------------------------------------- small plans
@pytest.mark.parametrize(
    "name, n_max", [("eprocess", 300), ("sprt", 300), ("group", 300)]
)
def test_a_plan_that_cannot_certify_names_a_number_that_can(
    name: str, n_max: int
) -> None:
    options: dict[str, Any] = dict(test=name, significance=0.01)
    with pytest.warns(ReliabilityWarning, match="can certify no image") as seen:
        short = PRTest(RateVictim(0.0), 0.1, n_max=n_max, **options)
    assert make_rule(name, 0.01, 0.01, n_max).least_n is None
    needed = int(str(seen[0].message).split("n_max >= ")[1].split()[0])
    with pytest.warns(ReliabilityWarning, match="cannot_certify"):
        short.measure(GREY, torch.zeros(1, dtype=torch.long))
    with pytest.warns(ReliabilityWarning, match="is small for"):
        enough = PRTest(RateVictim(0.0), 0.1, n_max=needed, **options)
    assert (
        make_rule(name, 0.01, 0.01, needed).least_n is not None
        and enough.draws_to_certify <= needed
    )


@pytest.mark.parametrize(
    "name, level",
    [(name, level) for name in TESTS for level in (0.01, 0.001)],
)
def test_a_weak_plan_names_a_number_that_is_enough(name: str, level: float) -> None:
    options: dict[str, Any] = dict(test=name, significance=level)
    with pytest.warns(ReliabilityWarning, match="is small for") as seen:
        weak = PRTest(RateVictim(0.0), 0.1, n_max=1400, **options)
    assert make_rule(name, 0.01, level, 1400).weak
    needed = int(str(seen[0].message).split("n_max >= ")[1].split(",")[0])
    with pytest.warns(ReliabilityWarning, match="low_power"):
        weak.measure(GREY, torch.zeros(1, dtype=torch.long))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PRTest(RateVictim(0.0), 0.1, n_max=needed, **options)
    assert not make_rule(name, 0.01, level, needed).weak


def test_a_fixed_plan_that_can_certify_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="n_max >= 688"):
        PRTest(RateVictim(0.0), 0.1, test="fixed", n_max=600)


# ---------------------------------------------------------------- e-values, lists, words
@every_test
def test_only_anytime_tests_have_e_values(name: str) -> None:
    images, labels = shades(12)
    options: dict[str, Any] = dict(tolerance=0.1, significance=0.05, n_max=600)
    result = PRTest(Shaded(), 0.1, test=name, **options).measure(images, labels)
    drawn = result.n_samples > 0
    found = result.log_e_robust[drawn]
    if name in ("eprocess", "sprt"):
        assert not bool(found.isnan().any())
        certified = result.verdict == int(Verdict.ROBUST)
        adjusted = result.corrected("ebh")
        assert bool((result.corrected("none")[certified] <= 0.05).all())
        assert adjusted.shape == result.verdict.shape
    else:
        assert bool(found.isnan().all())
        with pytest.raises(ConfigError, match=f"test='{name}' has none"):
            result.corrected("ebh")
    for method in ("holm", "bh", "by"):
        adjusted = result.corrected(method)
        assert bool((adjusted >= result.p_value_robust).all())


@pytest.mark.parametrize("word", ["e-process", "", "Fixed", None])
def test_a_test_of_another_name_is_refused(word: Any) -> None:
    with pytest.raises(ConfigError, match="test="):
        PRTest(RateVictim(0.0), 0.1, test=word)


def test_the_tests_agree_on_images_far_from_the_tolerance() -> None:
    images = example_images(6)
    net = small_net().eval()
    labels = net(images).argmax(1)
    verdicts = []
    for name in TESTS:
        options: dict[str, Any] = dict(tolerance=0.2, significance=0.01, n_max=1500)
        result = PRTest(net, 0.02, test=name, **options).measure(images, labels)
        verdicts.append(result.verdict.tolist())
    assert verdicts.count(verdicts[0]) == len(TESTS)
