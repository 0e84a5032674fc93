"""Is a report written, and every finished row in it, when the model raises on one batch?"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import (
    EvaluationReport,
    InputError,
    ModelContractError,
    ReliabilityWarning,
    Status,
    evaluate,
)
from torchattacks_ext.evaluation.gallery import Gallery
from torchattacks_ext.evaluation.stages.attack import AttackStage
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.reports.overview.summary import plain_summary

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
PRTEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 300}
LINES = [
    {"kind": "noise", "on": "target", "steps": 3},
    {"kind": "apgd", "steps": 5},
    {"kind": "square", "on": "target", "steps": 30},
]
SHORT = {"name": "msa", "version": "custom", "plan": LINES}
STAGES = ["FGSM", PRTEST, "fim", SHORT]
PLAN = {"eps": 0.03, "batch_size": 10, "stages": STAGES}
BAD = slice(10, 20)


@pytest.fixture(scope="module")
def touchy(waves: Any) -> Any:
    class Touchy(waves):
        """Raises where a first pixel is exactly 1."""

        def forward(self, images: Tensor) -> Tensor:
            if bool((images.flatten(1)[:, 0] == 1).any()):
                raise KeyError("poisoned row")
            return super().forward(images)

    return Touchy()


@pytest.fixture(scope="module")
def poisoned(images: Tensor) -> Tensor:
    images = images.clone()
    images[:, 0, 0, 0] = 0.5
    images[13, 0, 0, 0] = 1
    return images


def bad_rows(n: int) -> Tensor:
    rows = torch.zeros(n, dtype=torch.bool)
    rows[BAD] = True
    return rows


@pytest.fixture(scope="module")
def report(touchy: Any, poisoned: Tensor, labels: Tensor) -> EvaluationReport:
    """One run for the tests that read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return evaluate(touchy, (poisoned, labels), PLAN)


def test_a_batch_on_which_the_model_raises_is_failed_in_every_stage(
    report: EvaluationReport, wave_net: Any, poisoned: Tensor, labels: Tensor
) -> None:
    whole, bad = evaluate(wave_net, (poisoned, labels), PLAN), bad_rows(len(labels))
    assert not report.failed
    for stage in report.stages:
        result, other = stage.result, whole[stage.name].result
        assert torch.equal(result.status == int(Status.FAILED), bad), stage.name
        assert result.settings == other.settings
        name = "verdict" if hasattr(result, "verdict") else "prediction"
        assert torch.equal(getattr(result, name)[~bad], getattr(other, name)[~bad])
        (flag,) = [flag for flag in result.flags if flag.code == "model_raised"]
        assert flag.count == 10 and "KeyError" in flag.message
    (flag,) = [flag for flag in report.flags if flag.code == "model_raised"]
    assert flag.count == 10


def test_failed_rows_are_neither_right_nor_wrong_neither_robust_nor_broken(
    report: EvaluationReport, wave_net: Any, poisoned: Tensor, labels: Tensor
) -> None:
    good = ~bad_rows(len(labels))
    whole = evaluate(wave_net, (poisoned[good], labels[good]), PLAN)
    clean, worst = report["clean"].result, report.worst_case()
    assert clean.clean_accuracy == whole["clean"].result.clean_accuracy
    assert clean.summary()["failed"] == 10 and clean.summary()["n"] == len(labels)
    assert worst is not None and worst["n"] == int(good.sum())
    assert not torch.isnan(torch.tensor(worst["robust_accuracy"]))
    assert report["FGSM"].result.summary()["failed"] == 10


def test_every_form_of_the_report_says_so(
    touchy: Any, poisoned: Tensor, labels: Tensor
) -> None:
    report = evaluate(touchy, (poisoned, labels), PLAN | {"stages": ["FGSM", PRTEST]})
    assert "KeyError" in plain_summary(report)[-1]
    for text in (render_text(report), render_markdown(report), render_html(report)):
        assert "poisoned row" in text
    again = EvaluationReport.from_json(report.to_json())
    assert again.worst_case() == report.worst_case()


def test_the_first_batch_may_be_the_one_that_fails(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class Warming(waves):
        """Raises on the first batch that is no look of up to eight rows."""

        cold = True

        def forward(self, images: Tensor) -> Tensor:
            if self.cold and len(images) > 9:
                self.cold = False
                raise ConnectionError("warming up")
            return super().forward(images)

    report = evaluate(Warming(), (images, labels), PLAN)
    for stage in report.stages:
        failed = stage.result.status == int(Status.FAILED)
        assert failed[:10].all() and not failed[10:].any(), stage.name


def test_a_model_that_raises_in_one_stage_fails_the_rows_of_that_stage_only(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class Backless(waves):
        """Raises in a forward with gradients, once."""

        armed = True

        def forward(self, images: Tensor) -> Tensor:
            if self.armed and images.requires_grad:
                self.armed = False
                raise FloatingPointError("no")
            return super().forward(images)

    plan = PLAN | {"stages": ["FGSM", "PGD", PRTEST], "group_size": 10}
    report = evaluate(Backless(), (images, labels), plan)
    counts = {
        stage.name: int((stage.result.status == int(Status.FAILED)).sum())
        for stage in report.stages
    }
    assert counts == {"clean": 0, "FGSM": 10, "PGD": 0, "prtest": 0}


def test_a_stage_without_any_row_has_the_model_s_words(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class Never(waves):
        def forward(self, images: Tensor) -> Tensor:
            if images.requires_grad:
                raise FloatingPointError("no gradients here")
            return super().forward(images)

    report = evaluate(Never(), (images, labels), PLAN | {"stages": ["FGSM", PRTEST]})
    (failed,) = report.failed
    assert failed.name == "FGSM" and "no gradients here" in str(failed.error)
    assert report["prtest"].result is not None


def test_a_model_that_always_raises_is_refused(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class Gone(waves):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 9:
                raise OSError("the device is gone")
            return super().forward(images)

    with pytest.raises(ModelContractError, match="OSError.*device is gone"):
        evaluate(Gone(), (images, labels), PLAN)


def test_pictures_cost_no_row(
    monkeypatch: Any, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    def torn(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room for pictures")

    for name in ("offer", "items"):
        monkeypatch.setattr(Gallery, name, torn)
        report = evaluate(wave_net, (images, labels), PLAN | {"stages": ["FGSM"]})
        assert report.gallery == () and report["FGSM"].result is not None


def test_a_late_doubt_that_cannot_be_told_costs_no_row(
    monkeypatch: Any, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    def torn(*_: Any) -> Any:
        raise LookupError("nowhere")

    monkeypatch.setattr(AttackStage, "finish", torn)
    report = evaluate(wave_net, (images, labels), PLAN | {"stages": ["FGSM"]})
    assert [flag.code for flag in report.flags] == ["late_step"]
    assert len(report["FGSM"].result) == len(labels)


@pytest.mark.parametrize("stage", [PRTEST, {"name": "msa", "version": "quick"}])
def test_a_folder_for_images_that_cannot_be_is_refused_before_any_pass(
    stage: dict[str, Any], tmp_path: Path, images: Tensor, labels: Tensor
) -> None:
    def never(images: Tensor) -> Tensor:
        raise AssertionError("asked")

    (tmp_path / "file").touch()
    plan = PLAN | {"stages": [stage | {"keep": str(tmp_path / "file" / "kept")}]}
    with pytest.raises(InputError, match="is a file"):
        evaluate(never, (images, labels), plan)
