"""Do randomised and batch-dependent targets have their own numbers in an evaluation too?"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext import Verdict
from torchattacks_ext.reports import render_text
from torchattacks_ext.testing.props import balanced_net, example_images

SHORT = [{"kind": "apgd", "steps": 5}, {"kind": "noise", "on": "target", "steps": 2}]


class Noisy(nn.Module):
    """A small net on noisy images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = balanced_net(4)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.net(images + 0.02 * torch.randn_like(images))
        return found


class Scaled(Noisy):
    """A small net whose images the mean of the batch moves."""

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.net(images - 0.3 * images.mean(0))
        return found


def run(model: nn.Module, n: int = 10, **stage: Any) -> Any:
    images = example_images(n)
    with torch.no_grad():
        labels = model(images).argmax(1)
    settings = {"name": "msa", "version": "custom", "plan": SHORT, **stage}
    plan = {"eps": 0.01, "batch_size": 6, "stages": [settings]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tax.evaluate(model, (images, labels), plan)


def test_a_randomised_target_is_judged_by_fresh_draws_of_all_batches() -> None:
    report = run(Noisy(), fresh_draws=40)
    result = report["msa"].result
    assert (result.fresh_draws == 40).all()
    assert result.randomised["draws"] == 40
    expected = result.fresh_correct[result.clean_correct == 1].sum() / 400
    assert abs(result.randomised["expected_accuracy"] - float(expected)) < 1e-6
    codes = [flag.code for flag in result.flags]
    assert codes.count("fresh_draws") == 1 and "randomised_model" in codes
    assert "expected accuracy" in render_text(report)


def test_each_batch_of_a_coupled_target_is_a_deployed_one(tmp_path: Path) -> None:
    report = run(Scaled(), headline="realised", keep=str(tmp_path))
    result = report["msa"].result
    numbers = result.protocols
    assert [len(values) for values in numbers.values()] == [1] * 6
    assert result.settings["deployed_batch"] == 6
    for name in ("iso", "union"):
        share = float((getattr(result, f"{name}_correct") == 1).double().mean())
        assert numbers[name][0] == share
    images, model, right = result.images(), Scaled(), 0
    for part in (slice(0, 6), slice(6, 10)):  # shown again as they were deployed
        with torch.no_grad():
            answers = model(images[part]).argmax(1)
        right += int((answers == result.reference[part]).sum())
    assert right == round(10 * numbers["realised"][0])
    assert "realised" in render_text(report)
    assert int((result.verdict == int(Verdict.ROBUST)).sum()) == 0
