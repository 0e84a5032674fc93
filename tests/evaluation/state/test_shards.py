"""Are the parts of a run, joined, the run?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import (
    ConfigError,
    EvaluationReport,
    InputError,
    StateError,
    evaluate,
)
from torchattacks_ext.evaluation import merge
from torchattacks_ext.evaluation.state.shards import Shard, read_shard
from torchattacks_ext.reports import render_markdown

Finished = tuple[Path, EvaluationReport]


@pytest.fixture(scope="module")
def parts(
    tmp_path_factory: Any, waves: Any, images: Tensor, labels: Tensor, plan: Any
) -> tuple[Path, list[EvaluationReport]]:
    """Two shards in other batches than the whole run, under one folder."""
    folder = tmp_path_factory.mktemp("parts")
    how = plan | {"batch_size": 7}
    return folder, [
        evaluate(waves(), (images, labels), how, state=folder, shard=f"{i}/2")
        for i in (1, 2)
    ]


def test_two_shards_merged_are_the_whole_run(
    finished: Finished, parts: Any, bytes_of: Any
) -> None:
    folder, reports = parts
    whole = finished[1]
    for joined in (merge(reports), merge(reports[::-1]), merge([folder])):
        assert not joined.failed and joined.data == whole.data
        for stage in whole.stages:
            result = joined[stage.name].result
            assert result.digest() == stage.result.digest(), stage.name
            assert torch.equal(result.ids, stage.result.ids)
            codes = [sorted(f.code for f in r.flags) for r in (result, stage.result)]
            assert codes[0] == codes[1], stage.name
            assert joined[stage.name].settings == stage.settings
        assert joined.worst_case() == whole.worst_case()
        assert [i.id for i in joined.gallery] == [i.id for i in whole.gallery]
    assert bytes_of(EvaluationReport.from_json(joined.to_json())) == bytes_of(joined)


def test_shards_that_are_no_run_are_refused(
    parts: Any, finished: Finished, waves: Any, images: Tensor, labels: Tensor,
    plan: Any, tmp_path: Path,
) -> None:  # fmt: skip
    one, two = parts[1]
    with pytest.raises(InputError, match="missing: 2/2"):
        merge([one])
    with pytest.raises(InputError, match="missing: 1/2"):
        merge([two, two])
    with pytest.raises(InputError, match="some are not"):
        merge([one, finished[1]])
    with pytest.raises(InputError, match="at least one"):
        merge([])
    with pytest.raises(InputError, match="holds no report.json"):
        merge([tmp_path])
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(InputError, match="not finished"):
        merge([tmp_path])
    data = images.flip(0), labels.flip(0)
    other = evaluate(waves(), data, plan | {"stages": ["FGSM"]}, shard="2/2")
    with pytest.raises(StateError, match="other plans"):
        merge([one, other])


def test_runs_on_disjoint_data_are_joined_in_their_order(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    plan = {"eps": 0.03, "stages": ["FGSM"]}
    runs = [
        evaluate(waves(), (images[s], labels[s]), plan)
        for s in (slice(12), slice(12, 30))
    ]
    joined = merge(runs)
    assert joined.data["n"] == 30
    whole = evaluate(waves(), (images, labels), plan)
    assert joined["FGSM"].result.digest() == whole["FGSM"].result.digest()
    with pytest.raises(StateError, match="ids occur twice"):
        merge([runs[0], runs[0]])


def test_a_shard_without_a_row_leaves_a_report_that_merge_takes(
    waves: Any, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    plan = {"eps": 0.03, "stages": ["FGSM"], "group_size": 20}
    parts = [
        evaluate(waves(), (images, labels), plan, shard=f"{i}/4", state=tmp_path)
        for i in (1, 2, 3, 4)
    ]
    none = parts[3]
    assert none.data["n"] == 0 and none.cost.forward <= 65 and not none.failed
    assert [stage.not_applicable for stage in none.stages] == [
        "this shard has no row"
    ] * 2
    assert "this shard has no row" in render_markdown(none)
    whole = evaluate(waves(), (images, labels), plan)
    for joined in (merge(parts), merge(parts[::-1]), merge([tmp_path])):
        assert joined.data == whole.data and not joined.not_applicable
        for stage in whole.stages:
            assert joined[stage.name].result.digest() == stage.result.digest()
    again = evaluate(waves(), (images, labels), plan, shard="4/4", state=tmp_path)
    assert again.data == none.data
    with pytest.raises(InputError, match="data are empty"):
        evaluate(waves(), (images[:0], labels[:0]), plan, shard="4/4")


def test_which_shard_a_process_is(monkeypatch: Any) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="RANK"):
        read_shard("auto")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "4")
    assert read_shard("auto") == Shard(3, 4)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert read_shard("auto") == Shard(1, 2)
    for wrong in ("0/2", "3/2", "2", "a/b", "1/0"):
        with pytest.raises(ConfigError, match='"1/4"'):
            read_shard(wrong)


@pytest.mark.parametrize(
    "n, rows, size", [(1, 10, 3), (3, 50, 7), (4, 9, 3), (2, 12, 5)]
)
def test_every_row_is_in_one_shard_and_no_group_is_cut(
    n: int, rows: int, size: int
) -> None:
    seen = []
    for shard in (Shard(i + 1, n) for i in range(n)):
        spans = [
            s
            for at in range(0, rows, 4)
            for s in shard.spans(at, min(at + 4, rows), size)
        ]
        own = [row for start, stop in spans for row in range(start, stop)]
        assert own == shard.positions(len(own), size).tolist()
        seen += own
    assert sorted(seen) == list(range(rows))
