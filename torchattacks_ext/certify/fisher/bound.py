r"""How sensitive can the output distribution be at most? Upper bounds of lambda_max(F) of a net.

F = J^T (diag p - p p^T) J, J = dz/dx the Jacobian of the logits. With L >= |J|_2 from the rules of
:mod:`torchattacks_ext.models.lipschitz`, and where the net ends in a linear layer W after a body
with the bound L_b (w_i: rows; C = I - 11^T / K; S = diag p - p p^T),

    plain      L^2 / 2                           for every p: lambda_max(S) <= 1/2
    pairs      max_ij |w_i - w_j|^2 L_b^2 / 4    for every p: Popoviciu; never above plain
    softmax    lambda_max(S) |C W|^2 L_b^2       at given p
    head       lambda_max(W^T S W) L_b^2         at given p; never above softmax

The least of those that can be had is the bound. It bounds sensitivity from above and is no score: a
product over layers is orders of magnitude above lambda (benchmarks/README.md says how many), and
of two nets the one with the larger bound may well be the more robust.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ModelContractError
from ...models.lipschitz.bound import LayerBound, NetBound
from ...models.lipschitz.net import bound_net
from ...models.lipschitz.rules.weights import weight_of
from ...models.logits import LogitsView
from ...models.precision import full_precision
from ...models.session import first_tensor, session
from ...numerics.certificates.matrices import spectral_norm
from ...numerics.certificates.softmax import log_softmax_top
from ...numerics.fisher.factor import softmax_factor
from .table import text

Scope = Literal["global", "point"]
CERTIFIED = "certified up to rounding"
AT_POINT = "at this point only, not a certificate"
SLACK = 1e-12
"""What logarithms are raised by for their own roundings."""
MIXED = 1e-9
"""Likewise for the K x D numbers of the form "head"."""


@dataclass(frozen=True)
class Form:
    """One of the bounds of the file.

    name (str): "plain", "pairs", "softmax" or "head". log_value (float): log of the bound of
    lambda_max(F). scope (str): "global" or "point".
    """

    name: str
    log_value: float
    scope: Scope


@dataclass(frozen=True)
class FisherBound:
    """An upper bound of lambda_max of the input Fisher information, and what it is made of.

    Arguments:
        log_value (float): natural logarithm of the bound; -inf for a constant net.
        scope (str): "global": for every input of that shape; "point": at the point, or wherever the
            model gives the probabilities that were told.
        forms (tuple): every bound that was found, see :class:`Form`.
        layers (tuple): a line a layer, in the order of the forward: name, kind, value, scope, how,
            total (the bound from the image to its output).
        n_classes (int): K, of the logits; a single logit counts as 2.
    """

    log_value: float
    scope: Scope
    forms: tuple[Form, ...]
    layers: tuple[LayerBound, ...]
    n_classes: int

    @property
    def value(self) -> float:
        """The bound itself, in nats * 2 / |dx|^2; inf where it is beyond float64."""
        return math.exp(self.log_value) if self.log_value < 709 else math.inf

    @property
    def log10(self) -> float:
        """Of the bound, for tables."""
        return self.log_value / math.log(10)

    @property
    def status(self) -> str:
        """How the number may be called: a point never makes a certificate."""
        return CERTIFIED if self.scope == "global" else AT_POINT

    def form(self, name: str) -> float:
        """log of the bound of that form; KeyError where it was not to be had."""
        return {form.name: form.log_value for form in self.forms}[name]

    def __str__(self) -> str:
        """The table, as text."""
        head = f"lambda_max(F) <= 10^{self.log10:.2f} ({self.status})"
        told = "; ".join(
            f"{form.name} 10^{form.log_value / math.log(10):.2f}" for form in self.forms
        )
        return f"{head}\n{told}\n{text(self.layers)}"


def fim_upper_bound(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    point: Tensor | None = None,
    probs: Tensor | Sequence[float] | None = None,
) -> FisherBound:
    """At least lambda_max(F(x)), from the weights of the model alone or also from one point.

    model: nn.Module in eval mode that returns logits (N, K) and whose layers have rules (else
    register_rule); one logit z stands for (0, z). input_shape: of one image, (C, H, W) or (D,), in
    the units that the model takes: put normalisation inside (NormalizedModel), and the bound is one
    in pixels, as FIMScore's lambda is. point: one image, (1, *input_shape) or without the 1; needed
    by layers without a global bound (LayerNorm, attention), and makes use of the probabilities
    there, which are the model's own with their rounding. probs: K numbers that sum to 1: the bound
    then holds wherever the model gives these.

    Without point and probs the scope is "global", the status "certified up to rounding": it holds
    in exact arithmetic with the stored weights, and its own roundings go upwards. Raises
    ModelContractError, naming the layer, where there is no bound, InputError for a point of another
    shape, ConfigError for probabilities that are none. The model is given back as it was. Cost:
    three row-passes, and the norms of all weights: seconds for a small net, minutes for a VGG16.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    >>> found = fim_upper_bound(net, (1, 2, 2))
    >>> exact = torch.linalg.matrix_norm(net[1].weight.detach().double(), 2) ** 2 / 2
    >>> abs(math.exp(found.form("plain")) / float(exact) - 1) < 1e-6, found.status
    (True, 'certified up to rounding')
    >>> found.log_value <= found.form("plain")
    True
    """
    net = bound_net(model, input_shape, point=point, centre_last=None)
    logits = _logits(model, input_shape, point)
    given = point is not None or probs is not None
    if probs is not None:
        logits = _told(probs, logits)
    weight = None
    if net.last is not None:
        weight = weight_of(model.get_submodule(net.last.name))
    forms = _for_every_p(net, 0 if weight is None else len(weight))
    if given:
        forms += _at_p(net, weight, logits)
    least = min(form.log_value for form in forms)
    scope: Scope = "point" if given or net.scope != "global" else "global"
    return FisherBound(least, scope, tuple(forms), net.layers, logits.shape[1])


def _logits(
    model: nn.Module, input_shape: Sequence[int], point: Tensor | None
) -> Tensor:
    """Of the point, or of a grey image, (1, K) float64."""
    image = torch.full((1, *input_shape), 0.5) if point is None else point
    like = first_tensor(model)
    image = image.detach().reshape(1, *input_shape)
    with session(model), torch.no_grad(), full_precision():
        logits: Tensor = LogitsView(model)(
            image if like is None else image.to(like.device)
        )
    if point is not None and not bool(logits.isfinite().all()):
        raise ModelContractError(
            "the model's logits at the point are not finite: there is no bound there"
        )
    return logits.cpu().double()


def _told(probs: Tensor | Sequence[float], logits: Tensor) -> Tensor:
    """log of the probabilities, (1, K)."""
    p = torch.as_tensor(probs, dtype=torch.float64).detach().cpu().reshape(1, -1)
    one = abs(float(p.sum()) - 1) <= 1e-4
    if p.shape != logits.shape or not bool((p >= 0).all()) or not one:
        raise ConfigError(
            f"probs must be {logits.shape[1]} numbers >= 0 that sum to 1, got {p.numel()} of sum "
            f"{float(p.sum()):.6g}"
        )
    return p.log()


def _squared(*factors: float) -> float:
    """log of the squared product, rounded up."""
    if 0.0 in factors:
        return -math.inf
    return 2 * math.fsum(map(math.log, factors)) + SLACK


def _for_every_p(net: NetBound, n_rows: int) -> list[Form]:
    scope: Scope = "global" if net.scope == "global" else "point"
    last = net.last
    if last is None:
        return [Form("plain", _squared(net.value) - math.log(2), scope)]
    # a single logit z is (0, z): |w - 0| is the only distance
    spread = last.norm if n_rows == 1 else last.spread
    return [
        Form("plain", _squared(last.body, last.norm) - math.log(2), scope),
        Form("pairs", _squared(last.body, spread) - math.log(4), scope),
    ]


def _at_p(net: NetBound, weight: Tensor | None, logits: Tensor) -> list[Form]:
    top = float(log_softmax_top(logits))
    last = net.last
    if last is None or weight is None:
        return [Form("softmax", _squared(net.value) + top, "point")]
    single = len(weight) == 1
    centred = last.norm if single else last.centred
    rows = torch.cat([torch.zeros_like(weight), weight]) if single else weight
    size = spectral_norm(_mixed(rows, logits))
    log_pi = float(softmax_factor(logits).log_pi)
    return [
        Form("softmax", _squared(last.body, centred) + top, "point"),
        Form("head", _squared(last.body, size) + log_pi + MIXED, "point"),
    ]


def _mixed(weight: Tensor, logits: Tensor) -> Tensor:
    """A (K, D) with W^T S W = pi A^T A: N^T D of numerics.fisher.factor, good also at p = 1."""
    factor = softmax_factor(logits)
    t = factor.t.T
    apart = t * (weight - weight[factor.top])
    found: Tensor = apart - factor.a * t * (t * apart).sum(0)
    return found
