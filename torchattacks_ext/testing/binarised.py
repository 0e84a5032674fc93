"""Which task has an answer inside the ball that is known to be there? One discriminator an image.

Zimmermann, Brendel, Tramer & Carlini, "Increasing Confidence in Adversarial Robustness
Evaluations", NeurIPS 2022 (arXiv:2206.13991): the last layer is replaced by a binary one that calls
points well inside the ball of an image one class and a planted point on its boundary the other. An
attack that cannot find what is there says nothing where it finds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .._typing import Norm
from ..errors import ModelContractError
from ..numerics.ids import content_hashes
from ..numerics.norms import per_row, project
from ..numerics.streams import uniform

Trunk = Callable[[Tensor], Tensor]
BATCH = 256
ORDER = {"Linf": math.inf, "L2": 2.0, "L1": 1.0}
RIDGE = 1e-2
"""Of the discriminators, in mean variances of a feature."""


class Binarised(nn.Module):
    """A trunk under one binary head an image: images (N, ...) to logits (N, 2).

    Arguments:
        trunk (callable): images to features (N, d), or more dimensions, which are flattened.
        centres (Tensor): (M, ...) the images, more than 2 eps apart.
        weight (Tensor): (M, d) of their heads; bias: (M,).
        norm (str): of the ball.

    A row has the head of the centre that it is nearest to, in that norm; so an attack may drop and
    reorder rows as it likes, as long as it stays in the balls. Class 0 is that of the centre, class
    1 that of the planted point. One row-pass of the trunk a row.
    """

    def __init__(
        self, trunk: Trunk, centres: Tensor, weight: Tensor, bias: Tensor, norm: Norm
    ) -> None:
        super().__init__()
        self.trunk, self.norm = trunk, norm
        self.register_buffer("centres", centres)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.eval()

    centres: Tensor
    weight: Tensor
    bias: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        z = features_of(self.trunk, images)
        own = self.nearest(images)
        score = (z * self.weight[own].to(z)).sum(1) + self.bias[own].to(z)
        return torch.stack([-score, score], 1)

    def nearest(self, images: Tensor) -> Tensor:
        """The centre (N,) of each image."""
        flat = images.detach().flatten(1).float()
        far = torch.cdist(flat, self.centres.flatten(1).float(), p=ORDER[self.norm])
        return far.argmin(1)

    def on(self, trunk: Trunk) -> Binarised:
        """The same heads on another trunk of the same features: a surrogate."""
        return Binarised(trunk, self.centres, self.weight, self.bias, self.norm)


def features_of(trunk: Trunk, images: Tensor) -> Tensor:
    """Features (N, d), in float32 or float64. Raises ModelContractError for what are none."""
    z = trunk(images)
    if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != len(images):
        shape = tuple(getattr(z, "shape", ()))
        raise ModelContractError(
            f"the trunk gave {type(z).__name__} {shape} for {len(images)} images, expected "
            "features (N, d)"
        )
    return z.flatten(1).to(torch.promote_types(z.dtype, torch.float32))


@dataclass(frozen=True, eq=False)
class Planted:
    """What was built.

    Arguments:
        model (Binarised): with a head for each of M images.
        points (Tensor): (M, ...) that were planted.
        usable (Tensor): (M,) bool, heads that call their image one class and its point the other.
    """

    model: Binarised
    points: Tensor
    usable: Tensor


def plant(
    trunk: Trunk,
    images: Tensor,
    eps: float,
    norm: Norm,
    *,
    seed: int = 0,
    inner: int = 64,
    inside: float = 0.95,
    closeness: float = 0.99,
    tries: int = 4,
) -> Planted:
    """A binary head for each image (M, ...) in [0, 1], whose other class is in the ball.

    inner: points of class 0, the image itself and others of the ball of `inside` eps, three of four
    on its edge. One point on the boundary of the ball is planted: the first of `tries` that a
    ridge-regularised linear discriminant tells from all of them. The threshold lies `closeness` of
    the way from the highest inner score to that of the planted point; the score of the image is
    -1. M (inner + tries) row-passes.
    """
    ids = content_hashes(images, None, (0.0, 1.0)).to(images.device)
    near = (
        inner_point(images, ids, inside * eps, norm, seed, k) if k else images
        for k in range(inner)
    )
    edge = [edge_point(images, ids, eps, norm, seed, k) for k in range(tries)]
    way, threshold, scale, chosen, apart = thresholds(
        _stacked(trunk, near), _stacked(trunk, edge), closeness
    )
    place, row = images.device, torch.arange(len(images))
    weight = (way / scale.unsqueeze(1)).float().to(place)
    bias = (-threshold / scale).float().to(place)
    points = torch.stack(edge, 1)[row.to(place), chosen.to(place)]
    model = Binarised(trunk, images, weight, bias, norm)
    said = model(images).argmax(1), model(points).argmax(1)
    return Planted(model, points, apart.to(place) & (said[0] == 0) & (said[1] == 1))


def _stacked(trunk: Trunk, points: Iterable[Tensor]) -> Tensor:
    """Features (M, n, d) of n points an image; on the CPU, as not every device has float64."""
    found = []
    for point in points:
        parts = [features_of(trunk, x) for x in torch.split(point, BATCH)]
        found.append(torch.cat(parts).cpu().double())
    return torch.stack(found, 1)


def thresholds(
    inner: Tensor, far: Tensor, closeness: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A head for each image from features of inner points (M, n, d) and candidates (M, t, d).

    Returns its direction (M, d), threshold (M,), the gap (M,) from the first inner point to it, the
    number of the candidate (M,) that is above all inner points, and whether there is one (M,).
    """
    ways = discriminants(inner, far)
    scores, own = inner @ ways.transpose(1, 2), (far * ways).sum(2)
    top = scores.amax(1)
    apart = own > top
    chosen = apart.to(torch.int64).argmax(1)  # the first, or 0 where there is none
    row = torch.arange(len(inner))
    top, own = top[row, chosen], own[row, chosen]
    threshold = top + closeness * (own - top)
    gap = threshold - scores[row, 0, chosen]
    gap = torch.where(gap > 0, gap, 1)
    return ways[row, chosen], threshold, gap, chosen, apart[row, chosen]


