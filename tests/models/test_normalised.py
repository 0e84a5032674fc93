"""Does the model see (images - mean) / std, in its own dtype, and nothing else?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.models import LogitsView, NormalizedModel
from torchattacks_ext.models.fingerprint import model_sha256

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3), (2, 3, 4), (0, 3, 2, 2)])
def test_each_channel_has_its_own_mean_and_std(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, dtype=torch.float64)
    found = NormalizedModel(nn.Identity(), MEAN, STD)(images)
    assert found.shape == shape and found.dtype == torch.float64
    for channel in range(3):
        expected = (images[:, channel] - MEAN[channel]) / STD[channel]
        assert torch.allclose(found[:, channel], expected, atol=1e-6)


def test_one_entry_serves_all_channels() -> None:
    images = torch.rand(2, 3, 4, 4)
    found = NormalizedModel(nn.Identity(), [0.5], [0.25])(images)
    assert torch.allclose(found, (images - 0.5) / 0.25)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([0.5], [0.5, 0.5]),
        (MEAN, [0.2, 0.2, 0.0]),
        (MEAN, [0.2, 0.2, -0.1]),
        ([0.5], [float("nan")]),
    ],
)
def test_moments_that_make_no_sense_are_refused(
    mean: list[float], std: list[float]
) -> None:
    with pytest.raises(ConfigError, match="one entry a channel and std > 0"):
        NormalizedModel(nn.Identity(), mean, std)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_view_speaks_the_dtype_of_the_model_inside(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).to(dtype)
    images = torch.rand(2, 3, 2, 2)
    logits = LogitsView(NormalizedModel(net, MEAN, STD))(images)
    moments = (
        torch.tensor(side)[None, :, None, None].to(dtype) for side in (MEAN, STD)
    )
    mean, std = moments
    expected = net((images.to(dtype) - mean) / std)
    assert torch.equal(logits, expected.to(logits.dtype))


def test_moments_are_part_of_the_model() -> None:
    net = nn.Flatten()
    one, two = NormalizedModel(net, MEAN, STD), NormalizedModel(net, STD, MEAN)
    assert sorted(one.state_dict()) == ["mean", "std"]
    assert model_sha256(one) != model_sha256(two)
    assert one.double().mean.dtype == torch.float64


def test_outputs_and_gradients_pass_through() -> None:
    class Pair(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, str]:
            return images.flatten(1), "aux"

    images = torch.rand(2, 3, 2, 2, requires_grad=True)
    scores, word = NormalizedModel(Pair(), MEAN, STD)(images)
    scores.sum().backward()
    assert word == "aux" and images.grad is not None
    expected = 1 / torch.tensor(STD)[None, :, None, None].expand_as(images)
    assert torch.allclose(images.grad, expected)
