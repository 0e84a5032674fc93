"""Which layers are bounded in the tests and in benchmarks/lipschitz_tightness.py? Random ones.

Every kind is a function from a NumPy generator to a layer in float64 and eval mode with the shape
of one input. `truth` is the spectral norm of its dense Jacobian, exact where the layer is affine,
else the largest at random points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from torchattacks_ext.models.lipschitz import ClippedNorm, GroupSort
from torchattacks_ext.models.normalised import NormalizedModel
from torchattacks_ext.numerics.certificates.operators import dense

Rng = np.random.Generator
Case = tuple[nn.Module, tuple[int, ...]]
SCALES = (0.01, 0.5, 3.0)
"""Sizes of the random points at which the Jacobian of a layer that is not affine is taken."""


def drawn(rng: Rng, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.from_numpy(rng.standard_normal(shape))


def one_of(rng: Rng, *values: Any) -> Any:
    """One of the values, all equally likely."""
    return values[int(rng.integers(len(values)))]


def ready(module: nn.Module, rng: Rng) -> nn.Module:
    """In float64 and eval mode, with drawn parameters and statistics."""
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(drawn(rng, *parameter.shape))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(drawn(rng, *buffer.shape))
            if name.endswith("running_var"):
                buffer.copy_(drawn(rng, *buffer.shape) ** 2 + 0.01)
    return module


# ---------------------------------------------------------------------- weights
def linear(rng: Rng) -> Case:
    """Up to 40 inputs and outputs."""
    n, m = rng.integers(1, 41, 2).tolist()
    return ready(nn.Linear(n, m, bias=one_of(rng, True, False)), rng), (n,)


def convolution(rng: Rng, n_axes: int, transposed: bool = False, **fixed: Any) -> Case:
    """All options at random; sizes that go together."""
    while True:
        groups = one_of(rng, 1, 1, 2, 3)
        n_in, n_out = (groups * int(rng.integers(1, 4)) for _ in range(2))
        kernel = rng.integers(1, 5, n_axes).tolist()
        size = rng.integers(2, 11, n_axes).tolist()
        given = {
            "stride": rng.integers(1, 4, n_axes).tolist(),
            "dilation": rng.integers(1, 3, n_axes).tolist(),
            "padding": rng.integers(0, 4, n_axes).tolist(),
            "groups": groups,
            "bias": one_of(rng, True, False),
        }
        if not transposed:
            given["padding_mode"] = one_of(
                rng, "zeros", "zeros", "circular", "reflect", "replicate"
            )
        given |= fixed
        table = _TRANSPOSED if transposed else _CONVOLUTIONS
        module = ready(table[n_axes - 1](n_in, n_out, kernel, **given), rng)
        try:
            with torch.no_grad():
                module(torch.zeros(1, n_in, *size, dtype=torch.float64))
        except RuntimeError:  # an empty output, or a padding wider than the image
            continue
        return module, (n_in, *size)


_CONVOLUTIONS: tuple[Any, ...] = nn.Conv1d, nn.Conv2d
_TRANSPOSED: tuple[Any, ...] = nn.ConvTranspose1d, nn.ConvTranspose2d


def image_convolution(rng: Rng, stride: int) -> Case:
    """Of 260 to 600 inputs or outputs, too many for the rule to write it out as a matrix."""
    while True:
        n_in, n_out = rng.integers(3, 8, 2).tolist()
        kernel, size = int(rng.integers(1, 6)), int(rng.integers(8, 15))
        padding = int(rng.integers(0, kernel // 2 + 1))
        out = (size + 2 * padding - kernel) // stride + 1
        sizes = n_in * size**2, n_out * out**2
        if 260 <= min(sizes) <= 600 and max(sizes) <= 1500:
            layer = nn.Conv2d(n_in, n_out, kernel, stride, padding)
            return ready(layer, rng), (n_in, size, size)


def batch_norm(rng: Rng) -> Case:
    """Of vectors or images, with and without factors."""
    channels, affine = int(rng.integers(1, 9)), one_of(rng, True, False)
    if one_of(rng, True, False):
        return ready(nn.BatchNorm1d(channels, affine=affine), rng), (channels,)
    return ready(nn.BatchNorm2d(channels, affine=affine), rng), (channels, 3, 2)


def folded(rng: Rng) -> Case:
    """A linear layer, a convolution or a transposed one with batch normalisation after it."""
    kind = one_of(rng, "linear", "convolution", "transposed")
    if kind == "linear":
        layer, shape = linear(rng)
        return (
            ready(nn.Sequential(layer, nn.BatchNorm1d(layer.out_features)), rng),
            shape,
        )
    layer, shape = convolution(rng, 2, kind == "transposed")
    return ready(nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)), rng), shape


def spectral(rng: Rng) -> Case:
    """torch's spectral_norm after one step of its power iteration."""
    torch_seed = torch.Generator().manual_seed(int(rng.integers(1 << 30)))
    if one_of(rng, True, False):
        layer: nn.Module = nn.Linear(12, 9)
        shape: tuple[int, ...] = (12,)
    else:
        layer, shape = nn.Conv2d(2, 3, 3, padding=1), (2, 5, 5)
    ready(layer, rng)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1 << 30, (1,), generator=torch_seed)))
        wrapped = parametrizations.spectral_norm(layer, n_power_iterations=1)
    return wrapped.double().eval(), shape