def discriminants(inner: Tensor, far: Tensor) -> Tensor:
    """Directions (M, t, d) that tell `far` (M, t, d) from inner points (M, n, d): S^-1 (z - mean).

    S is the covariance of the inner points with a ridge; by the identity of Woodbury in the smaller
    of n and d.

    >>> inner = torch.tensor([[[0.0, 1.0], [0.0, -1.0]]])
    >>> way = discriminants(inner, torch.tensor([[[1.0, 0.5]]]))[0, 0]
    >>> bool((way[0] > 10 * way[1]) & (way[1] > 0))
    True
    """
    mean = inner.mean(1, keepdim=True)
    a, t = inner - mean, far - mean
    n, d = a.shape[1:]
    ridge = RIDGE * a.square().mean((1, 2)).clamp_min(1e-30) * n
    gram = a.transpose(1, 2) @ a if d <= n else a @ a.transpose(1, 2)
    eye = torch.eye(len(gram[0]), dtype=a.dtype, device=a.device)
    gram = gram + ridge[:, None, None] * eye
    if d <= n:
        direct: Tensor = torch.linalg.solve(gram, t.transpose(1, 2)).transpose(1, 2)
        return direct
    across: Tensor = torch.linalg.solve(gram, a @ t.transpose(1, 2))
    return (t - across.transpose(1, 2) @ a) / ridge[:, None, None]


def inner_point(
    images: Tensor, ids: Tensor, radius: float, norm: Norm, seed: int, draw: int
) -> Tensor:
    """A point of each ball of that radius, in [0, 1]; every fourth inside, others on its edge."""
    if draw % 4:
        return edge_point(images, ids, radius, norm, seed, -draw)
    u = uniform(seed, ids, "unit/inner", draw, images[0].numel() + 1).to(images)
    way = _sized((2 * u[:, 1:] - 1).reshape(images.shape), norm, signs=False)
    return project(
        images, images + radius * per_row(u[:, 0], images) * way, radius, norm
    )


def edge_point(
    images: Tensor, ids: Tensor, eps: float, norm: Norm, seed: int, draw: int
) -> Tensor:
    """A point of the boundary of each ball: a corner (Linf), or a random direction (L2, L1).

    Coordinates that would leave [0, 1] go the other way.
    """
    purpose = "unit/edge" if draw >= 0 else "unit/inner"
    u = uniform(seed, ids, purpose, abs(draw), images[0].numel()).to(images)
    way = _sized((2 * u - 1).reshape(images.shape), norm, signs=True)
    step = eps * way
    out = (images + step < 0) | (images + step > 1)
    return project(images, images + torch.where(out, -step, step), eps, norm)


def _sized(way: Tensor, norm: Norm, signs: bool) -> Tensor:
    """Directions of norm 1; signs: corners of the cube."""
    if norm == "Linf":
        return way.sign() if signs else way / per_row(way.flatten(1).abs().amax(1), way)
    size = torch.linalg.vector_norm(way.flatten(1), ord=ORDER[norm], dim=1)
    return way / per_row(size, way)
