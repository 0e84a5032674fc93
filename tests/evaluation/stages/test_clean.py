"""Does the clean stage tell calibration, classes and groups, whatever the batches?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import Accuracy, EvaluationReport, evaluate
from torchattacks_ext.numerics.calibration import calibration_error
from torchattacks_ext.numerics.rates.binomial import clopper_pearson
from torchattacks_ext.reports import (
    render_html,
    render_json,
    render_markdown,
    render_text,
)

GROUPS = ["day", "night", "day"]


@pytest.fixture(scope="module")
def data(waves: Any, wrong_at: Any) -> tuple[Any, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(60, 1, 8, 8, generator=generator)
    net = waves()
    net.weight.data /= 4
    return net, images, wrong_at(net, images)


def run(data: tuple[Any, Tensor, Tensor], size: int = 256) -> EvaluationReport:
    net, images, labels = data
    batches = [
        {"images": images[i : i + 3], "labels": labels[i : i + 3], "groups": GROUPS}
        for i in range(0, 60, 3)
    ]
    plan = {"eps": 0.02, "stages": ["FGSM"], "batch_size": size}
    return evaluate(net, batches, plan)


@pytest.fixture(scope="module")
def report(data: Any) -> EvaluationReport:
    return run(data)


def clean_of(report: EvaluationReport) -> Accuracy:
    result = report["clean"].result
    assert isinstance(result, Accuracy)
    return result


def test_scores_are_those_of_the_softmax(data: Any, report: EvaluationReport) -> None:
    net, images, labels = data
    with torch.no_grad():
        probs = net(images).double().softmax(1)
    clean = clean_of(report)
    own = probs.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(clean.confidence, probs.amax(1), rtol=1e-5, atol=0)
    torch.testing.assert_close(clean.nll, -own.log(), rtol=1e-5, atol=1e-9)
    brier = (probs - torch.nn.functional.one_hot(labels, 5)).square().sum(1)
    torch.testing.assert_close(clean.brier, brier, rtol=1e-5, atol=1e-7)
    right = (clean.clean_correct == 1).double().numpy()
    error = calibration_error(probs.amax(1).numpy(), right)
    said = clean.summary()
    assert said["expected_calibration_error"] == pytest.approx(error, abs=1e-6)
    low, high = said["expected_calibration_error_interval"]
    assert 0 <= low < high <= 1
    assert report["clean"].cost.forward <= 60 + 3  # no second pass


@pytest.mark.parametrize("size", [1, 7])
def test_any_batch_size_gives_the_same(
    size: int, data: Any, report: EvaluationReport
) -> None:
    other = run(data, size)
    assert clean_of(other).digest() == clean_of(report).digest()
    one, two = clean_of(report).calibration(), clean_of(other).calibration()
    for key in ("expected_calibration_error", "overconfidence", "brier", "nll"):
        assert one[key] == pytest.approx(two[key], abs=1e-6)


def test_classes_and_groups_are_counted_with_exact_intervals(
    data: Any, report: EvaluationReport
) -> None:
    _, _, labels = data
    clean, alive = clean_of(report), report.survivors()
    assert alive is not None
    parts = report.classes()
    assert [part.name for part in parts] == [
        str(k) for k in sorted(set(labels.tolist()))
    ]
    for part in parts:
        mine = labels == int(part.name)
        assert part.n == int(mine.sum())
        assert part.right == int((clean.clean_correct[mine] == 1).sum())
        assert part.left == int(alive[mine].sum())
        low, high = clopper_pearson(part.left, part.n, 0.95)
        assert part.left_interval == pytest.approx((float(low), float(high)))
    groups = {part.name: part for part in report.groups()}
    assert list(groups) == ["day", "night"] and groups["night"].n == 20
    assert sum(part.left or 0 for part in groups.values()) == int(alive.sum())


def test_every_page_tells_them(report: EvaluationReport) -> None:
    for render in (render_text, render_markdown, render_html):
        page = " ".join(render(report).split())
        assert "expected calibration error" in page
        assert "Groups one by one" in page and "Classes one by one" in page
    raw = json.loads(render_json(report))
    assert raw["classes"][0].keys() >= {"name", "n", "right", "left", "left_interval"}
    assert EvaluationReport.from_json(json.dumps(raw)).extra == {}


def test_a_file_without_scores_tells_no_calibration(report: EvaluationReport) -> None:
    raw = report.to_dict()
    for name in ("confidence", "nll", "brier"):
        del raw["stages"][0]["result"]["columns"][name]
    old = EvaluationReport.from_dict(raw)
    assert clean_of(old).calibration() == {}
    assert "calibration" not in render_text(old)
    assert clean_of(old).digest() == clean_of(report).digest()
