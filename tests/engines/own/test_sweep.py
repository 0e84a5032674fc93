"""Is a curve what single runs say, never rising, and cheaper than they are?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, ConfigError, InputError, ReliabilityWarning
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.plans import PLANS as OWN_PLANS
from torchattacks_ext.engines.own.pursuit import Pursuit
from torchattacks_ext.engines.own.sweep import ascending, below
from torchattacks_ext.results.datasets.curve import Curve
from torchattacks_ext.testing.props import balanced_net, example_images

NET, IMAGES = balanced_net().double(), example_images(16)
LABELS = NET(IMAGES.double()).argmax(1)
RADII = (0.002, 0.004, 0.006, 0.01, 0.02)
LINES = [
    AttackSpec("apgd", loss="pm-t", steps=8),
    AttackSpec("malt", loss="pm-t", steps=6, targets=2, gate=0.5),
    AttackSpec("square", on="target", steps=20, gate=0.3),
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        yield


def attack(**options: Any) -> MSA:
    settings = {"version": "custom", "plan": LINES, "engine": "own"} | options
    return MSA(NET, **settings)


def test_a_curve_says_what_single_runs_say() -> None:
    curve = attack().curve(IMAGES, LABELS, RADII)
    single, passes = [], 0
    for eps in RADII:
        found = attack(eps=eps).measure(IMAGES, LABELS)
        single.append(found.robust_accuracy)
        passes += found.cost.forward + found.cost.backward
    assert 0 < single[-1] < single[0] < 1 or single[0] == 1.0
    # a row that a single run breaks may count as unbroken: it withstood a larger radius
    assert all(abs(a - b) <= 1 / 16 for a, b in zip(curve.robust_accuracy, single))
    assert curve.robust_accuracy == sorted(curve.robust_accuracy, reverse=True)
    assert curve.cost.forward + curve.cost.backward < passes


def test_a_linear_model_falls_at_its_own_radius() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double().requires_grad_(False)
    images = 0.4 + 0.2 * example_images(12).double()
    logits, w = net(images), net[1].weight
    least = (logits[:, 0] - logits[:, 1]).abs() / (w[0] - w[1]).abs().sum()
    radii = torch.linspace(float(least.min()), float(least.max()), 9)[1:-1].tolist()
    curve = MSA(net, engine="own", version="custom", plan=LINES).curve(
        images, logits.argmax(1), radii
    )
    for radius, robust in zip(curve.radii, curve.robust):
        sure = (least - radius).abs() > 1e-3 * radius
        assert torch.equal(robust[sure], (least > radius)[sure])


def test_wrong_rows_are_in_no_radius_and_cost_little() -> None:
    curve = attack().curve(IMAGES, (LABELS + 1) % 5, RADII)
    assert curve.clean_accuracy == 0 and curve.robust_accuracy == [0.0] * 5
    assert curve.cost.backward == 0


def test_any_batch_size_gives_the_same_curve() -> None:
    one, other = (attack(batch_size=n).curve(IMAGES, LABELS, RADII) for n in (16, 9))
    assert one.breaks.tolist() == other.breaks.tolist()
    assert len(set(one.breaks.tolist())) > 2
    assert one.to_dict()["robust_accuracy"] == one.robust_accuracy


@pytest.mark.parametrize("radii", [(), (0.0, 0.1), (0.2, 0.1), (0.1, 0.1), ("wide",)])
def test_radii_that_do_not_ascend_are_refused(radii: Any) -> None:
    with pytest.raises(ConfigError, match="radii"):
        ascending(radii)


class Noisy(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return NET(images.double() + 0.05 * torch.randn_like(images.double()))


def test_what_has_no_radius_of_its_own_is_refused() -> None:
    for target, version in ((Noisy(), "quick"), (NET, "autoattack"), (NET, "paper")):
        with pytest.raises(ConfigError, match="radius of its own"):
            MSA(target, version=version).curve(IMAGES[:4], LABELS[:4], RADII)


def test_a_curve_comes_back_from_json_and_took_time() -> None:
    curve = attack().curve(IMAGES[:4], LABELS[:4], RADII[:2])
    assert curve.cost.seconds > 0
    assert Curve.from_json(curve.to_json()).to_dict() == curve.to_dict()
    for odd in ({"schema": "curve/1"}, {**curve.to_dict(), "breaks": "many"}):
        with pytest.raises(InputError, match="not a whole curve/1"):
            Curve.from_dict(odd)


def test_a_curve_of_no_images_says_so() -> None:
    with pytest.raises(InputError, match="there are no images"):
        attack().curve(IMAGES[:0], LABELS[:0], RADII)


def test_a_single_radius_is_no_list() -> None:
    for radii in (0.1, "0.1"):
        with pytest.raises(ConfigError, match="are to be several"):
            attack().curve(IMAGES[:2], LABELS[:2], radii)


def test_a_curve_does_not_run_past_a_budget_in_silence() -> None:
    with pytest.raises(ConfigError, match="max_queries=50 .* end no curve"):
        attack(max_queries=50).curve(IMAGES[:2], LABELS[:2], RADII)


# ---------------------------------------------------------------- what is run below the largest
class Told(nn.Module):
    """Squares break what gradients do not reach: the net with its gradient taken off."""

    def forward(self, images: Tensor) -> Any:
        return NET(images.detach().double() + 0 * images.double())


def spent(target: Any) -> tuple[Curve, dict[str, int]]:
    """A curve, and the rows that each source was tried on, at all radii together."""
    tried: dict[str, int] = {}
    before = Pursuit.run

    def run(self: Any, stage: Any, rows: Tensor, targets: Any = None) -> None:
        kind = self.source.partition("/")[2].partition("-")[0]
        tried[kind] = tried.get(kind, 0) + len(rows)
        before(self, stage, rows, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pursuit, "run", run)
        settings = {"version": "custom", "plan": LINES, "engine": "own"}
        return MSA(target, **settings).curve(IMAGES[:12], LABELS[:12], RADII), tried


def test_what_a_gradient_broke_above_is_seldom_asked_by_squares_below() -> None:
    """It climbs on from there; what squares broke they go on to."""
    curve, tried = spent(NET)
    fell = int((curve.breaks < len(RADII)).sum())
    assert tried["square"] < tried["warm"] <= len(RADII) * fell and fell > 4
    hidden, many = spent(Told())
    assert many["square"] > 12 < 12 + int((hidden.breaks < len(RADII)).sum())


def test_a_plan_without_gates_has_none_below() -> None:
    few, whole = below(OWN_PLANS["full"])
    assert few == whole and all(line.gate == float("inf") for line in few)
