"""Are the layers that training keeps orthogonal really of norm 1? Against dense matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from torchattacks_ext.certify.encoders.networks import orthogonal_cnn, orthogonal_mlp
from torchattacks_ext.certify.encoders.orthogonal import (
    draw_,
    nearest_,
    orthogonal_layers,
    principal_,
    retract_,
    scale_of,
)
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.models.lipschitz import bound_net


def dense(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The matrix of an affine layer, one column an input."""
    eye = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    double = layer.double()
    with torch.no_grad():
        found: Tensor = (double(eye) - double(torch.zeros_like(eye))).flatten(1).T
    layer.float()
    return found


def _norm(layer: nn.Module, shape: tuple[int, ...]) -> float:
    return float(torch.linalg.matrix_norm(dense(layer, shape), 2))


def test_convolutions_have_norm_one() -> None:
    """Every kernel, stride and padding up to 4 x 4, 3 and 2: never above. Where all pixels of
    the inside count alike (s divides k) wide ones reach it.
    """
    least = 1.0
    for k, s, p, wide in itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (0, 1)):
        out = k * k * 2 if wide else 3
        layer = nn.Conv2d(2, out, k, s, p)
        draw_([layer], seed=k + 10 * s)
        found = _norm(layer, (2, 8, 8))
        assert found <= 1 + 1e-6, (k, s, p, out)
        if wide and k % s == 0 and k // s <= 2:
            least = min(least, found)
    assert least > 0.9, least


def test_a_wide_convolution_keeps_the_inside_of_an_image() -> None:
    """16 channels a channel: an image with a black edge keeps its norm exactly."""
    layer = nn.Conv2d(1, 16, 4, 2, 1, bias=False)
    draw_([layer], seed=0)
    image = torch.zeros(5, 1, 12, 12)
    image[..., 2:-2, 2:-2] = torch.rand(5, 1, 8, 8)
    before, after = (x.flatten(1).norm(dim=1) for x in (image, layer(image)))
    torch.testing.assert_close(before, after.detach())


def test_one_step_squares_the_error() -> None:
    """Singular values 1 + e become 1 - 3 e^2 / 2 - e^3 / 2; steps settle on the nearest weights."""
    for layer in (nn.Linear(6, 4), nn.Linear(4, 6), nn.Conv2d(1, 4, 3, 2, 1)):
        draw_([layer], seed=1)
        u, _, v = torch.linalg.svd(
            layer.weight.detach().flatten(1), full_matrices=False
        )
        e = torch.linspace(-0.2, 0.2, 4)
        scale = scale_of(layer)
        with torch.no_grad():
            moved = scale * (u * (1 + e)) @ v
            layer.weight.copy_(moved.reshape(layer.weight.shape))
        retract_([layer])
        found = torch.linalg.svdvals(layer.weight.detach().flatten(1)) / scale
        wanted = (1 - 1.5 * e**2 - 0.5 * e**3).sort(descending=True).values
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        for _ in range(5):
            retract_([layer])
        settled = layer.weight.detach().clone()
        nearest_([layer])
        torch.testing.assert_close(settled, layer.weight.detach(), atol=1e-6, rtol=0)


def test_principal_directions_are_those_of_the_covariance() -> None:
    """Their span, order and centre, against NumPy's decomposition of the data."""
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(80, 9)) * np.linspace(3, 0.1, 9) + 2
    layer = nn.Linear(9, 4)
    principal_(layer, torch.from_numpy(raw))
    z = layer(torch.from_numpy(raw).float()).detach().double()
    _, s, v = np.linalg.svd(raw - raw.mean(0))
    assert np.allclose(z.mean(0), 0, atol=1e-5)
    assert np.allclose((z**2).sum(0).sqrt(), s[:4], rtol=1e-4)
    spans = np.abs(layer.weight.detach().numpy() @ v[:4].T)
    assert np.allclose(spans, np.eye(4), atol=1e-4)
    with pytest.raises(ConfigError, match="narrower"):
        principal_(nn.Linear(2, 3), torch.zeros(4, 2))


@pytest.mark.parametrize(
    "net",
    [
        orthogonal_mlp((2, 3, 3), 5),
        orthogonal_mlp((2, 3, 3), 5, [16, 12], seed=4),
        orthogonal_cnn((2, 8, 8), 6, [32, 8]),
    ],
)
def test_networks_move_no_two_images_apart(net: nn.Sequential) -> None:
    """Measured by the rules for layers, and on pairs of images."""
    shape = (2, 8, 8) if isinstance(net[0], nn.Conv2d) else (2, 3, 3)
    bound = bound_net(net.eval(), shape)
    # a narrow second convolution shrinks: what it does is measured, not promised
    least = 0.4 if isinstance(net[0], nn.Conv2d) else 1 - 1e-5
    assert bound.scope == "global" and least < bound.value < 1 + 1e-5
    a, b = torch.rand(2, 300, *shape)
    with torch.no_grad():
        moved = (net(a) - net(b)).norm(dim=1)
    assert bool((moved <= (a - b).flatten(1).norm(dim=1) * (1 + 1e-5)).all())


def test_weights_come_from_the_seed_alone() -> None:
    """No global generator is moved."""
    before = torch.random.get_rng_state()
    one, same, other = (orthogonal_mlp((4,), 2, [4], seed=s) for s in (1, 1, 2))
    orthogonal_cnn((1, 4, 4), 2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one[1].weight, same[1].weight)
    assert not torch.equal(one[1].weight, other[1].weight)


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(3),
        nn.Conv1d(1, 1, 2),
        nn.Conv2d(1, 1, 3, dilation=2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        parametrizations.orthogonal(nn.Linear(3, 3)),
        nn.Flatten(),
    ],
)
def test_layers_that_cannot_be_kept_are_refused(layer: nn.Module) -> None:
    """Before anything is trained, by name."""
    with pytest.raises(ConfigError):
        orthogonal_layers(nn.Sequential(layer))


def test_wrong_sizes_are_refused() -> None:
    """Naming them."""
    for call in (
        lambda: orthogonal_mlp((), 2),
        lambda: orthogonal_mlp((3,), 0),
        lambda: orthogonal_mlp((3,), 2, [3]),
        lambda: orthogonal_mlp((3,), 2, [2.0]),  # type: ignore[list-item]
        lambda: orthogonal_mlp((3,), 2, seed=-1),
        lambda: orthogonal_cnn((1, 2, 2), 2, [4, 4]),
        lambda: orthogonal_cnn((4, 4), 2),
    ):
        with pytest.raises(ConfigError):
            call()
