"""Does a line of flags become the plan that it says, with or without a file?"""

from __future__ import annotations

from typing import Any

import pytest

from torchattacks_ext.cli.plans.planning import (
    Wanted,
    budget_of,
    build_plan,
    read_sampler,
    replaced,
)
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.plan import Plan, default_plan
from torchattacks_ext.evaluation.stages import build_stages

FILE = {
    "eps": "8/255",
    "norm": "L2",
    "batch_size": 7,
    "stages": [
        "clean",
        {"name": "BIM", "steps": 3, "label": "mine"},
        {"name": "prtest", "tolerance": 0.05, "label": "noise"},
    ],
}


def made(
    base: Any,
    settings: Any,
    attacks: str | None = None,
    test: Any = None,
    scores: tuple[str, ...] = (),
    **more: Any,
) -> Plan:
    """The plan of a file and of flags."""
    wanted = Wanted(attacks=attacks, test=test or {}, scores=scores, **more)
    return build_plan(base, settings, wanted)


def plan(
    base: Any = None, attacks: str | None = None, test: Any = None, **settings: Any
) -> dict[str, Any]:
    """The plan as a dict; stages as (name, arguments)."""
    built = made(base, settings, attacks, test)
    stages = [(stage.name, stage.arguments) for stage in built.stages]
    return built.model_dump() | {"stages": stages}


def test_eps_alone_gives_the_default_plan() -> None:
    assert made(None, {"eps": 0.1, "norm": None}) == default_plan(0.1)


def test_eps_is_needed() -> None:
    with pytest.raises(ConfigError, match="--eps is missing"):
        made(None, {"eps": None})


def test_flags_override_the_file_and_nothing_else() -> None:
    unchanged, changed = plan(FILE), plan(FILE, eps=0.5, seed=3)
    assert (unchanged["eps"], changed["eps"]) == (8 / 255, 0.5)
    assert changed == unchanged | {"eps": 0.5, "seed": 3}
    assert (changed["norm"], changed["batch_size"]) == ("L2", 7)


def test_attacks_replace_the_attacks_of_the_file() -> None:
    found = plan(FILE, attacks="bim, FGSM,PGD")["stages"]
    assert found == [
        ("clean", {}),
        ("BIM", {}),
        ("FGSM", {}),
        ("PGD", {"steps": 20, "alpha": 8 / 255 / 4}),
        ("prtest", {"tolerance": 0.05}),
    ]


def test_arguments_of_the_test() -> None:
    stages = dict(plan(FILE, test={"tolerance": 0.2, "n_max": None})["stages"])
    assert stages["prtest"] == {"tolerance": 0.2}
    no_test = {"eps": 0.1, "stages": ["FGSM"]}
    assert plan(no_test)["stages"] == [("FGSM", {})]
    added = plan(no_test, test={"significance": 0.01})["stages"]
    assert added == [("FGSM", {}), ("prtest", {"significance": 0.01})]


def test_an_unknown_attack_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="'PDG' is unknown; did you mean 'PGD'"):
        plan(eps=0.1, attacks="PDG")


@pytest.mark.parametrize(
    ("text", "law"),
    [
        (" linf ", "linf"),
        ('{"name": "gaussian", "sigma": 0.1}', {"name": "gaussian", "sigma": 0.1}),
        (' {"name": "affine", "rotation": 9}', {"name": "affine", "rotation": 9}),
    ],
)
def test_a_sampler_by_name_or_by_json(text: str, law: Any) -> None:
    assert read_sampler(text) == law
    stages = dict(plan(FILE, test={"sampler": read_sampler(text)})["stages"])
    assert stages["prtest"] == {"tolerance": 0.05, "sampler": law}


def test_a_damaged_sampler_is_refused_with_an_example() -> None:
    with pytest.raises(ConfigError, match="--sampler .* is not JSON .*sigma"):
        read_sampler("{name: gaussian}")


def test_the_mixed_attack_and_the_real_autoattack_by_name() -> None:
    found = plan(eps=0.1, attacks="MSA,AutoAttack,pgd")["stages"]
    names = [name for name, _ in found]
    assert names == ["clean", "msa", "autoattack", "PGD", "prtest"]
    built = build_stages(made(None, {"eps": 0.1}, "autoattack"))
    assert [stage.label for stage in built] == ["clean", "autoattack", "prtest"]
    assert "not torchattacks' class" in " ".join(built[1].notes)


