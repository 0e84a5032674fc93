"""Is it said when an attack did nothing, and never when it only failed?"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import evaluate
from torchattacks_ext.engines.zoo.watch import GradientWatch
from torchattacks_ext.evaluation.zoo.table import TABLE
from torchattacks_ext.reports import render_text
from torchattacks_ext.reports.overview.summary import plain_summary

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
PRTEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 300}
PGD = {"name": "PGD", "steps": 20, "alpha": 0.025}


class Small(nn.Module):
    """A linear net whose clean answers are clear; `scale` makes it confident."""

    def __init__(self, scale: float = 1.0, dead: bool = False) -> None:
        super().__init__()
        place = torch.arange(320.0).reshape(5, 64)
        self.weight = nn.Parameter((place * 1.3 + 0.2).sin() / 4)
        self.scale, self.dead = scale, dead

    def forward(self, images: Tensor) -> Tensor:
        images = images - 0.5
        if self.dead:
            images = (images * 255).round() / 255
        return self.scale * (images.flatten(1) @ self.weight.T)


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    top = Small()(images).topk(2).values
    images = images[(top[:, 0] - top[:, 1]) > 0.1][:30]
    return images, Small()(images).argmax(1)


def zero(report: Any) -> dict[str, Any]:
    """Stage -> its flag."""
    found = [flag for flag in report.flags if flag.code == "zero_gradient"]
    return {flag.details["stage"]: flag for flag in found}


def test_a_confident_net_does_not_look_robust_without_a_doubt(data: Any) -> None:
    plan = {"eps": 0.1, "stages": ["FGSM", PGD, PRTEST]}
    assert zero(evaluate(Small(), data, plan)) == {}
    report = evaluate(Small(2000.0), data, plan)
    found = zero(report)
    assert set(found) == {"FGSM", "PGD"}
    n = len(data[0])
    assert found["FGSM"].message.startswith(f"FGSM moved 0 of the {n} images")
    assert found["FGSM"].count == n and found["PGD"].count > 2
    (said,) = [line for line in plain_summary(report) if line.startswith("Doubts")]
    for flag in found.values():
        assert flag.message in said and flag.message[:40] in render_text(report)
    for name in found:
        codes = [flag.code for flag in report[name].result.flags]
        assert codes == ["zero_gradient"]


@pytest.mark.parametrize("attack", ["FGSM", "PGD", "MIFGSM", "APGD"])
def test_a_quantiser_in_front_of_the_net_is_said_by_every_gradient_attack(
    attack: str, data: Any
) -> None:
    plan = {"eps": 0.004, "stages": [attack]}
    found = zero(evaluate(Small(dead=True), data, plan))
    assert found[attack].details["moved"] == 0


def test_batches_are_counted_together(data: Any) -> None:
    plan = {"eps": 0.1, "stages": ["FGSM"], "batch_size": 7}
    found = zero(evaluate(Small(2000.0), data, plan))
    assert found["FGSM"].count == len(data[0])


class Idler:
    """An attack that hands its input back; every second time on `half` of them."""

    def __init__(self, model: nn.Module, eps: float = 0.1, half: bool = False) -> None:
        self.model, self.eps, self.half = model, eps, half

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        moved = (images + self.eps / 2).clamp(0, 1)
        return torch.cat([images[:1], moved[1:]]) if self.half else images.clone()


def test_an_attack_that_gives_every_image_back_is_a_doubt(
    data: Any, monkeypatch: Any
) -> None:
    module = types.ModuleType("idlers")
    module.Idler = Idler  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "idlers", module)
    stage = {"name": "attack", "attack": "idlers:Idler"}
    stages = [stage, stage | {"half": True, "label": "half"}, "VANILA"]
    report = evaluate(Small(), data, {"eps": 0.1, "group_size": 7, "stages": stages})
    found = [flag for flag in report.flags if flag.code == "unchanged_images"]
    assert [flag.details["stage"] for flag in found] == [report.stages[1].name]
    assert f"gave all {len(data[0])} correct images back" in found[0].message
    assert found[0].count == len(data[0])


QUICK = {
    "SPSA": {"max_batch_size": 4},
    "Square": {"n_queries": 20},
    "EADL1": {"max_iterations": 10},
    "EADEN": {"max_iterations": 10},
    "FAB": {"steps": 2},
    "CW": {"steps": 5},
    "AutoAttack": None,
}


@pytest.mark.parametrize("info", TABLE, ids=lambda info: str(info.name))
def test_an_attack_that_merely_fails_is_no_doubt(info: Any) -> None:
    more = QUICK.get(info.name, {})
    if more is None:
        pytest.skip("ten steps of four attacks, each tried by itself")
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, 3, 8, 8, generator=generator)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    net[1].weight.data = torch.randn(5, 192, generator=generator)
    labels = net(images).argmax(1)
    norm = info.norm if info.norm in ("L2", "L1") else "Linf"
    stage = {"name": "attack", "attack": info.name, **more}
    report = evaluate(
        net, (images, labels), {"eps": 1e-4, "norm": norm, "stages": [stage]}
    )
    assert not report.failed and zero(report) == {}


def test_few_images_without_gradient_are_no_doubt(data: Any) -> None:
    images, labels = data
    few = images[:2]

    class Half(Small):
        def forward(self, images: Tensor) -> Tensor:
            stop = [(images == image).flatten(1).all(1) for image in few]
            flat = torch.stack(stop).any(0)[:, None]
            scores = super().forward(images)
            return torch.where(flat, scores.detach(), scores)

    plan = {"eps": 1e-3, "stages": ["FGSM"]}
    assert zero(evaluate(Half(), (images, labels), plan)) == {}


def test_the_watch_changes_no_bit_and_tells_rows_apart() -> None:
    net, images = Small(), torch.rand(3, 1, 8, 8)
    watch = GradientWatch(net, 3)
    assert torch.equal(watch(images), net(images))
    assert not watch.unguided().any()  # nothing was asked for
    leaf = images.clone().requires_grad_()
    (watch(leaf) * torch.tensor([1.0, 0.0, 1.0])[:, None]).sum().backward()
    assert watch.unguided().tolist() == [False, True, False]
    one = images[:1].clone().requires_grad_()
    torch.autograd.grad(watch(one).sum(), one)
    assert not watch.unguided().any()  # rows were taken out: nothing is known


@pytest.mark.skipif("TAX_DATA" not in os.environ, reason="needs TAX_DATA")
@pytest.mark.parametrize(
    "name, eps, stages",
    [("mnist_mlp_point", 0.1, {"FGSM", "PGD"}), ("mnist_fast_pgd", 0.3, set())],
)
def test_real_nets_with_and_without_gradients(
    name: str, eps: float, stages: set[str], monkeypatch: Any
) -> None:
    place = Path(__file__).parents[3] / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    import tax_data

    data = tax_data.test_images("mnist", 60)
    plan = {"eps": eps, "stages": ["FGSM", "PGD"]}
    assert set(zero(evaluate(tax_data.model(name), data, plan))) == stages
