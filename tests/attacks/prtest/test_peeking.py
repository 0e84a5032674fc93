"""Is what PRTest says still true for a reader who stops, looks, and goes on when it suits him?

How often a claim is wrong then stands in tests/numerics/rates/test_any_look.py and
tests/numerics/populations/test_peeking.py, exactly; here, that PRTest says those numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
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
    Verdict,
)
from torchattacks_ext.testing import RateVictim

UNDECIDED = int(Verdict.UNDECIDED)
LEVEL, N_MAX, LOOKS = 0.05, 128, (8, 16, 32, 64, 128)


def greys(n: int) -> tuple[Tensor, Tensor]:
    return torch.full((n, 1, 2, 2), 0.5), torch.zeros(n, dtype=torch.long)


def look_by_look(name: str, m: int) -> Iterator[ProbRobustness]:
    """Results of m images at the tolerance, .5: the budget stops them at each look."""
    images, labels = greys(m)
    result, before = None, 0
    for n in LOOKS:
        waiting = m
        if result is not None:
            waiting = int((result.verdict == UNDECIDED).sum())
        budget = 100 + m * (result is None) + waiting * (n - before)
        options: dict[str, Any] = dict(tolerance=0.5, significance=LEVEL, n_max=N_MAX)
        test = PRTest(
            RateVictim(0.5),
            0.1,
            test=name,
            batch_size=4096,
            max_queries=budget,
            **options,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            result = test.measure(images, labels, ids=range(m), resume=result)
        before = n
        yield result


def check_told(result: ProbRobustness, tolerance: float, level: float) -> None:
    """Verdicts, p-values and bounds say the same of every row."""
    robust = result.verdict == int(Verdict.ROBUST)
    broken = result.verdict == int(Verdict.NOT_ROBUST)
    assert torch.equal(result.p_value_robust <= level, robust)
    assert torch.equal(result.p_value_not_robust <= level, broken)
    assert torch.equal(result.p_fail_upper <= tolerance, robust)
    assert torch.equal(result.p_fail_lower > tolerance, broken)


def test_an_undecided_row_of_a_plan_that_was_cut_has_no_small_p_value() -> None:
    """Cut at each look of "group": one story at each, and at last the whole run's."""
    seen = []
    for result in look_by_look("group", 100):
        check_told(result, 0.5, LEVEL)
        seen.append(int(result.n_samples.max()))
    assert seen == list(LOOKS)
    assert result.provenance["resumed"] == 4
    images, labels = greys(100)
    test = PRTest(
        RateVictim(0.5),
        0.1,
        test="group",
        tolerance=0.5,
        significance=LEVEL,
        n_max=N_MAX,
    )
    whole = test.measure(images, labels, ids=range(100))
    assert whole.digest() == result.digest()
    for column in (
        "p_value_robust",
        "p_value_not_robust",
        "p_fail_lower",
        "p_fail_upper",
    ):
        assert torch.equal(getattr(whole, column), getattr(result, column))
    assert "resumed" not in whole.provenance


@pytest.mark.slow
@pytest.mark.parametrize("name", ["group", "fixed", "eprocess"])
def test_false_claims_stay_rare_where_a_run_is_stopped_and_gone_on_with(
    name: str,
) -> None:
    """1,500 images at the tolerance, stopped five times: passed once in 1e6 by a true .05."""
    robust, broken = torch.zeros(2, 1500, dtype=torch.bool)
    low, high = torch.zeros(2, 1500, dtype=torch.bool)
    for result in look_by_look(name, 1500):
        robust |= result.p_value_robust <= LEVEL
        broken |= result.p_value_not_robust <= LEVEL
        low |= result.p_fail_upper < 0.5
        high |= result.p_fail_lower > 0.5
    most = stats.binom.isf(1e-6, 1500, LEVEL)
    for claims in (robust, broken, low, high):
        assert 0 < int(claims.sum()) <= most


