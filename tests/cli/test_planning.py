"""Does a line of flags become the plan that it says, with or without a file?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from torchattacks_ext.cli.planning import (
    build_plan,
    read_plan,
    read_sampler,
    replaced,
    row_passes,
)
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.evaluation.plan import default_plan
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


def plan(
    base: Any = None, attacks: str | None = None, test: Any = None, **settings: Any
) -> dict[str, Any]:
    """The plan as a dict; stages as (name, arguments)."""
    built = build_plan(base, settings, attacks, test or {})
    stages = [(stage.name, stage.arguments) for stage in built.stages]
    return built.model_dump() | {"stages": stages}


def test_eps_alone_gives_the_default_plan() -> None:
    assert build_plan(None, {"eps": 0.1, "norm": None}, None, {}) == default_plan(0.1)


def test_eps_is_needed() -> None:
    with pytest.raises(ConfigError, match="--eps is missing"):
        build_plan(None, {"eps": None}, None, {})


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


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_a_plan_is_read_from_a_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"plan{suffix}"
    path.write_text(json.dumps(FILE), encoding="utf-8")  # JSON is YAML too
    assert read_plan(path) == FILE


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "- clean", "holds a list, expected keys like eps"),
        ("a.yaml", "", "holds a NoneType"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("a.yaml", "\x00", "is not YAML"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_plan(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.yaml cannot be read"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="bytes.json cannot be read"):
        read_plan(tmp_path / "bytes.json")


@pytest.mark.parametrize(
    ("stage", "passes"),
    [
        ("clean", 1),
        ("VANILA", 2),
        ("FGSM", 4),
        ({"name": "PGD", "steps": 20}, 42),
        ({"name": "Square", "n_queries": 200}, 202),
        ("DeepFool", None),
        ({"name": "prtest", "tolerance": 0.01, "significance": 1e-3}, 744),
    ],
)
def test_the_estimate_of_the_cost(stage: Any, passes: int | None) -> None:
    built = build_stages(build_plan({"eps": 0.1, "stages": [stage]}, {}, None, {}))
    assert row_passes(built[-1]) == passes


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
    built = build_stages(build_plan(None, {"eps": 0.1}, "autoattack", {}))
    assert [stage.label for stage in built] == ["clean", "autoattack", "prtest"]
    assert "not torchattacks' class" in " ".join(built[1].notes)
    passes = row_passes(built[1])
    assert passes is not None and 8_000 < passes < 12_000


def test_fast_is_short_for_a_plan_of_the_own_engine() -> None:
    built = build_stages(build_plan(None, {"eps": 0.1}, "Fast", {}))
    assert [stage.label for stage in built] == ["clean", "fast", "prtest"]
    assert built[1].settings["engine"] == "own"
    assert built[1].settings["version"] == "fast"


@pytest.mark.parametrize("name", ["fim", "certified", "stress"])
def test_a_flag_adds_one_stage_that_searches_for_nothing(name: str) -> None:
    base = {"eps": 0.1, "stages": [{"name": name}, {"name": "PGD"}]}
    asked: Any = {name: True}
    for given, count in ((None, 1), (base, 1)):
        plan = build_plan(given, {"eps": 0.1}, None, {}, **asked)
        names = [stage.name for stage in plan.stages]
        assert names.count(name) == count
    kept = build_plan(base, {}, "FGSM", {})
    assert [stage.name for stage in kept.stages] == ["FGSM", name]


def lost(attacks: str | None = None, test: Any = None, **settings: Any) -> list[str]:
    """What the flags replace in FILE."""
    return list(
        replaced(FILE, build_plan(FILE, settings, attacks, test or {}), attacks)
    )


def test_a_stage_that_a_flag_replaces_is_said() -> None:
    assert lost() == lost(eps=8 / 255, norm="L2") == []
    told = "--attacks FGSM replaces stage 'mine' (label=mine, steps=3) of the plan file"
    assert lost("FGSM") == [told]
    assert len(lost("BIM")) == 1  # BIM, but with the arguments of its class
    kept = {"eps": 0.1, "stages": ["clean", "FGSM"]}
    assert replaced(kept, build_plan(kept, {}, "FGSM", {}), "FGSM") == ()


def test_a_number_that_a_flag_replaces_is_said() -> None:
    (said,) = lost(test={"tolerance": 0.01})
    assert "--tolerance 0.01 replaces tolerance=0.05 of stage 'noise'" in said
    (said,) = lost(eps=0.5)
    assert said == "--eps 0.5 replaces eps: 8/255 of the plan file"
    assert lost(test={"n_max": 100}) == []  # the file says nothing of it
    assert replaced(None, build_plan(None, {"eps": 0.1}, "FGSM", {}), "FGSM") == ()
