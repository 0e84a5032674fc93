"""Is a folded net the net, whatever its layers are?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from torchattacks_ext import NormalizedModel
from torchattacks_ext.models.fast.folding import fold
from torchattacks_ext.models.fast.graph import Folds, read
from torchattacks_ext.models.fast.scene import copied

Settle = Callable[..., nn.Module]
IMAGES = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))


class Residual(nn.Module):
    """A block with a shortcut that has a normalisation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, 1, 1), nn.BatchNorm2d(6)
        self.short = nn.Sequential(nn.Conv2d(4, 6, 1, 2), nn.BatchNorm2d(6))

    def forward(self, x: Tensor) -> Tensor:
        """The block, and the mean over its pixels."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.short(x)
        return F.relu(out).mean((2, 3))


class SamePad(nn.Conv2d):
    """A convolution with a forward of its own, which calls that of its class."""

    def forward(self, input: Tensor) -> Tensor:
        """Padded on two sides only, and by the sizes that it is given."""
        rows = input.shape[2] % 2
        return super().forward(F.pad(input, (1, 1, 1, 1 + rows)))


class ByShape(nn.Module):
    """Asks for sizes, which a plain trace refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        """Rows of whatever batch."""
        assert x.shape[1] == 4
        return self.bn(self.conv(x)).view(len(x), -1)


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "conv": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)), 1),
    "no affine": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)),
        1,
    ),
    "linear": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(256, 5, bias=False), nn.BatchNorm1d(5)
        ),
        1,
    ),
    "1d": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5)),
        1,
    ),
    "3d": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (2, 2)), nn.Conv3d(2, 5, (2, 3, 1)), nn.BatchNorm3d(5)
        ),
        1,
    ),
    "depthwise": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)),
        1,
    ),
    "transposed": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6)
        ),
        1,
    ),
    "residual": (Residual, 3),
    "class of its own": (
        lambda: nn.Sequential(SamePad(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        1,
    ),
    "asks for sizes": (ByShape, 1),
    "synchronised": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.SyncBatchNorm(6)),
        1,
    ),
    "in a normalised view": (lambda: NormalizedModel(Residual(), [0.5], [0.25]), 3),
    "before a convolution": (
        lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3)),
        0,
    ),
}


def folded(net: nn.Module, images: Tensor) -> tuple[nn.Module, Folds]:
    found = read(copied(net), images[:2])
    return fold(copied(net), found), found


def apart(net: nn.Module, images: Tensor) -> tuple[float, Folds]:
    """Largest difference of the folded net, in parts of the largest output."""
    with torch.no_grad():
        want = net(images.clone())
        other, folds = folded(net, images)
        return (
            float((other(images.clone()) - want).abs().max() / want.abs().max()),
            folds,
        )


@pytest.mark.parametrize("name", NETS)
def test_a_folded_net_is_the_net(settle: Settle, name: str) -> None:
    make, n = NETS[name]
    for dtype, most in ((torch.float32, 1e-4), (torch.float64, 1e-12)):
        net = settle(make()).to(dtype)
        difference, folds = apart(net, IMAGES.to(dtype))
        assert folds.unread is None and len(folds.norms) == n, folds.kept
        assert difference < most


@pytest.mark.slow
def test_a_frozen_norm_of_torchvision_is_folded(settle: Settle) -> None:
    ops = pytest.importorskip("torchvision.ops")
    net = nn.Sequential(nn.Conv2d(4, 5, 3), ops.FrozenBatchNorm2d(5))
    difference, folds = apart(settle(net).double(), IMAGES.double())
    assert len(folds.norms) == 1 and difference < 1e-12


def test_a_norm_under_two_names_is_folded_under_both(settle: Settle) -> None:
    net = settle(ByShape()).double()
    norm = net.bn
    del net.bn
    net.known, net.bn = nn.ModuleList([norm]), norm
    difference, folds = apart(net, IMAGES.double())
    assert difference < 1e-12 and len(folds.norms) == 1


def test_the_graph_of_a_trace_is_folded(settle: Settle) -> None:
    net = settle(Residual()).double()
    difference, folds = apart(torch.fx.symbolic_trace(net), IMAGES.double())
    assert difference < 1e-12 and len(folds.norms) == 3


