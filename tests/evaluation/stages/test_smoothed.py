"""Are the radii of an evaluation those of `certify`, in any batch size, and how are they told?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import torchattacks_ext as tax
from torchattacks_ext import ConfigError
from torchattacks_ext.certify import RandomizedSmoothing
from torchattacks_ext.reports import render_html, render_markdown, render_text

TOLD = {"sigma": 0.25, "n": 300, "n0": 20}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def data(net: nn.Module) -> Any:
    images = torch.rand(10, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    return images, net(images).argmax(1)


def run(net: nn.Module, data: Any, size: int = 256, **more: Any) -> Any:
    stages = [{"name": "smoothed", **TOLD, **more}]
    plan = {"eps": 0.1, "norm": "L2", "batch_size": size, "stages": stages}
    return tax.evaluate(net, data, plan)


def test_the_stage_gives_what_certify_gives(net: nn.Module, data: Any) -> None:
    report = run(net, data)
    own = RandomizedSmoothing(net, **TOLD).certify(*data)
    stage = report["smoothed"]
    assert stage.result.digest() == own.digest()
    assert torch.equal(stage.result.radius, own.radius)
    assert stage.cost.forward == own.cost.forward
    assert run(net, data, 3)["smoothed"].result.digest() == own.digest()


def test_reports_call_it_a_certificate_of_the_smoothed_classifier(
    net: nn.Module, data: Any
) -> None:
    report = run(net, data)
    for render in (render_text, render_markdown, render_html):
        page = render(report)
        assert "certified with confidence" in page and "smoothed classifier" in page


def test_a_radius_that_no_image_can_reach_is_told(net: nn.Module, data: Any) -> None:
    (note,) = run(net, data, radii=[0.1, 5.0])["smoothed"].notes
    assert (
        "no image can be certified at 5" in note and "0.1" not in note.split("at")[-1]
    )
    assert run(net, data, radii=[0.1])["smoothed"].notes == ()


def test_one_radius_has_no_curve(net: nn.Module, data: Any) -> None:
    report = run(net, data, eps=0.1)
    assert set(report["smoothed"].result.radius.tolist()) <= {0.0, 0.1}
    page = render_text(report)
    assert "0.1" in page and "certified with confidence" in page
    render_html(report)


def test_refusals(net: nn.Module, data: Any) -> None:
    for more, match in [
        ({"sigma": None}, "sigma=None"),
        ({"n": 3}, "n=3 draws prove no radius"),
        ({"noise": 1}, "no argument 'noise'"),
        ({"eps": 0.1, "radii": [0.1]}, "eps= and radii="),
    ]:
        with pytest.raises(ConfigError, match=match):
            run(net, data, **more)
    plan = {"eps": 0.1, "stages": [{"name": "smoothed"}]}
    with pytest.raises(ConfigError, match="needs sigma="):
        tax.evaluate(net, data, plan)
