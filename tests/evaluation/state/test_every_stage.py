"""Does a run with every kind of stage go on, and do its shards join, to the same report?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport, evaluate
from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound
from torchattacks_ext.errors import ConfigError, ReliabilityWarning
from torchattacks_ext.evaluation import merge
from torchattacks_ext.evaluation.stages import STAGES

OTHER = (torch.full((3, 1, 4, 4), 0.4), torch.tensor([0, 1, 2]))
SHORT = {"version": "custom", "plan": [{"kind": "apgd", "steps": 2}]}
OF_ROWS: dict[str, dict[str, Any]] = {
    "clean": {},
    "prtest": {"n_max": 60, "tolerance": 0.3, "significance": 0.05},
    "fim": {},
    "certified": {},
    "smoothed": {"sigma": 0.2, "n": 20, "n0": 5},
    "diagnostics": {"steps": 20, "queries": 3, "draws": 1, "sweep_steps": 1},
    "stress": {"corruptions": ["fog"], "severities": [1, 5]},
    "sweep": {"attack": "PGD", "steps": 2, "radii": [0.02, 0.1]},
    "msa": SHORT,
    "attack": {"attack": "PGD", "steps": 2},
}
CURVE = {"name": "sweep", "label": "curve", "attack": "msa", "radii": [0.05, 0.2]}
OF_ALL: dict[str, dict[str, Any]] = {
    "ood": {"scores": ["max_softmax", "fim"], "noise": "gaussian"},
    "shift": {"other": OTHER},
    "data-audit": {"near": None},
    "budgeted": {"attack": {"name": "msa", **SHORT}, "cheap": "PGD", "pilot": 2},
}
Data = tuple[Tensor, Tensor]


def plan_of(*parts: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    stages = [{"name": k, **v} for part in parts for k, v in part.items()]
    sizes = {"batch_size": 4, "group_size": 5}
    return {"eps": 0.05, "stages": [*stages, CURVE], **sizes, **more}


def net() -> nn.Module:
    """A new one each time: what a look shows is remembered, and costs nothing then."""
    torch.manual_seed(1)
    head = EllipsHead.from_parameters(torch.rand(5, 16), 1.0)
    return Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()


@pytest.fixture(scope="module")
def data() -> Data:
    """Eleven images in [0, 1]; one label is wrong."""
    images = torch.rand(11, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        labels = net()(images).argmax(1)
    labels[0] = (labels[0] + 1) % 5
    return images, labels


@pytest.fixture(scope="module")
def whole(tmp_path_factory: Any, data: Data) -> tuple[Path, EvaluationReport]:
    """A state of an undisturbed run, and its report."""
    folder = tmp_path_factory.mktemp("every")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return folder, evaluate(net(), data, plan_of(OF_ROWS, OF_ALL), state=folder)


def test_every_kind_of_stage_is_tried_here(whole: Any) -> None:
    assert {*OF_ROWS, *OF_ALL} == set(STAGES) - {"autoattack"}  # msa with a plan
    assert not whole[1].failed
    budgeted = whole[1]["budgeted"]
    assert int(budgeted.result.attacked.sum()) > 0


@pytest.mark.parametrize("half", [0, 1])
def test_resumed_from_half_of_the_lines_the_report_is_the_same(
    half: int, whole: Any, data: Data, tmp_path: Path,
    bytes_of: Callable[[EvaluationReport], str],
) -> None:  # fmt: skip
    lines = (whole[0] / "rows.jsonl").read_bytes().splitlines(keepends=True)
    kept = [lines[: len(lines) // 2], lines[:1] + lines[1::2]][half]
    (tmp_path / "run.json").write_bytes((whole[0] / "run.json").read_bytes())
    (tmp_path / "rows.jsonl").write_bytes(b"".join(kept))
    report = evaluate(net(), data, plan_of(OF_ROWS, OF_ALL), state=tmp_path)
    for stage in whole[1].stages:
        assert report[stage.name].result.digest() == stage.result.digest(), stage.name
    assert bytes_of(report) == bytes_of(whole[1])


def test_shards_of_all_stages_about_rows_are_the_whole_run(
    whole: Any, data: Data
) -> None:
    plan = plan_of(OF_ROWS, batch_size=3)
    joined = merge(evaluate(net(), data, plan, shard=f"{i}/2") for i in (1, 2))
    for stage in joined.stages:
        before = whole[1][stage.name]
        assert stage.result.digest() == before.result.digest(), stage.name
        codes = [sorted(f.code for f in s.result.flags) for s in (stage, before)]
        assert codes[0] == codes[1], stage.name
        assert (stage.settings, stage.notes) == (before.settings, before.notes)


@pytest.mark.parametrize("name", sorted(OF_ALL))
def test_a_stage_about_all_images_takes_no_shard(name: str, data: Data) -> None:
    plan = {"eps": 0.05, "stages": [{"name": name, **OF_ALL[name]}]}
    with pytest.raises(ConfigError, match="about all images together"):
        evaluate(net(), data, plan, shard="1/2")


def test_budgeted_is_the_same_in_other_batches_of_one_group(
    whole: Any, data: Data
) -> None:
    plan = plan_of({"budgeted": OF_ALL["budgeted"]}, batch_size=7)
    found = evaluate(net(), data, plan)["budgeted"].result
    assert found.digest() == whole[1]["budgeted"].result.digest()


def test_a_run_that_ended_makes_no_full_attack(data: Data) -> None:
    plan = plan_of({"budgeted": OF_ALL["budgeted"]})
    report = evaluate(net(), data, plan, max_queries=70)
    said = report["budgeted"].error
    assert said is not None and "limit ended the run" in said


def test_short_memory_reaches_what_a_stage_runs_inside(
    whole: Any, data: Data, monkeypatch: Any
) -> None:
    usual = Ellips.forward

    def short(self: Any, images: Tensor) -> Tensor:
        if len(images) > 3:
            raise RuntimeError("out of memory")
        return usual(self, images)

    monkeypatch.setattr(Ellips, "forward", short)
    plan = plan_of({"smoothed": OF_ROWS["smoothed"]})
    report = evaluate(net(), data, plan)
    for name in ("smoothed", "curve"):
        found = report[name].result
        assert found is not None, report[name].error
        assert found.digest() == whole[1][name].result.digest(), name
        assert "out_of_memory" in {flag.code for flag in found.flags}
