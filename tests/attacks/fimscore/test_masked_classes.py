"""Is a class that the model rules out with -inf no class at all for the Fisher information?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import FIMScore
from torchattacks_ext._typing import Status

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
IMAGES = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
OFF = torch.arange(6) >= 4


class Curved(nn.Module):
    """A smooth net of K classes; only those that `form` leaves are answered."""

    def __init__(self, form: Callable[[Tensor], Tensor], scale: float = 1.0) -> None:
        super().__init__()
        gen = torch.Generator().manual_seed(1)
        self.one = nn.Parameter(torch.randn(16, 8, generator=gen) / 4)
        self.two = nn.Parameter(torch.randn(8, 6, generator=gen))
        self.form, self.scale = form, scale

    def forward(self, images: Tensor) -> Tensor:
        logits = self.scale * ((images.flatten(1) @ self.one).tanh() @ self.two)
        return self.form(logits)


def masked(logits: Tensor) -> Tensor:
    return logits.masked_fill(OFF, float("-inf"))


def removed(logits: Tensor) -> Tensor:
    return logits[:, ~OFF]


def added(logits: Tensor) -> Tensor:
    return logits + torch.where(OFF, float("-inf"), 0.0)


def pair(scale: float = 1.0, form: Any = masked, **options: Any) -> list[FIMScore]:
    return [FIMScore(Curved(one, scale), **options) for one in (form, removed)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "lanczos", "tol": 1e-6},
        {"method": "power"},
        {"method": "lanczos", "jvp": "double_backward"},
        {"method": "lanczos", "jvp": "finite_differences"},
        {"method": "blackbox", "n_directions": 12},
        {"method": "srp_blackbox", "n_directions": 12},
        {"temperature": 50.0},
        {"smooth": (0.05, 3)},
        {"dtype": torch.float64},
        {"norm": "L1"},
    ],
    ids=str,
)
def test_log_lambda_is_that_of_the_net_without_the_masked_classes(
    options: dict[str, Any],
) -> None:
    mine, theirs = (score.measure(IMAGES) for score in pair(**options))
    assert bool(theirs.log_lam.isfinite().all())
    for name in ("log_lam", "log_low", "log_high", "log_linf", "log_rest"):
        one, two = getattr(mine, name), getattr(theirs, name)
        assert torch.allclose(one, two, rtol=0, atol=1e-4, equal_nan=True), name
    assert torch.allclose(mine.spread, theirs.spread, rtol=1e-3, equal_nan=True)
    radii = mine.margin_radius, theirs.margin_radius
    assert torch.allclose(*radii, equal_nan=True)


@pytest.mark.parametrize("scale", [1.0, 2000.0])
def test_a_mask_that_is_added_drops_out_of_confident_nets_too(scale: float) -> None:
    mine, theirs = (score.measure(IMAGES) for score in pair(scale, added))
    assert torch.allclose(mine.log_lam, theirs.log_lam, rtol=0, atol=1e-4)


def test_calls_directions_and_audit_know_no_masked_class() -> None:
    mine, theirs = pair(eps=0.1)
    assert torch.allclose(mine(IMAGES), theirs(IMAGES))
    ends = [one.directions(IMAGES).abs() for one in (mine, theirs)]
    assert torch.allclose(*ends, atol=1e-5)
    audits = [one.audit(IMAGES, n_directions=8) for one in (mine, theirs)]
    assert torch.allclose(audits[0].log_ratio, audits[1].log_ratio, atol=1e-4)
    assert torch.allclose(audits[0].log_sides, audits[1].log_sides, atol=1e-2)


def test_a_temperature_is_fitted_beside_masked_classes() -> None:
    mine, theirs = pair(temperature="fit")
    labels = torch.tensor([0, 1, 2, 3])
    found = [one.fit_temperature(IMAGES, labels) for one in (mine, theirs)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert bool(mine.measure(IMAGES.flip(3)).log_lam.isfinite().all())


def test_a_label_that_the_model_rules_out_stays_non_finite() -> None:
    mine = FIMScore(Curved(masked)).measure(IMAGES, torch.tensor([0, 5, 1, 4]))
    assert (mine.status == int(Status.NON_FINITE)).tolist() == [False, True] * 2
    assert mine.prediction[1] == -1 and mine.clean_correct[1] == 0
    assert "non_finite" in [flag.code for flag in mine.flags]


def test_one_class_left_has_no_sensitivity() -> None:
    alone = torch.tensor([0.0] + [float("-inf")] * 5)
    found = FIMScore(Curved(lambda z: z + alone)).measure(IMAGES)
    assert [flag.code for flag in found.flags if flag.code != "saturated"] == [
        "zero_gradient"
    ]
