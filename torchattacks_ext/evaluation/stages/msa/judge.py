"""Who says what MSA left of a batch? The runner's judge, asked again about rows that are right."""

from __future__ import annotations

import torch
from torch import Tensor

from ....data.stream import Batch
from ....engines.judge.active import Array, Judged
from ....results.base.facts import Flag
from ..base import Shared
from ..clean import labels_of


def judge_again(best: Tensor, batch: Batch, shared: Shared, right: Array) -> Judged:
    """The runner's judge on what was left for the rows `right`; clean answers for the others."""
    place = torch.from_numpy(right).to(best.device)
    shown, wanted, clean = best[place], labels_of(batch)[place], shared.clean
    with torch.no_grad():
        seen = shared.judge.judge(
            len(right), lambda part: (shown[part], wanted[part]), None
        )
    assert seen is not None  # no budget was given
    whole = {}
    for name in ("margin", "failed", "close", "finite", "prediction"):
        whole[name] = getattr(clean, name).copy()
        whole[name][right] = getattr(seen, name)
    return Judged(**whole)


def unsure(n: int) -> Flag:
    """Doubt about rows that runner and attack answer differently when clean."""
    text = (
        "images are right for the runner and wrong for the attack, which left them alone: the "
        "model answers them differently in other batches"
    )
    return Flag("clean_answers_differ", text, n)
