"""Is a model that was built under inference_mode given back, too?"""

from __future__ import annotations

import torch

from torchattacks_ext import PRTest
from torchattacks_ext.models import session
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images


def test_a_model_built_under_inference_mode_is_given_back() -> None:
    with torch.inference_mode():
        head = torch.nn.Linear(3, 3)
    net = torch.nn.Sequential(head, torch.nn.Linear(3, 3))
    net[1].weight.grad = torch.ones(3, 3)
    with session(net):
        assert not net[1].weight.requires_grad
    assert net[1].weight.requires_grad and net[1].weight.grad is not None


def test_measuring_a_model_built_under_inference_mode() -> None:
    images = example_images(4)
    with torch.inference_mode():
        net = small_net().eval()
        labels = net(images).argmax(1)
    result = PRTest(net, eps=0.1, tolerance=0.1, n_max=200).measure(images, labels)
    assert len(result) == 4 and bool((result.clean_correct == 1).all())
