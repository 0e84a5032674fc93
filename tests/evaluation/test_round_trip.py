"""Does every stage's result come back from JSON, with its groups, as the same result?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import evaluate
from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound
from torchattacks_ext.errors import InputError, ReliabilityWarning
from torchattacks_ext.evaluation.stages import STAGES
from torchattacks_ext.reports import (
    render_html,
    render_json,
    render_markdown,
    render_text,
)
from torchattacks_ext.results import EvaluationReport, Result
from torchattacks_ext.results.sample import Sample
from torchattacks_ext.results.stages.report import FAMILIES

MIXED = {"version": "custom", "plan": [{"kind": "apgd", "steps": 2}]}
OTHER = (torch.full((3, 1, 4, 4), 0.4), torch.tensor([0, 1, 2]))
STAGE: dict[str, dict[str, Any]] = {
    "clean": {},
    "prtest": {"n_max": 100, "tolerance": 0.3, "significance": 0.05, "n_mean": 2},
    "fim": {},
    "certified": {},
    "smoothed": {"sigma": 0.2, "n": 20, "n0": 5},
    "diagnostics": {"steps": 20, "queries": 3, "draws": 1, "sweep_steps": 1},
    "stress": {"corruptions": ["fog", "rotation"], "severities": [1, 5]},
    "sweep": {"attack": "FGSM", "radii": [0.1, 0.5]},
    "msa": MIXED,
    "autoattack": {},
    "ood": {"scores": ["max_softmax", "fim"], "noise": "gaussian"},
    "shift": {"other": OTHER},
    "data-audit": {"near": None},
    "attack": {"attack": "FGSM"},
    "budgeted": {"attack": "PGD", "cheap": "FGSM"},
}
GROUPS = ["night", "day", "night", "day", "night"]


@pytest.fixture(scope="module")
def whole() -> EvaluationReport:
    """One report of every kind of stage that there is, over two groups of images."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    head = EllipsHead.from_parameters(torch.rand(5, 16), 1.0)
    net = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    images = torch.rand(5, 1, 4, 4)
    batch = {"images": images, "labels": net(images).argmax(1), "groups": GROUPS}
    batch["labels"][0] = (batch["labels"][0] + 1) % 5  # one is wrong when clean
    stages = [{"name": name, **more} for name, more in STAGE.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return evaluate(net, [batch], {"eps": 0.5, "stages": stages})


def test_every_kind_of_stage_is_tried_here() -> None:
    assert set(STAGE) == set(STAGES)


def families(base: type[Result]) -> set[type[Result]]:
    found = set()
    for family in base.__subclasses__():
        ours = family.__module__.startswith("torchattacks_ext.") and family.schema
        found |= families(family) | ({family} if ours else set())
    return found


def test_every_family_of_results_can_be_read_in_a_report() -> None:
    assert families(Result) == set(FAMILIES.values())


def test_a_report_of_every_stage_comes_back(whole: EvaluationReport) -> None:
    assert not whole.failed
    for text in (whole.to_json(), render_json(whole)):
        back = EvaluationReport.from_json(text)
        assert [stage.name for stage in back.stages] == [s.name for s in whole.stages]
        for one, two in zip(whole.stages, back.stages):
            assert one.result is not None and two.result is not None
            assert type(one.result) is type(two.result)
            assert one.result.digest() == two.result.digest()
            assert one.result.to_dict() == two.result.to_dict()
            assert repr(one.result) == repr(two.result)
            assert (one.kind, one.notes, one.cost) == (two.kind, two.notes, two.cost)
        assert back.worst_case() == whole.worst_case()
        assert repr(back) == repr(whole)
    for render in (render_text, render_markdown, render_html):
        assert render(back) == render(whole)


def test_an_unknown_family_is_refused_by_name(whole: EvaluationReport) -> None:
    data = whole.to_dict()
    data["stages"][1]["result"]["schema"] = "dream/1"
    with pytest.raises(InputError, match="'dream/1' is not one of .*'sensitivity/1'"):
        EvaluationReport.from_dict(data)


def test_groups_are_in_every_result_as_the_data_bring_them(
    whole: EvaluationReport,
) -> None:
    for stage in whole.stages:
        result = stage.result
        assert isinstance(result, Sample) and result.groups == tuple(GROUPS), stage.name
        said = result.summary()["groups"]
        assert {name: one["n"] for name, one in said.items()} == {"day": 2, "night": 3}
        assert {r["group"] for r in result.to_records()} == {"day", "night"}
    clean = whole["clean"].result
    assert clean is not None
    day, night = (
        clean.summary()["groups"][name]["clean_accuracy"] for name in ("day", "night")
    )
    assert (day, night) == (1.0, pytest.approx(2 / 3))


def test_pages_say_the_share_of_each_group(whole: EvaluationReport) -> None:
    for render in (render_text, render_markdown, render_html):
        page = " ".join(render(whole).replace("\u00a0", " ").split())
        assert "groups: night 66.7 % (2 of 3) and day 100.0 % (2 of 2)" in page


def test_the_worst_case_says_on_which_stages_it_rests(whole: EvaluationReport) -> None:
    worst = whole.worst_case()
    assert worst is not None
    assert worst["stages"] == ["prtest", "msa", "autoattack", "FGSM"]
    assert worst["outside_the_ball"] == []  # the fim score is no search at all
    text = " ".join(render_text(whole).split())
    assert "rests on prtest, msa, autoattack and FGSM" in text
