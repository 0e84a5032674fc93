"""How do reports look that no evaluation had to be run for? Fakes with chosen numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext._typing import Status, Verdict
from torchattacks_ext.results.accuracy import Accuracy
from torchattacks_ext.results.attack import AttackResult
from torchattacks_ext.results.base.facts import Cost, Flag
from torchattacks_ext.results.evaluation import (
    EvaluationReport,
    GalleryItem,
    StageReport,
)
from torchattacks_ext.results.prob_robustness import ProbRobustness

BALL = {"eps": 8 / 255, "norm": "Linf"}
LAW = {"name": "linf", **BALL, "boundary": "truncate", "bounds": [0.0, 1.0]}
TEST = {**BALL, "method": "PRTest", "sampler": LAW, "tolerance": 0.01}
TEST = {**TEST, "significance": 0.001, "n_max": 16932, "reference": "label", "seed": 0}
TEST = {**TEST, "test": "eprocess", "guarantee": "exact", "clean_policy": "fail"}
TEST = {**TEST, "n_mean": 16, "shared_noise": False}


def mask(n: int, k: int) -> Tensor:
    """(n,) bool, the first k True."""
    return torch.arange(n) < k


@dataclass(frozen=True)
class Fake:
    """Builders of stages for `n` images, the first `right` of them correct."""

    n: int = 200
    right: int = 187

    @property
    def ids(self) -> Tensor:
        return torch.arange(self.n) * 7919 + 1

    def clean(self) -> StageReport:
        correct = mask(self.n, self.right)
        result = Accuracy(
            ids=self.ids,
            status=torch.zeros(self.n, dtype=torch.int8),
            reference=torch.zeros(self.n, dtype=torch.int64),
            prediction=(~correct).long(),
            clean_correct=correct.to(torch.int8),
            margin=torch.where(correct, 2.0, -0.5).double(),
            cost=Cost(self.n, 0, 0.08),
        )
        return StageReport("clean", "clean", result, cost=result.cost)

    def attack(
        self,
        name: str = "PGD",
        left: int = 80,
        *,
        found: float | None = 0.02,
        failed: int = 0,
        notes: tuple[str, ...] = (),
        flags: tuple[Flag, ...] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> StageReport:
        correct, alive = mask(self.n, self.right), mask(self.n, left)
        verdict = torch.where(
            correct, int(Verdict.NOT_ROBUST), int(Verdict.MISCLASSIFIED)
        )
        verdict = torch.where(alive & correct, int(Verdict.UNDECIDED), verdict)
        status = torch.where(mask(self.n, failed), int(Status.FAILED), int(Status.OK))
        norm = math.nan if found is None else found
        broken = (verdict == int(Verdict.NOT_ROBUST)) & torch.tensor(found is not None)
        own = {**BALL, "method": name, "seed": 0} if settings is None else settings
        result = AttackResult(
            ids=self.ids,
            verdict=verdict.to(torch.int8),
            status=status.to(torch.int8),
            reference=torch.zeros(self.n, dtype=torch.int64),
            clean_correct=correct.to(torch.int8),
            prediction=(verdict != int(Verdict.UNDECIDED)).long(),
            margin=torch.full((self.n,), -0.25, dtype=torch.float64),
            clean_margin=torch.full((self.n,), 2.0, dtype=torch.float64),
            norm=torch.full((self.n,), norm, dtype=torch.float64),
            found_norm=torch.where(broken, norm, math.nan).double(),
            settings=own,
            flags=flags,
            cost=Cost(self.n * 11, self.n * 10, 3.25),
        )
        return StageReport(name, "attack", result, notes=notes, cost=result.cost)

    def test(
        self,
        name: str = "prtest",
        robust: int = 150,
        broken: int = 20,
        *,
        settings: Mapping[str, Any] | None = None,
        flags: tuple[Flag, ...] = (),
        **columns: Any,
    ) -> StageReport:
        """Robust images first, then undecided ones, then not robust ones, then wrong ones.

        columns: of the result, instead of those made here; "groups" too.
        """
        n = self.n
        correct, certain = mask(n, self.right), mask(n, robust)
        verdict = torch.where(
            correct, int(Verdict.UNDECIDED), int(Verdict.MISCLASSIFIED)
        )
        verdict[mask(n, self.right) & ~mask(n, self.right - broken)] = int(
            Verdict.NOT_ROBUST
        )
        verdict[certain] = int(Verdict.ROBUST)
        draws = 744 + 37 * (torch.arange(n) % 40 - 30).clamp(min=0) ** 2
        draws[verdict == int(Verdict.NOT_ROBUST)] = 12 + torch.arange(n)[:broken] * 9
        draws[verdict == int(Verdict.UNDECIDED)] = 16932
        draws[~correct] = 0
        rate = torch.full((n,), 0.004, dtype=torch.float64)
        rate[draws < 800] = 0.0
        rate[verdict == int(Verdict.NOT_ROBUST)] = (
            0.03 + 0.04 * torch.arange(broken).double()
        )
        rate[verdict == int(Verdict.UNDECIDED)] = 0.01
        rate = rate.clamp(max=1.0)
        upper = torch.where(
            certain, 0.01 - 0.002 * rate / 0.004, (1.6 * rate + 0.001).clamp(max=1)
        )
        rate[~correct], upper[~correct] = math.nan, 1.0
        ones = torch.ones(n, dtype=torch.float64)
        result = ProbRobustness(
            ids=self.ids,
            verdict=verdict.to(torch.int8),
            status=torch.zeros(n, dtype=torch.int8),
            reference=torch.zeros(n, dtype=torch.int64),
            clean_correct=correct.to(torch.int8),
            n_samples=draws,
            n_failures=(draws * rate.nan_to_num(0.0)).round().long(),
            p_fail=rate,
            p_fail_lower=0.5 * rate.nan_to_num(0.0),
            p_fail_upper=upper,
            p_value_robust=ones,
            p_value_not_robust=ones,
            log_e_robust=0 * ones,
            log_e_not_robust=0 * ones,
            clean_margin=2 * ones,
            worst_margin=math.inf * ones,
            worst_draw=torch.full((n,), -1),
            n_close=torch.zeros(n, dtype=torch.int64),
            n_drawn=draws,
            n_mean=torch.full((n,), 16),
            mean_failures=16 * (~correct).long()
            + (verdict == int(Verdict.NOT_ROBUST)).long(),
            settings=TEST if settings is None else settings,
            flags=flags,
            cost=Cost(int(draws.sum()), 0, 41.7),
        )
        result = replace(result, **columns)
        return StageReport(name, "prtest", result, cost=result.cost)

    def failed(
        self, name: str = "CW", error: str = "BackendError: out of memory"
    ) -> StageReport:
        return StageReport(name, "attack", error=error, cost=Cost(10, 10, 0.5))

    def report(
        self, *stages: StageReport, name: str = "smallnet", **facts: Any
    ) -> EvaluationReport:
        values: dict[str, Any] = {
            "plan": {
                "attacks": ["PGD"],
                "prtest": {"tolerance": 0.01},
                "seed": 0,
                **BALL,
            },
            "model": {"class": "SmallNet", "sha256": "ab" * 32, "parameters": 21840},
            "data": {"name": "digits test", "n": self.n, "sha256": "cd" * 32},
            "cost": sum((stage.cost for stage in stages), Cost()),
            "provenance": {
                "versions": {"torchattacks_ext": "0.1.0", "torch": "2.15.0"},
                "seed": 0,
            },
        }
        return EvaluationReport(name=name, stages=stages, **(values | facts))

    def full(self, name: str = "smallnet", **facts: Any) -> EvaluationReport:
        """Clean, two attacks, a minimum-norm one, one that failed, a random test, doubts."""
        doubt = Flag("duplicates", "the data hold images that occur more than once", 3)
        stages = (
            self.clean(),
            self.attack("FGSM", 120),
            self.attack(
                "PGD", 80, notes=("draws from the global generator: forked and seeded",)
            ),
            self.attack(
                "DeepFool", 95, found=0.83, notes=("works in L2, is judged in Linf",)
            ),
            self.failed(),
            self.test(flags=(doubt,)),
        )
        values = {"gallery": gallery(), "flags": (doubt,)} | facts
        return self.report(*stages, name=name, **values)


def gallery(channels: tuple[int, ...] = (1, 3)) -> tuple[GalleryItem, ...]:
    """One item a number of channels: a disc whose right half is changed a little."""
    items = []
    for i, c in enumerate(channels):
        side = 28 if c == 1 else 32
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        disc = 200.0 * ((x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 3) ** 2)
        tint = torch.tensor([1.0, 0.7, 0.4, 0.2])[:c, None, None]
        clean = (disc * tint + 20).to(torch.uint8)
        noise = ((x * 7 + y * 13) % 17 - 8)[None] * (x > side / 2)
        worst = (clean.int() + noise).clamp(0, 255).to(torch.uint8)
        p_fail = math.nan if i % 2 else 0.42
        items.append(
            GalleryItem(f"{i:016x}", 3, 8, "prtest", p_fail, -1.25, clean, worst)
        )
    return tuple(items)


@pytest.fixture
def fake() -> Callable[..., Fake]:
    """The builder: fake(n, right) gives one with stages and reports."""
    return Fake


@pytest.fixture
def pictures() -> Callable[..., tuple[GalleryItem, ...]]:
    """Gallery items with the given numbers of channels."""
    return gallery
