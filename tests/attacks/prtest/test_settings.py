"""Does PRTest do what it is told, also when it is told something else later?"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchattacks_ext import ConfigError, PRTest
from torchattacks_ext.attacks.prtest.settings import PRTestSettings
from torchattacks_ext.testing import RateVictim

IMAGES, LABELS = torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 0])


def test_the_radius_assigned_later_is_the_radius_of_the_noise() -> None:
    """A sweep over radii once drew from the ball of the constructor, whatever `eps` said."""
    test, fresh = PRTest(RateVictim(0.0), eps=0.2), PRTest(RateVictim(0.0), eps=0.01)
    test.eps = 0.01
    assert test.settings() == fresh.settings()
    assert float((test(IMAGES, LABELS) - IMAGES).abs().max()) <= 0.01 + 1e-6
    assert torch.equal(test(IMAGES, LABELS), fresh(IMAGES, LABELS))


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "L2"},
        {"tolerance": 0.1},
        {"significance": 0.01},
        {"test": "fixed"},
        {"test": "splitting", "n_moves": 12},
        {"sampler": "gaussian"},
        {"clean_policy": "sample"},
        {"n_max": 1000},
    ],
)
def test_settings_changed_later_are_those_of_a_fresh_test(changes: Any) -> None:
    known = (
        {"sampler": {"name": "gaussian", "sigma": 0.1}} if "sampler" in changes else {}
    )
    changes = changes | known
    test = PRTest(RateVictim(0.0), eps=0.1)
    test.change_settings(**changes)
    fresh = PRTest(RateVictim(0.0), **{"eps": 0.1, **changes})
    assert test.settings() == fresh.settings()
    assert (test.n_max, test.n_mean) == (fresh.n_max, fresh.n_mean)
    assert test.draws_to_certify == fresh.draws_to_certify
    assert test.resumable == fresh.resumable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eps", -1.0),
        ("tolerance", 2.0),
        ("test", "nope"),
        ("n_max", 2),
        ("sampler", "nope"),
        ("batch_size", 0),
        ("bounds", (1, 0)),
    ],
)
def test_a_refused_change_changes_nothing(name: str, value: Any) -> None:
    test = PRTest(RateVictim(0.0), eps=0.1)
    before, config = test.settings(), test.config
    with pytest.raises(ConfigError):
        setattr(test, name, value)
    assert test.settings() == before and test.config is config


def test_settings_are_frozen_and_checked_alone() -> None:
    settings = PRTestSettings(eps=0.1, norm="Linf")
    with pytest.raises(AttributeError):
        settings.eps = 0.2  # type: ignore[misc]
    with pytest.raises(ConfigError, match="tolerance"):
        PRTestSettings(eps=0.1, norm="Linf", tolerance=0.0)


def test_an_unknown_argument_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="epsilon"):
        PRTest(RateVictim(0.0), epsilon=0.1)


def test_repr_shows_what_it_was_told() -> None:
    shown = repr(PRTest(RateVictim(0.0), eps=0.25, tolerance=0.05))
    assert "eps=0.25" in shown and "tolerance=0.05" in shown and "n_max=None" in shown
    assert "config" not in shown
