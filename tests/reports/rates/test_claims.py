"""Does the block of a random test say everything that holds, nothing more, and why not more?"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from torchattacks_ext._typing import Status, Verdict
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.sil import SIL_CAVEATS
from torchattacks_ext.reports import (
    plain_summary,
    render_html,
    render_json,
    render_markdown,
    render_text,
    scorecard,
)
from torchattacks_ext.reports.rates.claims import band_text, claims
from torchattacks_ext.reports.rates.groups import MOST_GROUPS
from torchattacks_ext.results.base.facts import Cost, Flag
from torchattacks_ext.results.evaluation import EvaluationReport

RENDERERS = (render_text, render_markdown, render_html)
SPLIT = {"test": "splitting", "guarantee": "ideal-kernel", "tolerance": 1e-8}


def known(fake: Any, **changes: Any) -> dict[str, Any]:
    return dict(fake().test().result.settings) | changes


def rows_of(report: EvaluationReport, confidence: float = 0.95) -> dict[str, str]:
    (block,) = claims(report, confidence)
    assert len({name for name, _ in block.rows}) == len(block.rows)
    return dict(block.rows)


def test_every_fact_of_the_block(fake: Any) -> None:
    assert rows_of(fake().full()) == {
        "perturbation": "uniform noise in the Linf ball of radius 8/255",
        "ball (eps, norm)": "Linf ball of radius 8/255",
        "boundary": "truncate: the law given that every value lies in [0, 1]",
        "8-bit rounding": "none",
        "a failure is": "an answer other than the label",
        "tolerance (κ)": "1 %",
        "significance (α)": "1e-3, each side of each image",
        "confidence (1 − δ)": "95 %, of each bound below",
        "images (m)": "200",
        "certified": "75.0 % (150 of 200), two-sided 95 % interval [68.4, 80.9] % for new images",
        "refuted (not robust)": "20",
        "undecided": "17",
        "misclassified": "13 (clean answer wrong, no test)",
        "count bound": "at least 149 of these 200 images are robust, one-sided 95 %, if "
        "they were not chosen by any outcome of the test",
        "population bounds": "at least 69.4 %, at most 87.8 % of all images of the source are "
        "right and robust, each one-sided 95 %, if these were drawn at random from it",
        "mean failure rate": "at least 6.39 %, at most 7.92 %, each one-sided 95 % (7.12 % of "
        "the draws failed); of these images, and it says nothing of unseen ones",
        "total draws": "433,029 draws for the verdicts, and 3,200 for the mean failure rate",
        "row-passes": "433,029 forward, 0 backward",
        "seed": "0",
        "test": "e-process: valid whenever it stops, and when it is extended",
        "guarantee": "exact: each verdict is wrong with a probability of at most the "
        "significance",
    }


def test_written_bounds_never_claim_more_than_the_true_ones(fake: Any) -> None:
    stage = fake().test()
    said = stage.result.summary(0.9)
    rows = rows_of(fake().report(stage), 0.9)
    for row, key in (
        ("population bounds", "population_bounds"),
        ("mean failure rate", "mean_failure_bounds"),
    ):
        assert "each one-sided 90 %" in rows[row]
        found = re.findall(r"at (?:least|most) ([\d.]+) %", rows[row])
        low, high = (float(text) / 100 for text in found)
        assert low <= said[key][0] and said[key][1] <= high
        assert high - low <= said[key][1] - said[key][0] + 0.002
    assert f"at least {said['count_bound']} of these 200" in rows["count bound"]


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_confidence_is_checked(fake: Any, confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence"):
        claims(fake().full(), confidence)


# ---------------------------------------------------------------------- what is left out
@pytest.mark.parametrize(
    ("settings", "flags", "rows", "reason"),
    [
        ({"shared_noise": True}, (), 2, "noise was shared between the images"),
        (SPLIT, (), 2, "exact for an ideal kernel only"),
        ({}, ("batch_dependent_model",), 3, "depends on the other rows of the batch"),
        ({}, ("not_replayable",), 3, "the sampler draws its own numbers"),
        ({"significance": None}, (), 2, "the level of the test in the settings"),
    ],
)
def test_reasons_stand_where_the_number_would(
    fake: Any, settings: Any, flags: Any, rows: int, reason: str
) -> None:
    raised = tuple(Flag(code, "a doubt") for code in flags)
    made = fake()
    stage = made.test(settings=known(fake, **settings), flags=raised)
    report = made.report(made.clean(), stage)
    found = rows_of(report)
    left = [name for name, text in found.items() if "left out:" in text]
    assert left == ["count bound", "population bounds", "mean failure rate"][:rows]
    assert all(reason in found[name] for name in left)
    for render in RENDERERS:
        flat = " ".join(render(report).split())
        assert flat.count("left out:") == rows


def test_without_draws_for_it_there_is_no_mean_rate_and_no_band(fake: Any) -> None:
    made = fake()
    zeros = torch.zeros(made.n, dtype=torch.int64)
    stage = made.test(n_mean=zeros, mean_failures=zeros)
    (block,) = claims(made.report(stage))
    assert dict(block.rows)["mean failure rate"].startswith(
        "left out: needs draws of every image; measure with n_mean=16"
    )
    assert (block.band, block.caveats, band_text(block)) == ("", (), "")


def test_an_incomplete_mean_has_no_bounds(fake: Any) -> None:
    drawn = torch.full((200,), 16)
    drawn[0] = 3
    rows = rows_of(fake().report(fake().test(n_mean=drawn)))
    assert rows["mean failure rate"] == (
        "7.15 % of the draws failed; bounds left out: the budget ended before every image had its "
        "n_mean draws"
    )


def test_an_old_file_says_what_it_knows(fake: Any) -> None:
    made = fake()
    old = {"tolerance": 0.01, "significance": 0.001, "eps": 0.1, "norm": "L2"}
    report = made.report(made.clean(), made.test(settings=old))
    raw = report.to_dict()
    for name in ("n_mean", "mean_failures"):
        del raw["stages"][1]["result"]["columns"][name]
    back = EvaluationReport.from_dict(raw)
    rows = rows_of(back)
    assert rows["test"] == rows["guarantee"] == "n/a (not recorded)"
    assert rows["boundary"] == rows["a failure is"] == rows["seed"] == "n/a"
    assert rows["perturbation"] == "uniform noise in the L2 ball of radius 0.1"
    assert rows["count bound"].startswith("at least 149 of these 200")
    assert rows["mean failure rate"].startswith("left out: needs draws of every image")
    empty = made.report(made.test(settings={}))
    assert rows_of(empty)["ball (eps, norm)"] == "n/a"
    for render in RENDERERS:
        assert "n/a (not recorded)" in " ".join(render(back).split())
        render(empty)


def test_no_images_have_no_share(fake: Any) -> None:
    made = fake(0, 0)
    rows = rows_of(made.report(made.test(robust=0, broken=0)))
    assert rows["certified"] == "n/a (no images)"
    assert "left out: needs images" in rows["count bound"]


# ---------------------------------------------------------------------- bands and adversaries
def test_a_band_comes_with_its_law_and_every_caveat_once(fake: Any) -> None:
    made = fake()
    first, second = claims(made.report(made.test("a"), made.test("b")))
    assert first.caveats == SIL_CAVEATS and second.caveats == ()
    assert first.band == second.band and first.band.startswith("upper bound 0.07")
    assert first.band.endswith(
        "falls in the SIL-1 numeric band (IEC 61508, low demand) under uniform noise in the Linf "
        "ball of radius 8/255"
    )
    assert "the caveats above" in band_text(second)
    for render in RENDERERS:
        text = " ".join(render(made.report(made.test("a"), made.test("b"))).split())
        for caveat in SIL_CAVEATS:
            assert text.count(caveat.partition(";")[0]) == 1, (render, caveat)


def test_a_rate_in_no_band_is_told_as_that(fake: Any) -> None:
    many = torch.full((200,), 8)
    (block,) = claims(fake().report(fake().test(mean_failures=many)))
    assert "falls in no SIL numeric band" in block.band and block.caveats
    assert "A band would not be a level" in band_text(block)


def test_no_page_says_that_a_level_was_achieved(fake: Any) -> None:
    made = fake()
    for settings in (known(fake), known(fake, **SPLIT), {}):
        report = made.report(made.clean(), made.attack(), made.test(settings=settings))
        for render in (*RENDERERS, render_json):
            text = render([report, made.full()])
            assert not re.search("achiev|complian|certified to|meets SIL", text, re.I)


def test_noise_stands_beside_the_strongest_attack(fake: Any) -> None:
    made = fake()
    stages = made.full().stages
    (block,) = claims(made.report(*stages, made.attack("broken", 1, failed=3)))
    assert block.beside == (
        "Random-noise robustness says nothing about an adversary. Probabilistic robust accuracy: "
        "75.0 % (150 of 200). Robust accuracy under attack: at most 40.0 % (80 of 200) (PGD, Linf "
        "ball of radius 8/255, the lowest of 3 attacks)."
    )
    (alone,) = claims(made.report(made.clean(), made.failed(), made.test()))
    assert alone.beside.endswith("No attack gave a result to set beside it.")


# ---------------------------------------------------------------------- wrong clean answers
def sampled(fake: Any) -> Any:
    """A test with clean_policy="sample": all 13 wrong images were tested, 10 are ROBUST."""
    made = fake()
    verdict = made.test().result.verdict.clone()
    verdict[187:197], verdict[197:] = int(Verdict.ROBUST), int(Verdict.NOT_ROBUST)
    settings = known(fake, clean_policy="sample")
    return made.report(made.clean(), made.test(settings=settings, verdict=verdict))


def test_a_wrong_clean_answer_is_never_certified(fake: Any) -> None:
    report = sampled(fake)
    rows = rows_of(report)
    assert rows["certified"].startswith("75.0 % (150 of 200)")
    assert rows["robust, not certified"] == "10 (the clean answer is wrong)"
    assert rows["refuted (not robust)"] == "23"
    card = scorecard(report)[1]
    assert card.value == "75.0 % (150 of 200)" and card.estimate is not None
    assert "10 of the robust ones with a wrong clean answer, not certified" in (
        card.details
    )
    told = " ".join(plain_summary(report))
    assert "for 75.0 % (150 of 200) of the images it is certified" in told
    assert "13 were already wrong without any perturbation" in told


# ---------------------------------------------------------------------- groups
def test_groups_have_a_row_each_and_a_warning(fake: Any) -> None:
    made = fake()
    groups = tuple("<b>dark|</b>" if i % 2 else "" for i in range(200))
    report = made.report(made.clean(), made.test(groups=groups))
    (block,) = claims(report)
    assert [row[:2] for row in block.groups] == [
        ("(no name)", "100"),
        ("<b>dark|</b>", "100"),
    ]
    assert block.groups[0][2:] == ("75.0 % [65.3, 83.2] %", "75", "10", "9", "6")
    assert "Several groups are several claims" in block.group_note
    assert "Several groups" in render_text(report)
    assert "&lt;b&gt;dark|&lt;/b&gt;" in render_html(report)
    assert "| &lt;b&gt;dark\\|&lt;/b&gt; | 100 |" in render_markdown(report)


def test_of_many_groups_the_worst_are_shown(fake: Any) -> None:
    made = fake()
    groups = tuple(f"class {i // 2:03d}" for i in range(200))
    (block,) = claims(made.report(made.test(groups=groups)))
    assert len(block.groups) == MOST_GROUPS
    assert all(row[2].startswith("0.0 %") for row in block.groups[:25])
    assert "the 40 lowest of 100 groups" in block.group_note


def test_without_groups_there_is_no_table(fake: Any) -> None:
    (block,) = claims(fake().full())
    assert (block.groups, block.group_note) == ((), "")
    assert "Several groups" not in render_html(fake().full())


def test_the_cost_of_the_stage_goes_first(fake: Any) -> None:
    stage = replace(fake().test(), cost=Cost(7, 1, 0.0))
    assert rows_of(fake().report(stage))["row-passes"] == "7 forward, 1 backward"


def test_a_stage_that_raised_has_no_block(fake: Any) -> None:
    stage = replace(fake().test(), error="late")
    assert claims(fake().report(stage)) == []


def test_an_attack_that_failed_on_some_rows_is_no_lowest(fake: Any) -> None:
    stage = fake().attack(left=0, failed=1)
    assert int(stage.result.status[0]) == int(Status.FAILED)
    (block,) = claims(fake().report(stage, fake().test()))
    assert "No attack gave a result" in block.beside
