"""Does an error of the model's own say what is wrong with the images, where that can be known?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, FIMScore, ModelContractError, PRTest
from torchattacks_ext.models.broken import misfit
from torchattacks_ext.models.logits import LogitsView

CONV = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 4))
LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
GREY, COLOUR = torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8)


class Scaled(nn.Module):
    """A convolutional net behind moments of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = CONV
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.net(images - self.mean)
        return found


@pytest.mark.parametrize(
    ("model", "images", "words"),
    [
        (CONV, GREY, "the images have 1 channel, the first convolution takes 3"),
        (CONV, torch.rand(2, 8, 8, 3), "have 8 channels, the first convolution takes"),
        (Scaled(), torch.rand(2, 4, 8, 8), "4 channels, the first convolution takes 3"),
        (LINEAR, COLOUR, "an image has 192 numbers, the first linear layer takes 64"),
        (nn.Conv1d(2, 3, 3), torch.rand(2, 5, 9), "5 channels, the first convolution"),
    ],
)
def test_a_wrong_number_of_channels_is_named(
    model: nn.Module, images: Tensor, words: str
) -> None:
    labels = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ModelContractError, match=words):
        LogitsView(model)(images)
    probe: Any
    for probe in (PRTest(model, eps=0.1), MSA(model, eps=0.1), FIMScore(model)):
        with pytest.raises(ModelContractError, match=words):
            probe(images, labels)


@pytest.mark.parametrize(
    ("model", "images"),
    [
        (CONV, torch.rand(2, 3, 9, 9)),  # another size: nothing wrong with the channels
        (LINEAR, torch.rand(2, 1, 1, 64)),
        (nn.Linear(4, 2), torch.rand(2, 7, 4)),
        (lambda images: images, GREY),
        (nn.Identity(), GREY),
        (nn.LazyLinear(3), GREY),
    ],
)
def test_nothing_is_said_where_the_first_layer_fits_or_is_not_known(
    model: Any, images: Tensor
) -> None:
    assert misfit(model, images) == ""


def test_an_error_about_something_else_brings_no_word_about_channels() -> None:
    class Grumpy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = CONV

        def forward(self, images: Tensor) -> Tensor:
            raise KeyError("a name that is missing")

    with pytest.raises(ModelContractError, match="a name that is missing'$"):
        LogitsView(Grumpy())(GREY)