def orthogonal(rng: Rng) -> Case:
    """torch's orthogonal parametrisation, which on a convolution promises what it does not keep."""
    if one_of(rng, True, False):
        layer: nn.Module = nn.Linear(12, 9)
        shape: tuple[int, ...] = (12,)
    else:
        layer, shape = nn.Conv2d(2, 3, 3, padding=1), (2, 5, 5)
    return parametrizations.orthogonal(ready(layer, rng)).double().eval(), shape


# ---------------------------------------------------------------------- windows and sizes
def pool(rng: Rng, kinds: tuple[Any, ...]) -> Case:
    """A pool over one or two axes with all its options."""
    while True:
        n_axes = int(rng.integers(1, 3))
        kernel = rng.integers(1, 4, n_axes).tolist()
        given: dict[str, Any] = {
            "stride": rng.integers(1, 4, n_axes).tolist(),
            "padding": [int(rng.integers(0, k // 2 + 1)) for k in kernel],
            "ceil_mode": one_of(rng, True, False),
        }
        if kinds[0] is nn.AvgPool1d:
            given["count_include_pad"] = one_of(rng, True, False)
            if n_axes == 2:
                given["divisor_override"] = one_of(rng, None, None, 3)
        elif kinds[0] is nn.MaxPool1d:
            given["dilation"] = rng.integers(1, 3, n_axes).tolist()
        else:
            del given["padding"]
        size = rng.integers(3, 9, n_axes).tolist()
        if n_axes == 1:  # the one-dimensional ones take numbers
            kernel = kernel[0]
            given = {k: v[0] if isinstance(v, list) else v for k, v in given.items()}
        first = (2.0,) if kinds[0] is nn.LPPool1d else ()
        module = kinds[n_axes - 1](*first, kernel, **given).eval()
        try:
            module(torch.zeros(1, 2, *size, dtype=torch.float64))
        except RuntimeError:
            continue
        return module, (2, *size)


def adaptive(rng: Rng) -> Case:
    """Adaptive means and maxima, sizes that need not divide."""
    wanted = tuple(rng.integers(1, 5, 2).tolist())
    size = rng.integers(2, 9, 2).tolist()
    kind = one_of(rng, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    return kind(wanted).eval(), (2, *size)


def resize(rng: Rng) -> Case:
    """Up and down by all modes."""
    size = rng.integers(3, 8, 2).tolist()
    mode = one_of(rng, "nearest", "nearest-exact", "bilinear", "bicubic", "area")
    given: dict[str, Any] = {"mode": mode}
    if mode in ("bilinear", "bicubic"):
        given["align_corners"] = one_of(rng, True, False)
    if one_of(rng, True, False):
        given["size"] = tuple(rng.integers(2, 12, 2).tolist())
    else:
        given["scale_factor"] = tuple(rng.uniform(0.6, 2.5, 2).tolist())
        given["recompute_scale_factor"] = one_of(rng, None, True)
    return nn.Upsample(**given).eval(), (1, *size)


def pad(rng: Rng) -> Case:
    """Padding of images in all modes."""
    sides = rng.integers(0, 3, 4).tolist()
    kind = one_of(
        rng, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d
    )
    return kind(sides).eval(), (2, 4, 5)


def normalisation(rng: Rng) -> Case:
    """Our view that normalises."""
    mean, std = rng.uniform(0, 1, 3).tolist(), rng.uniform(0.1, 1, 3).tolist()
    return NormalizedModel(nn.Identity(), mean, std).double().eval(), (3, 2, 2)


# ---------------------------------------------------------------------- functions
def activation(rng: Rng) -> Case:
    """Elementwise functions, softmax, sorting, clipped norms."""
    make = one_of(rng, *_ACTIVATIONS)
    module = make()
    for parameter in module.parameters():
        parameter.data.copy_(2 * drawn(rng, *parameter.shape))
    return module.double().eval(), (60,)


_ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    *(
        nn.ReLU,
        nn.ReLU6,
        nn.Tanh,
        nn.Sigmoid,
        nn.SiLU,
        nn.Mish,
        nn.Hardswish,
        nn.GELU,
        nn.SELU,
    ),
    *(
        nn.Softplus,
        nn.ELU,
        nn.CELU,
        nn.LogSigmoid,
        nn.Softsign,
        nn.Softshrink,
        nn.Tanhshrink,
    ),
    *(nn.Hardtanh, nn.Hardsigmoid, nn.PReLU, GroupSort, ClippedNorm, nn.LeakyReLU),
    lambda: nn.GELU(approximate="tanh"),
    lambda: nn.ELU(alpha=1.7),
    lambda: nn.LeakyReLU(-1.4),
    lambda: nn.PReLU(60),
    lambda: nn.Softmax(1),
    lambda: nn.LogSoftmax(1),
    lambda: GroupSort(5),
    lambda: ClippedNorm(0.3),
    lambda: nn.Softplus(beta=3.0),
)

KINDS: dict[str, Callable[[Rng], Case]] = {
    "Linear": linear,
    "Conv1d": lambda rng: convolution(rng, 1),
    "Conv2d": lambda rng: convolution(rng, 2),
    "Conv2d, larger, stride 1": lambda rng: image_convolution(rng, 1),
    "Conv2d, larger, stride 2": lambda rng: image_convolution(rng, 2),
    "ConvTranspose1d": lambda rng: convolution(rng, 1, True),
    "ConvTranspose2d": lambda rng: convolution(rng, 2, True),
    "BatchNorm": batch_norm,
    "folded BatchNorm": folded,
    "spectral_norm": spectral,
    "orthogonal": orthogonal,
    "AvgPool": lambda rng: pool(rng, (nn.AvgPool1d, nn.AvgPool2d)),
    "MaxPool": lambda rng: pool(rng, (nn.MaxPool1d, nn.MaxPool2d)),
    "LPPool": lambda rng: pool(rng, (nn.LPPool1d, nn.LPPool2d)),
    "adaptive pools": adaptive,
    "resize": resize,
    "padding": pad,
    "normalisation": normalisation,
    "activations": activation,
}
POINTWISE = ("MaxPool", "LPPool", "adaptive pools", "activations")
"""Kinds that are not affine: the truth is approached from below."""


def truth(name: str, module: nn.Module, shape: tuple[int, ...], rng: Rng) -> float:
    """The norm of the dense Jacobian: exact, or the largest at random points."""
    if name not in POINTWISE:
        return norm(dense(module, shape))
    points = drawn(rng, len(SCALES), 1, *shape)
    return max(
        norm(jacobian(module, scale * point)) for scale, point in zip(SCALES, points)
    )


def jacobian(module: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """(outputs, inputs) at one image (1, ...)."""
    found = torch.autograd.functional.jacobian(module, point, vectorize=True)
    return torch.as_tensor(found).reshape(-1, point.numel())


def norm(matrix: Tensor) -> float:
    """Largest singular value, from the eigenvalues of the smaller Gram matrix."""
    wide = matrix.shape[0] < matrix.shape[1]
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    return float(torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt())
