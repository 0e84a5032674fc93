"""Does a report say each flag of a diagnosis in a sentence, in every form?"""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import torch

from torchattacks_ext import evaluate
from torchattacks_ext.cli.plans.planning import Wanted, build_plan
from torchattacks_ext.errors import ConfigError, ReliabilityWarning
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.reports import (
    render_html,
    render_json,
    render_markdown,
    render_text,
)
from torchattacks_ext.results import Diagnosis, EvaluationReport
from torchattacks_ext.testing import GradientKiller, small_net

CHEAP = {"steps": 20, "queries": 5, "draws": 1, "sweep_steps": 1, "n_noise": 1}
STAGE = {"name": "diagnostics", **CHEAP}


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    net = small_net().eval()
    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plan = {"eps": 0.1, "batch_size": 5, "stages": [STAGE]}
    data = images, net(images).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return evaluate(GradientKiller(net), data, plan)


def result_of(report: EvaluationReport) -> Diagnosis:
    found = report["diagnostics"].result
    assert isinstance(found, Diagnosis)
    return found


def test_batches_are_one_diagnosis_and_its_flags_are_the_reports(
    report: EvaluationReport,
) -> None:
    found = result_of(report)
    assert len(found) == 12 and found.causes[0] == "gradient_killed"
    assert "zero_gradients" in [flag.code for flag in report.flags]
    assert report.worst_case() is None  # it is no attack


def test_each_flag_is_a_sentence_in_every_form(report: EvaluationReport) -> None:
    text = " ".join(render_text(report).split())
    page, marks = render_html(report), render_markdown(report).replace("\\", "")
    for check in result_of(report).checks:
        if check.flag:
            assert check.sentence in text and check.sentence in page, check.name
            assert check.sentence in marks
    assert "masked: gradient killed" in text and "arXiv:1802.00420" in text
    data = json.loads(render_json(report))["stages"][1]["result"]
    assert data["masked"] and {"name", "value", "threshold", "flag", "source"} <= set(
        data["checks"][0]
    )


def test_a_report_comes_back_with_its_diagnosis(report: EvaluationReport) -> None:
    back = EvaluationReport.from_json(report.to_json())
    assert result_of(back).to_dict() == result_of(report).to_dict()


def test_masking_is_warned_of_and_what_informs_is_not() -> None:
    net = small_net().eval()
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data = images, net(images).argmax(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = evaluate(GradientKiller(net), data, {"eps": 0.1, "stages": [STAGE]})
    said = " ".join(str(one.message) for one in caught)
    assert "[zero_gradients]" in said
    for check in result_of(found).checks:
        assert (f"[{check.name}]" in said) == (check.flag and check.cause != "")


def test_the_command_line_takes_it_among_attacks() -> None:
    plan = build_plan(None, {"eps": "8/255"}, Wanted(attacks="Diagnostics,FGSM"))
    names = [stage.name for stage in plan.stages]
    assert names[1:3] == ["diagnostics", "FGSM"] and names[0] == "clean"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"step": 20}, "has no argument 'step'; did you mean 'steps'"),
        ({"steps": 3}, "steps=3 must be"),
        ({"surrogates": "all"}, "surrogates='all'"),
    ],
    ids=["unknown", "small", "word"],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    plan = check_plan({"eps": 0.1, "stages": [{"name": "diagnostics", **arguments}]})
    with pytest.raises(ConfigError, match=words):
        build_stages(plan)


def test_no_bounds_are_refused() -> None:
    plan = check_plan({"eps": 0.1, "bounds": None, "stages": ["diagnostics"]})
    with pytest.raises(ConfigError, match="bounds=None"):
        build_stages(plan)
