"""Does a result claim anything of labels that nobody asked for?"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext.reports import render_html, render_markdown, render_text
from torchattacks_ext.results.grounds import asked_of
from torchattacks_ext.results.prob_robustness import ProbRobustness

RENDERERS = (render_text, render_markdown, render_html)
IMAGES = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
GROUPS = ["a", "b"] * 3


class AlwaysOne(nn.Module):
    """Never right where every label is 0, and never moved."""

    def forward(self, images: Tensor) -> Tensor:
        one = torch.tensor([[-1.0, 1.0]]).repeat(len(images), 1)
        return one + 0 * images.flatten(1)[:, :1]


def report(**changes: Any) -> Any:
    stage = {"name": "prtest", "reference": "prediction", "tolerance": 0.1} | changes
    zeros = torch.zeros(6, dtype=torch.long)
    data = [{"images": IMAGES, "labels": zeros, "groups": GROUPS}]
    return tax.evaluate(AlwaysOne(), data, {"eps": 0.1, "stages": ["clean", stage]})


def test_a_model_that_is_never_right_is_not_called_right_and_robust() -> None:
    found = report()
    for render in RENDERERS:
        said = " ".join(render(found).split())
        assert "right and robust" not in said and "robust accuracy: 100" not in said
        assert "keeps its clean answer" in said or "keep their clean answer" in said
        assert "PRA" not in said


def test_the_share_stands_under_the_name_of_what_was_tested() -> None:
    result: ProbRobustness = report()["prtest"].result
    found = result.summary()
    assert found["pra"] is None and found["pra_interval"] is None
    assert "labels" in found["left_out"]["pra"] and math.isnan(result.pra)
    assert found["stable_share"] == 1.0 and found["stable_share_interval"][1] == 1.0
    assert found["claim"] == "keeps its clean answer"
    assert "stable_share_interval" in found["sides"]
    assert "pra_interval" not in found["sides"]
    for group in found["groups"].values():
        assert group["pra"] is None and group["stable_share"] == 1.0
    assert "stable_share=1" in repr(result) and "pra=None" in repr(result)


def test_a_targeted_test_speaks_of_its_target() -> None:
    test = tax.PRTest(AlwaysOne(), eps=0.1, tolerance=0.1)
    test.set_mode_targeted_by_label()
    result = test.measure(IMAGES, torch.zeros(6, dtype=torch.long))
    found = result.summary()
    assert found["claim"] == "does not reach the target" and found["pra"] is None
    assert found["target_missed_share"] == 1.0
    back = ProbRobustness.from_json(result.to_json())
    assert back.summary() == found


def test_with_labels_nothing_changes_its_name() -> None:
    found = report(reference="label")["prtest"].result.summary()
    assert found["pra"] == 0.0 and found["claim"] == "stays right"
    assert not any(name.startswith("stable") for name in found)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "label"),
        ({"reference": "prediction", "mode": "default"}, "prediction"),
        ({"reference": "prediction", "mode": "targeted(random)"}, "target"),
    ],
)
def test_what_was_tested_follows_from_the_settings(
    settings: dict[str, str], kind: str
) -> None:
    assert asked_of(settings).kind == kind
