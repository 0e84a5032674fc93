"""An HPM model on a tiny net, in any setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext.defenses import HPMModel, HPMSettings
from torchattacks_ext.testing import small_net

Make = Callable[..., HPMModel]


def images_of(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def make() -> Make:
    def build(seed: int = 0, n_classes: int = 5, **settings: Any) -> HPMModel:
        net = small_net(n_classes=n_classes, seed=seed).eval()
        centre_answers(net)
        hpm = HPMModel.from_classifier(net, HPMSettings(**settings))
        images = images_of(64, 1)
        labels = torch.arange(64) % n_classes
        return hpm.fit_prototypes([(images, labels)])

    return build


def centre_answers(net: nn.Sequential) -> None:
    """Biases after which the classes share the images, so that batches hold several."""
    last = net[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        logits = net(images_of(64, 2))
        last.weight /= logits.std(0)[:, None]
        last.bias.copy_((last.bias - logits.mean(0)) / logits.std(0))
