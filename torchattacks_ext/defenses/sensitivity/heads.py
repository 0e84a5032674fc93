"""Which heads of a trunk are compared? One row a class, compared by product or by distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError
from ..hpm.model import HPMModel
from ..hpm.prototypes import similarities
from ..hpm.settings import Distance
from ..hpm.splitting import split_classifier

Kind = Literal["linear", "distance"]


@dataclass(frozen=True, eq=False)
class FlatHead:
    """A head with one row a class, for every feature the same.

    Arguments:
        name (str): of the head.
        rows (Tensor): (K, d) weights, prototypes or centroids.
        bias (Tensor or None): (K,), of a linear head.
        distance (str): "dot" (linear), "l2" or "l2sq". (Default: "dot")

    >>> FlatHead("c", torch.tensor([[0.0], [1.0]]), None, "l2sq").logits(torch.zeros(1, 1))
    tensor([[-0., -1.]])
    """

    name: str
    rows: Tensor
    bias: Tensor | None = None
    distance: Distance = "dot"

    @property
    def kind(self) -> Kind:
        """ "linear" or "distance"."""
        return "linear" if self.distance == "dot" else "distance"

    def logits(self, z: Tensor) -> Tensor:
        """Logits (N, K) of features (N, d)."""
        found = similarities(z, self.rows.to(z), self.distance)
        return found if self.bias is None else found + self.bias.to(z)

    def boundaries(self, z: Tensor, labels: Tensor) -> Tensor:
        """Signed distance (N, K) in feature space to each other class, inf at the label's own.

        Linear: ((w_y - w_c).z + b_y - b_c) / ||w_y - w_c||. By distance the boundary is the plane
        between two prototypes: (||z - p_c||^2 - ||z - p_y||^2) / (2 ||p_y - p_c||), which is the
        linear formula with w = 2 p and b = -||p||^2, of "l2" as of "l2sq". Where two rows are the
        same there is no boundary: inf.
        """
        w, b = self.rows.to(z), 0.0 if self.bias is None else self.bias.to(z)
        if self.kind == "distance":
            w, b = 2 * w, -w.square().sum(1)
        scores = z @ w.T + b
        own = scores.gather(1, labels[:, None])
        apart = torch.cdist(w, w)[labels]
        found = (own - scores) / apart
        return torch.where(apart > 0, found, torch.inf)


class OnTrunk(nn.Module):
    """A trunk with a flat head: what is attacked. Images (N, ...) to logits (N, K)."""

    def __init__(self, trunk: nn.Module, head: FlatHead) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        z = self.trunk(images)
        return self.head.logits(z.to(torch.promote_types(z.dtype, torch.float32)))


HeadsOf = Callable[[Tensor], tuple[FlatHead, ...]]


def trunk_and_heads(
    model: nn.Module,
    images: Tensor,
    linear: nn.Linear | None = None,
    centroids: Tensor | None = None,
) -> tuple[nn.Module, HeadsOf]:
    """The trunk, and from the features (N, d) of all images to the heads that are compared.

    An HPMModel has "fc", "l2" (the prototypes of the data set alone) and "hpm" (those mixed with
    the batch of all images). Any other model is a trunk where `linear` is given, else it is
    taken apart before its last Linear; then there are "fc" and, with centroids (K, d), "l2".

    Raises ConfigError for a model without a last Linear, InputError for centroids that do not fit.
    """
    if isinstance(model, HPMModel):
        if linear is not None or centroids is not None:
            raise ConfigError(
                "an HPMModel has a linear head and centroids: leave linear= and centroids= out"
            )
        return model.trunk, lambda z: _of_hpm(model, z)
    if linear is None:
        model, linear, _ = split_classifier(model, images[:2])
    heads = [_fc(linear)]
    if centroids is not None:
        if centroids.shape != linear.weight.shape or not bool(
            centroids.isfinite().all()
        ):
            raise InputError(
                f"centroids {tuple(centroids.shape)} must be finite and of shape "
                f"{tuple(linear.weight.shape)}: one row a class"
            )
        heads.append(FlatHead("l2", centroids.detach(), None, "l2"))
    return model, lambda _: tuple(heads)


def _fc(linear: nn.Linear) -> FlatHead:
    bias = None if linear.bias is None else linear.bias.detach()
    return FlatHead("fc", linear.weight.detach(), bias)


def _of_hpm(model: HPMModel, z: Tensor) -> tuple[FlatHead, ...]:
    head, found = model.head, [_fc(model.head.fc)]
    kind = head.settings.distance
    with torch.no_grad():
        wide = head.wide(z)
        if head.settings.use_global:
            found.append(FlatHead("l2", head.of_all.clone(), None, kind))
        found.append(FlatHead("hpm", head.mixed(wide).detach(), None, kind))
    return tuple(found)
