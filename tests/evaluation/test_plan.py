"""Is every wrong plan refused before the model is touched, with value, domain and remedy?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import ConfigError, LinfUniform, evaluate
from torchattacks_ext.evaluation.plan import (
    Plan,
    StageSpec,
    check_plan,
    default_plan,
    known_stages,
    parse_eps,
)
from torchattacks_ext.evaluation.stages import build_stages

DATA = (torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 1]))


def untouchable(images: Tensor) -> Tensor:
    """A model that no refusal may have called."""
    raise AssertionError("a forward pass before the plan was checked")


def plan(**changes: Any) -> dict[str, Any]:
    return {"eps": 0.1, "stages": ["clean"]} | changes


def stage(**arguments: Any) -> dict[str, Any]:
    return plan(stages=[arguments])


# ---------------------------------------------------------------- the radius
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        (" 8 / 255 ", 8 / 255),
        ("0.3", 0.3),
        ("1e-2", 0.01),
        (0.3, 0.3),
        (0, 0.0),
        ("0", 0.0),
    ],
)
def test_eps_may_be_a_number_or_a_quotient_as_text(text: Any, value: float) -> None:
    assert parse_eps(text) == value
    assert check_plan(plan(eps=text)).eps == value


WRONG_EPS = ["8/0", "8/", "eight", "", "nan", "inf", "1e999", -0.1, "-8/255", True]


@pytest.mark.parametrize(
    "eps", [*WRONG_EPS, None, [0.1], math.nan, math.inf, "8/255/2"]
)
def test_other_radii_are_refused_by_name_and_value(eps: Any) -> None:
    with pytest.raises(ConfigError, match="eps=.*finite number >= 0, say 8/255"):
        parse_eps(eps)
    with pytest.raises(ConfigError, match="eps="):
        evaluate(untouchable, DATA, plan(eps=eps))


# ---------------------------------------------------------------- refusals
REFUSED: dict[str, tuple[Any, str]] = {
    "no mapping": (["clean"], "plan is list, expected a dict with 'eps' and 'stages'"),
    "unknown key": (plan(epsilon=1), "'epsilon' is not a key of a plan.*eps, norm"),
    "near key": (plan(stage=[]), "did you mean 'stages'"),
    "no eps": ({"stages": []}, "'eps' is missing"),
    "no stages": ({"eps": 0.1}, "'stages' is missing"),
    "no stage": (plan(stages=[3]), "stages.0=3: must be a name, say PGD, or keys"),
    "norm": (plan(norm="linf"), "norm='linf'.*'Linf', 'L2' or 'L1'"),
    "seed": (plan(seed=-1), "seed=-1: must be a whole number in 0 .. 2"),
    "large seed": (plan(seed=2**63), "seed=9223372036854775808: must be a whole"),
    "batch size": (plan(batch_size=0), "batch_size=0: must be a whole number >= 1"),
    "outputs": (plan(outputs="softmax"), "outputs='softmax'.*'logits' or 'probs'"),
    "bounds": (plan(bounds=(1, 0)), r"bounds=\(1, 0\).*low < high, say \(0, 1\)"),
    "equal bounds": (plan(bounds=(0, 0)), "bounds=.*low < high"),
    "nan bounds": (plan(bounds=(0, math.nan)), "bounds=.*finite"),
    "endless bounds": (plan(bounds=(-math.inf, math.inf)), "bounds=.*finite.*None"),
    "one bound": (plan(bounds=(0,)), "bounds"),
    "stages text": (plan(stages="PGD"), "stages='PGD': must be a list"),
    "stages dict": (plan(stages={"name": "PGD"}), "stages=.*must be a list"),
    "stages number": (plan(stages=5), "stages=5: must be a list"),
    "stages nothing": (plan(stages=None), "stages=None: must be a list"),
    "stage number": (plan(stages=[5]), "stages.0=5"),
    "stage without name": (plan(stages=[{"steps": 5}]), "'stages.0.name' is missing"),
    "stage name": (stage(name=""), "stages.0.name=''"),
    "stage label": (stage(name="PGD", label=""), "stages.0.label=''"),
    "label number": (stage(name="PGD", label=5), "stages.0.label=5"),
    "reserved label": (stage(name="PGD", label="worst_case"), "use another label"),
    "unknown stage": (stage(name="PGDD"), "'PGDD'.*did you mean 'PGD'.*methods"),
    "no stage at all": (stage(name="zzz"), "'zzz' is neither one of"),
    "excluded attack": (stage(name="MultiAttack"), "'MultiAttack' cannot be run"),
    "no attack": (stage(name="attack"), "needs attack=, say"),
    "unknown attack": (stage(name="attack", attack="PDG"), "did you mean 'PGD'"),
    "attack argument": (
        stage(name="PGD", stps=5),
        "PGD takes no argument 'stps'; did you mean 'steps'",
    ),
    "radius": (stage(name="PGD", eps=0.1), "PGD: eps=0.1 is that of the plan.*set eps"),
    "norm of a stage": (stage(name="APGD", norm="L2"), "norm='L2' is that of the plan"),
    "seed of a stage": (stage(name="APGD", seed=3), "seed=3 is that of the plan"),
    "own name of eps": (
        stage(name="PIFGSM", max_epsilon=0.1),
        "give the radius once, as eps or as max_epsilon",
    ),
    "steps": (stage(name="PGD", steps=0), "steps=0: PGD needs an integer >= 1"),
    "alpha text": (stage(name="PGD", alpha="big"), "PGD: alpha='big' must be a finite"),
    "alpha nothing": (stage(name="PGD", alpha=None), "PGD: alpha=None must be a"),
    "alpha bool": (stage(name="PGD", alpha=True), "PGD: alpha=True must be a finite"),
    "flag": (stage(name="PGD", random_start="no"), "random_start='no' must be true or"),
    "object": (stage(name="PGD", alpha=object()), "give a number, text, list or dict"),
    "norm of the class": (
        plan(norm="L1", stages=["APGD"]),
        "norm='L1': APGD can do Linf, L2",
    ),
    "eps as pixels": (plan(eps=8, stages=["PGD"]), r"eps=8.0 .*\(8/255, not 8\)"),
    "eps of the test": (plan(eps=8, stages=["prtest"]), "did you mean 8/255"),
    "no bounds of attacks": (
        plan(bounds=None, stages=["PGD"]),
        r"bounds=None: PGD clips to a pixel range; give finite bounds",
    ),
    "eps beyond the bounds": (
        plan(eps=300, bounds=(0, 255), stages=["PGD"]),
        "eps=1.17.* is no radius",
    ),
    "clean argument": (stage(name="clean", n=5), r"no arguments, got \['n'\]"),
    "clean twice": (plan(stages=["clean", "Clean"]), "'clean' 2 times; name it once"),
    "test argument": (
        stage(name="prtest", tolerence=0.1),
        "no argument 'tolerence'; did you mean 'tolerance'.*n_max",
    ),
    "tolerance": (stage(name="prtest", tolerance=2), "tolerance"),
    "significance": (stage(name="prtest", significance=0.6), "significance"),
    "n_max": (stage(name="prtest", n_max=0), "n_max=0"),
    "reference": (stage(name="prtest", reference="truth"), "reference='truth'"),
    "sampler": (stage(name="prtest", sampler="gauss"), "'gauss' is unknown"),
    "sampler's eps": (
        stage(name="prtest", sampler=LinfUniform(0.2)),
        "disagrees with the sampler's eps",
    ),
    "no test": (stage(name="prtest", test="bayes"), "test='bayes' is not one of"),
    "duplicate labels": (plan(stages=["PGD", "pgd"]), "two stages are called 'PGD'"),
    "label of another": (
        plan(stages=["FGSM", {"name": "PGD", "label": "FGSM"}]),
        "two stages are called 'FGSM'; give one of them label=",
    ),
    "label clean": (stage(name="PGD", label="clean"), "two stages are called 'clean'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_forward_pass(case: str) -> None:
    wrong, words = REFUSED[case]
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        evaluate(untouchable, DATA, wrong)


def test_all_wrong_keys_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_plan({"eps": "x", "norm": "L3", "stages": 1, "size": 2})
    for word in ("eps='x'", "norm='L3'", "stages=1", "'size' is not a key"):
        assert word in str(caught.value)


def test_a_plan_object_is_checked_like_a_dict() -> None:
    good = check_plan(plan(stages=["FGSM"]))
    assert check_plan(good) == good
    with pytest.raises(ConfigError, match="batch_size=0"):
        evaluate(untouchable, DATA, good.model_copy(update={"batch_size": 0}))
    with pytest.raises(ConfigError, match="eps='x'"):
        check_plan(good.model_copy(update={"eps": "x"}))


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        check_plan(plan()).eps = 0.2  # type: ignore[misc]


# ---------------------------------------------------------------- what is understood
def labels(*stages: Any, **changes: Any) -> list[str]:
    return [s.label for s in build_stages(check_plan(plan(stages=stages, **changes)))]


def test_stages_may_be_strings_dicts_and_specs() -> None:
    found = labels("FGSM", {"name": "pgd", "steps": 3}, StageSpec(name="prtest"))
    assert found == ["clean", "FGSM", "PGD", "prtest"]


def test_the_clean_stage_is_always_first() -> None:
    assert labels() == ["clean"]
    assert labels("FGSM", "clean", "PGD") == ["clean", "FGSM", "PGD"]
    assert labels("FGSM", "CLEAN") == ["clean", "FGSM"]
    assert labels("FGSM", {"name": "clean", "label": "plain"}) == ["plain", "FGSM"]


def test_a_stage_is_called_by_its_own_spelling_or_by_its_label() -> None:
    assert labels("fgsm", "PRTest") == ["clean", "FGSM", "prtest"]
    named = {"name": "attack", "attack": "pgd"}
    assert labels(named, named | {"label": "again"}) == ["clean", "PGD", "again"]


def test_numbers_of_an_attack_may_be_text() -> None:
    _, pgd = build_stages(check_plan(stage(name="PGD", alpha="2/255", steps=3)))
    assert pgd.settings == {"attack": "PGD", "alpha": 2 / 255, "steps": 3}


def test_every_known_stage_can_be_built_by_its_name() -> None:
    for name in known_stages():
        if name not in ("attack", "shift", "smoothed"):  # these need an argument
            assert labels(name)[0] == "clean"


def test_the_default_plan_covers_the_three_kinds() -> None:
    found = default_plan("8/255", batch_size=64)
    assert found.eps == 8 / 255 and found.batch_size == 64
    assert [s.kind for s in build_stages(found)] == [
        "clean",
        "attack",
        "attack",
        "prtest",
    ]
    assert not any(
        "steps carry" in note for s in build_stages(found) for note in s.notes
    )
    with pytest.raises(ConfigError, match="'batchsize' is not a key"):
        default_plan(0.1, batchsize=3)


# ---------------------------------------------------------------- as it stands in a report
def law(images: Tensor, u: Any) -> Tensor:
    return images


def test_the_facts_of_a_plan_are_json_and_make_the_same_plan_again() -> None:
    for wanted in (default_plan("8/255"), check_plan(plan(bounds=None))):
        facts = json.loads(json.dumps(wanted.facts(), allow_nan=False))
        again = check_plan(facts)
        assert isinstance(again, Plan) and again.facts() == wanted.facts()


def test_a_sampler_stands_in_the_facts_by_its_settings() -> None:
    for sampler in (LinfUniform(0.1), law):
        found = check_plan(stage(name="prtest", sampler=sampler))
        (entry,) = found.facts()["stages"]
        assert json.dumps(entry["sampler"])
        _, test = build_stages(found)
        assert test.settings["sampler"] == entry["sampler"]


def test_a_path_is_refused_where_json_could_not_hold_it() -> None:
    with pytest.raises(ConfigError, match="keep=.*Path.*give a number, text"):
        build_stages(check_plan(stage(name="prtest", keep=Path("x"))))
