"""Is a sweep what its radii say one by one, never rising, and told on every page?"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from torchattacks_ext import ConfigError, EvaluationReport, evaluate
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.results.sweep import Sweep
from torchattacks_ext.testing import HalfSpace

RADII = [0.008, 0.02, 0.032, 0.045]
pytestmark = pytest.mark.usefixtures("generators_as_before")


@pytest.fixture(scope="module")
def victim() -> tuple[Any, Any, Any]:
    """A half-space, images in the middle of the range, and labels that are right but for two."""
    weight = torch.linspace(-1, 1, 12)
    model = HalfSpace(weight, 0.03)
    images = 0.5 + 0.1 * (torch.linspace(0, 37, 24 * 12).sin().view(24, 12))
    labels = model.labels(images)
    labels[:2] = 1 - labels[:2]
    return model, images, labels


def run(victim: Any, *stages: Any, **plan: Any) -> EvaluationReport:
    model, images, labels = victim
    given = {"eps": 0.045, "stages": list(stages), **plan}
    return evaluate(model, (images, labels), given)


def swept(report: EvaluationReport, name: str = "sweep") -> Sweep:
    found = report[name].result
    assert isinstance(found, Sweep), report[name].error
    return found


@pytest.fixture(scope="module")
def report(victim: Any) -> EvaluationReport:
    base = {"name": "sweep", "radii": RADII}
    custom = {"version": "custom", "engine": "own"}
    line = {"kind": "apgd", "loss": "pm-t", "steps": 8}
    return run(
        victim,
        {**base, "attack": "FGSM"},
        {**base, "attack": "DeepFool", "label": "far", "steps": 10},
        {**base, "attack": "torchattacks:FGSM", "label": "mine"},
        {**base, "attack": "msa", "label": "msa", **custom, "plan": [line]},
        norm="Linf",
    )


def test_a_linear_model_falls_at_its_own_radius(
    victim: Any, report: EvaluationReport
) -> None:
    model, images, labels = victim
    least = model.radius(images, "Linf")
    right = model.labels(images) == labels
    expected = [(right & (least > eps)).double().mean().item() for eps in RADII]
    assert 0 < expected[-1] < expected[0] < 1
    for name in ("sweep", "mine", "msa"):
        result = swept(report, name)
        assert result.robust_accuracy == pytest.approx(expected), name
        assert result.breaks[:2].tolist() == [len(RADII)] * 2  # wrong: never attacked
        assert result.clean_correct[:2].tolist() == [0, 0]
    assert swept(report, "msa").settings["method"] == "MSA"


def test_what_an_attack_finds_beyond_a_ball_counts_where_it_fits(
    report: EvaluationReport,
) -> None:
    """DeepFool works in L2: its own change breaks at the first radius that holds it in Linf."""
    far, near = swept(report, "far"), swept(report)
    assert bool((far.breaks >= near.breaks).all())
    assert far.robust_accuracy == sorted(far.robust_accuracy, reverse=True)
    assert far.robust_accuracy[-1] < 1


def test_rows_that_fell_are_not_attacked_again(report: EvaluationReport) -> None:
    """FGSM: one backward pass a row and radius at which it still stood, below it all."""
    breaks = swept(report).breaks[2:]
    tried = int((breaks + 1).clamp(max=len(RADII)).sum())
    assert report["sweep"].cost.backward == tried


def test_shares_intervals_and_the_band(report: EvaluationReport) -> None:
    result = swept(report)
    zero, *rest = result.curve()
    assert zero.eps == 0 and zero.value == pytest.approx(22 / 24)
    assert [one.eps for one in rest] == RADII
    assert all(one.low <= one.value <= one.high for one in rest)
    assert result.at(0.02) == rest[1]
    with pytest.raises(ConfigError, match="is not one of the radii"):
        result.at(0.03)
    assert result.everywhere() == pytest.approx(math.sqrt(math.log(40) / 48))
    again = Sweep.from_dict(result.to_dict())
    assert again.to_dict() == result.to_dict()
    said = result.summary()
    assert said["robust_accuracy"] == result.robust_accuracy and said["radii"] == RADII


def test_any_batch_size_gives_the_same(victim: Any, report: EvaluationReport) -> None:
    stage = {"name": "sweep", "radii": RADII, "attack": "FGSM"}
    assert swept(run(victim, stage, batch_size=5)).digest() == swept(report).digest()


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_every_page_has_the_curve(render: Any, report: EvaluationReport) -> None:
    page = " ".join(render(report).replace("\\", "").replace("\u00a0", " ").split())
    assert "Accuracy by radius: far" in page and "91.7 % (22 of 24)" in page
    assert "As the changes grow to a radius of 0.045" in page
    assert "FGSM at 4 radii" in page
    if render is render_html:
        assert page.count('class="curve"') == 4


def test_the_worst_case_is_of_one_radius_and_does_not_hold_it(
    report: EvaluationReport,
) -> None:
    assert report.worst_case() is None and not report.failed


@pytest.mark.parametrize(
    "stage, words",
    [
        ({"radii": [0.2, 0.1]}, "must ascend"),
        ({"radii": 0.1}, "are to be several"),
        ({"radii": [i / 100 for i in range(1, 60)]}, "50 at most"),
        ({"attack": "Nobody"}, "unknown"),
        ({"attack": "FGSM", "steps": 3}, "takes no argument 'steps'"),
        ({"attack": "msa", "alpha": 3}, "has no argument 'alpha'"),
        ({"attack": "msa", "version": "autoattack"}, "attacks the data as a whole"),
    ],
)
def test_wrong_arguments_are_refused(victim: Any, stage: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(victim, {"name": "sweep", **stage})


def test_alpha_scales_with_the_radius_and_reaches(victim: Any) -> None:
    from torchattacks_ext.evaluation.plan import check_plan
    from torchattacks_ext.evaluation.stages import build_stages

    stages = [{"name": "sweep", "attack": "PGD", "radii": RADII, "alpha": "1/100"}]
    stages.append({"name": "sweep", "label": "own"})
    _, given, own = build_stages(check_plan({"eps": 0.1, "stages": stages}))
    parts = [stage.arguments["alpha"] for stage in given._stages]  # type: ignore[attr-defined]
    assert parts == pytest.approx([eps / 10 for eps in RADII])
    alphas = [stage.arguments["alpha"] for stage in own._stages]  # type: ignore[attr-defined]
    assert alphas == pytest.approx([2.5 * eps / 20 for eps in own.settings["radii"]])
