"""Does each line of the scorecard say what its stage found, and never more?"""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from torchattacks_ext._typing import Status, Verdict
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.rates.binomial import clopper_pearson
from torchattacks_ext.reports import scorecard
from torchattacks_ext.reports.overview.comparison import (
    as_reports,
    compare,
    model_names,
)
from torchattacks_ext.reports.stages import balls, law_text
from torchattacks_ext.reports.words import interval
from torchattacks_ext.results.base.facts import Cost
from torchattacks_ext.results.base.result import Result
from torchattacks_ext.results.evaluation import StageReport


def test_one_row_a_stage_and_the_worst_case_last(fake: Any) -> None:
    report = fake(200, 187).full()
    rows = scorecard(report)
    assert [row.stage for row in rows] == [
        *(stage.name for stage in report.stages),
        "worst case",
    ]
    with pytest.raises(FrozenInstanceError):
        rows[0].value = "100 %"


def test_clean_and_attack_rows_have_counts_and_exact_intervals(fake: Any) -> None:
    clean, pgd = scorecard(fake(200, 187).full())[0:3:2]
    assert clean.value == "93.5 % (187 of 200)" and clean.n == 200
    assert pgd.value == "40.0 % (80 of 200)"
    low, high = clopper_pearson(80, 200, 0.95)
    assert pgd.interval == interval([float(low), float(high)])
    assert pgd.estimate == (0.4, float(low), float(high))
    assert "breaks 57.2 % (107 of 187) of the correct images" in pgd.details
    assert pgd.guarantee == "upper bound: no attack proves robustness"
    assert pgd.cost == Cost(2200, 2000, 3.25)
    assert pgd.notes == ("draws from the global generator: forked and seeded",)


def test_confidence_widens_the_interval_and_is_checked(fake: Any) -> None:
    report = fake().full()
    narrow, wide = (scorecard(report, level)[0].estimate for level in (0.5, 0.999))
    assert narrow and wide and wide[1] < narrow[1] and narrow[2] < wide[2]
    with pytest.raises(ConfigError, match="confidence"):
        scorecard(report, 1.0)


def test_only_minimum_norm_attacks_tell_their_own_norm(fake: Any) -> None:
    rows = {row.stage: row for row in scorecard(fake().full())}
    (text,) = (text for text in rows["DeepFool"].details if "minimum-norm" in text)
    assert (
        "median Linf size of its changes 0.83" in text and "92 correct images" in text
    )
    assert not any("minimum-norm" in text for text in rows["PGD"].details)


def test_a_minimum_norm_attack_that_finds_nothing_has_no_median(fake: Any) -> None:
    made = fake()
    stage = made.attack("CW", made.right, found=None)
    row, _ = scorecard(made.report(stage))
    assert any("on no correct image" in text for text in row.details)
    assert "nan" not in repr(row)


def test_the_random_test_tells_all_four_verdicts(fake: Any) -> None:
    row = scorecard(fake().full())[-2]
    assert row.value == "75.0 % (150 of 200)"
    assert row.details[0] == "150 robust, 20 not robust, 17 undecided, 13 misclassified"
    assert (
        row.details[1]
        == "tolerance 1 % of uniform noise in the Linf ball of radius 8/255"
    )
    assert "samples, median 744 an image" in row.details[2]
    assert row.guarantee.startswith("test, level 1e-3 each side per image")


def test_a_failed_stage_is_never_a_pass(fake: Any) -> None:
    made = fake()
    rows = scorecard(made.report(made.clean(), made.failed(error=""), made.test()))
    failed, worst = rows[1], rows[-1]
    assert (failed.value, failed.error) == ("failed", "no reason given")
    assert (failed.interval, failed.n, failed.estimate) == ("", None, None)
    assert "nothing is known" in failed.guarantee
    assert worst.notes == ("failed, so not counted: CW",)


def test_a_stage_with_an_error_shows_no_number_even_if_it_has_some(fake: Any) -> None:
    made = fake()
    stage = replace(made.attack(), error="died in the last batch")
    row = scorecard(made.report(made.clean(), stage))[1]
    assert (row.value, row.error) == ("failed", "died in the last batch")
    assert row.estimate is None and row.details == ()


