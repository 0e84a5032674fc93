"""What is known of one batch once its score is there?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...numerics.fisher.ball import CubeFisher
from ...numerics.fisher.factor import Action
from ...numerics.fisher.top import TopFisher

TRACE_DRAWS = 16
"""Draws of the trace's estimate where the gradients of all classes are not there."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One batch: its logits (B, K), the top of the spectrum, the worst signs (None without J v).

    log_trace, spread (B,): where they are known already; else the rows take them from the action.
    backends: what gave J v beside the action's own. why: no worst signs are there, if J v failed.
    """

    action: Action
    top: TopFisher
    cube: CubeFisher | None
    log_trace: Tensor | None = None
    spread: Tensor | None = None
    backends: frozenset[str] = frozenset()
    why: str = ""
