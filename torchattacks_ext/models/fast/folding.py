"""How does a batch normalisation, or that of the pixels, become a part of the layer beside it?

Behind a linear map, with the running statistics m, v of a channel and e = eps (Ioffe & Szegedy
2015, Sec. 3.1):

    gamma (W x + b - m) / sqrt(v + e) + beta = (s W) x + s (b - m) + beta,  s = gamma / sqrt(v + e).

In front of one that pads with no zeros: W ((x - m) / d) + b = (W / d) x + b - sum (W / d) m. Exact
but for the rounding of the new weights, which are computed in float64 and rounded once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..lipschitz.rules.linear import affine_of
from ..lipschitz.rules.weights import weight_of
from ..normalised import NormalizedModel
from .graph import Folds, Layer


def fold(model: nn.Module, folds: Folds) -> nn.Module:
    """The model with the layers of `folds` in one, which are changed in place.

    It is another module where the root itself was a view that normalises. No forward pass.

    >>> from .graph import read
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    >>> fold(net, read(net, torch.zeros(2, 2)))[1]
    Identity()
    """
    for layer, path in folds.norms:
        norm = model.get_submodule(path)
        _append(model.get_submodule(layer.path), norm, layer)
        model = _replaced(model, norm, nn.Identity().train(norm.training))
    if folds.pixels is not None:
        path, layer = folds.pixels
        view: Any = model.get_submodule(path)
        _prepend(model.get_submodule(layer.path), view, layer)
        model = _replaced(model, view, view.model)
    return model


def _append(layer: Any, norm: nn.Module, about: Layer) -> None:
    factor, shift = affine_of(norm)
    weight = weight_of(layer)
    bias = torch.zeros_like(shift) if layer.bias is None else weight_of(layer, "bias")
    if about.transposed:  # (in, out / groups, *kernel)
        parts = weight.reshape(about.groups, -1, *weight.shape[1:])
        rows = _column(factor.reshape(about.groups, 1, -1), parts.dim())
        weight = (parts * rows).reshape(weight.shape)
    else:
        weight = weight * _column(factor, weight.dim())
    _set(layer, weight, factor * bias + shift)


def _prepend(layer: Any, view: NormalizedModel, about: Layer) -> None:
    weight = weight_of(layer)  # (out, in / groups, *kernel)
    wide = weight.shape[1] * about.groups
    mean, std = (
        side.detach().to("cpu", torch.float64).expand(wide)
        for side in (view.mean, view.std)
    )
    rows = len(weight) // about.groups
    of_row = [
        side.reshape(about.groups, -1).repeat_interleave(rows, 0)
        for side in (mean, std)
    ]
    weight = weight / _column(of_row[1], weight.dim())
    lost = (weight.flatten(2).sum(2) * of_row[0]).sum(1)
    bias = torch.zeros_like(lost) if layer.bias is None else weight_of(layer, "bias")
    _set(layer, weight, bias - lost)


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    like = layer.weight.detach()
    layer.weight = nn.Parameter(weight.to(like), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(like), requires_grad=False)


def _column(values: Tensor, n_dims: int) -> Tensor:
    return values.reshape(*values.shape, *(1,) * (n_dims - values.dim()))


def _replaced(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """The model with another module under each name of the old one, which may be the model."""
    if old is model:
        return new
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if child is old:
                setattr(owner, name, new)
    return model
