"""Is a classifier split where it ends, kept whole on disk, and left as it was?"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, InputError, NormalizedModel
from torchattacks_ext.defenses import HPMHead, HPMModel, HPMSettings
from torchattacks_ext.testing import small_net

from .conftest import Make, images_of


class Residual(nn.Module):
    """Registered out of order; only its graph says that `fc` is last."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.inner = nn.Linear(6, 3), nn.Linear(6, 6)
        self.first = nn.Linear(64, 6)

    def forward(self, images: Tensor) -> Tensor:
        z = self.first(images.flatten(1))
        found: Tensor = self.fc(torch.relu(z + self.inner(z)))
        return found


class Branching(Residual):
    """Looks at values: no graph can be read."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.sum() > 0 else -images)


class Twice(Residual):
    """One Linear at two places."""

    def forward(self, images: Tensor) -> Tensor:
        z = self.first(images.flatten(1))
        found: Tensor = self.inner(torch.relu(self.inner(z)))
        return found


class Pair(Residual):
    """Not one tensor."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images), images


@pytest.mark.parametrize("with_images", [False, True])
@pytest.mark.parametrize(
    ("net", "name"),
    [
        (small_net().eval(), None),
        (Residual(), "fc"),
        (NormalizedModel(Residual(), (0.5,), (0.2,)), "model.fc"),
        (nn.Linear(8, 3), ""),
    ],
)
def test_the_last_linear_is_found(
    net: nn.Module, name: str | None, with_images: bool
) -> None:
    images = images_of(4) if not isinstance(net, nn.Linear) else torch.rand(4, 8)
    before = copy.deepcopy(net.state_dict())
    hpm = HPMModel.from_classifier(net, images=images if with_images else None)
    if name is not None:
        assert hpm.linear == name
    assert torch.equal(hpm.head.fc(hpm.trunk(images)), net(images))
    with torch.no_grad():
        hpm.head.fc.weight += 1
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert hpm.training == net.training


def test_what_branches_is_split_by_images() -> None:
    with pytest.raises(ConfigError, match="pass images="):
        HPMModel.from_classifier(Branching())
    assert HPMModel.from_classifier(Branching(), images=images_of(2)).linear == "fc"


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1)),
            "comes after it|Softmax",
        ),
        (nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()), "no Linear ran|not a Linear"),
        (Twice(), "is used 2 times"),
        (Pair(), "not one tensor|comes after it"),
        (nn.Sequential(nn.Linear(8, 3)), r"expected \(N, d\)"),
    ],
    ids=["softmax", "no-linear", "twice", "pair", "rows"],
)
def test_refusals_say_why(net: nn.Module, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HPMModel.from_classifier(net, images=images_of(2))
    if "expected" not in words:
        with pytest.raises(ConfigError, match=words):
            HPMModel.from_classifier(net)


def test_a_saved_model_comes_back(make: Make, tmp_path: Path) -> None:
    hpm = make(mixer="linear", share=0.3, momentum=0.9)
    path = tmp_path / "new" / "hpm.safetensors"
    hpm.save(path)
    again = HPMModel.load(path, small_net(n_classes=5, seed=7))
    assert again.head.settings == hpm.head.settings
    assert again.state_dict().keys() == hpm.state_dict().keys()
    assert torch.equal(again(images_of(9)), hpm.eval()(images_of(9)))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_model_made_by_hand_is_loaded_on_its_trunk(tmp_path: Path) -> None:
    hpm = HPMModel(nn.Flatten(), HPMHead(nn.Linear(64, 3, bias=False)))
    hpm.fit_prototypes([(images_of(6), torch.arange(6) % 3)])
    hpm.save(tmp_path / "hand")
    again = HPMModel.load(tmp_path / "hand", nn.Flatten())
    assert torch.equal(again(images_of(4)), hpm(images_of(4)))


def test_other_files_are_refused(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "hpm"
    with pytest.raises(InputError, match="is not there"):
        HPMModel.load(path, small_net())
    path.write_bytes(b"no tensors at all, but long enough to be read")
    with pytest.raises(InputError, match="no safetensors file"):
        HPMModel.load(path, small_net())
    make().save(path)
    with pytest.raises(InputError, match="do not fit"):
        HPMModel.load(path, small_net((3, 8, 8), 5))
    with pytest.raises(ConfigError, match="has no Linear of the name"):
        HPMModel.load(path, nn.Flatten())


def test_a_copy_is_a_copy(make: Make) -> None:
    hpm = make()
    names = list(hpm.surrogates())
    other = copy.deepcopy(hpm)
    with torch.no_grad():
        other.head.of_all += 1
        other.head.fc.weight += 1
    assert not torch.equal(other(images_of(4)), hpm(images_of(4)))
    assert torch.equal(other.head_view(images_of(4)), other(images_of(4)))
    assert torch.equal(hpm.head_view(images_of(4)), hpm(images_of(4)))
    assert list(other.surrogates()) == names
    assert HPMSettings() == hpm.head.settings
