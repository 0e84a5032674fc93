"""Is every claim that is still made true, however results were cut, resumed, chosen and joined?

Victims are solved: images of known failure rates, some of them exactly at the tolerance, drawn at
random from a source of known shares. Tests are played by their own tables, so that no network runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from torchattacks_ext import ProbRobustness, StateError, Verdict
from torchattacks_ext._typing import Status
from torchattacks_ext.numerics.rates.operating import operating
from torchattacks_ext.numerics.rates.rules import EProcess
from torchattacks_ext.results.base.facts import Flag
from torchattacks_ext.results.base.origin import groups_hash

Array = NDArray[Any]
TOLERANCE, LEVEL, CONFIDENCE, N_MEAN = 0.2, 0.1, 0.9, 8
RATES = np.array([0.0, 0.05, 0.2, 0.21, 0.9])
SHARES = np.array([0.3, 0.2, 0.2, 0.1, 0.2])
WRONG = 0.1
"""Share of images whose clean answer is wrong, whatever their rate."""
RULE = EProcess.design(TOLERANCE, LEVEL, 120)
TABLE = RULE.boundaries
CERTIFIED = float(
    sum(w * operating(TABLE, r).certified for w, r in zip(SHARES, RATES)) * (1 - WRONG)
)
"""The chance that a new image is certified by a whole run, exact."""
ROBUST = float(SHARES[RATES <= TOLERANCE].sum() * (1 - WRONG))
SETTINGS = {
    "method": "PRTest",
    "test": "eprocess",
    "tolerance": TOLERANCE,
    "significance": LEVEL,
    "n_max": TABLE.n_max,
    "guarantee": "exact",
    "sampler": {"name": "solved"},
}


@dataclass
class Images:
    """Images of one shard: what they are, and the failures of all draws they will ever have."""

    ids: Array
    p: Array
    right: Array
    groups: tuple[str, ...]
    failures: Array  # (N, L) at each look
    stop: Array  # (N,) the look at which the test ends by itself
    mean_failures: Array

    @classmethod
    def drawn(cls, rng: np.random.Generator, first: int) -> Images:
        n = int(rng.integers(3, 40))
        p = rng.choice(RATES, n, p=SHARES)
        steps = np.diff(TABLE.looks, prepend=0)
        failures = rng.binomial(steps, p[:, None]).cumsum(1)
        over = TABLE.over(np.arange(len(steps)), failures)
        return cls(
            np.arange(first, first + n),
            p,
            rng.random(n) >= WRONG,
            tuple("ab"[i] for i in rng.integers(0, 2, n)),
            failures,
            over.argmax(1),
            rng.binomial(N_MEAN, p),
        )

    def result(self, place: Array, cut: bool, asks_mean: bool) -> ProbRobustness:
        """Rows at their looks (N,), -1 for rows without any; cut: the budget ended the run."""
        at, n = np.where(self.right, np.minimum(place, self.stop), -1), len(self.ids)
        begun, row = at >= 0, np.arange(n)
        look = np.maximum(at, 0)
        s = np.where(begun, self.failures[row, look], 0)
        draws = np.where(begun, TABLE.looks[look], 0)
        verdict = np.where(begun, TABLE.decide(look, s), 0)
        verdict[~self.right & (place >= -1)] = int(Verdict.MISCLASSIFIED)
        reached = begun | ~self.right
        seen = np.arange(TABLE.looks.size)[None] <= at[:, None]
        log_p = [np.where(seen, e, 0.0).max(1, initial=0.0) for e in self.evidence]
        log_e = [np.where(begun, e[row, look], 0.0) for e in self.evidence]
        mean = np.where(reached & asks_mean, N_MEAN, 0)
        names: dict[str, Any] = {
            "verdict": verdict,
            "status": np.where(reached, int(Status.OK), int(Status.NOT_REACHED)),
            "reference": np.zeros(n),
            "clean_correct": self.right,
            "n_samples": draws,
            "n_failures": s,
            "p_fail": s / np.maximum(draws, 1),
            "p_fail_upper": np.ones(n),
            "p_value_robust": np.exp(-log_p[0]),
            "p_value_not_robust": np.exp(-log_p[1]),
            "log_e_robust": log_e[0],
            "log_e_not_robust": log_e[1],
            "n_mean": mean,
            "mean_failures": np.where(mean > 0, self.mean_failures, 0),
        }
        columns: dict[str, Any] = {
            spec.name: torch.as_tensor(names.get(spec.name, np.zeros(n))).to(spec.dtype)
            for spec in ProbRobustness.columns()
        }
        ids = torch.from_numpy(self.ids)
        return ProbRobustness(
            ids=ids,
            settings=SETTINGS,
            provenance={
                "model": {"sha256": "0" * 64},
                "groups": groups_hash(ids, self.groups),
            },
            flags=(Flag("budget_spent", "cut", 0),) * cut,
            groups=self.groups,
            **columns,
        )

    @cached_property
    def evidence(self) -> tuple[Array, Array]:
        """Both log e-values of each image at each look."""
        place = np.broadcast_to(np.arange(TABLE.looks.size), self.failures.shape)
        both = RULE.evidence_at(place.ravel(), self.failures.ravel())
        return tuple(side.reshape(place.shape) for side in both)  # type: ignore

    def most_certified(self) -> int:
        """The look at which most images are certified so far."""
        place = np.minimum(np.arange(TABLE.looks.size)[:, None], self.stop)
        found = TABLE.decide(place, self.failures[np.arange(len(self.p)), place])
        return int((found == int(Verdict.ROBUST)).sum(1)[:-1].argmax())


@dataclass
class Score:
    """How often each claim was made, was false, or was left out for which reason."""

    made: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    false_share: list[float] = field(default_factory=list)

    scope: str = "all"

    def note(self, name: str, false: bool) -> None:
        self.made[f"{self.scope}: {name}"] += 1
        self.false[f"{self.scope}: {name}"] += bool(false)


def shard(rng: np.random.Generator, first: int) -> tuple[Images, ProbRobustness]:
    """A run that a budget may end when it looks best, and that may be gone on with."""
    images, asks = Images.drawn(rng, first), bool(rng.random() < 0.5)
    n, last = len(images.ids), TABLE.looks.size - 1
    whole = np.full(n, last)
    kind = rng.choice(["whole", "round", "order"])
    if kind == "whole":
        return images, images.result(whole, False, asks)
    if kind == "order":  # later images are not reached, or only begun
        place = np.where(np.arange(n) < rng.integers(0, n + 1), last, -1)
    else:  # stopped at the look with most certificates, by a user who peeks
        place = np.full(n, images.most_certified())
    cut = images.result(place, True, asks)
    if rng.random() < 0.5 and int(cut.certified.sum()) < n / 3:
        more = rng.integers(place.clip(0).min(), last + 1)
        place = np.maximum(place, more)
        cut = images.result(place, bool(more < last), asks)
    return images, cut


def composed(rng: np.random.Generator) -> tuple[list[Images], ProbRobustness]:
    """Shards joined, cut by outcome or by plan, joined again, written and read, shuffled."""
    images: list[Images] = []
    parts: list[ProbRobustness] = []
    for _ in range(rng.integers(1, 4)):
        first = sum(len(one.ids) for one in images)
        one, found = shard(rng, first)
        images.append(one)
        parts.append(found)
    whole = ProbRobustness.concat(parts)
    for _ in range(rng.integers(0, 3)):
        whole = changed(rng, whole)
    return images, whole


def changed(rng: np.random.Generator, whole: ProbRobustness) -> ProbRobustness:
    ids = whole.ids[torch.from_numpy(rng.permutation(len(whole)))]
    what = rng.choice(["shuffled", "json", "lucky", "planned", "halves"])
    if what == "json":
        return ProbRobustness.from_json(whole.to_json())
    if what == "lucky":
        return whole.select(whole.ids[whole.certified])
    if what == "planned":
        return whole.select(ids[: max(1, len(ids) // 2)], declared=True)
    if what == "halves":
        good, bad = whole.ids[whole.certified], whole.ids[~whole.certified]
        halves = [whole.select(half) for half in (good, bad)]
        return ProbRobustness.concat(halves[:: 1 if rng.random() < 0.5 else -1])
    return whole.select(ids)


def judge(found: ProbRobustness, p: Array, right: Array, score: Score) -> None:
    """Every claim that a result makes, held against what its images are."""
    said, rows = found.summary(CONFIDENCE), found.ids.numpy()
    own, fine = p[rows], (p[rows] <= TOLERANCE) & right[rows]
    for name, why in said["left_out"].items():
        score.left_out[f"{name}: {why.partition(' rows, ')[2] or why}"] += 1
    if said["count_bound"] is not None:
        score.note("count_bound", said["count_bound"] > int(fine.sum()))
    if said["population_bounds"] is not None:
        low, high = said["population_bounds"]
        score.note("population, lower", low > ROBUST)
        score.note("population, upper", high < ROBUST)
    if "pra_interval" not in said["left_out"] and len(found):
        low, high = said["pra_interval"]
        score.note("pra_interval", not low <= CERTIFIED <= high)
    if said["mean_failure_bounds"] is not None:
        low, high = said["mean_failure_bounds"]
        score.note("mean, lower", low > own.mean())
        score.note("mean, upper", high < own.mean())
        score.note("sil", found.sil(CONFIDENCE).upper < own.mean())
    correct(found, own, score)


def correct(found: ProbRobustness, own: Array, score: Score) -> None:
    for method in ("holm", "by", "ebh"):
        try:
            adjusted = found.corrected(method).numpy()  # type: ignore[arg-type]
        except StateError:
            score.left_out[f"{method}: chosen"] += 1
            continue
        claimed = adjusted <= LEVEL
        false = int((claimed & (own > TOLERANCE)).sum())
        if method == "holm":
            score.note("holm", false > 0)
        else:
            score.false_share.append(false / max(int(claimed.sum()), 1))


def played(seed: int, times: int) -> Score:
    score = Score()
    for number in range(times):
        rng = np.random.default_rng([seed, number])
        images, found = composed(rng)
        p = np.concatenate([one.p for one in images])
        right = np.concatenate([one.right for one in images])
        for score.scope, part in {"all": found, **found.by_group()}.items():
            judge(part, p, right, score)
    return score


def levels() -> Iterator[tuple[str, float]]:
    error = 1 - CONFIDENCE
    yield from ((name, error) for name in ("count_bound", "pra_interval", "sil"))
    for name in ("population", "mean"):
        yield from ((f"{name}, {side}", error) for side in ("lower", "upper"))
    yield "holm", LEVEL


def hold(score: Score) -> None:
    """Violations at most the binomial 99.9999 % quantile of each level; the mean share likewise.

    Each composition makes a claim of one name once at most, so that they are independent.
    """
    names = [f"{scope}: {name}" for scope in ("all", "a", "b") for name, _ in levels()]
    for name, level in zip(names, [level for _, level in levels()] * 3):
        made = score.made[name]
        assert made > 20, (name, made)
        most = stats.binom.ppf(1 - 1e-6, made, level)
        assert score.false[name] <= most, (name, score.false[name], made)
    shares = score.false_share
    assert np.mean(shares) <= LEVEL + np.sqrt(np.log(1e6) / (2 * len(shares)))
    reasons = {text.partition(": ")[0] for text in score.left_out}
    assert {"count_bound", "mean_failure_bounds", "pra_interval", "holm"} <= reasons


def test_every_claim_of_a_composition_is_true() -> None:
    hold(played(1, 200))


@pytest.mark.slow
def test_every_claim_of_many_compositions_is_true() -> None:
    hold(played(2, 2000))


def test_a_claim_that_forgets_the_choice_is_found_out() -> None:
    """The check itself: without the memory of a selection its claims fail far too often."""
    score = Score()
    for number in range(60):
        rng = np.random.default_rng([3, number])
        images, found = shard(rng, 0)
        lucky = found.select(found.ids[found.certified], declared=True)
        judge(lucky, images.p, images.right, score)
    name = "all: population, lower"
    made, false = score.made[name], score.false[name]
    assert false > stats.binom.ppf(1 - 1e-6, made, 1 - CONFIDENCE)
