"""Can FIMScore be told something else after it was made, all of it or nothing?"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import pytest
import torch

from torchattacks_ext import ConfigError, FIMScore, ReliabilityWarning, StatusError
from torchattacks_ext.attacks.fimscore.settings import FIMSettings, needs_gradient
from torchattacks_ext.testing.props import balanced_net, example_images

IMAGES = (64 + 127 * example_images(6)).round() / 255  # far from the box, on the grid

CHANGES: list[dict[str, Any]] = [
    {"method": "lanczos", "tol": 1e-4},
    {"method": "blackbox", "n_directions": 20, "target": 0.5},
    {"method": "blackbox", "n_directions": 20, "grey": True},
    {"norm": "L2", "eps": 0.5},
    {"temperature": 2},
    {"dtype": torch.float64},
    {"kl": False, "jvp": "double_backward"},
    {"smooth": [0.05, 3], "seed": 4},
]


def measure(probe: FIMScore) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return probe.measure(IMAGES, ids=range(len(IMAGES)))


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_changed_score_is_a_fresh_one_with_these_settings(
    change: dict[str, Any],
) -> None:
    net = balanced_net(5)
    fresh, changed = FIMScore(net, **change), FIMScore(net)
    measure(changed)  # nothing of an earlier run stays
    for name, value in change.items():
        setattr(changed, name, value)
    assert changed.settings() == fresh.settings()
    one, two = measure(fresh), measure(changed)
    assert one.digest() == two.digest()
    assert changed.facts() == fresh.facts()
    for name in ("log_lam", "log_trace", "margin_radius", "log_linf", "log_high"):
        a, b = getattr(one, name), getattr(two, name)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=name)


def test_the_step_of_a_call_is_as_long_as_the_radius_that_was_assigned() -> None:
    net = balanced_net(5)
    score = FIMScore(net, eps=0.1, norm="L2")
    for eps in (0.1, 0.02, 0.2):
        score.eps = eps
        step = (score(IMAGES) - IMAGES).flatten(1).norm(dim=1)
        assert step.tolist() == pytest.approx([eps] * len(IMAGES), rel=1e-4)
        assert torch.equal(score(IMAGES), FIMScore(net, eps, "L2")(IMAGES))
        assert score.settings() == FIMScore(net, eps, "L2").settings()


@pytest.mark.parametrize(
    "name, value",
    [
        ("method", "nope"),
        ("tol", 2.0),
        ("dtype", torch.float16),
        ("temperature", -1.0),
        ("n_directions", 1),
        ("grey", True),
        ("smooth", (0.1, 1)),
        ("eps", -1.0),
        ("norm", "L7"),
    ],
)
def test_a_refused_assignment_leaves_everything_as_it_was(
    name: str, value: Any
) -> None:
    score = FIMScore(balanced_net(5), eps=0.1)
    config, settings, before = score.config, score.settings(), measure(score)
    with pytest.raises(ConfigError, match=f"{name}="):
        setattr(score, name, value)
    assert score.config is config and score.settings() == settings
    assert getattr(score, name) == getattr(FIMScore(score.model, eps=0.1), name)
    after = measure(score)
    assert after.digest() == before.digest()
    assert torch.equal(after.log_lam, before.log_lam)


def test_settings_that_hang_together_change_together() -> None:
    score = FIMScore(balanced_net(5), method="blackbox", grey=True)
    with pytest.raises(ConfigError, match="grey=True goes with"):
        score.method = "gram"
    score.change_settings(method="gram", grey=False)
    assert (score.method, score.grey) == ("gram", False)
    with pytest.raises(ConfigError, match="smooth goes with"):
        score.smooth = (0.1, 4)


def test_settings_are_frozen_and_say_what_they_are_in_json_types() -> None:
    settings = FIMSettings(eps=0.1, norm="L2", method="blackbox", temperature=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.method = "gram"  # type: ignore[misc]
    facts = settings.facts()
    assert list(facts)[:5] == ["eps", "norm", "seed", "bounds", "outputs"]
    assert list(facts)[5:] == [
        "estimator",
        "tol",
        "dtype",
        "temperature",
        "space",
        "n_directions",
        "target",
        "grey",
    ]
    assert type(facts["temperature"]) is float
    assert "smooth" not in facts and "kl" not in facts
    fit = FIMSettings(eps=0.1, norm="L2", temperature="fit", dtype=torch.float64)
    assert fit.facts()["temperature"] == "fit"
    assert fit.facts()["dtype"] == "torch.float64"


def test_row_passes_of_an_image_are_bounded_by_what_was_asked_for() -> None:
    plain = FIMSettings(eps=0.1, norm="L2")
    smooth = FIMSettings(eps=0.1, norm="L2", smooth=(0.1, 4))
    sketched = FIMSettings(eps=0.1, norm="L2", method="blackbox", n_directions=100)
    assert (plain.row_passes, smooth.row_passes) == (30, 120)
    assert not plain.black_box and sketched.black_box
    found = measure(FIMScore(balanced_net(5), method="blackbox"))
    assert int(found.n_queries.max()) <= sketched.row_passes
    needs_gradient(plain)
    with pytest.raises(StatusError, match="no direction to step along"):
        needs_gradient(sketched)
