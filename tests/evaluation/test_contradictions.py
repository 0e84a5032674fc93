"""Is an attack that succeeds inside a certified radius said aloud, and only then?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import torchattacks_ext as tax
from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound
from torchattacks_ext.reports import render_text


def run(bound: LipschitzBound, eps: float, norm: str, attack: str) -> Any:
    """Two centres on a line of two pixels; labels are the answers."""
    head = EllipsHead.from_parameters([[0.2, 0.5], [0.8, 0.5]], 1.0)
    model = Ellips(nn.Flatten(), head, bound).eval()
    images = torch.stack([torch.linspace(0.1, 0.9, 14), torch.full((14,), 0.5)], dim=1)
    labels = model(images[:, None, None]).argmax(1)
    stages = ["certified", {"name": attack, "steps": 20}]
    plan = {"eps": eps, "norm": norm, "stages": stages}
    return tax.evaluate(model, (images[:, None, None], labels), plan)


@pytest.mark.parametrize("norm, attack", [("L2", "PGDL2"), ("Linf", "PGD")])
def test_a_true_bound_is_not_contradicted(norm: str, attack: str) -> None:
    """The attack succeeds outside the radii only, also beside them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = run(LipschitzBound(1.0), 0.2, norm, attack)
    result = report[attack].result
    assert 0 < result.robust_accuracy < 1
    assert not [flag for flag in report.flags if flag.code == "broken_certificate"]


@pytest.mark.parametrize("norm, attack", [("L2", "PGDL2"), ("Linf", "PGD")])
def test_a_false_assumption_is_refuted(norm: str, attack: str) -> None:
    """With half the Lipschitz constant radii are twice too large; the attack shows it."""
    with pytest.warns(UserWarning, match="broken_certificate"):
        report = run(LipschitzBound.assume(0.4), 0.2, norm, attack)
    (flag,) = [flag for flag in report.flags if flag.code == "broken_certificate"]
    assert flag.count and "do not rely on these radii" in flag.message
    assert "conditional: L assumed" in flag.message
    text = render_text(report)
    assert "broken_certificate" in text and "Doubts about these numbers" in text
