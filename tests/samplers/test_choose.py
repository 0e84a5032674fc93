"""Does a name, a description or None become the law it says, and is what disagrees refused?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.samplers import (
    SAMPLERS,
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
    Sampler,
    choose_sampler,
)

CHANNELS = (torch.tensor([0.0, -1.0]), torch.tensor([1.0, 2.0]))
LAWS = [
    LinfUniform(0.1, boundary="clamp"),
    LinfUniform(0.1, bounds=None),
    L2Ball(0.5, boundary="none"),
    L1Ball(3.0, bounds=CHANNELS),
    Gaussian(0.1, boundary="truncate"),
    Affine(10, 0.1, 0.2, padding="border"),
    Photometric(0.1, 0.2, 0.3),
    Compose([Affine(10), Compose([Gaussian(0.1), L2Ball(0.3)])]),
    Corruption("fog", 2, parameters="imagenet"),
    EightBit(LinfUniform(0.1)),
    EightBit(Compose([L2Ball(0.2), Photometric(0.1)])),
]


def choose(sampler: Any, eps: float = 0.1, norm: Any = "Linf") -> Sampler:
    return choose_sampler(sampler, eps, norm, (0.0, 1.0))


@pytest.mark.parametrize(
    "norm, kind", [("Linf", LinfUniform), ("L2", L2Ball), ("L1", L1Ball)]
)
def test_none_is_the_uniform_law_in_the_ball(norm: Any, kind: Any) -> None:
    law = choose_sampler(None, 0.3, norm, (-1.0, 2.0))
    assert type(law) is kind and law.settings()["bounds"] == [-1.0, 2.0]
    assert (law.norm, law.eps) == (norm, 0.3)
    assert choose_sampler(None, 3.0, norm, None).settings()["bounds"] is None
    assert type(choose(kind.name, norm=norm)) is kind
    with pytest.raises(ConfigError, match="did you mean 'L2'"):
        choose(None, norm="l2")


def test_samplers_and_callables_are_taken_as_before() -> None:
    law = Gaussian(0.1)
    assert choose(law) is law and choose(LAWS[0]) is LAWS[0]

    def own(images: Tensor, u: Any) -> Tensor:
        return images

    wrapped = choose(own)
    assert isinstance(wrapped, CallableSampler) and wrapped.name == "own"


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_settings_build_the_law_again(law: Sampler) -> None:
    """Also through JSON and YAML, and whatever the ball of the method."""
    norm = law.norm or "L2"
    eps = 9.0 if law.eps is None else law.eps
    settings = law.settings()
    for text in (json.loads(json.dumps(settings)), yaml.safe_load(yaml.dump(settings))):
        again = choose_sampler(text, eps, norm, (-5.0, 5.0))
        assert type(again) is type(law) and again.settings() == settings
    channels = 1 if isinstance(law, Corruption) else 2
    ids, images = torch.arange(3), torch.full((3, channels, 4, 4), 0.25)
    draw = law.sample(images, keyed(0, ids, 0, law.name))
    assert torch.equal(draw, again.sample(images, keyed(0, ids, 0, again.name)))


def test_what_is_not_named_comes_from_the_method() -> None:
    law = choose_sampler({"name": "gaussian", "sigma": "1/10"}, 0.5, "L2", (-1, 1))
    assert law.settings()["sigma"] == 0.1 and law.settings()["bounds"] == [-1.0, 1.0]
    law = choose_sampler("linf", 8 / 255, "Linf", (0.0, 1.0))
    assert law.eps == 8 / 255 and choose({"name": "linf", "eps": "1e-1"}).eps == 0.1
    plan = "name: compose\nlaws: [linf, {name: affine, rotation: 5}]"
    law = choose(yaml.safe_load(plan), 0.2)
    assert isinstance(law, Compose) and law.laws[0].eps == 0.2
    law = choose(
        {"name": "eight_bit", "law": {"name": "linf", "eps": "8/255"}}, 8 / 255
    )
    assert law.eps == 8 / 255
    mixed = choose({"name": "compose", "laws": [Gaussian(0.1), lambda x, u: x]})
    assert mixed.replayable is False


def test_the_registry_has_each_law_by_its_name() -> None:
    assert set(SAMPLERS) == {
        "linf",
        "l2",
        "l1",
        "gaussian",
        "affine",
        "photometric",
        "compose",
        "corruption",
        "eight_bit",
    }
    assert all(kind.name == name for name, kind in SAMPLERS.items())
    assert {type(law) for law in LAWS} == set(SAMPLERS.values())


@pytest.mark.parametrize(
    "sampler, message",
    [
        ("gausian", "name 'gausian' is unknown; did you mean 'gaussian'"),
        ({"sigma": 1}, "name None is unknown; expected one of"),
        ({"name": ["linf"]}, "name .* is unknown"),
        ("gaussian", 'needs \'sigma\'; give it, as in {"name": "gaussian", "sigma"'),
        ("compose", "'compose' needs 'laws'"),
        (
            {"name": "affine", "rotaton": 3},
            "no argument 'rotaton'; did you mean 'rotat",
        ),
        ({"name": "gaussian", "sigma": "big"}, "sigma='big' must be a positive number"),
        ({"name": "gaussian", "sigma": 1, "norm": "L2"}, "has norm=None, not 'L2'"),
        ({"name": "eight_bit", "law": "linf", "eps": 0.2}, "has eps=0.1, not 0.2"),
        ({"name": "linf", "bounds": 3}, "bounds=3 must be"),
        ({"name": "linf", "bounds": [[0.0, "a"], 1]}, "bounds=.* must be"),
        ({"name": "compose", "laws": "linf"}, "laws='linf' must be a list"),
        ({"name": "compose", "laws": {"name": "linf"}}, "laws=.* must be a list"),
        ({"name": "compose", "laws": ["lynx"]}, "name 'lynx' is unknown"),
        ({"name": "eight_bit", "law": 3}, "sampler=3 is neither a Sampler, a name"),
        ("affine", "move nothing"),
        (Gaussian, r"sampler=Gaussian is a class; make one, as in Gaussian\(...\)"),
        (3, "neither a Sampler, a name such as 'linf', a description"),
        ("l2", "norm='Linf' disagrees with the sampler's norm='L2'"),
        ({"name": "linf", "eps": 0.2}, "eps=0.1 disagrees with the sampler's eps=0.2"),
        (LinfUniform(0.2), "eps=0.1 disagrees with the sampler's eps=0.2"),
        (L2Ball(0.1), "norm='Linf' disagrees"),
        (EightBit(LinfUniform(0.2)), "eps=0.1 disagrees"),
    ],
)
def test_what_is_wrong_is_named(sampler: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(sampler)
