"""Are profiles plans that can be built, for every ball that has a name?"""

from __future__ import annotations

from typing import get_args

import pytest
import yaml

from torchattacks_ext._typing import Norm
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.plans.profiles import (
    PROFILES,
    SLOW,
    profile_stages,
)
from torchattacks_ext.evaluation.plans.template import template
from torchattacks_ext.evaluation.plans.threats import THREATS
from torchattacks_ext.evaluation.stages import STAGES, build_stages
from torchattacks_ext.evaluation.zoo.catalogue import attack_names

ELSE = {"attack", "certified", "budgeted", "smoothed", "shift"}
"""Stages that a profile cannot name: they need an attack, an Ellips, other data, or a choice."""
OF_ALL = {"ood", "data-audit"}
"""Stages about all images together, which no shard of a run can have."""


@pytest.mark.parametrize("norm", get_args(Norm))
def test_standard_has_every_stage_and_every_attack_but_the_slow_ones(
    norm: Norm,
) -> None:
    named = [stage["name"] for stage in profile_stages("standard", 0.1, norm)]
    assert len(named) == len(set(named))
    own = {"clean", "prtest", "fim", "diagnostics", "stress", "autoattack"}
    assert own <= set(named) and not set(SLOW) & set(named)
    full = {stage["name"] for stage in profile_stages("full", 0.1, norm)}
    assert full - set(named) == {*SLOW, "sweep"}
    if norm == "Linf":
        assert set(attack_names()) - set(named) == {*SLOW, "AutoAttack"}


def test_no_attack_of_the_ball_stops_before_its_boundary() -> None:
    for profile in PROFILES:
        plan = {"eps": 0.3, "stages": profile_stages(profile, 0.3, "Linf")}
        notes = [note for s in build_stages(check_plan(plan)) for note in s.notes]
        assert not any("steps carry only" in note for note in notes)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_template_loads_as_it_is(profile: str) -> None:
    for threat in THREATS if profile == "fast" else THREATS[1:5:2]:
        text = template(profile, threat.name)
        plan = check_plan(yaml.safe_load(text))
        assert (plan.threat_model, plan.seed) == (threat.name, 0)
        asked = profile_stages(profile, threat.eps, threat.norm)
        built = build_stages(plan)
        again = build_stages(check_plan(plan.facts() | {"stages": asked}))
        assert len(built) == len(plan.stages)
        assert [s.settings for s in built] == [s.settings for s in again]


def test_a_template_says_what_each_stage_asks_and_what_else_there_is() -> None:
    text = template("full")
    stages = [line for line in text.splitlines() if line.startswith("  - {")]
    assert len(stages) > 40 and all("  # " in line for line in stages)
    assert "see the documentation" not in text
    for word in ("budget:", "norm:", "outputs:", "bounds:", *(t.name for t in THREATS)):
        assert f"# {word}" in text or f"#   {word}" in text
    hidden = [line.removeprefix("# ") for line in text.splitlines()]
    whole = yaml.safe_load(
        "\n".join(x for x in hidden if x.startswith(("eps:", "norm:", "budget:")))
    )
    assert set(whole) == {"eps", "norm", "budget"}
    assert set(STAGES) - ELSE - OF_ALL <= {
        stage["name"] for stage in profile_stages("full", 0.1, "Linf")
    }


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="'fats' is not one of .*did you mean 'fast'"):
        profile_stages("fats", 0.1, "Linf")
    with pytest.raises(ConfigError, match="did you mean 'mnist-linf-0.3'"):
        template("fast", "mnist-linf-0.30")
    with pytest.raises(ConfigError, match="eps"):
        profile_stages("fast", "big", "Linf")