def test_a_stage_without_result_and_error_was_not_run(fake: Any) -> None:
    row = scorecard(fake().report(StageReport("PGD", "attack")))[0]
    assert (row.value, row.error, row.estimate) == ("not run", None, None)


def test_an_attack_that_failed_on_some_images_has_no_accuracy(fake: Any) -> None:
    made = fake()
    rows = scorecard(made.report(made.clean(), made.attack(failed=3)))
    assert rows[1].value == "incomplete (failed on 3 of 200 images)"
    assert rows[1].estimate is None and rows[1].interval == ""
    assert rows[1].notes == ("3 images on which the model or the method raised",)
    assert "images that PGD did not try count as withstanding it" in rows[2].notes


def test_statuses_are_counted_in_notes(fake: Any) -> None:
    made = fake(10, 8)
    stage = made.test(robust=5, broken=1)
    assert stage.result is not None
    status = stage.result.status.clone()
    status[:2], status[2:3] = int(Status.NOT_REACHED), int(Status.NON_FINITE)
    stage = replace(stage, result=replace(stage.result, status=status))
    row, _ = scorecard(made.report(stage))
    assert row.notes == (
        "1 image with NaN or infinite scores",
        "2 images not reached before the budget ended",
    )


@pytest.mark.parametrize("right", [0, 6])
def test_none_and_all_correct(fake: Any, right: int) -> None:
    made = fake(6, right)
    rows = scorecard(made.report(made.clean(), made.attack(left=right)))
    shown = "0.0 % (0 of 6)" if right == 0 else "100.0 % (6 of 6)"
    assert [row.value for row in rows] == [shown] * 3
    if right == 0:
        assert any("success rate n/a" in text for text in rows[1].details)
    else:
        assert "breaks 0.0 % (0 of 6) of the correct images" in rows[1].details


def test_no_images_is_no_share(fake: Any) -> None:
    made = fake(0, 0)
    stages = (made.clean(), made.attack(left=0), made.test(robust=0, broken=0))
    rows = scorecard(made.report(*stages))
    assert {row.value for row in rows} == {"n/a (no images)"}
    assert {row.estimate for row in rows} == {None}
    assert {row.interval for row in rows} == {"[0.0, 100.0] %"}


def test_the_worst_case_is_not_known_without_an_attack(fake: Any) -> None:
    made = fake()
    row = scorecard(made.report(made.clean(), made.failed()))[-1]
    assert (row.value, row.estimate) == ("not known", None)
    assert "failed, so not counted: CW" in row.notes


def test_the_worst_case_of_other_images_fails_instead_of_passing(fake: Any) -> None:
    made = fake()
    stage = made.attack()
    assert stage.result is not None
    other = replace(stage, result=replace(stage.result, ids=stage.result.ids + 1))
    row = scorecard(made.report(made.clean(), other))[-1]
    assert row.value == "failed" and row.error is not None and "ids" in row.error


def test_the_worst_case_counts_failing_draws_of_undecided_images(fake: Any) -> None:
    made = fake(4, 4)
    stage = made.test(robust=4, broken=0)
    assert stage.result is not None
    failures = torch.tensor([0, 1, 0, 0])
    stage = replace(stage, result=replace(stage.result, n_failures=failures))
    assert scorecard(made.report(made.clean(), stage))[-1].value == "75.0 % (3 of 4)"
    assert stage.result.count(Verdict.ROBUST) == 4


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Strange(Result):
    """A family that this package does not know."""

    schema: ClassVar[str] = "strange/1"

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        return {"n": len(self), "sharpness": math.inf}


def test_an_unknown_family_shows_its_summary_and_no_share(fake: Any) -> None:
    stage = StageReport("odd", "odd", Strange(ids=torch.arange(3)))
    row = scorecard(fake().report(stage))[0]
    assert (row.value, row.estimate, row.n) == ("see details", None, 3)
    assert row.details == ("n: 3", "sharpness: inf")


