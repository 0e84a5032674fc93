"""What is said of rows that a limit, or short memory, kept from a stage?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from torchattacks_ext import ConfigError, ReliabilityWarning, Status, Verdict, evaluate
from torchattacks_ext.models.memory import too_short
from torchattacks_ext.reports import render_text

TEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 60}
STRESS = {"name": "stress", "corruptions": ["contrast"], "severities": [1, 5]}
LINES = [{"kind": "apgd", "steps": 3}]
MSA = {"name": "msa", "version": "custom", "plan": LINES}
PLAN = {
    "eps": 0.03,
    "batch_size": 10,
    "group_size": 10,
    "stages": ["FGSM", TEST, "fim", MSA, STRESS],
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        yield


def test_rows_beyond_a_limit_are_undecided_and_a_run_goes_on(
    waves: Any, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    data, whole = (images, labels), evaluate(waves(), (images, labels), PLAN)
    spent = whole.cost.forward
    part = evaluate(waves(), data, PLAN, state=tmp_path, max_queries=spent // 2)
    assert not part.failed and part.cost.forward < 0.8 * spent
    late = [stage.result.status == int(Status.NOT_REACHED) for stage in part.stages]
    assert all(len(one) == 30 and bool(one.any()) for one in late)
    counts = {
        flag.details["stage"]: flag.count
        for flag in part.flags
        if flag.code == "not_reached"
    }
    names = [stage.name for stage in part.stages]
    assert counts == {name: int(one.sum()) for name, one in zip(names, late)}
    text = render_text(part)
    assert f"max_queries={spent // 2} ended the run" in text
    clean, worst = part["clean"].result, part.worst_case()
    assert clean.summary()["failed"] == counts["clean"]
    assert worst is not None and worst["n"] == 30 - counts["clean"]
    again = evaluate(waves(), data, PLAN, state=tmp_path)
    for stage in whole.stages:
        assert again[stage.name].result.digest() == stage.result.digest(), stage.name
    assert again.cost.forward == spent


def test_a_limit_before_the_first_row_is_no_result(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    report = evaluate(waves(), (images, labels), PLAN, max_minutes=1e-9)
    assert len(report.failed) == len(report.stages)
    assert "before its first row" in str(report["clean"].error)
    for name, value in (("max_minutes", 0), ("max_queries", 1.5), ("max_minutes", "1")):
        with pytest.raises(ConfigError, match=name):
            evaluate(waves(), (images, labels), PLAN, **{name: value})


# ---------------------------------------------------------------- short memory
@pytest.fixture
def tight(waves: Any) -> Any:
    class Tight(waves):
        """Has memory for eight rows."""

        largest = 0

        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 8:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            self.largest = max(self.largest, len(images))
            return super().forward(images)

    return Tight()


def test_short_memory_changes_no_decision_of_rows_and_cuts_groups_openly(
    tight: Any, waves: Any, images: Tensor, labels: Tensor
) -> None:
    plan = PLAN | {"batch_size": 20, "group_size": 20}
    whole = evaluate(waves(), (images, labels), plan)
    report = evaluate(tight, (images, labels), plan)
    assert not report.failed and tight.largest <= 8
    for stage in report.stages:
        same = stage.result.digest() == whole[stage.name].result.digest()
        assert same, stage.name  # FGSM draws nothing
    codes = [f.code for f in report.flags if f.code in ("group_cut", "out_of_memory")]
    assert sorted(codes) == ["group_cut", "out_of_memory"]  # one each
    assert [f.count for f in report["FGSM"].result.flags if f.code == "group_cut"]
    assert not any(f.code in ("group_cut", "out_of_memory") for f in whole.flags)


def test_memory_too_short_for_one_row_ends_the_stage(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class None_(waves):
        def forward(self, images: Tensor) -> Tensor:
            if images.requires_grad:
                raise MemoryError("not even one")
            return super().forward(images)

    report = evaluate(None_(), (images, labels), PLAN | {"stages": ["FGSM", TEST]})
    assert [stage.name for stage in report.failed] == ["FGSM"]
    assert "not even one" in str(report["FGSM"].error)


@pytest.mark.slow
def test_the_checks_of_gradients_are_cut_and_go_on_as_well(
    tight: Any, waves: Any, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    data, plan = (images, labels), PLAN | {"stages": ["diagnostics"]}
    whole = evaluate(waves(), data, plan)["diagnostics"].result
    evaluate(waves(), data, plan, state=tmp_path, max_queries=3000)
    again = evaluate(waves(), data, plan, state=tmp_path)["diagnostics"].result
    assert again.digest() == whole.digest()
    cut = evaluate(tight, data, plan)["diagnostics"].result
    assert cut.digest() == whole.digest()


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "no"])
def test_what_is_about_memory(words: str) -> None:
    try:
        try:
            raise RuntimeError(words)
        except RuntimeError as error:
            raise ValueError("the model raised") from error
    except ValueError as error:
        assert too_short(error) == (words != "no")
    assert too_short(torch.cuda.OutOfMemoryError())


# ---------------------------------------------------------------- batches
def test_any_batch_size_has_the_same_rows(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    stages = [*PLAN["stages"], {"name": "PGD", "steps": 3}, {"name": "GN"}]
    plan = {"eps": 0.03, "group_size": 12, "stages": stages}
    reports = [
        evaluate(waves(), (images, labels), plan | {"batch_size": size})
        for size in (64, 7)
    ]
    units = {stage.name: stage.settings["unit"] for stage in reports[0].stages}
    assert set(units.values()) == {"row", "group"} and units["PGD"] == "group"
    for stage in reports[0].stages:
        other = reports[1][stage.name].result
        assert stage.result.digest() == other.digest(), stage.name


# ---------------------------------------------------------------- images
def test_adversarial_images_are_kept_and_asked_again_as_pictures(
    waves: Any, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    plan = {"eps": 0.03, "group_size": 12, "stages": ["FGSM"]}
    data, net = ((images * 255).round() / 255, labels), waves()
    report = evaluate(net, data, plan, state=tmp_path / "a", images="float")
    result = report["FGSM"].result
    broken = result.verdict == int(Verdict.NOT_ROBUST)
    kept = result.select(result.ids[broken]).images()
    assert torch.equal(net(kept).argmax(1), result.prediction[broken])
    assert (kept - data[0][broken]).abs().max() <= 0.03 + 1e-6

    report = evaluate(net, data, plan, state=tmp_path / "b", images="uint8")
    files = sorted((tmp_path / "b" / "images").glob("*.safetensors"))
    parts = [load_file(file) for file in files]
    ids, levels, fools = (
        torch.cat([part[k] for part in parts]) for k in ("ids", "images", "fools")
    )
    assert levels.dtype == torch.uint8 and len(ids) == int(broken.sum())
    rows = report["FGSM"].result.find(ids)
    pixels = levels / 255
    assert (pixels - data[0][rows]).abs().max() <= 0.03 + 1e-5
    wrong = net(pixels).argmax(1) != labels[rows]
    assert torch.equal(wrong, fools == 1) and bool(wrong.any())
    (flag,) = [f for f in report.flags if f.code == "eight_bit"]
    assert flag.details["still"] == int(wrong.sum())
    assert report["FGSM"].result.digest() == result.digest()
    with pytest.raises(ConfigError, match="give state="):
        evaluate(net, data, plan, images="uint8")
    with pytest.raises(ConfigError, match="png"):
        evaluate(net, data, plan, state=tmp_path / "b", images="png")
