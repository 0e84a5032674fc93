"""How are chosen rows attacked where memory is short? Part after part, each row once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ....models.memory import give_back, too_short
from ....results.attack import AttackResult
from ....results.base.facts import Flag
from ..base import StageRows


def in_parts(
    rows: Tensor,
    size: Callable[[], int],
    attack: Callable[[Tensor], StageRows],
    shrink: Callable[[int], None],
) -> Iterator[tuple[Tensor, AttackResult]]:
    """Rows (k,) in parts of at most size() with the result of each, as `attack` gives it.

    Where memory is too short for a part, `shrink` is told of half of it, and its rows are split
    again. Raises what `attack` raised for one row, for want of memory or not.
    """
    waiting = list(torch.split(rows, size()))
    while waiting:
        part = waiting.pop(0)
        found = _tried(part, attack)
        if found is not None:
            assert isinstance(found.result, AttackResult)
            yield part, found.result
            continue
        shrink(max(1, min(size(), len(part)) // 2))
        give_back()
        waiting = [*torch.split(part, size()), *waiting]


def _tried(part: Tensor, attack: Callable[[Tensor], StageRows]) -> StageRows | None:
    """What the attack makes of the rows; None where fewer of them may fit into memory."""
    try:
        found = attack(part)
    except Exception as error:
        if not too_short(error) or len(part) == 1:
            raise
        return None
    return None if too_short(found.failure) and len(part) > 1 else found


def short_flag(n: int, rows: int, unit: str, stage: str) -> Flag:
    """What short memory changed of a full attack on n images. rows: at once; stage: its label."""
    text = f"memory was too short for more than {rows} rows of the full attack at once"
    if unit != "group":
        return Flag("out_of_memory", f"{text}; no decision hangs on that", n)
    text += ": groups were cut, and it drew for other rows together"
    return Flag("group_cut", text, n, {"stage": stage, "rows": rows})