def test_names_and_errors_are_printable(fake: Any) -> None:
    made = fake()
    stage = made.failed("a\nb\x1b[31m", "line one\nline two\x00")
    row = scorecard(made.report(stage))[0]
    assert (row.stage, row.error) == ("a b[31m", "line one line two")


# ---------------------------------------------------------------------- laws and balls
def test_laws_in_words() -> None:
    own = {
        "norm": "L2",
        "eps": 0.5,
        "sampler": {"name": "rain", "norm": None, "eps": None},
    }
    assert law_text(own) == "the law “rain”"
    bounded = own | {"sampler": {"name": "rain", "norm": "L2", "eps": 0.5}}
    assert law_text(bounded) == "the law “rain” within the L2 ball of radius 0.5"
    assert law_text({}) == "uniform noise in the stated ball"


def test_the_ball_of_the_plan_stands_in_for_failed_attacks(fake: Any) -> None:
    made = fake()
    assert balls(made.report(made.clean(), made.failed())) == [
        "Linf ball of radius 8/255"
    ]
    assert balls(made.report(made.clean())) == []


# ---------------------------------------------------------------------- several models
def test_models_side_by_side(fake: Any) -> None:
    made = fake()
    one = made.report(made.clean(), made.failed(), made.attack("PGD", 80), name="one")
    two = made.report(made.clean(), made.attack("PGD", 150), made.test(), name="two")
    side = compare([one, two])
    assert side.models == ("one", "two")
    shown = {name: [row and row.value for row in cells] for name, cells in side.rows}
    assert list(shown) == ["clean", "CW", "PGD", "prtest", "worst case"]
    assert shown["CW"] == ["failed", None] and shown["prtest"][0] is None
    assert shown["PGD"] == ["40.0 % (80 of 200)", "75.0 % (150 of 200)"]
    same, fewer = side.cautions
    assert "same images" in same and "rest on different stages" in fewer


def test_cautions_name_other_images_and_other_settings(fake: Any) -> None:
    many, few = fake(200, 187), fake(100, 90)
    wide = few.attack(settings={"method": "PGD", "eps": 0.3, "norm": "Linf", "seed": 0})
    reports = [many.report(many.clean(), many.attack()), few.report(few.clean(), wide)]
    different, settings = compare(reports).cautions
    assert "different images" in different
    assert settings == "PGD ran with other settings: eps"
    assert "not known" in compare([many.report(), few.report(few.clean())]).cautions[0]


def test_a_failed_stage_makes_worst_cases_incomparable(fake: Any) -> None:
    made = fake()
    one = made.report(made.clean(), made.attack("PGD"), made.attack("CW"))
    two = made.report(made.clean(), made.attack("PGD"), made.failed("CW"))
    assert any(
        "rest on different stages" in text for text in compare([one, two]).cautions
    )
    assert len(compare([one, one]).cautions) == 1


def test_equal_names_are_told_apart(fake: Any) -> None:
    reports = [fake().report(name=name) for name in ("net", "net", "", "other")]
    assert model_names(reports) == ["net (1)", "net (2)", "unnamed model", "other"]


@pytest.mark.parametrize("wrong", [[], ["report"]])
def test_only_reports_are_rendered(wrong: Any) -> None:
    with pytest.raises(InputError, match="EvaluationReport"):
        as_reports(wrong)


def test_a_stage_called_worst_case_does_not_hide_the_worst_case(fake: Any) -> None:
    made = fake()
    report = made.report(made.clean(), made.attack("worst case", 100))
    side = compare([report, report])
    assert [name for name, _ in side.rows] == ["clean", "worst case", "worst case"]


def test_worst_cases_of_different_balls_say_so(fake: Any) -> None:
    made = fake()
    one = made.report(made.clean(), made.attack("PGD"))
    for ball in ({"eps": 0.01}, {"norm": "L2"}):
        other = replace(one, plan={**one.plan, **ball}, name="other")
        care = "the worst cases are of different balls"
        assert any(care in text for text in compare([one, other]).cautions)
    assert not any("balls" in text for text in compare([one, one]).cautions)
