"""What do tests of the own engine share? A ledger after some lines, on nets in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import Ledger
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.engine import OwnEngine
from torchattacks_ext.models import LogitsView, Meter
from torchattacks_ext.numerics.norms import norm_of


def _run(
    target: Any,
    images: Tensor,
    lines: Sequence[AttackSpec],
    eps: Any = 0.05,
    norm: Any = "Linf",
    size: int = 64,
    surrogates: dict[str, nn.Module] | None = None,
    ids: Tensor | None = None,
    labels: Tensor | None = None,
    seed: int = 0,
    bounds: Any = (0.0, 1.0),
) -> tuple[Ledger, OwnEngine]:
    """Every line on each of its models, surrogates first; labels None: the target's answers."""
    meter = Meter()
    models: dict[str, nn.Module] = {
        name: LogitsView(model, meter=meter)
        for name, model in {**(surrogates or {}), "target": target}.items()
    }
    with torch.no_grad():
        logits = models["target"](images)
    labels = logits.argmax(1) if labels is None else labels
    judge = Judge(models["target"], False, size)
    ledger = Ledger.open(judge, images, labels, eps, norm, bounds)
    ids = torch.arange(len(images)) if ids is None else ids
    engine = OwnEngine(models, ids, logits.shape[1], seed, meter)
    for line in lines:
        every = [*(surrogates or {}), "target"]
        for name in every if line.on in ("each", "best") else [line.on]:
            engine.run(name, line, ledger)
    return ledger, engine


@pytest.fixture(scope="session")
def run_own() -> Callable[..., tuple[Ledger, OwnEngine]]:
    """f(target, images, lines, ...): the ledger after the lines, and the engine."""
    return _run


def nearest_naive(image: Tensor, point: Tensor, eps: float, norm: Any) -> Tensor:
    """One image, in float64: the multiplier of the radius by a hundred bisections."""
    if norm == "Linf":
        return torch.clamp(point, image - eps, image + eps).clamp(0, 1).double()
    change = point.double() - image.double()
    room = torch.where(change > 0, 1 - image.double(), image.double())
    size = change.abs()

    def cut(level: float) -> Tensor:  # falls as the level rises from 0 to 1
        if norm == "L2":
            return torch.minimum((1 - level) * size, room)
        return torch.minimum((size - level * float(size.max())).clamp_min(0), room)

    low, high = 0.0, 1.0
    if float(norm_of(cut(0.0)[None], norm)) <= eps * (1 + 1e-12):
        return (image.double() + change).clamp(0, 1)
    for _ in range(100):
        middle = (low + high) / 2
        if float(norm_of(cut(middle)[None], norm)) > eps:
            low = middle
        else:
            high = middle
    border = (change > 0).double()  # exactly there where no room is left
    inside = image.double() + cut(high) * change.sign()
    return torch.where(cut(high) >= room, torch.where(room > 0, border, inside), inside)
