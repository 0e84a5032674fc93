"""A method that has nothing to say of such a model or such images did not fail."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport, evaluate
from torchattacks_ext.evaluation.zoo.catalogue import TABLE, attack_info, unfit
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    net, images = small_net(n_classes=2).eval(), example_images(4)
    stages = ["FGSM", "APGDT", "TIFGSM", {"name": "attack", "attack": "AutoAttack"}]
    plan = {"eps": 0.1, "stages": stages}
    return evaluate(net, (images, net(images).argmax(1)), plan)


def test_its_reason_stands_in_the_report_and_comes_back(
    report: EvaluationReport,
) -> None:
    assert report.failed == ()
    names = [stage.name for stage in report.not_applicable]
    assert names == ["APGDT", "TIFGSM", "AutoAttack"]
    again = EvaluationReport.from_json(report.to_json())
    for name, why in (("APGDT", "at least 4 classes"), ("TIFGSM", "(N, 3, H, W)")):
        stage = again[name]
        assert why in str(stage.not_applicable) and stage.error is stage.result is None
        assert stage.cost.forward == 0
        assert again.summary()[name] == {"not_applicable": stage.not_applicable}
    worst = again.worst_case()
    assert worst is not None and worst["stages"] == ["FGSM"]
    assert worst["failed_stages"] == []


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_every_page_says_it(render: Any, report: EvaluationReport) -> None:
    page = " ".join(render(report).replace("\\", "").split())
    assert "needs at least 4 classes" in page and "FAILED" not in page
    assert page.count("not applicable") >= 4
    assert "3 stages cannot be used on such a model or such images" in page


@pytest.mark.parametrize("info", TABLE, ids=lambda info: str(info.name))
def test_what_is_known_beforehand(info: Any) -> None:
    said = [unfit(info, {}, n, (3, 8, 8)) is None for n in (2, 3, 4, 10)]
    assert said == [n >= info.min_classes for n in (2, 3, 4, 10)]
    assert (unfit(info, {}, 10, (5,)) is None) == (not info.spatial)


class ScoresOnly(nn.Module):
    """A net behind a runtime without gradients, as that of ONNX."""

    scores_only = True

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net(n_classes=3).eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).detach()


def test_a_gradient_attack_on_a_model_of_scores_only_did_not_fail() -> None:
    net, images = ScoresOnly(), example_images(4)
    sweep = {"name": "sweep", "attack": "FGSM", "radii": [0.1]}
    stages = ["FGSM", sweep, "fim", {"name": "Square", "n_queries": 5}, "GN"]
    plan = {"eps": 0.1, "stages": stages}
    report = evaluate(net, (images, net(images).argmax(1)), plan)
    assert report.failed == ()
    unfit = {stage.name: stage for stage in report.not_applicable}
    assert set(unfit) == {"FGSM", "sweep", "fim"}
    for stage in unfit.values():
        assert "model gives scores only" in str(stage.not_applicable)
        assert stage.cost.backward == 0
    assert len(report["Square"].result or ()) == len(report["GN"].result or ()) == 4


def test_a_loss_that_needs_three_classes() -> None:
    info = attack_info("APGD")
    assert unfit(info, {"loss": "ce"}, 2) is None
    assert "needs at least 3 classes" in str(unfit(info, {"loss": "dlr"}, 2))
    assert unfit(attack_info("AutoAttack"), {"version": "rand"}, 3) is None
