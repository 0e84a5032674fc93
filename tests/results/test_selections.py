"""Do rows that were chosen after their outcome was seen still claim what only all rows can?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from torchattacks_ext import ProbRobustness, PRTest, StateError, Verdict
from torchattacks_ext.results.base.facts import Cost
from torchattacks_ext.testing import RateVictim

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
N = 200
CLAIMS = ("count_bound", "population_bounds", "mean_failure_bounds")


def measure(seed: int, **more: Any) -> ProbRobustness:
    """200 images of failure rate .305 at tolerance .3: none is robust."""
    images = torch.full((N, 1, 2, 2), 0.5)
    options: dict[str, Any] = dict(tolerance=0.3, significance=0.2, n_max=200)
    test = PRTest(RateVictim(0.305), eps=0.1, seed=seed, **(options | more))
    data = dict(images=images, labels=torch.zeros(N, dtype=torch.long))
    data |= dict(sample_ids=torch.arange(N), groups=["ab"[i % 2] for i in range(N)])
    found: ProbRobustness = test.measure([data])
    return found


@pytest.fixture(scope="module")
def whole() -> ProbRobustness:
    return measure(0, n_mean=4)


def test_select_then_count(whole: ProbRobustness) -> None:
    """A selection of certificates once claimed robust images in 60 of 60 runs; none is robust.

    That the whole run makes a false claim has a chance of at most .05 a run: all of 3 runs .000125;
    the numbers of the seeds at hand are fixed.
    """
    wrong = 0
    for seed in range(3):
        result = whole if not seed else measure(seed)
        part = result.select(result.ids[result.certified])
        assert len(part) > 0
        said = part.summary(0.95)
        assert all(said[name] is None for name in CLAIMS)
        assert said["pra_interval"] == [0.0, 1.0]
        for name in (*CLAIMS, "pra_interval"):
            assert f"{len(part)} of {N} rows" in said["left_out"][name]
        wrong += result.summary(0.95)["count_bound"] > 0
    assert wrong < 3


def test_groups_named_after_the_verdicts_are_a_selection(whole: ProbRobustness) -> None:
    names = tuple(Verdict(code).name for code in whole.verdict.tolist())
    parts = replace(whole, groups=names).by_group()
    for part in parts.values():
        assert part.summary()["count_bound"] is None and part.chosen
    for part in whole.by_group().values():
        assert part.chosen is None and part.summary()["count_bound"] is not None
    again = replace(whole, groups=names).select(whole.ids.flip(0)[:150])
    assert all(part.chosen for part in again.by_group().values())


def test_corrections_lost_their_family(whole: ProbRobustness) -> None:
    part = whole.select(whole.ids[whole.certified])
    for method in ("holm", "bh", "by", "ebh"):
        with pytest.raises(StateError, match=f"{len(part)} of {N} rows"):
            part.corrected(method)  # type: ignore[arg-type]
    raw = part.corrected("none")
    assert torch.equal(raw, part.p_value_robust)
    with pytest.raises(StateError, match="sil.*of 200 rows"):
        part.sil()


def test_a_row_taken_twice_counted_twice(whole: ProbRobustness) -> None:
    twice = whole.ids[[0, 1, 0]]
    with pytest.raises(StateError, match="1 ids occur twice"):
        whole.select(twice)


def test_ids_written_down_beforehand_are_no_choice(whole: ProbRobustness) -> None:
    """A plan's subset keeps its claims; a choice cannot be declared away afterwards."""
    plan = torch.arange(0, N, 2)
    part = whole.select(plan, declared=True)
    assert part.chosen is None and part.summary()["count_bound"] is not None
    lucky = whole.select(whole.ids[whole.certified])
    assert lucky.select(lucky.ids[:2], declared=True).chosen
    assert type(whole).from_json(lucky.to_json()).chosen == lucky.chosen


def test_parts_that_are_all_of_a_run_are_the_run_again(whole: ProbRobustness) -> None:
    """And what it cost counts once, not once a part."""
    one, two = whole.select(whole.ids[:50]), whole.select(whole.ids[50:])
    both = ProbRobustness.concat([two, one])
    assert one.chosen and both.chosen is None
    assert both.cost == whole.cost and both.digest() == whole.digest()
    said, wanted = both.summary(), whole.summary()
    assert {k: v for k, v in said.items()} == {k: v for k, v in wanted.items()}
    other = replace(measure(0), ids=torch.arange(N, 2 * N), cost=Cost(5))
    settings = dict(whole.settings)
    mixed = ProbRobustness.concat([one, replace(other, settings=settings)])
    assert mixed.chosen == one.chosen and mixed.summary()["count_bound"] is None


def test_resume_laundered_a_selection(whole: ProbRobustness) -> None:
    """Measured on, the chosen rows are a result of their own length and still a part."""
    lucky = whole.select(whole.ids[whole.certified])
    images = torch.full((len(lucky), 1, 2, 2), 0.5)
    test = PRTest(
        RateVictim(0.305), eps=0.1, tolerance=0.3, significance=0.2, n_max=200, n_mean=4
    )
    labels = torch.zeros(len(lucky), dtype=torch.long)
    again = test.measure(images, labels, ids=lucky.ids, resume=lucky)
    assert again.chosen == lucky.chosen and again.summary()["count_bound"] is None


def test_shared_noise_leaves_out_the_interval_of_certified_images() -> None:
    """One draw decides about all images: their share says nothing about a new one."""
    said = measure(1, shared_noise=True).summary()
    assert said["pra_interval"] == [0.0, 1.0]
    assert "shared" in said["left_out"]["pra_interval"]
