"""Does a probe refuse what it cannot use, with a remedy, and take the rest?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, InputError
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(6)


# ---------------------------------------------------------------- the door
@pytest.mark.parametrize(
    ("images", "words"),
    [
        ((IMAGES * 255).to(torch.uint8), r"images.float\(\) / 255"),
        (IMAGES * 255, "use images / 255"),
        ((IMAGES - 0.5) / 0.25, "call set_normalization_used"),
        (IMAGES * float("nan"), "nan_to_num"),
        ((IMAGES * 9).long(), "integer tokens"),
        (IMAGES[0, 0, 0], "batch dimension"),
    ],
)
def test_images_that_are_refused(
    net: nn.Module, images: Tensor, words: str, quick: Any
) -> None:
    probe, y = quick(net), torch.zeros(len(images), dtype=torch.long)
    for verb in (probe, probe.measure):
        with pytest.raises(InputError, match=words):
            verb(images, y)


@pytest.mark.parametrize("bad", [-1, 3, 1000])
def test_labels_out_of_range_are_refused(
    net: nn.Module, bad: int, quick: Any, labels_of: Any
) -> None:
    y = labels_of(net).clone()
    y[2] = bad
    for verb in (quick(net), quick(net).measure):
        with pytest.raises(InputError, match=r"3 classes \(0 .. 2\)"):
            verb(IMAGES, y)


@pytest.mark.parametrize("cast", [torch.int32, torch.uint8, torch.float32])
def test_labels_of_other_types_are_cast(
    net: nn.Module, cast: torch.dtype, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    expected = quick(net).measure(IMAGES, y).digest()
    assert quick(net).measure(IMAGES, y.to(cast)).digest() == expected
    assert torch.equal(quick(net)(IMAGES, y.to(cast)), quick(net)(IMAGES, y))


def test_memory_layout_changes_nothing(labels_of: Any, quick: Any) -> None:
    net = small_net((3, 8, 8)).eval()
    images = example_images(6, (3, 8, 8))
    y = labels_of(net, images)
    expected, shown = quick(net).measure(images, y), quick(net)(images, y)
    permuted = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    for other in (permuted, images.contiguous(memory_format=torch.channels_last)):
        assert quick(net).measure(other, y).to_dict()["columns"] == (
            expected.to_dict()["columns"]
        )
        assert torch.equal(quick(net)(other, y), shown)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(eps=8), "did you mean 8/255"),
        (dict(eps=-1), "eps=-1"),
        (dict(eps=float("nan")), "eps=nan"),
        (dict(norm="linf"), "is not one of"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(max_queries=-5), "max_queries=-5"),
        (dict(max_seconds=0), "max_seconds=0"),
        (dict(bounds=(1, 0)), "low < high"),
        (dict(outputs="scores"), "outputs='scores'"),
    ],
)
def test_settings_that_are_refused(
    net: nn.Module, options: dict, words: str, labels_of: Any, quick: Any
) -> None:
    with pytest.raises(ConfigError, match=words):
        quick(net, **options).measure(IMAGES, labels_of(net))


def test_labels_beside_a_loader_and_missing_labels(
    net: nn.Module, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    with pytest.raises(InputError, match="labels= belongs to image tensors"):
        quick(net).measure([(IMAGES, y)], y)
    with pytest.raises(InputError, match="labels are needed"):
        quick(net).measure(IMAGES)
    with pytest.raises(InputError, match="labels are needed"):
        quick(net)(IMAGES)
