"""Is every function of the table above the truth, and are the impossible ones refused?"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models.lipschitz import bound_net

Function = Callable[[Tensor], Any]
FEW = torch.tensor([1.5, -0.5, 2.0, 0.25]).double()
SQUARE = torch.linspace(-1, 1, 16).reshape(4, 4).double()

# on (1, 2, 4): the functions, and what the exact bound is where it is plain (None: only above)
STEPS: dict[str, tuple[Function, float | None]] = {
    "flatten": (lambda x: x.flatten(1), 1),
    "permute": (lambda x: x.permute(0, 2, 1).contiguous().reshape(x.size(0), -1), 1),
    "transpose": (lambda x: torch.transpose(x, 1, 2).squeeze(0).unsqueeze(0), 1),
    "T": (lambda x: x.mT.clone(), 1),
    "flip": (lambda x: torch.flip(x, [1]).roll(1, 2), 1),
    "slice": (lambda x: x[:, ..., 1:3], 1),
    "none": (lambda x: x[:, None, 0], 1),
    "chunk": (lambda x: x.chunk(2, 2)[1], 1),
    "split": (lambda x: torch.split(x, [1, 3], dim=2)[0], 1),
    "unbind": (lambda x: x.unbind(1)[0], 1),
    "sort": (lambda x: torch.sort(x, dim=2).values, 1),
    "max": (lambda x: x.max(dim=2)[0], 1),
    "max of all": (lambda x: torch.max(x).reshape(1), 1),
    "max with a constant": (lambda x: torch.max(x, FEW), 1),
    "maximum": (lambda x: torch.maximum(x, 2 * x), 5**0.5),
    "cat": (lambda x: torch.cat([x, x], 1), 2**0.5),
    "cat with a constant": (lambda x: torch.cat([x, SQUARE[None]], 1), 1),
    "stack": (lambda x: torch.stack((x, -x), dim=1), 2**0.5),
    "add": (lambda x: x + torch.add(x, x, alpha=-3), 5),
    "add a constant": (lambda x: 1 + x + FEW, 1),
    "sub": (lambda x: 2 - torch.sub(x, x, alpha=2), 3),
    "neg": (lambda x: -x, 1),
    "broadcast sum": (lambda x: x[:, :, :1] + torch.zeros(4).double(), 2),
    "expand": (lambda x: x[:, :1].expand(-1, 9, -1), 3),
    "repeat": (lambda x: x.repeat(1, 4, 1), 2),
    "mul": (lambda x: x * FEW, 2),
    "mul, other way": (lambda x: operator.mul(3, x), 3),
    "div": (lambda x: x / FEW, 4),
    "mean": (lambda x: x.mean(2), 0.5),
    "mean of all": (lambda x: x.mean().reshape(1), 8**-0.5),
    "sum": (lambda x: torch.sum(x, dim=(1, 2)), 8**0.5),
    "norm": (lambda x: x.norm(dim=2), 1),
    "logsumexp": (lambda x: torch.logsumexp(x, 2), 1),
    "clamp": (lambda x: x.clamp(0, 1).clamp_min(0.5), 1),
    "relu": (lambda x: F.relu(torch.relu(x.relu())), 1),
    "sigmoid": (lambda x: torch.sigmoid(x), 0.25),
    "gelu": (lambda x: F.gelu(x) + F.gelu(x, approximate="tanh"), 2.25791),
    "softplus": (lambda x: F.softplus(x, 2.0), 1),
    "leaky": (lambda x: F.leaky_relu(x, negative_slope=2.0), 2),
    "elu": (lambda x: F.elu(x, 1.5), 1.5),
    "prelu": (lambda x: F.prelu(x, torch.tensor([0.5, -3.0]).double()), 3),
    "softmax": (lambda x: x.softmax(-1), 0.5),
    "log_softmax": (lambda x: F.log_softmax(x, dim=2), 2),
    "erf": (lambda x: torch.erf(x), None),
    "linear": (lambda x: F.linear(x, SQUARE), None),
    "matmul": (lambda x: x @ SQUARE, None),
    "matmul, other way": (lambda x: SQUARE @ x.mT, None),
    "conv": (lambda x: F.conv1d(x, SQUARE.reshape(4, 2, 2), padding=1), None),
    "max_pool": (lambda x: F.max_pool1d(x, 3, stride=1), 2**0.5),
    "avg_pool": (lambda x: F.avg_pool1d(x, 2), 2**-0.5),
    "adaptive": (lambda x: F.adaptive_avg_pool1d(x, 1), 0.5),
    "interpolate": (lambda x: F.interpolate(x, size=16, mode="nearest"), 2),
    "pad": (lambda x: F.pad(x, (1, 1), mode="replicate"), 2**0.5),
    "dropout": (lambda x: F.dropout(x, 0.5, training=False), 1),
    "cast": (lambda x: x.double().to(torch.float64), 1),
    "like others": (
        lambda x: x[:, :1].expand_as(x) + FEW.to(x) * torch.ones_like(x),
        2**0.5,
    ),
    "sizes": (
        lambda x: x / 2 if x.dim() == 3 and len(x.shape) == 3 and len(x) == 1 else x,
        0.5,
    ),
    "rows": (lambda x: [row.view_as(row) for row in x][0][None], 1),
    "a constant answer": (lambda x: torch.zeros(1, 3).double(), 0),
}


class Step(nn.Module):
    """A function as a model."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(1).double())

    def forward(self, x: Tensor) -> Any:
        """The function."""
        return self.function(x)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_bounded(cases: ModuleType, name: str) -> None:
    function, wanted = STEPS[name]
    found = bound_net(Step(function).eval(), (2, 4)).value
    if wanted is not None:
        assert found == pytest.approx(wanted, rel=1e-5)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        point = torch.randn(1, 2, 4, generator=generator, dtype=torch.float64)
        assert found >= cases.norm(cases.jacobian(function, point)) * (1 - 1e-9)


