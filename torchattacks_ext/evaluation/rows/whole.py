"""How do the parts of a stage become one result, and how does it go on with fewer rows at once?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import BackendError, ModelContractError
from ...results.base.result import Result
from .pieces import Gap, Piece, is_failed

if TYPE_CHECKING:
    from ..stages.base import RowStage

logger = logging.getLogger("torchattacks_ext")


def joined(
    parts: Sequence[Piece | Gap], failure: ModelContractError | None
) -> Result | Exception:
    """All parts as one, in their order; the reason why there is none where nothing was measured."""
    known = [part.result for part in parts if isinstance(part, Piece)]
    gaps = [part for part in parts if isinstance(part, Gap)]
    if not known or ((gaps or failure) and all(map(is_failed, known))):
        reasons = [gap.reason for gap in gaps if gap.reason is not None]
        late = BackendError("the limit ended the run before its first row")
        return failure or next(iter(reasons), late)
    whole = [
        part.result if isinstance(part, Piece) else part.like(known[0])
        for part in parts
    ]
    return type(whole[0]).concat(whole)


def shrunk(stage: RowStage, rows: int) -> int | None:
    """Half of the rows that a stage takes at once, which it takes from now on; None at one row.

    rows: of the lot that was too large. Raises what the stage raises, where it cannot take fewer.
    """
    size = stage.plan.batch_size
    if stage.unit == "group":
        size = min(size, rows)
    if size <= 1:
        return None
    stage.shrink(size // 2)
    logger.warning(
        "stage %s: too little memory for %d rows, now %d", stage.label, size, size // 2
    )
    return size // 2
