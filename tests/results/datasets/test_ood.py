"""Do scores of images from elsewhere come back, join and say what their rows say?"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from torchattacks_ext.errors import ConfigError, InputError, StateError
from torchattacks_ext.numerics.detection.ranking import auroc
from torchattacks_ext.results import Flag
from torchattacks_ext.results.datasets.ood import OODScores, OutsideSet, nothing

N = 12
ONES = torch.ones(N, dtype=torch.int8)


def made(start: int = 0, **changes: Any) -> OODScores:
    torch.manual_seed(start)
    far = OutsideSet(
        name="far", kind="far", n=3, scores={"energy": (1.0, math.nan, math.inf)}
    )
    near = OutsideSet(name="near", kind="near", n=2, scores={"energy": (0.0, 0.5)})
    known: dict[str, Any] = {
        "ids": torch.arange(N) + start,
        "status": torch.zeros_like(ONES),
        "reference": torch.zeros(N, dtype=torch.int64),
        "prediction": torch.zeros(N, dtype=torch.int64),
        "clean_correct": ONES,
        "max_softmax": nothing(N),
        "energy": torch.randn(N, dtype=torch.float64),
        "max_logit": nothing(N),
        "fim": nothing(N),
        "outside": (far, near),
        "settings": {"scores": ["energy"]},
    }
    return OODScores(**{**known, **changes})


def test_it_comes_back_from_json_with_its_sets() -> None:
    one = made()
    back = OODScores.from_dict(json.loads(one.to_json()))
    assert back.to_dict() == one.to_dict() and repr(back) == repr(one)
    assert math.isnan(back.set("far").scores["energy"][1])
    assert back.set("far").scores["energy"][2] == math.inf


def test_numbers_are_of_the_rows_that_have_a_score() -> None:
    one = made()
    said = one.summary()["sets"]
    wanted = auroc(one.energy, [1.0, math.inf])
    assert said["far"]["energy"]["auroc"] == wanted
    assert said["far"]["energy"]["without_score"] == 1
    assert said["far"]["energy"]["prevalence"] == 2 / 14
    assert "without_score" not in said["near"]["energy"]
    low, high = said["near"]["energy"]["auroc_interval"]
    assert low <= said["near"]["energy"]["auroc"] <= high


def test_a_set_without_any_score_has_no_number() -> None:
    empty = OutsideSet(name="far", kind="far", n=1, scores={"energy": (math.nan,)})
    one = made(outside=(empty,))
    assert one.separation("energy", "far") is None
    assert one.summary()["sets"]["far"]["energy"] is None


def test_rows_that_were_chosen_or_copied_have_no_interval() -> None:
    part = made().select(made().ids[:6])
    assert part.summary()["left_out"]["intervals"] == part.chosen
    assert "auroc_interval" not in part.summary()["sets"]["near"]["energy"]
    copied = replace(made().outside[0], copies=1)
    assert "more than once" in str(made(outside=(copied,)).doubt)
    flag = Flag("duplicates", "twice", 2, {"same": "pixels"})
    assert "more than once" in str(made().with_flags([flag]).doubt)


def test_groups_have_numbers_of_their_own() -> None:
    one = made(groups=("a", "b") * 6)
    said = one.summary()["groups"]["a"]["sets"]["near"]["energy"]
    assert said["auroc"] == auroc(one.energy[::2], [0.0, 0.5])
    assert "auroc_interval" not in said  # a bootstrap a group would take long


def test_columns_of_detectors_follow_the_rows() -> None:
    settings = {"scores": [], "detectors": {"Own": {"n": 9, "sha256": "ab"}}}
    values = [float(i) for i in range(N - 1)] + ["nan"]
    own = OutsideSet(name="far", kind="far", n=1, scores={"Own": (5.5,)})
    facts = {"settings": settings, "outside": (own,)}
    one = made(**facts, extra={"columns": {"Own": values}})
    two = made(100, **facts, extra={"columns": {"Own": values}})
    assert one.scores == ("Own",)
    assert one.separation("Own", "far").auroc.value == 6 / 11  # type: ignore[union-attr]
    both = OODScores.concat([one, two.select(two.ids[:2], declared=True)])
    assert both.inside("Own")[-2:].tolist() == [0.0, 1.0]
    back = OODScores.from_dict(json.loads(both.to_json()))
    assert torch.equal(back.inside("Own").isnan(), both.inside("Own").isnan())


def test_scores_of_another_fit_are_not_joined() -> None:
    fits = [{"n": 9, "sha256": "ab"}, {"n": 9, "sha256": "cd"}]
    parts = [
        made(100 * i, settings={"scores": ["energy"], "detectors": {"Own": fit}})
        for i, fit in enumerate(fits)
    ]
    with pytest.raises(StateError, match="different settings"):
        OODScores.concat(parts)


def test_unknown_names_and_damage_are_said() -> None:
    one = made()
    with pytest.raises(InputError, match="score='fim' is not one of energy"):
        one.inside("fim")
    with pytest.raises(InputError, match="no set 'moon'; this result has"):
        one.separation("energy", "moon")
    with pytest.raises(ConfigError, match="confidence=95"):
        one.separation("energy", "far", 95)
    for change in ({"n": 4}, {"scores": {"energy": [1, 2, "x"]}}, {"scores": None}):
        raw = one.to_dict()
        raw["outside"][0] |= change
        with pytest.raises(InputError, match="damaged"):
            OODScores.from_dict(raw)
