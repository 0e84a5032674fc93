"""What is known of one batch once its score is there, and which way does it point?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import Norm
from ...numerics.fisher.ball import CubeFisher
from ...numerics.fisher.factor import Action
from ...numerics.fisher.top import TopFisher

TRACE_DRAWS = 16
"""Draws of the trace's estimate where the gradients of all classes are not there."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One batch: its logits (B, K), the top of the spectrum, the worst signs (None without J v).

    log_trace, spread (B,): where they are known already; else the rows take them from the action.
    """

    action: Action
    top: TopFisher
    cube: CubeFisher | None
    log_trace: Tensor | None = None
    spread: Tensor | None = None


def step_direction(scored: Scored, norm: Norm) -> Tensor:
    """(B, D) steps of norm 1 along which the quadratic rises most: OSSA's, by norm.

    L2: the top eigenvector. Linf: the worst signs (those of the eigenvector without J v). L1: its
    largest coordinate alone.
    """
    u1 = scored.top.u1
    if norm == "L2":
        return u1
    if norm == "Linf":
        return u1.sign() if scored.cube is None else scored.cube.signs
    top = u1.abs().argmax(1, keepdim=True)
    return torch.zeros_like(u1).scatter(1, top, u1.gather(1, top).sign())
