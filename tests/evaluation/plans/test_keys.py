"""Do the short keys of a plan mean what the long ones say, and never something else?"""

from __future__ import annotations

from typing import Any

import pytest

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.plans.threats import THREATS


def test_every_threat_model_is_a_ball_with_a_source() -> None:
    for threat in THREATS:
        found = check_plan({"threat_model": threat.name, "stages": []})
        assert (found.eps, found.norm) == (threat.radius, threat.norm)
        data, norm, size = threat.name.split("-")
        assert norm == threat.norm.lower() and "arXiv:" in threat.source
        whole = norm == "linf" and "." not in size
        assert threat.radius == (int(size) / 255 if whole else float(size))


@pytest.mark.parametrize("name", ["CIFAR10-Linf-8", "cifar10-linf-8"])
def test_the_ball_may_be_said_twice_if_it_is_the_same(name: str) -> None:
    for more in ({}, {"eps": 8 / 255}, {"eps": "8/255", "norm": "Linf"}):
        found = check_plan({"threat_model": name, "stages": [], **more})
        assert found.eps == 8 / 255 and found.threat_model == "cifar10-linf-8"
        assert check_plan(found.facts()).facts() == found.facts()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "other eps": (
        {"eps": 0.1},
        "has eps 8/255, but eps=0.1 is given as well; leave one",
    ),
    "other norm": ({"norm": "L2"}, "has norm Linf, but norm='L2' is given"),
    "no eps": ({"eps": "x"}, "eps='x'"),
    "no name": ({"threat_model": "cifar-linf-8"}, "did you mean 'cifar10-linf-8'"),
    "a number": ({"threat_model": 8}, "threat_model=8 is not known"),
    "budget list": ({"budget": ["msa"]}, "must hold the arguments of one stage, say"),
    "budget name": (
        {"budget": {"name": "msa"}},
        "must hold the arguments of one stage",
    ),
    "budget, no stages": ({"budget": {}, "stages": 5}, "stages=5: must be a list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_is_refused(case: str) -> None:
    more, said = REFUSED[case]
    with pytest.raises(ConfigError, match=said):
        check_plan({"threat_model": "cifar10-linf-8", "stages": []} | more)


def test_a_radius_or_a_threat_model_is_needed() -> None:
    with pytest.raises(
        ConfigError, match="'eps' is missing; give .* or a threat_model"
    ):
        check_plan({"stages": []})


def test_a_budget_is_one_stage_more() -> None:
    budget = {"attack": "PGD", "half_width": 0.05}
    found = check_plan({"eps": 0.1, "stages": ["FGSM"], "budget": budget})
    assert [stage.name for stage in found.stages] == ["FGSM", "budgeted"]
    assert found.stages[1].arguments == budget
    assert check_plan(found) == found == check_plan(found.facts())
    alone = check_plan({"eps": 0.1, "budget": {}})
    assert [stage.name for stage in alone.stages] == ["budgeted"]
    none = check_plan({"eps": 0.1, "budget": None, "stages": []})
    assert none.stages == ()
