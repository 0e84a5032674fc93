"""Do all classes take numbers as a sweep has them: NumPy scalars, 0-d tensors, "8/255"?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import (
    MSA,
    ConfigError,
    FIMScore,
    NormalizedModel,
    PRTest,
    evaluate,
)
from torchattacks_ext.attacks.base.settings import ProbeSettings
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

NET = small_net().eval()
IMAGES = example_images(4)
LABELS = NET(IMAGES).argmax(1).detach()
CLASSES: tuple[Any, ...] = (PRTest, FIMScore, MSA)


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize(
    "eps",
    ["1/32", np.float32(1 / 32), np.array(1 / 32), torch.tensor(1 / 32)],
    ids=repr,
)
def test_eps_in_every_form_gives_one_setting(build: Any, eps: Any) -> None:
    found = build(NET, eps=eps, batch_size=np.int64(8), seed=np.int32(3))
    plain = build(NET, eps=1 / 32, batch_size=8, seed=3)
    assert found.settings() == plain.settings() and repr(found) == repr(plain)
    assert [type(x) for x in (found.eps, found.batch_size, found.seed)] == [
        float,
        int,
        int,
    ]
    found.eps, found.batch_size = "2/255", torch.tensor(4)
    assert (found.eps, found.batch_size) == (2 / 255, 4)


OWN: tuple[tuple[Any, dict[str, Any], dict[str, Any]], ...] = (
    (
        PRTest,
        dict(tolerance="1/50", significance=np.float64(0.25), n_max=np.int64(500)),
        dict(tolerance=0.02, significance=0.25, n_max=500),
    ),
    (
        PRTest,
        dict(n_mean=np.uint8(4), test="splitting", n_systems=np.int64(4)),
        dict(n_mean=4, test="splitting", n_systems=4),
    ),
    (
        FIMScore,
        dict(
            tol=np.float64(0.01), temperature=np.float64(2), smooth=("1/4", np.int8(4))
        ),
        dict(tol=0.01, temperature=2.0, smooth=(0.25, 4)),
    ),
    (
        FIMScore,
        dict(method="blackbox", n_directions=torch.tensor(50), target=np.float64(0.5)),
        dict(method="blackbox", n_directions=50, target=0.5),
    ),
    (
        MSA,
        dict(probe_every=np.int64(0), partitions=torch.tensor(2), max_seconds="1/2"),
        dict(probe_every=0, partitions=2, max_seconds=0.5),
    ),
)


@pytest.mark.parametrize(("build", "given", "plain"), OWN)
def test_own_settings_in_every_form(
    build: Any, given: dict[str, Any], plain: dict[str, Any]
) -> None:
    one, two = build(NET, **given), build(NET, **plain)
    assert one.settings() == two.settings()
    for name in plain:
        if hasattr(two, name):
            assert repr(getattr(one, name)) == repr(getattr(two, name))


@pytest.mark.parametrize(
    "name", ["eps", "batch_size", "n_queries", "max_queries", "max_seconds", "seed"]
)
@pytest.mark.parametrize("value", [True, np.True_, "much", [1]], ids=repr)
def test_truth_values_and_words_are_no_numbers(name: str, value: Any) -> None:
    given: dict[str, Any] = {"eps": 0.1, "norm": "Linf", name: value}
    with pytest.raises(ConfigError, match=f"{name}="):
        ProbeSettings(**given)


def test_a_plan_takes_the_same_forms() -> None:
    stage = {"name": "PGD", "steps": np.int64(2), "alpha": torch.tensor(0.25)}
    plan = {
        "eps": torch.tensor(0.25),
        "batch_size": torch.tensor(3),
        "seed": np.int8(1),
    }
    plain = {"eps": 0.25, "batch_size": 3, "seed": 1}
    prtest = {"name": "prtest", "tolerance": np.float64(0.02), "n_max": np.int64(1000)}
    found, same = (
        evaluate(NET, (IMAGES, LABELS), settings | {"stages": stages}, n=count)
        for settings, stages, count in (
            (plan, [stage, prtest], np.int64(3)),
            (
                plain,
                [
                    {"name": "PGD", "steps": 2, "alpha": 0.25},
                    {"name": "prtest", "tolerance": 0.02, "n_max": 1000},
                ],
                3,
            ),
        )
    )
    assert found.plan == same.plan
    pairs = zip(found.stages, same.stages)
    assert all(one.result.digest() == two.result.digest() for one, two in pairs)


@pytest.mark.parametrize("side", [0.5, np.float32(0.5), torch.tensor(0.5), [0.5]])
def test_one_mean_serves_all_channels(side: Any) -> None:
    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(2).mean(2)

    found = NormalizedModel(Mean(), side, side)(IMAGES)
    assert torch.equal(found, Mean()((IMAGES - 0.5) / 0.5))
    probe = PRTest(NET, eps=0.1)
    probe.set_normalization_used(side, side)
    assert torch.allclose(probe.normalize(IMAGES), (IMAGES - 0.5) / 0.5)
