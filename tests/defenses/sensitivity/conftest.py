"""One report for all who read it: an HPM model on a tiny net, attacked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchattacks_ext.defenses import HPMModel, sensitivity_report
from torchattacks_ext.results.heads import HeadSensitivity
from torchattacks_ext.testing import small_net

EPS = 0.03


def data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images whose class (of 5) shows as a brighter row."""
    images = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) / 2
    labels = torch.arange(n) % 5
    images[torch.arange(n), 0, labels] += 0.4
    return images, labels


@pytest.fixture(scope="package")
def hpm() -> HPMModel:
    """The linear head is that of least squares on the features."""
    model = HPMModel.from_classifier(small_net(n_classes=5).eval())
    images, labels = data(200, 1)
    with torch.no_grad():
        z = model.trunk(images).double()
        wide = torch.cat([z, torch.ones(len(z), 1).double()], 1)
        hot = torch.nn.functional.one_hot(labels, 5).double()
        found = torch.linalg.lstsq(wide, hot).solution.float()
        model.head.fc.weight.copy_(found[:-1].T)
        model.head.fc.bias.copy_(found[-1])
    return model.fit_prototypes([(images, labels)])


@pytest.fixture(scope="package")
def told(hpm: HPMModel) -> HeadSensitivity:
    return sensitivity_report(hpm, *data(60, 2), eps=EPS)
