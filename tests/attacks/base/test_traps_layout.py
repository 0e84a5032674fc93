"""Does the memory layout of the images change what is found? Trap 30, for every attack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor

from torchattacks_ext import Verdict
from torchattacks_ext.evaluation.zoo.catalogue import attack_info, attack_names
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

SHAPE = (3, 8, 8)
IMAGES = example_images(4, SHAPE)


LABELS = small_net(SHAPE).eval()(IMAGES).argmax(1)


def layouts(images: Tensor) -> dict[str, Tensor]:
    return {
        "contiguous": images,
        "permuted": images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        "channels_last": images.contiguous(memory_format=torch.channels_last),
    }


def test_trap_30_memory_layout_changes_nothing(
    quick: Any, run: Any, make_net: Any
) -> None:
    """torchattacks: PGDL2 and JSMA fail on permuted images. Ours: the same bits, whatever."""
    permuted = layouts(IMAGES)["permuted"]
    for name in ("PGDL2", "JSMA"):
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            getattr(torchattacks, name)(make_net(10))(permuted, LABELS)
    for images in layouts(IMAGES).values():
        assert torch.equal(
            quick(make_net())(images, LABELS), quick(make_net())(IMAGES, LABELS)
        )
        assert not run(
            make_net(10), "PGDL2", {"name": "JSMA", "gamma": 0.02}, images=images
        ).failed


FEW = {
    "CW": {"steps": 10, "c": 100.0, "lr": 0.1},
    "EADEN": {"max_iterations": 10, "binary_search_steps": 2, "initial_const": 100.0},
    "EADL1": {"max_iterations": 10, "binary_search_steps": 2, "initial_const": 100.0},
    "JSMA": {"gamma": 0.005},
    "Pixle": {"restarts": 1, "max_iterations": 3},
    "SPSA": {"nb_sample": 8, "max_batch_size": 8},
    "Square": {"n_queries": 500},
    "VMIFGSM": {"N": 2},
    "VNIFGSM": {"N": 2},
}


def few(name: str) -> dict[str, Any]:
    """The stage with as few steps as show what the attack does."""
    info, arguments = attack_info(name), dict(FEW.get(name, {}))
    if info.steps_argument is not None:
        arguments.setdefault(info.steps_argument, max(2, info.min_steps))
    # by its own name "AutoAttack" would be the real one, not torchattacks' class
    return {"name": "attack", "attack": name, **arguments}


@pytest.fixture(scope="module")
def by_layout(run: Any, make_net: Any) -> dict[str, Any]:
    """The whole zoo on three images, once a memory layout."""
    shape = (3, 16, 16)
    images, stages = example_images(3, shape), [few(name) for name in attack_names()]
    found = layouts(images)
    assert (
        not found["permuted"].is_contiguous()
        and not found["channels_last"].is_contiguous()
    )
    return {
        layout: run(make_net(5, shape), *stages, images=same, eps=0.2)
        for layout, same in found.items()
    }


@pytest.mark.parametrize("name", attack_names())
def test_every_attack_finds_the_same_in_every_memory_layout(
    by_layout: dict[str, Any], name: str
) -> None:
    usual = by_layout["contiguous"][name]
    assert usual.error is None and len(usual.result) == 3
    for report in by_layout.values():
        stage = report[name]
        assert stage.error is None
        assert stage.result.verdict.tolist() == usual.result.verdict.tolist()
        assert torch.equal(stage.result.margin, usual.result.margin)
        assert stage.result.to_dict()["columns"] == usual.result.to_dict()["columns"]
    moved = bool((usual.result.margin != usual.result.clean_margin).any())
    assert moved == (name != "VANILA")  # equal because something was compared


def test_the_zoo_breaks_some_images_and_not_all(by_layout: dict[str, Any]) -> None:
    broken = {
        stage.name: int((stage.result.verdict == int(Verdict.NOT_ROBUST)).sum())
        for stage in by_layout["contiguous"].stages[1:]
    }
    assert 3 <= sum(n > 0 for n in broken.values()) < len(broken)
