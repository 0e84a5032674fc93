"""Are weights that were never loaded found, and skeletons that lend their structure let alone?"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import FIMScore, PRTest, evaluate
from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models.session import first_tensor
from torchattacks_ext.models.skeletons import loaded_only

IMAGES = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2])
SMALL: dict[str, Any] = {"tolerance": 0.2, "significance": 0.2, "n_max": 30}


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).eval()


class Lent(nn.Module):
    """As PyTorch's tutorial of torch.func: a module on the meta device, weights beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = copy.deepcopy(net()).to("meta")
        weights = dict(net().named_parameters())
        self.names = list(weights)
        self.weights = nn.ParameterList(
            [nn.Parameter(w.detach()) for w in weights.values()]
        )

    def forward(self, images: Tensor) -> Tensor:
        weights = dict(zip(self.names, self.weights))
        found: Tensor = torch.func.functional_call(self.base, weights, (images,))
        return found


def test_a_skeleton_that_lends_its_structure_does_not_say_the_device() -> None:
    model = Lent()
    sample = first_tensor(model)
    assert sample is not None and not sample.is_meta
    one = PRTest(model, **SMALL).measure(IMAGES, LABELS, ids=[1, 2, 3])
    two = PRTest(net(), **SMALL).measure(IMAGES, LABELS, ids=[1, 2, 3])
    assert one.verdict.tolist() == two.verdict.tolist()
    mine, plain = (
        FIMScore(m, kl=False).measure(IMAGES).log_lam for m in (model, net())
    )
    found = mine - plain
    assert float(found.abs().max()) < 1e-4


@pytest.mark.parametrize("place", [0, 2], ids=["convolution", "linear"])
def test_weights_without_values_are_not_measured_as_noise(place: int) -> None:
    """A convolution answers with whatever lies in memory: it was a randomised model."""
    model = net()
    model[place].to("meta")
    for measure in (
        lambda: PRTest(model).measure(IMAGES, LABELS),
        lambda: FIMScore(model).measure(IMAGES),
        lambda: evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": ["FGSM"]}),
    ):
        with pytest.raises(
            ModelContractError, match=f"{place}.weight, {place}.bias, which"
        ):
            measure()


def test_a_whole_net_on_the_meta_device_is_refused_in_our_words() -> None:
    with pytest.raises(ModelContractError, match="never loaded.*load_state_dict"):
        PRTest(net().to("meta")).measure(IMAGES, LABELS)


def test_nothing_is_watched_where_all_weights_are_there() -> None:
    with loaded_only(net()) as watching, warnings.catch_warnings():
        assert watching is None
