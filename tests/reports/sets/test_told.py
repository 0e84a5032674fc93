"""Do pages say what stages about the data as a whole found, and what each stage cost?"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport, ReliabilityWarning, evaluate
from torchattacks_ext.numerics.detection.intervals import Ends
from torchattacks_ext.reports import (
    plain_summary,
    render_html,
    render_markdown,
    render_text,
    scorecard,
)
from torchattacks_ext.reports.sets.cost import cost_told
from torchattacks_ext.reports.sets.page import with_ends
from torchattacks_ext.reports.sets.told import sets_told
from torchattacks_ext.results.base.facts import Cost
from torchattacks_ext.results.evaluation import StageReport

RENDER = (render_text, render_markdown, render_html)


class Own:
    requires_fit = True

    def fit(self, loader: object) -> None:
        pass

    def predict(self, images: Tensor) -> Tensor:
        return images.flatten(1).mean(1)


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    images = torch.rand(40, 1, 8, 8)
    labels = net(images).argmax(1)
    labels[:4] = (labels[:4] + 1) % 4
    data = images, labels
    stages = [
        {
            "name": "ood",
            "far": {"<b>moon|": images[:30] / 9},
            "noise": False,
            "scores": ["energy", "max_softmax"],
            "detectors": [Own()],
            "train": data,
        },
        {"name": "shift", "other": (1 - images, labels), "paired": "rows"},
        {"name": "data-audit", "train": (images[:3], labels[:3])},
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return evaluate(net, data, {"eps": 0.1, "stages": stages})


def words(page: str) -> str:
    return " ".join(page.replace("\u00a0", " ").split())


def test_every_page_holds_every_table(report: EvaluationReport) -> None:
    titles = [told.title for told in sets_told(report)]
    assert titles == [
        "Images from elsewhere: ood",
        "A second test set: shift",
        "Splits: data-audit",
        "Copies: data-audit",
        "Exact copies: data-audit",
    ]
    for render in RENDER:
        page = render(report)
        for told in [*sets_told(report), *cost_told(report)]:
            assert told.title in page
        assert "FPR95 with evaluated images as the positive class" in words(page)
        assert "0.429" in page  # 30 of 70: what a score without meaning has
        assert "Own fitted once, on 40 images" in words(page)
        assert "3 images of one split are in another" in words(page)
    assert "<b>moon" not in render_html(report)


def test_numbers_of_the_table_are_those_of_the_result(report: EvaluationReport) -> None:
    result = report["ood"].result
    assert result is not None
    said = result.summary()["sets"]["<b>moon|"]["energy"]
    (told,) = [t for t in sets_told(report) if t.title.endswith("ood")]
    row = told.rows[1]
    assert row[:2] == ("<b>moon| (far, 30)", "energy")
    for cell, name in zip(row[2:], ("auroc", "average_precision", "fpr95_inside")):
        assert cell == with_ends(Ends(said[name], *said[f"{name}_interval"]), True)


def test_the_scorecard_and_the_summary_speak_of_each(report: EvaluationReport) -> None:
    rows = {row.stage: row for row in scorecard(report)}
    assert rows["ood"].value.startswith("AUROC ") and "(energy)" in rows["ood"].value
    assert rows["shift"].value.endswith("points lost")
    assert rows["data-audit"].value == "findings"
    assert all(rows[name].guarantee for name in ("ood", "shift", "data-audit"))
    told = " ".join(plain_summary(report))
    assert (
        "Images from elsewhere (<b>moon| (far)) were shown to the model as well" in told
    )
    assert "fewer than on the measured one" in told
    assert "images from a third source" in told and "another source" not in told


def test_cost_adds_up(report: EvaluationReport) -> None:
    (told,) = cost_told(report)
    rows = {row[0]: row for row in told.rows[1:]}
    parts = [int(row[1].replace(",", "")) for row in told.rows[1:]]
    assert sum(parts[:-1]) == parts[-1] == report.cost.forward
    assert rows["ood"][1] == "70"  # 40 clean ones and 30 of the other set


def test_speed_is_images_by_seconds() -> None:
    stage = StageReport("slow", "attack", cost=Cost(10, 20, 4.0))
    report = EvaluationReport(
        "net", {}, {}, {"n": 100}, (stage,), cost=Cost(11, 20, 5.0)
    )
    (told,) = cost_told(report)
    assert told.rows[1:] == (
        ("slow", "10", "20", "4.0 s", "80.0 %", "25"),
        ("beside the stages", "1", "0", "1.0 s", "20.0 %", ""),
        ("all", "11", "20", "5.0 s", "100.0 %", "20"),
    )
