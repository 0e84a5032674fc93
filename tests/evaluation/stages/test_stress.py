"""Does the stage count what the samplers and a plain loop give, over all rows?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext import ConfigError, EvaluationReport, Status
from torchattacks_ext.data.named import load_data
from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.evaluation.stages import stress
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.results.stress import PUBLISHED, Stress
from torchattacks_ext.samplers import Corruption

pytestmark = pytest.mark.filterwarnings(
    "ignore::torchattacks_ext.errors.ReliabilityWarning"
)


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    """The nearest mean of real digits, and 60 of them; 8 x 8 pixels."""
    data = load_data("digits", 400).dataset
    images = torch.stack([data[i][0] for i in range(400)])
    labels = torch.tensor([int(data[i][1]) for i in range(400)])
    means = torch.stack([images[labels == k].mean(0).flatten() for k in range(10)])
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        net[1].weight.copy_(20 * means)
        net[1].bias.copy_(-10 * means.square().sum(1))
    return net, images[:60], labels[:60]


def run(digits: Any, batch_size: int = 256, **stage: Any) -> EvaluationReport:
    net, images, labels = digits
    plan = {"eps": 0.1, "batch_size": batch_size, "seed": 7}
    return tax.evaluate(
        net, (images, labels), {**plan, "stages": [{"name": "stress", **stage}]}
    )


@pytest.fixture(scope="module")
def whole(digits: Any) -> EvaluationReport:
    return run(digits)


def found(report: EvaluationReport) -> Stress:
    result = report["stress"].result
    assert isinstance(result, Stress), report["stress"].error
    return result


def test_each_cell_is_a_plain_loop(digits: Any, whole: EvaluationReport) -> None:
    net, images, labels = digits
    result = found(whole)
    assert len(result.corruptions) == 15 and "frost" not in result.corruptions
    for name in ("gaussian_noise", "glass_blur", "jpeg_compression"):
        for severity in (1, 4):
            law = Corruption(name, severity)
            draw = law.sample(images, keyed(7, result.ids, 0, law.name))
            with torch.no_grad():
                right = net(draw).argmax(1) == labels
            assert torch.equal(result.right(name, severity), right)
            cell = result.share(name, severity)
            assert cell.value == right.double().mean() and cell.low < cell.value
    assert 0 < int((result.clean_correct == 0).sum())  # wrong rows are run as well


def test_any_batch_size_gives_the_same(
    digits: Any, whole: EvaluationReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stress, "PIECE", 5 * 64)
    again = run(digits, batch_size=13)
    assert found(again).digest() == found(whole).digest()
    assert found(again).flags == found(whole).flags


def test_summary_report_and_json(whole: EvaluationReport) -> None:
    result, summary = found(whole), found(whole).summary()
    assert result.published == tuple(n for n in PUBLISHED if n != "frost")
    every = [result.share(n, s).value for n in result.published for s in range(1, 6)]
    assert summary["mean_accuracy"] == pytest.approx(sum(every) / 70)
    assert summary["mean_corruption_error"] == pytest.approx(1 - sum(every) / 70)
    assert "no baseline" in summary["left_out"]["mce"] and "mce" not in summary
    back = EvaluationReport.from_json(whole.to_json())
    assert found(back).digest() == result.digest()
    assert found(back).summary() == summary
    for render in (render_text, render_markdown, render_html):
        page = " ".join(render(back).split())
        assert "Severity 5" in page and "Hendrycks" in page and "no mCE" in page
        assert "Accuracy by corruption and severity" in page
    cost = whole["stress"].cost
    assert 75 * 60 <= cost.forward <= 75 * 60 + 60 and cost.backward == 0


def test_equal_severities_are_said(whole: EvaluationReport) -> None:
    (flag,) = (f for f in found(whole).flags if f.code == "equal_severities")
    assert "pixelate 1 and 2" in flag.message and "motion_blur 3 and 4" in flag.message
    assert "brightness" not in flag.message


def test_frost_of_photographs_counts(digits: Any, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(levels).save(tmp_path / "ice.png")
    result = found(run(digits, textures=str(tmp_path), severities=[5]))
    assert result.corruptions == PUBLISHED == result.published
    assert not [n for n in run(digits, severities=[1])["stress"].notes if "15" not in n]


def test_a_model_that_raises_fails_rows(digits: Any) -> None:
    class Fragile(nn.Module):
        """Raises on the third batch of corrupted images, which are not of 17 levels."""

        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            odd = len(images) == 20 and bool((images * 16 % 1 > 0).any())
            self.calls += odd
            if odd and self.calls == 3:
                raise RuntimeError("out of paper")
            answer: Tensor = digits[0](images)
            return answer

    report = run((Fragile(), *digits[1:]), 20, corruptions=["fog"], severities=[1, 2])
    result = found(report)
    late = result.status == int(Status.FAILED)
    assert int(late.sum()) == 20 and not bool(result.right("fog", 1)[late].any())
    low, high = result.mean_accuracy_interval()
    assert high - low > 0.3 and result.summary()["failed"] == 20


def folder_of(path: Path, images: Tensor, labels: Tensor) -> Path:
    """An imitation of CIFAR-10-C of these images: severity s adds s levels."""
    levels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    each = torch.cat([levels + s for s in range(5)])
    np.save(path / "snow.npy", each.numpy())
    np.save(path / "spatter.npy", each.numpy())
    np.save(path / "labels.npy", labels.repeat(5).to(torch.uint8).numpy())
    return path


def test_a_published_folder_is_read(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(1)
    images = (torch.rand(9, 3, 32, 32, generator=g) * 200).round() / 255
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)).eval()
    labels = net(images).argmax(1)
    folder = folder_of(tmp_path, images, labels)
    stage = {"name": "stress", "folder": str(folder)}
    plan = {"eps": 0.1, "batch_size": 4, "stages": [stage]}
    result = found(tax.evaluate(net, (images, labels), plan))
    assert result.corruptions == ("snow", "spatter") and result.published == ("snow",)
    for severity in (1, 5):
        with torch.no_grad():
            right = net(images + (severity - 1) / 255).argmax(1) == labels
        assert torch.equal(result.right("snow", severity), right)
    assert result.settings["source"] == "folder"
    other = tax.evaluate(net, (images, (labels + 1) % 4), plan)
    assert "not those of" in str(other["stress"].error)


@pytest.mark.parametrize(
    "stage, words",
    [
        ({"corruption": ["fog"]}, "did you mean 'corruptions'"),
        ({"corruptions": "fog"}, "must be a list of names"),
        ({"corruptions": ["fogg"]}, "did you mean 'fog'"),
        ({"corruptions": ["frost"]}, "give textures="),
        ({"corruptions": ["fog"], "textures": "x"}, "does not name"),
        ({"severities": [0]}, "must be a list of some of"),
        ({"severities": 3}, "must be a list of some of"),
        ({"parameters": "tiny"}, "parameters='tiny'"),
        ({"folder": "/nowhere"}, "no labels.npy"),
        ({"folder": "x", "parameters": "cifar"}, "what is read is not drawn"),
    ],
)
def test_wrong_arguments_are_refused(digits: Any, stage: Any, words: str) -> None:
    with pytest.raises(tax.TorchattacksExtError, match=words):
        run(digits, **stage)


def test_other_bounds_are_refused(digits: Any) -> None:
    net, images, labels = digits
    plan = {"eps": 0.1, "bounds": (-1, 1), "stages": ["stress"]}
    with pytest.raises(ConfigError, match=r"needs bounds=\(0, 1\)"):
        tax.evaluate(net, (images, labels), plan)
