"""Does the stage score the right images, spend what it says, and give the same for any batches?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, EvaluationReport, FIMScore, evaluate
from torchattacks_ext.errors import TorchattacksExtError
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.stages import SetStage, build_stages
from torchattacks_ext.numerics.detection.ranking import auroc
from torchattacks_ext.numerics.detection.scores import LOGIT_SCORES
from torchattacks_ext.results import OODScores

Run = Callable[..., EvaluationReport]


def ood(**arguments: Any) -> dict[str, Any]:
    return {"name": "ood", "scores": ["energy"], **arguments}


def result_of(report: EvaluationReport, name: str = "ood") -> OODScores:
    result = report[name].result
    assert isinstance(result, OODScores), report[name].error
    return result


@pytest.fixture(scope="module")
def far(images: Tensor) -> Tensor:
    return images[:9].flip(-1) / 3


def test_scores_are_those_of_the_logits_and_of_fimscore(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, far: Tensor
) -> None:
    stage = {"name": "ood", "far": far, "noise": False}
    found = result_of(run(wave_net, (images, labels), stage))
    lam = FIMScore(wave_net, kl=False)
    with torch.no_grad():
        z, other = wave_net(images), wave_net(far)
    for name, score in LOGIT_SCORES.items():
        torch.testing.assert_close(found.inside(name), score(z))
        assert found.set("far").scores[name] == pytest.approx(score(other).tolist())
    for rows, ours in ((images, found.fim), (far, found.set("far").scores["fim"])):
        wanted = lam.measure(rows).log_lam
        torch.testing.assert_close(
            torch.as_tensor(ours, dtype=torch.float64), wanted, rtol=1e-4, atol=1e-4
        )
    said = found.summary()["sets"]["far"]["energy"]["auroc"]
    assert said == auroc(LOGIT_SCORES["energy"](z), LOGIT_SCORES["energy"](other))


def test_the_same_numbers_for_other_batches_and_again(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, far: Tensor
) -> None:
    stage = ood(near={"a": far, "b": far[:4]}, noise=["uniform", "gaussian"])
    one, two, again = (
        result_of(run(wave_net, (images, labels), stage, batch_size=size))
        for size in (30, 7, 7)
    )
    assert one.digest() == two.digest()
    assert two.to_dict()["outside"] == again.to_dict()["outside"]
    assert [s.facts() for s in one.outside] == [s.facts() for s in two.outside]
    assert [(s.kind, s.n) for s in one.outside] == [
        ("near", 9),
        ("near", 4),
        ("noise", 30),
        ("noise", 30),
    ]
    other = result_of(run(wave_net, (images, labels), stage, seed=1))
    assert other.set("uniform").sha256 != one.set("uniform").sha256


def test_its_cost_is_what_it_says(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, far: Tensor
) -> None:
    stage = ood(far=far, n=5)
    report = run(wave_net, (images, labels), stage, {"name": "ood", "label": "twice"})
    spent = report["ood"].cost
    assert (spent.forward, spent.backward) == (30 + 5 + 5, 0)
    plan = check_plan({"eps": 0, "stages": [stage]})
    (built,) = [s for s in build_stages(plan) if isinstance(s, SetStage)]
    assert built.cost_per_image == 1 and built.cost_once == 5 + 5
    twice = report["twice"].cost  # 1 for the logits, 1 + 4 for the FIM score
    assert (twice.forward, twice.backward) == (2 * 30 + 2 * 30, 60 * 4)


def test_two_of_them_book_the_same_passes_when_a_run_goes_on(
    run: Run, waves: Any, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    stages = [ood(scores=["energy"]), {**ood(scores=["energy"]), "label": "twice"}]
    whole = run(waves(), (images, labels), *stages, batch_size=8)
    plan = {"eps": 0, "batch_size": 8, "stages": stages}
    evaluate(waves(), (images, labels), plan, state=tmp_path)
    rows = tmp_path / "rows.jsonl"
    lines = rows.read_bytes().splitlines(keepends=True)
    lost = [line for line in lines if b'"stage":"twice"' not in line]
    assert len(lost) < len(lines)
    rows.write_bytes(b"".join(lost))
    again = evaluate(waves(), (images, labels), plan, state=tmp_path)
    for name in ("ood", "twice"):
        assert again[name].cost.forward == whole[name].cost.forward == 60


def test_grey_pictures_are_brought_to_colour_only_when_asked(
    run: Run, far: Tensor
) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 4))
    data = torch.rand(6, 3, 6, 6), torch.zeros(6, dtype=torch.long)
    plain = run(net, data, ood(far=far, noise=False))["ood"]
    assert plain.result is None
    assert "far: images have shape (1, 8, 8), the evaluated ones (3, 6, 6)" in str(
        plain.error
    )
    report = run(net, data, ood(far=far, noise=False, adapt=True))
    assert result_of(report).set("far").n == 9
    assert "may tell the scaling" in report["ood"].notes[0]


def test_rows_without_finite_logits_have_no_score(run: Run, images: Tensor) -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = x.flatten(1)[:, :3].clone()
            z[z[:, 0] > 0.5] = torch.nan
            return z

    with pytest.warns(match="non_finite"):
        report = run(Breaks(), (images, torch.zeros(30).long()), ood())
    found = result_of(report)
    odd = images.flatten(1)[:, 0] > 0.5
    assert torch.equal(found.energy.isnan(), odd) and 0 < int(odd.sum()) < 30
    lost = found.summary()["sets"]["uniform"]["energy"]["without_score"]
    assert lost > int(odd.sum())


def test_copies_of_a_set_take_its_intervals_away(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, far: Tensor
) -> None:
    twice = torch.cat([far, far[:2]])
    with pytest.warns(match="ood_copies"):
        report = run(wave_net, (images, labels), ood(far=twice, noise=False))
    found = result_of(report)
    assert found.set("far").copies == 2
    assert "auroc_interval" not in found.summary()["sets"]["far"]["energy"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"scores": ["enrgy"]}, "score 'enrgy' is not one of .*did you mean 'energy'"),
    ({"scores": "energy"}, "must be a list"),
    ({"scores": []}, "leaves nothing to compute"),
    ({"noise": "pink"}, "noise='pink' must be one or a list of uniform, gaussian"),
    ({"noise": False}, "no set to tell apart"),
    ({"far": 3}, "far=3 is no data set"),
    ({"far": {}}, "names no data set"),
    ({"far": "npz:/nowhere.npz"}, "nowhere.npz is not a file"),
    ({"far": {"uniform": torch.rand(1, 1, 8, 8)}}, "two sets are called 'uniform'"),
    ({"adapt": 1}, "adapt=1 must be True or False"),
    ({"n": 0}, "n=0"),
    ({"detectors": [object()]}, "has no predict"),
    ({"detectors": ["nowhere"]}, "is not module:Class"),
    ({"detectors": ["no.such.module:X"]}, "cannot be imported"),
    ({"train": torch.rand(1, 1, 8, 8)}, "train= is for detectors that are fitted"),
    ({"nearby": 1}, "has no argument 'nearby'"),
]


@pytest.mark.parametrize(("arguments", "match"), BAD)
def test_bad_arguments_are_refused_before_any_pass(
    arguments: dict[str, Any], match: str
) -> None:
    plan = check_plan({"eps": 0, "stages": [{"name": "ood", **arguments}]})
    with pytest.raises(TorchattacksExtError, match=match):
        build_stages(plan)


def test_probabilities_have_no_energy() -> None:
    plan = {"eps": 0, "outputs": "probs", "stages": [ood()]}
    with pytest.raises(ConfigError, match="needs logits, and outputs='probs'"):
        build_stages(check_plan(plan))
    plan["stages"] = ["ood"]
    stage = build_stages(check_plan(plan))[1]
    assert stage.settings["scores"] == ["max_softmax", "fim"]
    plan |= {"bounds": None, "stages": [ood()], "outputs": "logits"}
    with pytest.raises(ConfigError, match="bounds=None has none"):
        build_stages(check_plan(plan))


@pytest.mark.parametrize(
    ("far", "match"),
    [
        (torch.rand(0, 1, 8, 8), "far is empty"),
        ([], "far is empty"),
        (torch.rand(3, 1, 8, 8) * 255, "far: images lie in"),
        (torch.full((2, 1, 8, 8), torch.nan), "far: images hold NaN"),
    ],
)
def test_a_bad_set_ends_its_stage_alone(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, far: Any, match: str
) -> None:
    report = run(wave_net, (images, labels), ood(far=far), "FGSM")
    assert report["FGSM"].error is None
    assert report["ood"].result is None and match in str(report["ood"].error)
