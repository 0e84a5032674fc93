"""Do the summaries of the families say what the columns say, no more and no less?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy import stats

from torchattacks_ext._typing import Status, Verdict
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.results import Accuracy, AttackResult, ProbRobustness, Result

Change = Callable[[Result, str, int, float], AttackResult]


def exact(successes: int, n: int, confidence: float) -> list[float]:
    """Clopper-Pearson by scipy."""
    found = stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    return [found.low, found.high]


def test_accuracy_counts_correct_rows(accuracy: Accuracy) -> None:
    assert accuracy.clean_accuracy == 0.8
    summary = accuracy.summary(0.9)
    assert summary["n"] == 5 and summary["confidence"] == 0.9
    assert summary["clean_accuracy_interval"] == pytest.approx(exact(4, 5, 0.9))


def test_prob_robustness_counts_verdicts(prob: ProbRobustness) -> None:
    summary = prob.summary(0.99)
    names = ("robust", "not_robust", "undecided", "misclassified")
    assert [summary[name] for name in names] == [1, 1, 2, 1]
    assert sum(summary[name] for name in names) == summary["n"] == 5
    assert summary["pra"] == prob.pra == 0.2
    ends = [exact(1, 5, 0.99)[0], exact(2, 5, 0.99)[1]]  # one row was not reached
    assert summary["pra_interval"] == pytest.approx(ends)
    assert summary["pra_bounds"] == [0.2, 0.4]
    assert summary["tolerance"] == 0.01 and summary["significance"] is None
    assert summary["samples"] == 550
    assert [prob.count(v) for v in Verdict] == [2, 1, 1, 1]


def test_undecided_is_never_counted_as_robust(prob: ProbRobustness) -> None:
    only = prob.select(prob.ids[[2, 4]])
    assert only.pra == 0 and only.summary()["undecided"] == 2


def test_attack_counts_what_it_left(attack: AttackResult) -> None:
    assert attack.robust.tolist() == [True, False, True, False, True]
    assert attack.clean_accuracy == 0.8 and attack.robust_accuracy == pytest.approx(0.6)
    summary = attack.summary(0.95)
    assert summary["robust_accuracy_interval"] == pytest.approx(exact(3, 5, 0.95))
    assert summary["success_rate"] == 0.25 and summary["failed"] == 0


def test_an_attack_never_says_robust(attack: AttackResult, changed: Change) -> None:
    odd = changed(attack, "verdict", 0, int(Verdict.ROBUST))
    assert not odd.robust[0]


def test_a_row_on_which_the_attack_failed_is_no_pass(
    attack: AttackResult, changed: Change
) -> None:
    odd = changed(attack, "status", 2, int(Status.FAILED))
    summary = odd.summary()
    assert math.isnan(odd.robust_accuracy) and math.isnan(summary["robust_accuracy"])
    assert math.isnan(summary["success_rate"]) and summary["failed"] == 1
    assert summary["robust_accuracy_bounds"] == pytest.approx([0.4, 0.6])
    ends = [exact(2, 5, 0.95)[0], exact(3, 5, 0.95)[1]]
    assert summary["robust_accuracy_interval"] == pytest.approx(ends)


def test_success_rate_is_unknown_where_no_row_was_right(attack: AttackResult) -> None:
    wrong = replace(attack, clean_correct=torch.zeros(5, dtype=torch.int8))
    assert wrong.robust_accuracy == 0 and math.isnan(wrong.summary()["success_rate"])


def test_no_rows_give_nan_and_the_interval_of_ignorance(
    prob: ProbRobustness, attack: AttackResult, accuracy: Accuracy
) -> None:
    keys = {"pra": prob, "robust_accuracy": attack, "clean_accuracy": accuracy}
    for key, result in keys.items():
        summary = result.select([]).summary()
        assert summary["n"] == 0 and math.isnan(summary[key])
        assert summary[f"{key}_interval"] == [0.0, 1.0]
        assert "\n" not in repr(result.select([]))


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, math.nan])
def test_a_confidence_outside_its_domain_is_refused(
    prob: ProbRobustness, attack: AttackResult, accuracy: Accuracy, confidence: float
) -> None:
    for result in (prob, attack, accuracy):
        for rows in (result, result.select([])):
            with pytest.raises(ConfigError, match="confidence"):
                rows.summary(confidence)


def test_every_family_returns_from_json(
    prob: ProbRobustness, attack: AttackResult, accuracy: Accuracy
) -> None:
    for result in (prob, attack, accuracy):
        back = type(result).from_json(result.to_json())
        assert back.to_dict() == result.to_dict()
        # through text: nan is not equal to itself
        assert repr(back.summary()) == repr(result.summary())
