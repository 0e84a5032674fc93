"""How often do compare and gate find what is there, and what is not? On 1,000 images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.evaluation.runs import compare_runs, gate, runs_table
from torchattacks_ext.numerics.populations.regression import (
    drop_p_value,
    smallest_drop,
)
from torchattacks_ext.reports.runs import render_compared, render_runs
from torchattacks_ext.results.accuracy import Accuracy
from torchattacks_ext.results.datasets.shift import Shift
from torchattacks_ext.results.evaluation import EvaluationReport, StageReport

N = 1000
POLICY = {"rules": [{"metric": "clean_accuracy", "stage": "clean", "drop": True}]}


def accuracy(right: Tensor) -> Accuracy:
    n = len(right)
    return Accuracy(
        ids=torch.arange(n) * 7919 + 1,
        status=torch.zeros(n, dtype=torch.int8),
        reference=torch.zeros(n, dtype=torch.int64),
        prediction=(~right).long(),
        clean_correct=right.to(torch.int8),
        margin=torch.where(right, 1.0, -1.0).double(),
    )


def report(name: str, **rights: Tensor) -> EvaluationReport:
    stages = tuple(StageReport(k, "clean", accuracy(v)) for k, v in rights.items())
    return EvaluationReport(name, {}, {}, {"n": N}, stages)


def changed(lost: int, gained: int) -> tuple[Tensor, Tensor]:
    """Answers of two runs, 900 of 1,000 right in the first."""
    old = torch.arange(N) < N * 9 // 10
    new = old.clone()
    new[:lost] = False
    new[N - gained :] = True
    return old, new


def verdicts(
    rng: np.random.Generator, draws: int, discordant: int, share: float
) -> Iterator[tuple[bool, bool, float]]:
    """Whether compare and gate found a fall, and the p-value by the numbers alone."""
    for lost in rng.binomial(discordant, share, draws).tolist():
        old, new = changed(lost, discordant - lost)
        pair = report("old", clean=old), report("new", clean=new)
        found = compare_runs(*pair)
        told = gate(pair[1], POLICY, pair[0])
        assert told.code in (0, 1)
        p = drop_p_value(lost, discordant - lost)
        yield bool(found.regressions), told.code == 1, p


def test_both_judge_by_the_exact_test() -> None:
    rng = np.random.default_rng(2)
    for compared, gated, p in verdicts(rng, 12, 60, 0.62):
        assert compared == gated == (p <= 0.05)


@pytest.mark.slow
def test_power_and_false_alarms_of_compare_and_gate() -> None:
    rng = np.random.default_rng(0)
    found = list(verdicts(rng, 400, 60, 0.75))
    assert np.mean([one for one, _, _ in found]) >= 0.95
    assert np.mean([one for _, one, _ in found]) >= 0.95
    alarms = list(verdicts(rng, 200, 50, 0.5))
    assert sum(one for one, _, _ in alarms) <= 21  # the binomial 99.9 % quantile
    assert sum(one for _, one, _ in alarms) <= 21


def test_several_attacks_share_the_level() -> None:
    """Holm: 34 : 20 alone is a fall (p .038), beside a stage that did not change it is none."""
    old, new = changed(34, 20)
    alone = compare_runs(report("a", clean=old), report("b", clean=new))
    assert [line.stage for line in alone.regressions] == ["clean"]
    one, other = report("a", clean=old, more=old), report("b", clean=new, more=old)
    two = compare_runs(one, other)
    assert two.regressions == () and two.lines[0].adjusted == 2 * alone.lines[0].p_value
    assert "no regression at 5% over 2 stages (exact McNemar, Holm)" in (
        render_compared(two).splitlines()[0]
    )
    rules = [
        {"metric": "clean_accuracy", "stage": name, "drop": True}
        for name in ("clean", "more")
    ]
    assert (
        gate(report("b", clean=new), {"rules": rules[:1]}, report("a", clean=old)).code
        == 1
    )
    assert gate(other, {"rules": rules}, one).code == 0


def test_the_smallest_drop_is_of_the_observed_changes() -> None:
    old, new = changed(30, 20)
    pair = compare_runs(report("a", clean=old), report("b", clean=new))
    share = smallest_drop(50, N).share
    assert pair.lines[0].detectable == share
    head, cells = render_compared(pair).splitlines()[2:4]
    assert head.endswith("smallest detectable") and cells.endswith(f"{share:.3g}")
    two = compare_runs(report("a", clean=old, x=old), report("b", clean=new, x=new))
    assert two.lines[0].detectable == smallest_drop(50, N, 0.025).share > share
    none = compare_runs(report("a", clean=old), report("b", clean=old))
    assert math.isnan(none.lines[0].detectable)


def test_rows_are_matched_by_their_ids() -> None:
    old, new = changed(40, 10)
    one, other = report("a", clean=old), report("b", clean=new)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))[:700]
    result = other["clean"].result
    assert result is not None
    some = result.select(result.ids[order])
    stage = replace(other.stages[0], result=some)
    line = compare_runs(one, replace(other, stages=(stage,))).lines[0]
    kept = order.sort().values
    wanted = int((old & ~new)[kept].sum()), int((~old & new)[kept].sum())
    assert (line.n, line.lost, line.gained) == (700, *wanted)


# ------------------------------------------------------------------ thirty published models
def test_published_models_on_the_second_test_sets(tax_data: Any) -> None:
    """Recht et al. 2019: CIFAR-10.1, whose 30 published predictions are known answers."""
    held = np.load(tax_data / "cifar10_predictions" / "predictions30.npz")
    right = {
        part: torch.from_numpy(held[f"pred_{part}"] == held[f"labels_{part}"][None])
        for part in ("cifar10", "v4", "v6")
    }
    reports = []
    for i in range(30):
        old = right["cifar10"][i]
        stages = [StageReport("clean", "clean", accuracy(old))]
        stages += [
            StageReport(part, "shift", Shift.of(old, right[part][i]))
            for part in ("v4", "v6")
        ]
        facts: tuple[Any, ...] = {}, {}, {"n": len(old)}
        reports.append(EvaluationReport(f"model {i}", *facts, tuple(stages)))
    table = runs_table(reports)
    assert [stage for stage, _ in table.columns] == ["clean", "v4", "v6"]
    ranks = {(rank.one, rank.other): rank for rank in table.ranks}
    v4, v6 = ranks["clean", "v4"], ranks["clean", "v6"]
    assert (v4.runs, v6.runs) == (30, 30)
    assert round(v6.correlation, 3) == 0.971 and round(v4.correlation, 3) == 0.978
    assert round(100 * v6.drop, 1) == 7.8
    text = render_runs(table)
    assert (
        "Spearman clean / v6: 0.971 over 30 runs, mean difference +7.8 points" in text
    )
