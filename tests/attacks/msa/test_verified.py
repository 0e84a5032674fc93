"""Does MSA break what verifiers falsified, and never what they proved? Real nets, radii a row."""

from __future__ import annotations

from collections import defaultdict
from types import ModuleType
from typing import Any

import pytest
import torch

from torchattacks_ext import MSA
from torchattacks_ext.engines.judge.ledger import AttackSpec

SHORT = [
    AttackSpec("noise", on="target", steps=5),
    AttackSpec("apgd", loss="ce", steps=20),
    AttackSpec("apgd", loss="margin", steps=20),
    AttackSpec("apgd-t", steps=10, targets=3),
    AttackSpec("fab-t", steps=10, targets=3),
]


def broken(real: ModuleType, rows: list[dict[str, Any]], **options: Any) -> list[bool]:
    """Whether each row is broken inside its own radius, in the order of the rows."""
    models: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        models[row["model"]].append(number)
    found = [False] * len(rows)
    for name, numbers in models.items():
        own = [rows[i] for i in numbers]
        images = torch.stack([row["image"] for row in own])
        labels = torch.tensor([row["label"] for row in own])
        eps = torch.tensor([row["eps"] for row in own])
        ids = torch.tensor([row["row"] for row in own])
        attack = MSA(real.model(name), eps=float(eps.max()), **options)
        ledger = attack.attack_ledger(images, labels, ids, eps)
        assert (torch.from_numpy(ledger.lengths()) <= eps.double() * (1 + 1e-6)).all()
        assert ledger.right.all()
        for place, number in enumerate(numbers):
            found[number] = bool(ledger.breaker[place] >= 0)
    return found


def test_every_falsified_row_is_broken(real: ModuleType) -> None:
    rows = real.verified_rows("falsified")
    assert len(rows) == 41
    assert all(broken(real, rows))


def test_no_proved_row_is_broken(real: ModuleType) -> None:
    """Every 16th proved row, on eight nets; one break would be a bug of ours."""
    rows = real.verified_rows("robust")[::16]
    assert len(rows) == 11
    assert not any(broken(real, rows, version="custom", plan=SHORT))


@pytest.mark.slow
def test_no_proved_row_is_broken_by_any_of_them(real: ModuleType) -> None:
    """All 175 proved rows, the short plan."""
    rows = real.verified_rows("robust")
    assert not any(broken(real, rows, version="custom", plan=SHORT))
