"""Which small results do the tests of this folder share? Made by hand, nothing is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext._typing import Verdict
from torchattacks_ext.results import (
    Accuracy,
    AttackResult,
    Cost,
    Flag,
    ProbRobustness,
    Result,
)

NAN, INF = float("nan"), float("inf")


def _floats(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def small_prob() -> ProbRobustness:
    """Five rows, one of each verdict and one that was not reached; non-finite numbers inside."""
    return ProbRobustness(
        ids=torch.tensor([7, -1, 3, 2**62, 0]),
        settings={"method": "PRTest", "eps": 8 / 255, "tolerance": 0.01, "seed": 0},
        provenance={"batch_size": 4, "device": "cpu"},
        flags=(Flag("duplicates", "seen twice", 2, {"share": 0.4}),),
        cost=Cost(1234, 5, 0.25),
        verdict=torch.tensor([1, 2, 0, 3, 0], dtype=torch.int8),
        status=torch.tensor([0, 1, 0, 0, 2], dtype=torch.int8),
        reference=torch.tensor([0, 1, 2, 3, 4]),
        clean_correct=torch.tensor([1, 1, 1, 0, -1], dtype=torch.int8),
        n_samples=torch.tensor([100, 50, 400, 0, 0]),
        n_failures=torch.tensor([0, 50, 2, 0, 0]),
        p_fail=_floats(0, 1, 0.005, NAN, NAN),
        p_fail_lower=_floats(0, 0.9, 1e-4, 0, 0),
        p_fail_upper=_floats(0.0099, 1, 0.02, 1, 1),
        p_value_robust=_floats(1e-9, 1, 0.3, 1, 1),
        p_value_not_robust=_floats(1, 1e-300, 0.7, 1, 1),
        log_e_robust=_floats(20.7, -INF, 1 / 3, 0, 0),
        log_e_not_robust=_floats(-INF, INF, -0.1, 0, 0),
        clean_margin=_floats(1.5, 0.1, 2.0, -0.3, NAN),
        worst_margin=_floats(0.7, -INF, -0.2, INF, INF),
        worst_draw=torch.tensor([3, 0, 17, -1, -1]),
        n_close=torch.tensor([0, 0, 1, 0, 0]),
        n_drawn=torch.tensor([100, 50, 400, 0, 0]),
    )


def small_attack() -> AttackResult:
    """Five rows in the order of :func:`small_prob`: survived, broken, survived, wrong, survived."""
    return AttackResult(
        ids=torch.tensor([7, -1, 3, 2**62, 0]),
        settings={"method": "PGD", "eps": 8 / 255},
        verdict=torch.tensor(
            [Verdict.UNDECIDED, Verdict.NOT_ROBUST, 0, Verdict.MISCLASSIFIED, 0],
            dtype=torch.int8,
        ),
        status=torch.zeros(5, dtype=torch.int8),
        reference=torch.tensor([0, 1, 2, 3, 4]),
        clean_correct=torch.tensor([1, 1, 1, 0, 1], dtype=torch.int8),
        prediction=torch.tensor([0, 0, 2, 1, 4]),
        margin=_floats(0.5, -0.5, 0.2, -0.3, 0.1),
        clean_margin=_floats(1.5, 0.1, 2.0, -0.3, 0.4),
        norm=_floats(0.03, 0.03, 0.02, 0, 0.01),
        found_norm=_floats(NAN, 0.025, NAN, NAN, NAN),
    )


def small_accuracy() -> Accuracy:
    """Five rows in the order of :func:`small_prob`, the fourth wrong."""
    return Accuracy(
        ids=torch.tensor([7, -1, 3, 2**62, 0]),
        settings={"method": "clean"},
        status=torch.zeros(5, dtype=torch.int8),
        reference=torch.tensor([0, 1, 2, 3, 4]),
        prediction=torch.tensor([0, 1, 2, 1, 4]),
        clean_correct=torch.tensor([1, 1, 1, 0, 1], dtype=torch.int8),
        margin=_floats(1.5, 0.1, 2.0, -0.3, 0.4),
    )


@pytest.fixture
def prob() -> ProbRobustness:
    return small_prob()


@pytest.fixture
def attack() -> AttackResult:
    return small_attack()


@pytest.fixture
def accuracy() -> Accuracy:
    return small_accuracy()


@pytest.fixture
def changed() -> Callable[..., Any]:
    """A copy of a result with one entry of one column changed."""

    def change(result: Result, name: str, row: int, value: float) -> Result:
        column = getattr(result, name).clone()
        column[row] = value
        return replace(result, **{name: column})

    return change
