"""Does the stage compare the right rows of two sets, and refuse those that are no pairs?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, EvaluationReport
from torchattacks_ext.results import Shift

Run = Callable[..., EvaluationReport]


def result_of(report: EvaluationReport) -> Shift:
    result = report["shift"].result
    assert isinstance(result, Shift), report["shift"].error
    return result


@pytest.fixture(scope="module")
def moved(images: Tensor) -> Tensor:
    torch.manual_seed(3)
    return (images + 0.4 * torch.rand_like(images)).clamp(0, 1)


@pytest.mark.parametrize("size", [30, 7])
def test_rows_are_pairs_when_it_is_said(
    run: Run,
    wave_net: nn.Module,
    images: Tensor,
    labels: Tensor,
    moved: Tensor,
    size: int,
) -> None:
    stage = {"name": "shift", "other": (moved, labels), "paired": "rows"}
    report = run(wave_net, (images, labels), stage, batch_size=size)
    with torch.no_grad():
        here, there = (wave_net(x).argmax(1) == labels for x in (images, moved))
    one, wanted = result_of(report), Shift.of(here, there, paired=True)
    assert one.pairs() == wanted.pairs() and 0 < one.drop < 1
    assert one.summary() == wanted.summary()
    assert (report["shift"].cost.forward, report["shift"].cost.backward) == (30, 0)
    assert one.settings["paired"] == "rows"


def test_ids_make_pairs_in_any_order(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, moved: Tensor
) -> None:
    ids, order = torch.arange(30) + 5, torch.randperm(30)
    here = [{"images": images, "labels": labels, "sample_ids": ids}]
    there = {"images": moved[order], "labels": labels[order], "sample_ids": ids[order]}
    stage = {"name": "shift", "other": [there]}
    one = result_of(run(wave_net, here, stage))
    rows = {"name": "shift", "other": (moved, labels), "paired": "rows"}
    assert one.pairs() == result_of(run(wave_net, here, rows)).pairs()
    apart = result_of(run(wave_net, here, stage | {"paired": "no"}))
    assert apart.pairs() is None and apart.drop == pytest.approx(one.drop)
    with pytest.warns(match="partly_paired"):
        few = result_of(run(wave_net, here, stage | {"n": 10}))
    assert few.pairs() is None and int((few.partner >= 0).sum()) == 10


def test_other_images_without_ids_are_no_pairs(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, moved: Tensor
) -> None:
    one = result_of(
        run(wave_net, (images, labels), {"name": "shift", "other": (moved, labels)})
    )
    assert one.pairs() is None and one.settings["paired"] == "no"


def test_other_classes_are_said(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, moved: Tensor
) -> None:
    other = moved, torch.zeros_like(labels)
    with pytest.warns(match="other_classes"):
        run(wave_net, (images, labels), {"name": "shift", "other": other})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"paired": "rows", "n": 10}, "needs as many images in other="),
        ({"paired": "rows", "roll": 1}, "labels differ at the same rows"),
        ({"add": 9}, "other: labels"),
        ({"bare": True}, "other: labels are needed"),
    ],
)
def test_a_set_that_does_not_fit_ends_the_stage(
    run: Run,
    wave_net: nn.Module,
    images: Tensor,
    labels: Tensor,
    moved: Tensor,
    change: dict[str, Any],
    match: str,
) -> None:
    arguments = dict(change)
    other: Any = moved, labels.roll(arguments.pop("roll", 0)) + arguments.pop("add", 0)
    other = moved if arguments.pop("bare", False) else other
    report = run(
        wave_net, (images, labels), {"name": "shift", "other": other, **arguments}
    )
    assert report["clean"].result is not None and report["shift"].result is None
    assert match in str(report["shift"].error)


def test_bad_arguments_are_refused(
    run: Run, wave_net: nn.Module, images: Tensor
) -> None:
    data = images, torch.zeros(30).long()
    for arguments, match in (
        ({}, "needs other="),
        ({"other": 3}, "other=3 is no data set"),
        ({"other": data, "paired": "yes"}, "paired='yes' is not one of"),
        ({"other": data, "adapt": None}, "adapt=None must be"),
        ({"other": data, "pairs": 1}, "has no argument 'pairs'; did you mean 'paired'"),
    ):
        with pytest.raises(ConfigError, match=match):
            run(wave_net, data, {"name": "shift", **arguments})