# ---------------------------------------------------------------- lists of claims
class Shaded(nn.Module):
    """Images of shade 0.5 fail at a rate of .1 under Linf noise of .1, those of shade .8 never."""

    def forward(self, images: Tensor) -> Tensor:
        score = images.flatten(1)[:, 0] - 0.42
        return torch.stack([score, torch.zeros_like(score)], 1)


OPTIONS: dict[str, Any] = dict(tolerance=0.1, significance=0.01, batch_size=16)


def list_of_images() -> tuple[Tensor, Tensor]:
    shades = torch.tensor([0.5] * 6 + [0.8] * 4)
    images = shades.reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return images, torch.zeros(10, dtype=torch.long)


def measured(name: str, resume: Any = None, **more: Any) -> ProbRobustness:
    test = PRTest(Shaded(), 0.1, test=name, **(OPTIONS | dict(n_max=300) | more))
    return test.measure(*list_of_images(), ids=range(10), resume=resume)


@pytest.fixture(scope="module", params=["eprocess", "sprt"])
def runs(request: Any) -> tuple[ProbRobustness, ProbRobustness, ProbRobustness]:
    """One whole run, one that the budget ended, and that one gone on with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        cut = measured(request.param, max_queries=900)
        return measured(request.param), cut, measured(request.param, cut)


def test_bh_of_a_run_that_others_stopped_or_extended_is_doubted(runs: Any) -> None:
    whole, cut, extended = runs
    assert extended.digest() == whole.digest()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole.corrected("bh")
        for result in runs:
            for method in (None, "holm", "by", "ebh", "none"):
                result.corrected(method)
    with pytest.warns(ReliabilityWarning, match="bh_not_valid.*the budget ended"):
        cut.corrected("bh")
    with pytest.warns(
        ReliabilityWarning, match=r"bh_not_valid.*gone on with \(resume=\)"
    ):
        extended.corrected("bh", "not_robust")


def test_e_bh_is_what_is_taken_where_rows_were_stopped_by_results(runs: Any) -> None:
    whole, *stopped = runs
    for claim in ("robust", "not_robust"):
        assert torch.equal(whole.corrected(claim=claim), whole.corrected("holm", claim))
        for result in stopped:
            taken = result.corrected(claim=claim)
            assert torch.equal(taken, result.corrected("ebh", claim))


def test_a_test_without_e_values_takes_holm_also_after_a_resume() -> None:
    for name in ("group", "fixed"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            cut = measured(name, max_queries=900)
        extended = measured(name, cut)
        assert torch.equal(extended.corrected(), extended.corrected("holm"))
        with pytest.warns(ReliabilityWarning, match="bh_not_valid"):
            extended.corrected("bh")


def test_a_part_of_an_extended_run_remembers_that_it_was_extended(runs: Any) -> None:
    """Cut, joined with parts that were not, sorted, written and read back."""
    whole, _, extended = runs
    ids = extended.ids
    front = whole.select(ids[:5], declared=True)
    rest = extended.select(ids[5:], declared=True)
    parts = [
        rest,
        ProbRobustness.concat([front, rest]),
        extended.sort(),
        ProbRobustness.from_json(extended.to_json()),
    ]
    for part in parts:
        with pytest.warns(ReliabilityWarning, match="gone on with"):
            part.corrected("bh")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        front.corrected("bh")


def test_bh_of_images_whose_numbers_may_be_shared_is_refused() -> None:
    """A law that draws elsewhere."""

    def law(images: Tensor, u: Any) -> Tensor:
        return images + 0.01 * torch.rand_like(images)

    test = PRTest(Shaded(), sampler=law, **(OPTIONS | dict(n_max=60)))
    with pytest.warns(ReliabilityWarning, match="not_replayable"):
        result = test.measure(*list_of_images(), ids=range(10))
    with pytest.raises(ConfigError, match="independent images.*draws its own numbers"):
        result.corrected("bh")
