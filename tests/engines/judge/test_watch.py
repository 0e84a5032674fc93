"""Is the time to go that of the rows and lines that are left?"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.judge.watch import Watch
from torchattacks_ext.models import Meter

ONE, TWO = AttackSpec("apgd", steps=10), AttackSpec("square", steps=50, gate=0.5)


class Rows:
    """A ledger of four rows: three alive, one of them inside the gate."""

    alive, right = torch.tensor([True, True, True, False]), [True] * 4

    def rows(self, gate: float) -> torch.Tensor:
        return torch.arange(1 if gate < 1 else 3)


@pytest.mark.parametrize(
    "share, later, words",
    [
        # 3 rows x 20 passes, 1 row x 50; 10 passes a second so far
        (0.0, 0, "target/apgd-ce-10: 3 rows left, about 0:11 to go"),
        (0.5, 0, "target/apgd-ce-10: 3 rows left, about 0:08 to go"),
        # and eight rows that have not begun: twice what these four took and take
        (0.0, 8, "target/apgd-ce-10: 3 rows left, about 0:53 to go"),
    ],
)
def test_time_to_go(
    monkeypatch: pytest.MonkeyPatch, share: float, later: int, words: str
) -> None:
    now, heard = [0.0], list[str]()
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    bar: Any = SimpleNamespace(total=4 + later, n=0, set_postfix_str=heard.append)
    meter = Meter()
    watch = Watch(bar, meter, {("target", ONE): 20.0, ("target", TWO): 50.0})
    watch.started = 0.0
    assert watch.due()
    now[0], meter.forward, meter.backward = 10.0, 60, 40
    watch.note("target", ONE, Rows(), 3, share)  # type: ignore[arg-type]
    assert heard == [words] and not watch.due()
