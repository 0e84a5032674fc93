"""Do the stages msa and autoattack say what MSA says, with books of the whole run?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, AttackResult, EvaluationReport, Verdict
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.testing import GradientKiller

EPS = 0.03
LINES = [{"kind": "noise", "on": "target", "steps": 2}, {"kind": "apgd", "steps": 8}]
SHORT = {"name": "msa", "version": "custom", "plan": LINES}


@pytest.fixture(scope="module")
def net(wave_net: nn.Module) -> nn.Module:
    return wave_net


@pytest.fixture(scope="module")
def data(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """22 images, every seventh with a wrong label."""
    return images[:22], labels[:22]


# ---------------------------------------------------------------- the rows
@pytest.mark.parametrize("batch_size", [4, 64])
def test_it_is_what_measure_gives(
    net: nn.Module, data: Any, run: Any, attacked: Any, batch_size: int
) -> None:
    target = GradientKiller(net)
    short = SHORT | {"surrogates": {"plain": net}}
    report = run(target, data, short, eps=EPS, batch_size=batch_size)
    found = attacked(report, "msa")
    alone = MSA(target, {"plain": net}, eps=EPS, version="custom", plan=LINES)
    want = alone.measure(*data)
    assert found.digest() == want.digest()
    assert torch.equal(found.first_breaker, want.first_breaker)
    assert found.sources == want.sources
    for column in ("margin", "clean_margin", "norm", "found_norm"):
        pair = getattr(found, column), getattr(want, column)
        torch.testing.assert_close(*pair, equal_nan=True, atol=1e-5, rtol=1e-4)


def test_books_add_up_over_batches(
    net: nn.Module, data: Any, run: Any, attacked: Any
) -> None:
    short = SHORT | {"surrogates": [net]}
    small, whole = (
        attacked(run(GradientKiller(net), data, short, eps=EPS, batch_size=n), "msa")
        for n in (4, 64)
    )
    for name, book in whole.breakdown.items():
        for key in (
            "tried",
            "broken",
        ):  # a run ends early once all of a batch are broken
            assert small.breakdown[name][key] == book[key]
    broken = sum(book["broken"] for book in small.breakdown.values())
    assert broken == int((small.verdict == int(Verdict.NOT_ROBUST)).sum()) > 0
    assert small.breakdown["s1/apgd-ce-8"]["broken"] > 0
    right = int((small.clean_correct == 1).sum())
    assert small.breakdown["target/noise-2"]["tried"] == right < len(small)


def test_the_report_keeps_the_books(
    net: nn.Module, data: Any, run: Any, attacked: Any
) -> None:
    report = run(net, data, SHORT | {"surrogates": {"a": net}}, eps=EPS)
    again = EvaluationReport.from_json(report.to_json())
    pair = [attacked(r, "msa") for r in (report, again)]
    assert pair[0].breakdown == pair[1].breakdown != {}
    assert pair[0].sources == pair[1].sources
    assert pair[0].provenance["model"]["class"] == type(net).__name__
    (told,) = [s for s in report.plan["stages"] if s["name"] == "msa"]
    assert told["surrogates"]["a"]["sha256"] == report.model["sha256"]
    assert again.worst_case() == report.worst_case()
    assert report["msa"].kind == "attack"


def test_wrong_rows_are_not_attacked_and_all_wrong_is_fine(
    net: nn.Module, data: Any, run: Any, attacked: Any
) -> None:
    images, labels = data
    result = attacked(run(net, (images, (labels + 1) % 3), SHORT, eps=EPS), "msa")
    wrong = result.verdict == int(Verdict.MISCLASSIFIED)
    assert torch.equal(wrong, result.clean_correct == 0)
    assert (result.first_breaker[wrong] == -1).all()
    away = (net(images).argmin(1)).long()
    report = run(net, (images, away), SHORT, "autoattack", eps=EPS)
    for name in ("msa", "autoattack"):
        none = attacked(report, name)
        assert (none.verdict == int(Verdict.MISCLASSIFIED)).all()
        assert none.breakdown == {} and report[name].cost.backward == 0


def test_a_row_that_only_the_attack_calls_broken_is_not_broken(
    net: nn.Module, data: Any, run: Any, attacked: Any, monkeypatch: Any
) -> None:
    from torchattacks_ext.attacks.msa import run as msa_run
    from torchattacks_ext.engines.judge.ledger import Ledger

    def break_all(scene: Any, models: Any, ledger: Ledger, *_: Any, **__: Any) -> Any:
        ledger.entry("target/noise-2")
        ledger.breaker[:] = 0
        ledger.alive[:] = False
        return frozenset()

    monkeypatch.setattr(msa_run, "attack", break_all)
    result = attacked(run(net, data, SHORT, eps=EPS), "msa")
    assert not (result.verdict == int(Verdict.NOT_ROBUST)).any()
    assert (result.first_breaker == -1).all() and result.found_norm.isnan().all()


def test_rows_that_the_attack_calls_wrong_are_flagged(
    net: nn.Module, data: Any, run: Any, attacked: Any, monkeypatch: Any
) -> None:
    real = MSA.attack_rows

    def doubtful(*args: Any) -> Any:
        rows = real(*args)
        rows.columns["clean_correct"][0] = 0
        return rows

    monkeypatch.setattr(MSA, "attack_rows", doubtful)
    with pytest.warns(UserWarning, match="clean_answers_differ"):
        result = attacked(run(net, data, SHORT, eps=EPS), "msa")
    assert [(f.code, f.count) for f in result.flags] == [("clean_answers_differ", 1)]


def test_the_doubt_about_square_is_of_the_whole_run(
    net: nn.Module, data: Any, run: Any, attacked: Any
) -> None:
    lines = [{"kind": "apgd", "steps": 5}, {"kind": "square", "steps": 60}]
    target = GradientKiller(net)
    with pytest.warns(UserWarning, match="square_after_gradients"):
        report = run(target, data, SHORT | {"plan": lines}, eps=0.1, batch_size=4)
    result = attacked(report, "msa")
    (flag,) = [f for f in result.flags if f.code == "square_after_gradients"]
    assert flag.count == result.breakdown["target/square-60"]["broken"] > 0


def test_kept_images_are_those_of_all_rows(
    net: nn.Module, data: Any, run: Any, attacked: Any, tmp_path: Path
) -> None:
    images, labels = data
    short = SHORT | {"keep": "memory"}
    result = attacked(run(net, data, short, eps=EPS, batch_size=5), "msa")
    kept = result.images()
    assert kept.shape == images.shape
    assert float((kept - images).abs().max()) <= EPS + 1e-6
    assert torch.equal(net(kept).argmax(1), result.prediction)
    result.save_robustbench(tmp_path / "images.pt")
    assert torch.equal(torch.load(tmp_path / "images.pt"), kept)


def test_the_gallery_shows_what_was_found(net: nn.Module, data: Any, run: Any) -> None:
    report = run(net, data, SHORT, eps=EPS)
    assert report.gallery and all(item.stage == "msa" for item in report.gallery)
    assert any(not torch.equal(item.clean, item.worst) for item in report.gallery)


# ---------------------------------------------------------------- autoattack
@pytest.mark.parametrize("name", ["autoattack", "AutoAttack"])
def test_autoattack_is_the_real_one(
    net: nn.Module, data: Any, run: Any, attacked: Any, name: str, monkeypatch: Any
) -> None:
    from torchattacks_ext.engines.autoattack.sequence import StandardSequence

    monkeypatch.setattr(StandardSequence, "steps", 5, raising=False)
    images, labels = data[0][:6], data[1][:6]
    report = run(net, (images, labels), name, eps=0.3)
    result = attacked(report, "autoattack")
    assert result.sources[0] == "target/apgd-ce" and isinstance(result, AttackResult)
    want = MSA(net, eps=0.3, version="autoattack").measure(images, labels)
    assert torch.equal(result.verdict, want.verdict)
    assert result.digest() == want.digest()
    notes = " ".join(report["autoattack"].notes)
    assert "not torchattacks' class" in notes and "batches of 256" in notes


def test_torchattacks_class_of_that_name_is_within_reach(
    net: nn.Module, data: Any, run: Any, attacked: Any
) -> None:
    images, labels = data[0][1:4], data[1][1:4]
    theirs = {"name": "attack", "attack": "AutoAttack", "version": "standard"}
    (built,) = build_stages(check_plan({"eps": EPS, "stages": [theirs]}))[1:]
    assert type(built).__name__ == "AttackStage" and built.label == "AutoAttack"
    assert (
        attacked(run(net, (images, labels), theirs, eps=0.5), "AutoAttack") is not None
    )
