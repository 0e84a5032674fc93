"""May the batches of one measurement hold images of unequal size, kept ones too?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, InputError, PRTest
from torchattacks_ext.results import ProbRobustness
from torchattacks_ext.testing.props import example_images

SIZES = ((8, 8), (10, 12), (8, 8))


class Pooled(nn.Module):
    """A fully convolutional net of two classes: the light and the dark half."""

    def forward(self, images: Tensor) -> Tensor:
        light = images.flatten(1).mean(1, keepdim=True) - 0.5
        return torch.cat([-light, light], 1)


def batches(n: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Batches of two sizes in turn, rightly answered."""
    found = []
    for i, size in enumerate(SIZES):
        images = example_images(n * (i + 1), (1, *size))[-n:]
        found.append((images, Pooled()(images).argmax(1)))
    return found


@pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
@pytest.mark.parametrize(
    "test, batch_size",
    [
        ("eprocess", 2),
        ("eprocess", 256),
        pytest.param("splitting", 2, marks=pytest.mark.slow),
        pytest.param("splitting", 256, marks=pytest.mark.slow),
    ],
)
def test_each_size_has_the_verdicts_it_has_alone(test: Any, batch_size: int) -> None:
    few = {"n_systems": 2, "significance": 0.1} if test == "splitting" else {}
    options: dict[str, Any] = {"tolerance": 0.1, "batch_size": batch_size, **few}
    probe = PRTest(Pooled(), eps=0.3, test=test, **options)
    whole = probe.measure(batches())
    alone = [probe.measure([one]) for one in batches()]
    assert len(whole) == 9
    assert whole.digest() == ProbRobustness.concat(alone).digest()


@pytest.mark.parametrize("where", ["memory", "folder"])
@pytest.mark.parametrize("build", [PRTest, MSA])
def test_kept_images_lie_apart_by_size(build: Any, where: str, tmp_path: Path) -> None:
    keep = str(tmp_path) if where == "folder" else where
    own = {"version": "quick"} if build is MSA else {}
    result = build(Pooled(), eps=0.1, keep=keep, **own).measure(batches())
    assert len(result.sidecars) == len(set(SIZES))
    for size in set(SIZES):
        rows = [i for i in range(9) if SIZES[i // 3] == size]
        kept = result.select(result.ids[torch.tensor(rows)]).images()
        assert kept.shape == (len(rows), 1, *size)
    with pytest.raises(
        InputError, match=r"have the shapes \[\(1, 8, 8\), \(1, 10, 12\)\]"
    ):
        result.images()


def test_protocols_that_pack_all_images_refuse_before_the_work() -> None:
    asked: list[int] = []

    class Counting(Pooled):
        def forward(self, images: Tensor) -> Tensor:
            asked.append(len(images))
            return super().forward(images)

    attack = MSA(Counting(), eps=0.1, version="paper")
    with pytest.raises(InputError, match="bring them to one size"):
        attack.measure(batches())
    assert sum(asked) <= 57  # the look at the model
