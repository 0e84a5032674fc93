"""Are mean and std on the scale of 0..255 refused where pixels lie in [0, 1]?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import ConfigError, InputError, NormalizedModel, PRTest
from torchattacks_ext.testing import small_net

RESNET_255 = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        RESNET_255,
        ([103.9, 116.8, 123.7], [1.0, 1.0, 1.0]),
        (127.5, 127.5),
        (0.0, 255.0),
        (torch.tensor([0.4, 0.4, 2.0]), torch.ones(3)),
    ],
)
def test_moments_of_0_255_are_refused(mean: Any, std: Any) -> None:
    words = r"=.* for pixels in \[0, 1\] looks like 0..255: divide mean and std by 255"
    with pytest.raises(ConfigError, match=words):
        NormalizedModel(nn.Flatten(), mean, std)
    probe = PRTest(small_net(), eps=0.1)
    with pytest.raises(ConfigError, match=words):
        probe.set_normalization_used(mean, std)
    assert probe.normalization_used is None


def test_pixels_of_0_255_may_have_such_moments() -> None:
    images = torch.full((1, 3, 2, 2), 180.0)
    model = NormalizedModel(nn.Identity(), *RESNET_255, bounds=(0, 255))
    assert 0.9 < float(model(images)[0, 0, 0, 0]) < 1
    probe = PRTest(small_net((3, 8, 8)), eps=2, bounds=(0, 255))
    probe.set_normalization_used(*RESNET_255)
    NormalizedModel(nn.Identity(), *RESNET_255, bounds=None)


@pytest.mark.parametrize(
    ("mean", "std"), [("grey", 1), (None, 0.5), ([float("inf")], [1.0])]
)
def test_what_is_no_moment_is_refused(mean: Any, std: Any) -> None:
    with pytest.raises(ConfigError, match="mean="):
        NormalizedModel(nn.Flatten(), mean, std)


def test_other_numbers_of_channels_are_refused() -> None:
    model = NormalizedModel(nn.Flatten(), [0.5] * 3, [0.5] * 3)
    with pytest.raises(InputError, match=r"\(2, 1, 4, 4\).* for 3 channels"):
        model(torch.rand(2, 1, 4, 4))  # would broadcast to three
    with pytest.raises(InputError, match=r"permute\(0, 3, 1, 2\)"):
        model(torch.rand(2, 4, 4, 3))
