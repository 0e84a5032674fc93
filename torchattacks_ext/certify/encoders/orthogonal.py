"""How are the layers of an encoder kept at norm 1 while they learn? Nearest orthogonal weights.

A linear layer whose weight has orthonormal rows (or columns) moves no two points apart. A k x k
convolution of stride s counts every pixel in at most ceil(k/s)^2 patches, so that orthonormal
reshaped kernels divided by ceil(k/s) do not either, whatever zeros are padded. What is promised
here is measured later: the bound that enters a certificate comes from `models.lipschitz`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...errors import ConfigError

Layer = nn.Linear | nn.Conv2d


def orthogonal_layers(encoder: nn.Module) -> list[Layer]:
    """The Linear and Conv2d layers of an encoder, which training keeps orthogonal.

    Raises ConfigError where other layers have parameters, where a convolution is dilated or pads
    with other values than 0 (a pixel may then count in more patches), and for parametrised weights.

    >>> len(orthogonal_layers(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))))
    1
    """
    found: list[Layer] = []
    for name, module in encoder.named_modules():
        own = list(module.parameters(recurse=False))
        if parametrize.is_parametrized(module):
            raise ConfigError(
                f"layer {name!r} is parametrised; give plain layers, training keeps them "
                "orthogonal (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        if not own:
            continue
        if not isinstance(module, (nn.Linear, nn.Conv2d)):
            raise ConfigError(
                f"layer {name!r} is {type(module).__name__} with parameters of its own; only "
                "Linear and Conv2d are trained"
            )
        if isinstance(module, nn.Conv2d):
            _check_conv(name, module)
        found.append(module)
    if not found:
        raise ConfigError("the encoder has no Linear or Conv2d layer, nothing to train")
    return found


def _check_conv(name: str, layer: nn.Conv2d) -> None:
    plain = layer.padding_mode == "zeros" and set(layer.dilation) == {1}
    if not plain or layer.groups != 1:
        raise ConfigError(
            f"layer {name!r} has padding_mode={layer.padding_mode!r}, dilation={layer.dilation}, "
            f"groups={layer.groups}; expected 'zeros', 1 and 1"
        )


def scale_of(layer: Layer) -> float:
    """The largest norm of the reshaped weight (out, in kh kw) at which the layer has norm <= 1.

    >>> scale_of(nn.Conv2d(1, 16, 4, stride=2, padding=1))
    0.5
    """
    if isinstance(layer, nn.Linear):
        return 1.0
    copies = [math.ceil(k / s) for k, s in zip(layer.kernel_size, layer.stride)]
    return 1 / math.sqrt(math.prod(copies))


@torch.no_grad()
def nearest_(layers: Iterable[Layer]) -> None:
    """Each weight becomes the nearest orthogonal one (the polar factor), times :func:`scale_of`.

    By the singular value decomposition in float64, to the rounding of the weight's own dtype.

    >>> layer = nn.Linear(3, 3)
    >>> nearest_([layer])
    >>> torch.allclose(layer.weight @ layer.weight.T, torch.eye(3), atol=1e-5)
    True
    """
    for layer in layers:
        u, _, v = torch.linalg.svd(
            layer.weight.flatten(1).double(), full_matrices=False
        )
        weight = (u @ v) * scale_of(layer)
        layer.weight.copy_(weight.reshape(layer.weight.shape))


@torch.no_grad()
def retract_(layers: Iterable[Layer]) -> None:
    """One Newton-Schulz step towards the nearest orthogonal weights: W <- (3 W - W W^T W) / 2.

    For weights that an optimiser has just moved a little: singular values 1 + e become
    1 - 3 e^2 / 2. Two matrix products a layer, no decomposition.
    """
    for layer in layers:
        scale = scale_of(layer)
        weight = layer.weight.flatten(1) / scale
        tall = weight.shape[0] > weight.shape[1]
        turned = weight @ (weight.T @ weight) if tall else (weight @ weight.T) @ weight
        moved = scale * (1.5 * weight - 0.5 * turned)
        layer.weight.copy_(moved.reshape(layer.weight.shape))


@torch.no_grad()
def draw_(layers: Iterable[Layer], seed: int) -> None:
    """Random orthogonal weights (times :func:`scale_of`) and biases 0, from the seed alone."""
    rng = np.random.default_rng(seed)
    for layer in layers:
        shape = layer.weight.flatten(1).shape
        layer.weight.copy_(
            torch.from_numpy(rng.normal(size=tuple(shape))).reshape(layer.weight.shape)
        )
        if layer.bias is not None:
            layer.bias.zero_()
    nearest_(layers)


def principal_(layer: nn.Linear, features: Tensor) -> None:
    """The layer becomes the projection of centred features on their leading directions.

    features (N, in_features), N >= 2: what enters the layer. Rows of the weight are the
    eigenvectors of the largest eigenvalues of the covariance of the features (principal component
    analysis), the bias centres them. Raises ConfigError where there are fewer inputs than outputs.
    """
    from scipy.linalg import eigh

    d, n = layer.out_features, layer.in_features
    if d > n:
        raise ConfigError(f"{d} directions of {n} features; make the layer narrower")
    raw = features.detach().double().cpu().numpy()
    mean = raw.mean(0)
    _, vectors = eigh((raw - mean).T @ (raw - mean), subset_by_index=[n - d, n - 1])
    weight = torch.from_numpy(np.ascontiguousarray(vectors[:, ::-1].T))
    # the sign of an eigenvector is arbitrary: the largest entry is made positive
    first = weight.gather(1, weight.abs().argmax(1, keepdim=True))
    weight = weight * first.sign()
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(-weight @ torch.from_numpy(mean))