def test_nothing_of_a_norm_is_left_and_a_batch_may_have_another_size(
    settle: Settle,
) -> None:
    net = settle(ByShape())
    found, _ = folded(net, IMAGES)
    assert isinstance(found.bn, nn.Identity)
    want = net(torch.cat([IMAGES, IMAGES]))
    assert torch.allclose(found(torch.cat([IMAGES, IMAGES])), want, atol=1e-4)


VIEWS: dict[str, tuple[dict[str, Any], str | None]] = {
    "no padding": ({}, None),
    "valid": ({"padding": "valid"}, None),
    "reflected": ({"padding": 1, "padding_mode": "reflect"}, None),
    "same, circular": ({"padding": "same", "padding_mode": "circular"}, None),
    "groups": ({"groups": 2, "stride": 2}, None),
    "zeros": ({"padding": 1}, "pads with zeros"),
    "same": ({"padding": "same"}, "pads with zeros"),
    "zeros on one axis": ({"padding": (0, 1)}, "pads with zeros"),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("n", [1, 4])
def test_pixels_are_folded_where_the_border_allows_it(
    settle: Settle, name: str, n: int
) -> None:
    options, why = VIEWS[name]
    net = nn.Sequential(nn.Conv2d(4, 6, 3, bias=n == 1, **options), nn.BatchNorm2d(6))
    mean, std = [0.5, 0.4, 0.3, 0.2][:n], [0.25, 0.2, 0.15, 0.1][:n]
    view = settle(NormalizedModel(nn.Sequential(net, nn.Flatten()), mean, std)).double()
    difference, folds = apart(view, IMAGES.double())
    assert difference < 1e-12 and len(folds.norms) == 1
    assert (folds.pixels is None) == (why is not None)
    if why is not None:
        assert why in folds.kept[""]
        return
    found, _ = folded(nn.Sequential(view), IMAGES.double())
    assert not any(isinstance(one, NormalizedModel) for one in found.modules())


def test_zeros_that_were_folded_all_the_same_would_be_wrong(settle: Settle) -> None:
    """So the refusal above is needed: the border tells."""
    view = settle(NormalizedModel(nn.Conv2d(4, 6, 3, padding=1), [0.5], [0.25]))
    plain = settle(NormalizedModel(nn.Conv2d(4, 6, 3), [0.5], [0.25]))
    forced = fold(copied(view), read(copied(plain), IMAGES))
    left = (forced(IMAGES) - view(IMAGES)).abs()
    assert left[..., 1:-1, 1:-1].max() < 1e-4 < left[..., 0].max()


@st.composite
def nets(draw: st.DrawFn) -> nn.Module:
    """Chains of layers with normalisations after some of them, and shapes that fit."""
    layers: list[nn.Module] = []
    wide = 4
    for _ in range(draw(st.integers(1, 4))):
        groups = draw(st.sampled_from([1, 2]))
        out = groups * draw(st.integers(1, 3))
        out += out % 2  # so that two groups fit afterwards
        options = {
            "bias": draw(st.booleans()),
            "groups": groups,
            "padding": draw(st.integers(0, 1)),
            "stride": draw(st.integers(1, 2)),
        }
        kind = draw(st.sampled_from([nn.Conv2d, nn.ConvTranspose2d]))
        size = draw(st.sampled_from([1, 3])) if options["padding"] == 0 else 3
        layers.append(kind(wide, out, size, **options))
        layers += [nn.BatchNorm2d(out, eps=draw(st.sampled_from([1e-5, 0.1])))]
        layers += [nn.ReLU(inplace=draw(st.booleans())), nn.Upsample(size=8)]
        wide = out
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(64 * wide, 3), nn.BatchNorm1d(3)
    )


@settings(max_examples=15)
@given(net=nets(), seed=st.integers(0, 99))
def test_a_random_chain_is_folded_whole(
    settle: Settle, net: nn.Module, seed: int
) -> None:
    net = settle(net, seed).double()
    before = copy.deepcopy(net.state_dict())
    difference, folds = apart(net, IMAGES.double())
    assert difference < 1e-10 and folds.kept == {}
    assert len(folds.norms) == sum("BatchNorm" in str(type(m)) for m in net.modules())
    assert all(torch.equal(before[name], x) for name, x in net.state_dict().items())
