"""Does the table of HPM say what a record says, and claim no more than its intervals allow?"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PLACE = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(PLACE))
    import hpm_table

    return hpm_table


@pytest.fixture(scope="module")
def words(script: ModuleType) -> ModuleType:
    import readme_hpm

    return readme_hpm


def cell(script: ModuleType, **counts: int) -> dict[str, Any]:
    right = {name: script.with_interval(count, 100) for name, count in counts.items()}
    flags = ["not_as_deployed"] if "deployed" in counts else []
    return {
        "right": right,
        "flags": flags,
        "forward": 10,
        "backward": 5,
        "cpu_seconds": 1.0,
    }


def record_of(script: ModuleType, **cells: Any) -> dict[str, Any]:
    return {
        "n": 100,
        "deployed_batch": 50,
        "nets": {"digits": {"eps": 0.15, "epochs": 1, "seeds": 2, "n_train": 9}},
        "machine": {"cpu": "a CPU", "cores": 2, "device": "cpu"},
        "versions": {"python": "3", "torch": "2"},
        "not_run": ["one"],
        "cells": {f"digits/{name}": found for name, found in cells.items()},
    }


@pytest.fixture
def canned(script: ModuleType) -> dict[str, Any]:
    standard = {"clean": 90, "iso": 50, "union": 20, "realised": 40, "bystanders": 35}
    return record_of(
        script,
        **{
            "static/autoattack/0": cell(script, clean=95, robust=55),
            "HPM/autoattack/0": cell(script, clean=90, robust=58, deployed=63),
            "HPM/standard/0": cell(script, **standard),
        },
    )


def test_cells_that_were_not_run_are_named_and_others_are_shown(
    words: ModuleType, canned: dict[str, Any]
) -> None:
    text = words.hpm_table(canned)
    lines = text.splitlines()
    (static,) = [x for x in lines if "| static |" in x]
    assert "| 95 [89, 98] | 55 [45, 65] | not run | not run |" in static
    hpm = [x for x in lines if "| HPM | 0 |" in x or "| HPM | 1 |" in x]
    assert "| 50 [40, 60] | 20 [13, 29] | 40 [30, 50] |" in hpm[0]
    assert hpm[1].count("not run") >= 6
    (packed,) = [x for x in lines if "| autoattack | 0 |" in x]
    assert packed.endswith("| 58 [48, 68] | 63 [53, 72] | +5 | raised |")
    assert "3 cells run, 1 not" in text


@pytest.mark.parametrize(
    ("iso", "said"),
    [
        (50, "**no gain stands**. AutoAttack leaves 55 [45, 65] of the static net"),
        (80, "**a gain stands under ISO**."),
        (20, "ISO 20 (below it)"),
    ],
)
def test_a_gain_needs_intervals_that_do_not_meet(
    script: ModuleType, words: ModuleType, canned: dict[str, Any], iso: int, said: str
) -> None:
    own = canned["cells"]["digits/HPM/standard/0"]["right"]
    own["iso"] = script.with_interval(iso, 100)
    assert said in words.verdict(canned, "digits")


def test_the_worst_seed_decides_and_without_a_run_nothing_is_claimed(
    script: ModuleType, words: ModuleType, canned: dict[str, Any]
) -> None:
    cells = canned["cells"]
    for seed, iso in ((0, 80), (1, 60)):
        found = cell(script, clean=90, iso=iso, union=50, realised=50)
        cells[f"digits/HPM/standard/{seed}"] = found
    said = words.verdict(canned, "digits")
    assert "**no gain stands**" in said and "ISO 80, 60 (intervals meet)" in said
    assert "2 of 2 seeds run" in said
    del cells["digits/static/autoattack/0"]
    assert "no gain is claimed" in words.verdict(canned, "digits")


def test_every_cell_comes_once_and_verdicts_come_early(script: ModuleType) -> None:
    keys = [one.key for one in script.cells(list(script.NETS), 3)]
    assert len(keys) == len(set(keys)) == 3 * 13 + 2 * 6
    assert {key.partition("/")[0] for key in keys[:13]} == {"digits"}
    first = {key.partition("/")[2] for key in keys[13:17]}
    assert first == {"static/autoattack/0", "HPM/standard/0"}
    few = [one.key for one in script.cells(["mnist_fast_pgd"], 3)]
    assert len(few) == 13


def test_the_quick_convolution_is_the_convolution(script: ModuleType) -> None:
    import torch
    from quick_conv import with_quick_start
    from torch import nn

    conv = nn.Conv2d(2, 5, (4, 3), stride=(2, 1), padding=(1, 0))
    net = nn.Sequential(nn.Identity(), nn.Sequential(conv, nn.ReLU()), nn.Flatten())
    quick = with_quick_start(net)
    images = torch.rand(3, 2, 9, 7, requires_grad=True)
    assert torch.equal(net(images), quick(images))
    one, two = (
        torch.autograd.grad(f(images).square().sum(), images)[0] for f in (net, quick)
    )
    assert torch.allclose(one, two, atol=1e-5) and net[1][0] is conv
    with pytest.raises(ValueError, match="groups"):
        with_quick_start(nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)))