def test_fast_is_short_for_a_plan_of_the_own_engine() -> None:
    built = build_stages(made(None, {"eps": 0.1}, "Fast"))
    assert [stage.label for stage in built] == ["clean", "fast", "prtest"]
    assert built[1].settings["engine"] == "own"
    assert built[1].settings["version"] == "fast"


@pytest.mark.parametrize("name", ["fim", "certified", "stress"])
def test_a_flag_adds_one_stage_that_searches_for_nothing(name: str) -> None:
    base = {"eps": 0.1, "stages": [{"name": name}, {"name": "PGD"}]}
    for given, count in ((None, 1), (base, 1)):
        plan = made(given, {"eps": 0.1}, scores=(name,))
        names = [stage.name for stage in plan.stages]
        assert names.count(name) == count
    kept = made(base, {}, "FGSM")
    assert [stage.name for stage in kept.stages] == ["FGSM", name]


def lost(attacks: str | None = None, test: Any = None, **settings: Any) -> list[str]:
    """What the flags replace in FILE."""
    return list(replaced(FILE, made(FILE, settings, attacks, test), attacks))


def test_a_stage_that_a_flag_replaces_is_said() -> None:
    assert lost() == lost(eps=8 / 255, norm="L2") == []
    told = "--attacks FGSM replaces stage 'mine' (label=mine, steps=3) of the plan file"
    assert lost("FGSM") == [told]
    assert len(lost("BIM")) == 1  # BIM, but with the arguments of its class
    kept = {"eps": 0.1, "stages": ["clean", "FGSM"]}
    assert replaced(kept, made(kept, {}, "FGSM"), "FGSM") == ()


def test_a_number_that_a_flag_replaces_is_said() -> None:
    (said,) = lost(test={"tolerance": 0.01})
    assert "--tolerance 0.01 replaces tolerance=0.05 of stage 'noise'" in said
    (said,) = lost(eps=0.5)
    assert said == "--eps 0.5 replaces eps: 8/255 of the plan file"
    assert lost(test={"n_max": 100}) == []  # the file says nothing of it
    assert replaced(None, made(None, {"eps": 0.1}, "FGSM"), "FGSM") == ()


# ---------------------------------------------------------------- profiles, balls, budgets by name
def test_a_profile_is_the_stages_and_flags_add_to_them() -> None:
    found = plan(None, eps=0.1)["stages"]
    fast = made(None, {"eps": 0.1}, profile="fast")
    assert [s.name for s in fast.stages][:3] == ["clean", "FGSM", "PGD"] != found
    more = made(
        None, {"eps": 0.1}, profile="fast", test={"n_max": 500}, scores=("fim",)
    )
    assert dict((s.name, s.arguments) for s in more.stages)["prtest"]["n_max"] == 500
    assert [s.name for s in more.stages].count("fim") == 1
    with pytest.raises(ConfigError, match="--profile fast and the plan file"):
        made(FILE, {}, profile="fast")
    with pytest.raises(ConfigError, match="'fats' is not one of .*did you mean 'fast'"):
        made(None, {"eps": 0.1}, profile="fats")


def test_a_threat_model_gives_the_ball_and_replaces_that_of_the_file() -> None:
    named = made(None, {"threat_model": "cifar10-l2-0.5"})
    assert (named.eps, named.norm) == (0.5, "L2")
    again = made(FILE, {"threat_model": "mnist-linf-0.3"})
    assert (again.eps, again.norm, again.batch_size) == (0.3, "Linf", 7)
    with pytest.raises(ConfigError, match="has eps 8/255, but eps=0.1 is given"):
        made(None, {"threat_model": "cifar10-linf-8", "eps": 0.1})


def test_a_budget_is_a_stage_behind_the_others() -> None:
    given = budget_of("autoattack", 0.02)
    stages = made(None, {"eps": 0.1}, "FGSM", budget=given).stages
    assert (stages[-1].name, stages[-1].arguments) == ("budgeted", given)
    assert budget_of(None, None) == {}
    with pytest.raises(ConfigError, match="--half-width belongs to --budget"):
        budget_of(None, 0.02)
