"""Does a label-only model tell its label and nothing else?"""

from __future__ import annotations

import pytest
import torch
import torchattacks
from torch import nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models import HardLabel, LogitsView, inspect_model
from torchattacks_ext.testing import small_net

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_same_answers_and_only_two_values() -> None:
    net = small_net().eval()
    logits = HardLabel(net)(IMAGES)
    assert logits.shape == (6, 3) and sorted(logits.unique().tolist()) == [-1.0, 1.0]
    assert torch.equal(logits.argmax(1), net(IMAGES).argmax(1))
    assert bool((logits.sum(1) == -1).all())


def test_the_gradient_is_there_and_zero() -> None:
    x = IMAGES.clone().requires_grad_()
    logits = HardLabel(small_net().eval())(x)
    assert logits.requires_grad
    (found,) = torch.autograd.grad(logits.square().sum(), x)
    assert torch.equal(found, torch.zeros_like(x))
    with torch.no_grad():
        assert not HardLabel(small_net().eval())(x).requires_grad


def test_a_white_box_attack_runs_and_moves_nothing() -> None:
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    attack = torchattacks.PGD(HardLabel(net), eps=0.3, steps=3, random_start=False)
    assert torch.equal(attack(IMAGES, labels), IMAGES)


def test_nothing_takes_the_values_for_probabilities() -> None:
    model = HardLabel(small_net().eval())
    traits = inspect_model(model, LogitsView(model), IMAGES)
    assert not traits.looks_like_probs and traits.n_classes == 3


def test_single_scores_ties_and_nan() -> None:
    assert HardLabel(lambda x: x)(torch.tensor([[0.3], [-0.1]])).tolist() == [
        [-1.0, 1.0],
        [1.0, -1.0],
    ]
    rows = torch.tensor([[1.0, 1.0], [float("nan"), 0.0]])
    found = HardLabel(nn.Identity())(rows)
    assert found[0].tolist() == [1.0, -1.0] and bool(found[1].isnan().all())
    with pytest.raises(ModelContractError, match="without scores"):
        HardLabel(lambda x: "cat")(rows)
