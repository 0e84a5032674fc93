"""Does `check_probe` pass our classes, and does it catch each kind of broken one?"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import Probe, PRTest
from torchattacks_ext.testing import check_probe

PROBES = [PRTest]


def make(model: nn.Module, kind: Any = PRTest) -> Probe:
    return kind(model, eps=0.1, n_max=100, significance=0.1)


@pytest.mark.parametrize(
    "shape",
    [(1, 8, 8), *(pytest.param(s, marks=pytest.mark.slow) for s in ((12,), (3, 5)))],
)
@pytest.mark.parametrize("kind", PROBES)
def test_the_whole_contract(kind: Any, shape: tuple[int, ...]) -> None:
    assert len(check_probe(lambda model: make(model, kind), shape=shape)) == 13


class LeavesTheModelInTraining(PRTest):
    def _borrowed(self) -> Any:
        self.model.train()
        return contextlib.nullcontext()


class DrawsGlobally(PRTest):
    def forward(self, inputs: Tensor, labels: Any = None, *a: Any, **k: Any) -> Tensor:
        return (inputs + 0.01 * torch.rand_like(inputs)).clamp(0, 1)


class DrawsFromNumpy(PRTest):
    def forward(self, inputs: Tensor, labels: Any = None, *a: Any, **k: Any) -> Tensor:
        np.random.rand(1)
        return super().forward(inputs, labels)


class LeavesTheBall(PRTest):
    def forward(self, inputs: Tensor, labels: Any = None, *a: Any, **k: Any) -> Tensor:
        return (inputs + 0.2).clamp(0, 1)


class LeavesTheRange(PRTest):
    def forward(self, inputs: Tensor, labels: Any = None, *a: Any, **k: Any) -> Tensor:
        return inputs + 0.05


class WritesIntoItsInput(PRTest):
    def _prepare(self, inputs: Any, normalised: bool) -> Tensor:
        inputs.add_(0.0).clamp_(0.1, 1)
        return super()._prepare(inputs, normalised)


class SharesNoiseByPosition(PRTest):
    def _ids(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return torch.arange(len(images))

    def _stream(self, data: Any, labels: Any, ids: Any, resume: Any) -> Any:
        return super()._stream(data, labels, np.arange(len(data)), resume)


class HasNoCitation(PRTest):
    citation = ""


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        (LeavesTheModelInTraining, "same call|modes"),
        (DrawsGlobally, "same call|generator"),
        (DrawsFromNumpy, "numpy's generator"),
        (LeavesTheBall, "in the ball"),
        (LeavesTheRange, r"in \[0, 1\]"),
        (WritesIntoItsInput, "leaves its input"),
        (SharesNoiseByPosition, "input order|order changes|two halves"),
        (HasNoCitation, "citation"),
    ],
)
def test_a_broken_probe_is_caught(kind: Any, claim: str) -> None:
    with pytest.raises((AssertionError, RuntimeError), match=claim):
        check_probe(lambda model: make(model, kind), n=6)
