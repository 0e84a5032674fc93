"""Are the plain sentences true, few and modest, whatever the report holds?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from torchattacks_ext.reports import plain_summary
from torchattacks_ext.reports.overview import context
from torchattacks_ext.results.base.facts import Flag
from torchattacks_ext.results.evaluation import EvaluationReport, StageReport

FORBIDDEN = re.compile(
    r"\b(safe|safely|secure|securely|trustworthy|proved|proven|guaranteed|immune)\b",
    re.I,
)
FLAG = Flag("odd", "something is odd", None)


def cases() -> dict[str, Callable[[Any], EvaluationReport]]:
    """Every shape of report that the summary must bear."""
    return {
        "full": lambda f: f(200, 187).full(),
        "nothing": lambda f: f(0, 0).report(data={}),
        "no images": lambda f: f(0, 0).report(f(0, 0).clean(), f(0, 0).attack(left=0)),
        "all failed": lambda f: f().report(f().failed("clean"), f().failed(), data={}),
        "only clean": lambda f: f().report(f().clean()),
        "no clean": lambda f: f().report(f().attack(), f().test()),
        "no test": lambda f: f().report(f().clean(), f().attack()),
        "no attack": lambda f: f().report(f().clean(), f().test()),
        "one image": lambda f: f(1, 1).report(
            f(1, 1).clean(), f(1, 1).attack(left=1), f(1, 1).test(robust=1, broken=0)
        ),
        "none right": lambda f: f(5, 0).report(
            f(5, 0).clean(), f(5, 0).attack(left=0), f(5, 0).test(robust=0, broken=0)
        ),
        "two tests": lambda f: f().report(
            f().clean(), f().attack(), f().test("a"), f().test("b"), flags=(FLAG, FLAG)
        ),
        "failed test": lambda f: f().report(
            f().clean(), StageReport("prtest", "prtest", error="x")
        ),
        "nan settings": lambda f: f().report(f().clean(), f().test(settings={})),
    }


@pytest.mark.parametrize("case", cases())
def test_four_to_eight_modest_sentences(fake: Any, case: str) -> None:
    told = plain_summary(cases()[case](fake))
    assert 4 <= len(told) <= 8
    for sentence in told:
        assert not FORBIDDEN.search(sentence), sentence
        assert sentence.endswith(".") and sentence[0].isupper() or sentence[0].isdigit()
        assert "nan" not in sentence.lower() and "  " not in sentence
    assert sum("Not tested" in sentence for sentence in told) == 1
    for word in ("backdoor", "poison", "privacy", "rotation"):
        assert any(word in sentence for sentence in told)


def test_the_numbers_of_a_full_report(fake: Any) -> None:
    told = plain_summary(fake(200, 187).full())
    assert "200 images" in told[0] and "Linf ball of radius 8/255" in told[0]
    assert "no pixel value moves by more than 3.14 % of its range" in told[0]
    assert (
        told[1]
        == "Without any change it answers 93.5 % (187 of 200) of them correctly."
    )
    assert told[2].startswith(
        "After 3 attacks (FGSM, PGD and DeepFool) and the random draws, "
    )
    assert "upper bound and not a proof" in told[2]
    assert "for 75.0 % (150 of 200) of the images" in told[3]
    assert (
        "at most 1 % of random perturbations (uniform noise in the Linf ball" in told[3]
    )
    assert told[3].endswith("wrong with a chance of at most 0.1 %.")
    assert told[4] == (
        "Of the 200 images, 20 images are shown, at the same level, to fail more often than that, "
        "17 stay undecided and 13 were already wrong without any perturbation."
    )
    assert told[6] == "1 stage failed and says nothing about the model: CW."
    assert told[7].startswith(
        "Doubts about these numbers: the data hold images that occur"
    )


def test_no_images_gives_no_number(fake: Any) -> None:
    told = plain_summary(cases()["no images"](fake))
    assert "the data held no images" in told[0]
    assert not any(re.search(r"\d %", sentence) for sentence in told)


def test_failed_stages_are_not_counted_among_the_attacks(fake: Any) -> None:
    made = fake()
    told = plain_summary(made.report(made.clean(), made.failed()))
    assert told[2].startswith("No attack gave a result, so nothing is known")
    assert plain_summary(made.report(made.clean()))[2].startswith("No attack was run")


def test_a_stage_that_raised_late_is_not_quoted(fake: Any) -> None:
    made = fake()
    stages = (replace(made.clean(), error="late"), replace(made.test(), error="late"))
    told = plain_summary(made.report(*stages))
    assert (
        told[1]
        == "How often it is right on unchanged images is not known: that stage gave no result."
    )
    assert told[3].startswith("No random test gave a result")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"reference": "prediction"}, "lead to another answer"),
        ({"mode": "targeted(label)"}, "lead to the target as the answer"),
        ({"sampler": {"name": "rain", "norm": None, "eps": None}}, "(the law “rain”)"),
        ({"bounds": [0.0, 255.0]}, "Linf ball of radius 8/255."),
        (
            {"tolerance": None, "significance": None},
            "at most the tolerated share of random",
        ),
    ],
)
def test_the_words_follow_the_settings(
    fake: Any, extra: dict[str, Any], words: str
) -> None:
    made = fake()
    settings = dict(made.test().result.settings) | extra
    told = plain_summary(made.report(made.clean(), made.test(settings=settings)))
    assert any(words in sentence for sentence in told)


def test_a_name_cannot_add_lines(fake: Any) -> None:
    told = plain_summary(replace(fake().full(), name="net\n\nThe model is fine\u202e."))
    assert "“net The model is fine.”" in told[0]


# ---------------------------------------------------------------------- beside the numbers
def test_doubts_name_where_they_were_raised(fake: Any) -> None:
    made = fake()
    three, wide = Flag("odd", "odd rows", 3), Flag(
        "randomised_model", "it varies", None
    )
    stages = (made.attack(flags=(three,)), made.test(flags=(three, wide)))
    found = context.doubts(
        made.report(*stages, flags=(three, wide, Flag("extra", "x", 1)))
    )
    assert [(doubt.code, doubt.where) for doubt in found] == [
        ("odd", "PGD: 3 images, prtest: 3 images"),
        ("randomised_model", "prtest"),
        ("extra", "whole run: 1 image"),
    ]


def test_what_was_not_run_leads_the_limits(fake: Any) -> None:
    made = fake()
    assert context.not_tested(made.report(made.clean()))[:2] == [
        "No attack was run.",
        "No random test was run.",
    ]
    assert (
        context.not_tested(made.report(made.failed()))[0] == "No attack gave a result."
    )
    assert "8/255" in context.not_tested(made.full())[0]


def test_methods_are_cited(fake: Any) -> None:
    found = dict(context.methods(fake().full()))
    names = ["FGSM", "PGD", "DeepFool", "CW", "PRTest", "Mean failure rate"]
    assert list(found) == [*names, "Intervals"]
    assert found["PGD"].startswith("arXiv:1706.06083; ")
    assert "10.1145/3639478.3643519" in found["PRTest"]
    made = fake()
    own = made.attack("mine", settings={"method": "home-made"})
    assert dict(context.methods(made.report(own)))["mine"].startswith(
        "no citation is known"
    )


def test_each_kind_of_test_is_cited(fake: Any) -> None:
    made = fake()
    known = dict(made.test().result.settings)
    tests = ("eprocess", "sprt", "fixed", "group", "splitting", "odd|")
    stages = [made.test(name, settings=known | {"test": name}) for name in tests]
    found = dict(context.methods(made.report(*stages)))
    assert "Ville 1939" in found["PRTest"] and "Ville" not in found["PRTest (sprt)"]
    assert "Hoeffding 1956" in found["Mean failure rate"]
    assert "last-particle" in found["PRTest (splitting)"]
    assert found["PRTest (odd|)"].endswith(
        "(hypothesis test of probabilistic robustness)"
    )


def test_provenance_is_flat_and_complete(fake: Any) -> None:
    found = dict(context.provenance(fake().full()))
    assert found["model.sha256"] == "ab" * 32
    assert found["data.n"] == "200" and found["seed"] == "0"
    assert found["versions.torch"] == "2.15.0"
    assert found["total cost"].endswith("row-passes, 52.0 s")


def test_seeds_are_found_in_the_plan(fake: Any) -> None:
    made = fake()
    assert dict(context.provenance(made.report(provenance={})))["seed"] == "0"
    none = made.report(provenance={}, plan={})
    assert dict(context.provenance(none))["seed"] == "not recorded"
