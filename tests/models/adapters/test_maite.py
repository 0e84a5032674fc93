"""Is a model of MAITE's form asked with a list and read as a batch, its gradient kept?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models.adapters.maite import MaiteModel, is_maite_model, labels_of

IMAGES = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))


class Wrapped:
    """A net inside an object of the form."""

    metadata = {"id": "net", "index2label": {1: "b", 0: "a"}}

    def __init__(self) -> None:
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

    def __call__(self, batch: Any) -> Any:
        return list(self.net(torch.stack(list(batch))))


class Arrays:
    """One that knows NumPy only."""

    metadata = {"id": "arrays"}

    def __call__(self, batch: Any) -> Any:
        means = [np.asarray(image).mean() for image in batch]
        return [np.array([mean, 1 - mean]) for mean in means]


def test_a_net_inside_keeps_its_gradient_and_its_parameters() -> None:
    made = Wrapped()
    model = MaiteModel(made)
    assert torch.equal(model(IMAGES), made.net(IMAGES))
    images = IMAGES.clone().requires_grad_()
    model(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert len(list(model.parameters())) == 2
    assert is_maite_model(made) and labels_of(made) == ("a", "b")


def test_arrays_give_scores_only() -> None:
    found = MaiteModel(Arrays())(IMAGES.clone().requires_grad_())
    assert not found.requires_grad and labels_of(Arrays()) is None
    assert torch.allclose(found[:, 0].float(), IMAGES.flatten(1).mean(1))


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([torch.zeros(2)], "1 answers to 3 images"),
        ([torch.zeros(2), torch.zeros(3), torch.zeros(2)], r"\[\(2,\), \(3,\)\]"),
        ([torch.zeros(1, 2)] * 3, r"\[\(1, 2\)\], expected scores"),
    ],
)
def test_other_answers_are_refused(answers: Any, said: str) -> None:
    model: Any = type(
        "Model", (), {"metadata": {"id": "x"}, "__call__": lambda s, b: answers}
    )()
    with pytest.raises(ModelContractError, match=said):
        MaiteModel(model)(IMAGES)
