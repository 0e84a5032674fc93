"""Does the plan "standard" break what AutoAttack broke on a thousand images? Its flags are kept."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from torchattacks_ext import MSA, ReliabilityWarning

FLAGS = Path(__file__).resolve().parents[2] / "regression" / "autoattack_flags.json"
CASES = {
    # model: (rows AutoAttack breaks, at least so many by us, share of its passes before Square)
    "cifar10_resnet2b_at2": (156, 157, 0.04),
    "mnist_fast_pgd": (137, 144, 0.06),
}


@pytest.fixture(scope="module")
def flags() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FLAGS.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_flags_are_whole(flags: dict[str, Any], name: str) -> None:
    entry = flags[name]
    assert len(entry["broken"]) == CASES[name][0]
    assert set(entry["broken"]) < set(entry["clean"]) < set(range(entry["n"]))
    for key in ("clean", "broken"):
        assert entry[key] == sorted(set(entry[key]))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_standard_misses_nothing(
    flags: dict[str, Any], real: ModuleType, name: str
) -> None:
    entry, (_, least, share) = flags[name], CASES[name]
    images, labels = real.test_images(name.partition("_")[0], entry["n"])
    net = real.model(name).requires_grad_(False)
    attack = MSA(net, eps=entry["eps"], engine="own", batch_size=128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = attack.measure(images, labels)
    clean = torch.zeros(len(images), dtype=torch.bool)
    clean[entry["clean"]] = True
    assert torch.equal(found.clean_correct == 1, clean)
    broken = set((found.first_breaker >= 0).nonzero().flatten().tolist())
    assert set(entry["broken"]) - broken == set()
    assert len(broken) >= least
    late = found.breakdown["target/square-5000"]
    passes = found.cost.forward + found.cost.backward
    passes -= late["forward"] + late["backward"]
    assert passes <= share * (entry["forward"] + entry["backward"])
