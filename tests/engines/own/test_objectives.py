"""Are the losses those of their papers, and PM-T free of the scale of the logits?"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torchattacks_ext.engines.own.objectives import (
    OBJECTIVES,
    margin,
    objective_of,
    pm,
    pm_t,
    temperature,
)

SEED = 11
LOSSES = sorted(OBJECTIVES)


def rows(k: int, n: int = 40, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and other classes."""
    draw = torch.Generator().manual_seed(SEED)
    z = scale * torch.randn(n, k, generator=draw, dtype=torch.float64)
    labels = torch.randint(k, (n,), generator=draw)
    others = (labels + torch.randint(1, k, (n,), generator=draw)) % k
    return z, labels, others


def naive(name: str, z: list[float], y: int, t: int | None) -> float:
    """One row, straight from the formulas."""
    order = sorted(z, reverse=True)
    spread = order[0] - order[min(2, len(z) - 1)]
    if name == "pm-t":
        z = [one / spread for one in z]
    if name.startswith("pm") or name == "ce":
        total = sum(math.exp(one) for one in z)
        z = [math.exp(one) / total for one in z]
    if name == "ce":
        return -math.log(z[y]) if t is None else math.log(z[t])
    gap = (max(z[:y] + z[y + 1 :]) if t is None else z[t]) - z[y]
    if name == "dlr":
        low = order[2] if t is None else (order[2] + order[3]) / 2
        return gap / (order[0] - low)
    return gap


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("k", [4, 10])
def test_the_losses_are_their_formulas(name: str, k: int) -> None:
    z, labels, others = rows(k)
    for targets in (None, others):
        found = OBJECTIVES[name](z, labels, targets)
        want = [
            naive(name, row, int(y), None if targets is None else int(t))
            for row, y, t in zip(z.tolist(), labels, others)
        ]
        torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))


def gradient(loss: object, z: Tensor, labels: Tensor, scale: float) -> Tensor:
    asked = z.clone().requires_grad_()
    value = loss(scale * asked, labels, None)  # type: ignore[operator]
    (found,) = torch.autograd.grad(value.sum(), asked)
    return found


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("scale", [2.0**-10, 2.0**10, 1000.0])
def test_pm_t_does_not_know_the_scale(k: int, scale: float) -> None:
    z, labels, _ = rows(k)
    one, other = (gradient(pm_t, z, labels, s) for s in (1.0, scale))
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-12)
    assert (one.abs().sum(1) > 0).all()


def test_the_published_loss_does_know_it() -> None:
    """The canary: with 1,024 times the logits most rows have no gradient in float32."""
    z, labels, _ = rows(10)
    found = gradient(pm, z.float(), labels, 2.0**10)
    assert (found.abs().sum(1) == 0).double().mean() > 0.5
    assert (gradient(pm, z.float(), labels, 1.0).abs().sum(1) > 0).all()


def test_few_classes_and_equal_logits_have_a_loss() -> None:
    two = torch.tensor([[2.0, 1.0], [1.0, 1.0]])
    assert temperature(two)[0] == 1.0 and temperature(two)[1] > 0
    assert torch.isfinite(pm_t(two, torch.tensor([0, 0]), None)).all()
    assert objective_of("dlr", 2) is margin
    assert objective_of("dlr", 3) is OBJECTIVES["dlr"]
    assert objective_of("dlr", 3, targeted=True) is pm_t
    assert objective_of("dlr", 4, targeted=True) is OBJECTIVES["dlr"]
