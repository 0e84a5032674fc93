"""How much does a score change, in proportion to itself? The paper's S_c, S_d and their angles.

arXiv:2606.01746: with a change e of the features z,
S_c = ||e|| |cos g| / (||z|| |cos t_c|) for a row w of a linear head, g the angle of e and w, t_c of
z and w; S_d = | ||z + e - w|| - ||z - w|| | / ||z - w|| for a centroid w, at most
||e|| / ||z - w|| = ||e|| / sqrt(||z||^2 + ||w||^2 - 2 ||z|| ||w|| cos t_d).
It is a measure of scores, not of decisions: a constant added to all scores changes it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def angles(vectors: Tensor, rows: Tensor) -> Tensor:
    """Angles (N, K) in [0, pi] between vectors (N, d) and rows (K, d); nan for a zero vector.

    >>> angles(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([[0.7854]])
    """
    lengths = vectors.norm(dim=1)[:, None] * rows.norm(dim=1)
    cosines: Tensor = (vectors @ rows.T / lengths).clamp(-1, 1)
    return cosines.acos()


def linear_change(z: Tensor, step: Tensor, rows: Tensor) -> Tensor:
    """S_c (N, K) of features (N, d), their changes (N, d) and rows (K, d).

    >>> z, e = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 3.0]])
    >>> linear_change(z, e, torch.tensor([[1.0, 0.0]]))
    tensor([[0.2500]])
    """
    return (step @ rows.T).abs() / (z @ rows.T).abs()


def distance_change(z: Tensor, step: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """(S_d, sup S_d), both (N, K), of features, their changes and centroids (K, d).

    >>> z, e = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.5]])
    >>> [one.item() for one in distance_change(z, e, torch.zeros(1, 2))]
    [0.25, 0.75]
    """
    far = torch.cdist(z, rows)
    change = (torch.cdist(z + step, rows) - far).abs() / far
    return change, step.norm(dim=1)[:, None] / far


def condition(feature: Tensor, centroid: Tensor, step: Tensor) -> Tensor:
    """Whether eq. 8 holds, (N, K) bool: |cos t_c| / |sin t_d| <= |cos g|, of angles (N, K).

    >>> one = torch.ones(1, 1)
    >>> condition(1.5 * one, 1.5 * one, 0.1 * one)
    tensor([[True]])
    """
    return feature.cos().abs() <= step.cos().abs() * centroid.sin().abs()
