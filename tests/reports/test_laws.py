"""Is every law told in words that hold, and no user's law taken for one of ours?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext.reports.laws import (
    boundary_text,
    kinds,
    law_ball,
    law_text,
    rounding_text,
)
from torchattacks_ext.reports.words import NOT_KNOWN
from torchattacks_ext.samplers import (
    Affine,
    CallableSampler,
    Compose,
    Corruption,
    EightBit,
    Gaussian,
    L1Ball,
    L2Ball,
    LinfUniform,
    Photometric,
)
from torchattacks_ext.samplers.choose import SAMPLERS

TURN, NOISE = Affine(rotation=10, translation=0.05, scale=0.1), Gaussian(0.1)
LAWS: dict[str, tuple[Any, str, str, str]] = {
    "linf": (
        LinfUniform(8 / 255),
        "uniform noise in the Linf ball of radius 8/255",
        "truncate: the law given that every value lies in [0, 1]",
        "none",
    ),
    "linf, clamped": (
        LinfUniform(0.3, boundary="clamp"),
        "uniform noise in the Linf ball of radius 0.3, clamped to [0, 1]",
        "clamp: a value outside [0, 1] is set to the nearer bound",
        "none",
    ),
    "l2": (
        L2Ball(0.5, bounds=(0.0, torch.ones(3))),
        "uniform noise in the L2 ball of radius 0.5, clamped to the range of its channel",
        "clamp: a value outside the range of its channel is set to the nearer bound",
        "none",
    ),
    "l1": (
        L1Ball(2.0, boundary="none"),
        "uniform noise in the L1 ball of radius 2",
        "none: values may leave the range of the images",
        "none",
    ),
    "gaussian": (
        NOISE,
        "Gaussian noise, standard deviation 0.1, clamped to [0, 1]",
        "clamp: a value outside [0, 1] is set to the nearer bound",
        "none",
    ),
    "gaussian, truncated": (
        Gaussian(0.25, boundary="truncate"),
        "Gaussian noise, standard deviation 0.25, truncated to [0, 1]",
        "truncate: the law given that every value lies in [0, 1]",
        "none",
    ),
    "gaussian, free": (
        Gaussian(0.25, boundary="none"),
        "Gaussian noise, standard deviation 0.25",
        "none: values may leave the range of the images",
        "none",
    ),
    "affine": (
        TURN,
        "rotation up to 10°, translation up to 5 %, scale 0.9 to 1.1",
        "what comes in from outside the image is black",
        "none",
    ),
    "photometric": (
        Photometric(0.1, 0.2, 1.0),
        "brightness changed by up to 0.1, contrast 0.8 to 1.2 times, Gaussian blur of up to 1 "
        "pixels",
        "clamp: a value outside [0, 1] is set to the nearer bound",
        "none",
    ),
    "eight_bit": (
        EightBit(LinfUniform(8 / 255)),
        "uniform noise in the Linf ball of radius 8/255, rounded to 8 bits",
        "truncate: the law given that every value lies in [0, 1]",
        "8 bits: every draw is rounded to a level k/255",
    ),
    "corruption": (
        Corruption("motion_blur", 3),
        "motion blur of severity 3",
        "clamp: a value outside [0, 1] is set to the nearer bound",
        "8 bits: every draw is cut off to a level k/255",
    ),
    "corruption, turned": (
        Corruption("rotation", 1),
        "rotation of severity 1",
        "clamp: a value outside [0, 1] is set to the nearer bound",
        "none",
    ),
    "compose": (
        Compose([Affine(rotation=10), NOISE]),
        "rotation up to 10°, then Gaussian noise, standard deviation 0.1, clamped to [0, 1]",
        "affine: what comes in from outside the image is black; gaussian: clamp: a value outside "
        "[0, 1] is set to the nearer bound",
        "none",
    ),
    "compose, rounded between": (
        Compose([EightBit(NOISE), Affine(rotation=10)]),
        "Gaussian noise, standard deviation 0.1, clamped to [0, 1], rounded to 8 bits, then "
        "rotation up to 10°",
        "eight_bit: clamp: a value outside [0, 1] is set to the nearer bound; affine: what comes "
        "in from outside the image is black",
        "8 bits between the laws, not at the end",
    ),
}


def settings(law: Any) -> dict[str, Any]:
    return {"norm": "Linf", "eps": 8 / 255, "sampler": law.settings()}


@pytest.mark.parametrize("name", LAWS)
def test_a_law_in_words(name: str) -> None:
    law, said, edge, rounding = LAWS[name]
    given = settings(law)
    assert law_text(given) == said
    assert (boundary_text(given), rounding_text(given)) == (edge, rounding)


def test_every_built_in_law_is_told() -> None:
    assert {law.name for law, *_ in LAWS.values()} == set(SAMPLERS)


def gaussian(images: Tensor, u: Any) -> Tensor:
    return images


def test_a_users_law_is_never_taken_for_ours() -> None:
    given = settings(CallableSampler(gaussian))
    assert law_text(given) == "the law “gaussian”"
    assert boundary_text(given) == rounding_text(given) == NOT_KNOWN
    assert law_ball(given) == "" and kinds(given) == set()
    mixed = settings(Compose([CallableSampler(gaussian), NOISE]))
    assert law_text(mixed).startswith("the law “gaussian”, then Gaussian noise")
    assert boundary_text(mixed).startswith("own law: n/a; gaussian: clamp")


@pytest.mark.parametrize(
    "law",
    [{}, {"name": "gaussian"}, {"name": "gaussian", "sigma": "x"}, {"name": ["a"]}]
    + [{"name": name} for name in sorted(SAMPLERS)]
    + [{"name": "compose", "laws": [None, 3, "linf"]}, {"name": "affine"}, "rain", 3]
    + [{"name": "gaussian", "sigma": 0.1, "boundary": "clamp", "bounds": 7}],
)
def test_damaged_settings_do_not_raise(law: Any) -> None:
    given = {"sampler": law}
    for tell in (law_text, boundary_text, rounding_text, law_ball):
        assert isinstance(tell(given), str)
    assert isinstance(kinds(given), set)


def test_which_laws_stay_in_a_ball() -> None:
    assert law_ball(settings(LinfUniform(8 / 255))) == "Linf ball of radius 8/255"
    assert law_ball(settings(EightBit(LinfUniform(0.1)))) == "Linf ball of radius 0.1"
    assert law_ball(settings(NOISE)) == law_ball(settings(TURN)) == ""
    assert law_ball({"norm": "L2", "eps": 1.0}) == "L2 ball of radius 1"
    named = {"norm": "L2", "eps": 1.0, "sampler": "l2"}
    assert law_ball(named) == "L2 ball of radius 1"
    assert law_ball(named | {"sampler": "gaussian"}) == ""


def test_kinds_look_inside() -> None:
    law = Compose([EightBit(TURN), Photometric(blur=1.0)])
    assert kinds(settings(law)) == {"rotation", "translation", "blur"}
    assert kinds(settings(Photometric(brightness=0.1))) == set()
