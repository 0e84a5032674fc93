"""How does a picture look when it is bent, or turned and moved?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..affine import Affine
from ..base import Uniforms
from .pictures import interpolated, mirrored


def elastic_transform(
    pictures: Tensor, u: Uniforms, strength: float, sigma: float, shift: float
) -> Tensor:
    """An affine map that moves three points by up to `shift`, then a smooth field of steps.

    strength, sigma and shift are parts of the shorter side. The map takes three corners of a square
    about the middle to places uniform within +-shift of them (bilinear, mirrored on the edge
    pixel). The field is uniform in [-1, 1], smoothed by a Gaussian of sigma and multiplied by
    strength (bilinear, mirrored outside the edge pixel). OpenCV, with which the published sets were
    made, rounds the first places to 1/32 of a pixel; they are exact here.
    """
    height, width = pictures.shape[2:]
    side = min(height, width)
    grid = torch.meshgrid(
        torch.arange(height, dtype=pictures.dtype, device=pictures.device),
        torch.arange(width, dtype=pictures.dtype, device=pictures.device),
        indexing="ij",
    )
    moves = (u(6, "corners").to(pictures.dtype) * 2 - 1) * (shift * side)
    rows, columns = _before(moves.view(-1, 3, 2), grid, height, width)
    found = interpolated(pictures, rows, columns, edge_twice=False)
    if not strength:
        return found
    steps = []
    for purpose in ("across", "down"):
        field = u(height * width, purpose).to(pictures.dtype) * 2 - 1
        field = field.view(-1, height, width)
        steps.append(smoothed(field, sigma * side) * (strength * side))
    return interpolated(found, grid[0] + steps[1], grid[1] + steps[0], edge_twice=True)


def _before(
    moves: Tensor, grid: tuple[Tensor, ...], height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Rows and columns (B, H, W) that the affine map takes to each pixel.

    moves: (B, 3, 2), x and y of the corners (a, a), (a, b), (b, b) about the middle, a > b.
    """
    x, y = width // 2, height // 2
    half = min(height, width) // 3
    corners = [(x + half, y + half), (x + half, y - half), (x - half, y - half)]
    first, second, third = (
        moves[:, k] + torch.tensor(corner).to(moves) for k, corner in enumerate(corners)
    )
    by_x = (second - third) / (2 * half)
    by_y = (first - second) / (2 * half)
    origin = first - by_x * (x + half) - by_y * (y + half)
    det = (by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]).view(-1, 1, 1)
    across = grid[1] - origin[:, 0].view(-1, 1, 1)
    down = grid[0] - origin[:, 1].view(-1, 1, 1)
    a, b, c, d = (
        part.reshape(-1, 1, 1)
        for part in (by_x[:, 0], by_y[:, 0], by_x[:, 1], by_y[:, 1])
    )
    return (a * down - c * across) / det, (d * across - b * down) / det


def smoothed(field: Tensor, sigma: float) -> Tensor:
    """Fields (B, H, W) under a Gaussian cut off at 3 sigma, mirrored outside the edge pixels.

    One pass a row and a column of the field, whatever sigma is.
    """
    radius = int(3 * sigma + 0.5)
    if not radius:
        return field
    steps = torch.arange(-radius, radius + 1, dtype=field.dtype, device=field.device)
    weights = (steps.square() / (-2 * sigma**2)).exp()
    weights /= weights.sum()
    for dim in (1, 2):
        n = field.shape[dim]
        place = torch.arange(n, device=field.device).unsqueeze(1) + steps.long()
        place = mirrored(place, n, edge_twice=True)
        share = torch.zeros(n, n, dtype=field.dtype, device=field.device)
        share.scatter_add_(1, place, weights.expand(n, -1))
        view = (1, n, 1) if dim == 1 else (1, 1, n)
        out = torch.zeros_like(field)
        # Not a matrix product, which may give a row other bits in another batch.
        for k in range(n):
            out.addcmul_(field.narrow(dim, k, 1), share[:, k].view(view))
        field = out
    return field


def rotation(pictures: Tensor, u: Uniforms, degrees: float) -> Tensor:
    """Turned by an angle uniform in +-degrees, black from outside: :class:`Affine`."""
    return Affine(rotation=degrees).sample(pictures, u)


def translation(pictures: Tensor, u: Uniforms, share: float) -> Tensor:
    """Moved by up to this share of each side, black from outside: :class:`Affine`."""
    return Affine(translation=share).sample(pictures, u)
