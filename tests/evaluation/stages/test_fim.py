"""Is the sensitivity score of an evaluation that of FIMScore, and never an accuracy?"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import torchattacks_ext as tax
from torchattacks_ext import ConfigError, FIMScore, Sensitivity
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.testing.props import balanced_net, example_images

IMAGES = example_images(11)


def run(net: Any = None, **stage: Any) -> Any:
    net = balanced_net(5) if net is None else net
    with torch.no_grad():
        labels = net(IMAGES).argmax(1)
    labels[:2] = (labels[:2] + 1) % 5
    plan = {"eps": 0.1, "batch_size": 4, "stages": [{"name": "fim", **stage}]}
    return tax.evaluate(net, (IMAGES, labels), plan)


def test_the_stage_gives_the_scores_of_the_class() -> None:
    report = run()
    result = report["fim"].result
    assert isinstance(result, Sensitivity)
    own = FIMScore(balanced_net(5), eps=0.1).measure(IMAGES)
    assert torch.allclose(result.log_lam, own.log_lam, atol=1e-4)
    assert result.clean_correct.tolist() == [0, 0] + [1] * 9
    assert report["fim"].cost.backward >= 11 * 4
    again = Sensitivity.from_json(result.to_json())
    assert again.digest() == result.digest()


def test_reports_show_lambda_and_no_share_of_images() -> None:
    report = run()
    for text in (render_text(report), render_markdown(report), render_html(report)):
        assert "median lambda" in text and "no certificate" in text
    page = render_html(report)
    assert "Sensitivity image by image: fim" in page and page.count("<figure") >= 2
    # the worst case stays that of attacks
    assert "not known" in render_text(report) or "clean" in render_text(report)


@pytest.mark.parametrize("stage", [{"kl": False}, {"smooth": [0.02, 3]}])
def test_the_short_and_the_smoothed_score_are_stages_too(stage: dict[str, Any]) -> None:
    report = run(**stage)
    result = report["fim"].result
    own = FIMScore(balanced_net(5), eps=0.1, **stage).measure(IMAGES)
    assert result.settings == own.settings | {"norm": "Linf"}
    for text in (render_text(report), render_markdown(report), render_html(report)):
        assert "median lambda" in text


@pytest.mark.parametrize(
    "stage, words",
    [
        ({"methods": "gram"}, "method"),
        ({"method": "best"}, "best"),
        ({"temperature": "fit"}, "cannot fit a temperature"),
        ({"dtype": "float16"}, "float16"),
        ({"smooth": [0.1]}, "smooth="),
    ],
)
def test_wrong_arguments_are_refused_before_any_pass(stage: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(**stage)


def test_a_dead_gradient_reaches_the_report() -> None:
    class Rounded(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images.flatten(1)[:, :5] * 4).round()

    with pytest.warns(UserWarning, match="zero_gradient"):
        report = run(Rounded())
    assert "no gradient reaches the images" in render_text(report)
