"""Do other settings of an MSA act as if it had been made with them, all of them or none?"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import MSA, ConfigError
from torchattacks_ext.attacks.msa.plans import PLANS
from torchattacks_ext.attacks.msa.settings import MSASettings
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.testing.props import balanced_net, example_images

LINES = [{"kind": "noise", "on": "target", "steps": 2}, {"kind": "apgd", "steps": 5}]
NET, KIN = balanced_net(), balanced_net(seed=3)
IMAGES = example_images(8)


def make(**options: Any) -> MSA:
    return MSA(NET, {"kin": KIN}, **options)


# (given at first, changed, a fresh one with the same)
CHANGES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {"eps": 0.1}, {"eps": 0.1}),
    ({}, {"version": "quick"}, {"version": "quick"}),
    ({}, {"version": "paper"}, {"version": "paper"}),
    ({"version": "autoattack"}, {"version": "standard"}, {}),
    ({"version": "quick"}, {"engine": "torchattacks"}, {"engine": "torchattacks"}),
    ({}, {"plan": LINES, "version": "custom"}, {"plan": LINES, "version": "custom"}),
    ({}, {"probe_every": 1}, {"probe_every": 1}),
    ({}, {"surrogate_normalization": None}, {"surrogate_normalization": None}),
    ({"version": "custom", "plan": LINES}, {"eps": 0.1}, {"eps": 0.1}),
    ({"version": "custom", "plan": LINES}, {"plan": LINES[1:]}, {"plan": LINES[1:]}),
]


@pytest.mark.parametrize("given, changed, fresh", CHANGES)
def test_a_change_acts_like_a_fresh_attack(
    given: Any, changed: Any, fresh: Any
) -> None:
    attack = make(**given)
    attack.change_settings(**changed)
    want = make(**{**given, **changed, **fresh})
    assert attack.settings() == want.settings()
    assert attack.plan == want.plan and attack.sources == want.sources
    assert attack.is_sequence == want.is_sequence
    assert attack.unit_is_batch == want.unit_is_batch


def test_an_assigned_radius_and_version_decide_the_run() -> None:
    attack = make(version="standard", keep="memory")
    labels = NET(IMAGES).argmax(1)
    attack.eps, attack.version = 0.03, "quick"
    assert attack.plan == PLANS["quick"] and attack.config.plan is None
    fresh = make(eps=0.03, version="quick", keep="memory")
    result, want = (probe.measure(IMAGES, labels) for probe in (attack, fresh))
    assert result.digest() == want.digest()
    found = result.images()
    assert torch.equal(found, want.images())
    assert float((found - IMAGES).abs().max()) <= 0.03 + 1e-6


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("eps", 8, "did you mean 8/255"),
        ("norm", "L0", "is not one of"),
        ("version", "best", "is not one of"),
        ("version", "custom", "plan= goes with"),
        ("plan", LINES, "plan= goes with"),
        ("engine", "ours", "is not one of"),
        ("probe_every", -1, "probe_every=-1"),
        ("surrogate_normalization", "none", "neither 'same' nor None"),
        ("deployed_batch", 0, "deployed_batch=0"),
        ("partitions", True, "partitions=True"),
        ("headline", "worst", "is not one of"),
        ("fresh_draws", 0, "fresh_draws=0"),
    ],
)
def test_a_refused_assignment_leaves_all_as_it_was(
    name: str, value: Any, words: str
) -> None:
    attack = make()
    before = attack.config, attack.settings(), attack.plan, attack.sources
    with pytest.raises(ConfigError, match=words):
        setattr(attack, name, value)
    assert attack.config is before[0]
    assert (attack.settings(), attack.plan, attack.sources) == before[1:]


def test_a_line_on_a_model_that_is_not_there_is_refused_later_too() -> None:
    attack = make(version="custom", plan=LINES)
    before = attack.config
    with pytest.raises(ConfigError, match="on='s9' is no model here"):
        attack.plan = (AttackSpec("apgd", on="s9"),)
    assert attack.config is before
    attack.plan = (AttackSpec("apgd", on="kin", steps=5),)
    assert attack.sources == ("kin/apgd-ce-5",)


def test_a_given_plan_is_read_once_and_kept() -> None:
    settings = MSASettings(
        eps=0.1,
        norm="Linf",
        version="custom",
        plan=(AttackSpec(**one) for one in LINES),
    )
    again = replace(settings, eps=0.2)
    assert again.lines == settings.lines == tuple(AttackSpec(**one) for one in LINES)
    assert again.facts() == settings.facts() | {"eps": 0.2}
    with pytest.raises(FrozenInstanceError):
        settings.version = "quick"  # type: ignore[misc]


def test_what_one_target_asked_for_is_not_said_of_the_next() -> None:
    """Sources and rules of a batch-dependent target stayed in the settings of later runs."""

    class Centred(nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            return NET(images - 0.3 * images.mean(0))

    attack = MSA(Centred(), eps=0.01, version="custom", plan=LINES, partitions=1)
    with pytest.warns(UserWarning, match="batch"):
        attack.measure(IMAGES, torch.zeros(8, dtype=torch.long))
    assert "alone/joint" in attack.sources and "headline" in attack.settings()
    attack.set_model(NET)
    found = attack.measure(IMAGES, torch.zeros(8, dtype=torch.long))
    alone = MSA(NET, eps=0.01, version="custom", plan=LINES, partitions=1)
    assert found.settings == alone.settings()