REFUSED: dict[str, tuple[Function, str]] = {
    "product": (lambda x: x * x, "product of two"),
    "quotient": (lambda x: x / x.norm(), "ClippedNorm"),
    "constant over x": (lambda x: 1 / (2 + x.abs()), "division|first argument"),
    "by zero": (lambda x: x / torch.zeros(4).double(), "by zero"),
    "attention": (lambda x: (x @ x.mT).softmax(-1) @ x, "matrix product"),
    "normalize": (lambda x: F.normalize(x), "normalize has no global bound"),
    "layer_norm": (lambda x: F.layer_norm(x, (4,)), "layer_norm has no global bound"),
    "indices": (lambda x: x.sort(dim=2)[1] + 0.0 * x, "infinite|indices"),
    "gather": (lambda x: x.gather(2, x.argsort(2)), "argsort"),
    "list index": (lambda x: x[:, :, [0, 0]], "index"),
    "cast": (lambda x: x.long() + x, "long"),
    "power": (lambda x: x.pow(2), "pow"),
    "one norm": (lambda x: x.norm(p=1, dim=2), "p=1"),
    "dropout": (lambda x: F.dropout(x, 0.0, training=True), "training=True"),
    "rounding": (lambda x: torch.div(x, 0.1, rounding_mode="floor"), "rounds"),
    "half": (lambda x: x.to(torch.float16).double(), "float16"),
    "several outputs": (lambda x: (x, x), "several|one tensor"),
    "threshold": (lambda x: F.softplus(x, 1.0, 1.0), "jumps"),
    "branch": (lambda x: x if bool(x.sum() > 0) else -x, "cannot trace"),
    "number": (lambda x: x * float(x.sum()), "cannot trace"),
    "item": (lambda x: x * x.sum().item(), "item"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_without_a_bound_is_refused(name: str) -> None:
    function, word = REFUSED[name]
    with pytest.raises(ModelContractError, match=word):
        bound_net(Step(function).eval(), (2, 4))
