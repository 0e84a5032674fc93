"""Does smoothed ascent walk by its formula, inside the ball, on numbers of the row's own?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.numerics.gaussian import normals
from torchattacks_ext.numerics.losses import margins
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.testing.props import balanced_net, example_images

from .conftest import nearest_naive

RunOwn = Callable[..., Any]
STEPS, COPIES, SIGMA = 6, 3, 1.5
LINE = AttackSpec(
    "smooth", on="target", steps=STEPS, copies=COPIES, sigma=SIGMA, gate=math.inf
)
STREAM = "own/target/smooth-1.5-6"


def noise_naive(numbers: Tensor, x: Tensor, width: float, norm: str) -> Tensor:
    """x in noise of about the length `width`; numbers (64,) in [0, 1)."""
    if norm == "Linf":
        return x + width * normals(numbers[None]).reshape(x.shape).double()
    part = 3 * width**2 / 64 if norm == "L2" else 2 * width / 64
    found = x.clone().flatten()
    for place, number in enumerate(numbers.tolist()):
        if number < part:
            found[place] = number / part
    return found.reshape(x.shape)


def up_naive(v: Tensor, x: Tensor, step: float, norm: str) -> Tensor:
    """The change of length `step` along which v rises most, within the box in L2 and L1."""
    if norm == "Linf":
        return step * v.sign()
    v = v.masked_fill(((x <= 1e-6) & (v < 0)) | ((x >= 1 - 1e-6) & (v > 0)), 0)
    if norm == "L2":
        return step * v / v.norm()
    change, left = torch.zeros_like(x).flatten(), step
    for place in v.flatten().abs().argsort(descending=True).tolist():
        pixel, slope = float(x.flatten()[place]), float(v.flatten()[place])
        spent = min(left, 1 - pixel if slope > 0 else pixel) * (slope != 0)
        change[place] = spent if slope > 0 else -spent
        left -= spent
    return change.reshape(x.shape)


def smooth_naive(net: Any, image: Tensor, number: int, eps: float, norm: str) -> Tensor:
    """The points (STEPS, ...) of one image, written down from the formula."""
    label = net(image[None]).argmax(1)
    x, v, points = image, torch.zeros_like(image), []
    for i in range(1, STEPS + 1):
        width, total = SIGMA * eps * (1 - i / (STEPS + 1)), torch.zeros_like(image)
        for s in range(COPIES):
            numbers = uniform(0, torch.tensor([number]), STREAM, i * COPIES + s, 64)
            near = noise_naive(numbers[0], x, width, norm)
            near = nearest_naive(image, near, eps, norm).requires_grad_()
            (slope,) = torch.autograd.grad(-margins(net(near[None]), label).sum(), near)
            total = total + slope
        v = 0.75 * v + total / total.abs().sum()
        step = eps * (1 + math.cos(math.pi * i / (STEPS + 1)))
        x = nearest_naive(image, x + up_naive(v, x, step, norm), eps, norm)
        points.append(x)
    return torch.stack(points)


@pytest.mark.parametrize("norm, eps", [("Linf", 0.01), ("L2", 0.1), ("L1", 0.4)])
def test_smooth_naive_finds_the_same(run_own: RunOwn, norm: Any, eps: float) -> None:
    net, images = balanced_net().double(), example_images(10).double()
    labels = net(images).argmax(1)
    ledger, engine = run_own(net, images, [LINE], eps, norm, size=8)
    fallen = 0
    for row, image in enumerate(images):
        found = smooth_naive(net, image, row, eps, norm)
        margin = margins(net(found), labels[row].expand(STEPS))
        first = (margin < 0).nonzero()
        want = margin[first[0]] if len(first) else margin.min()
        clean = torch.as_tensor(ledger.clean_margin[row])
        assert abs(float(want.clamp_max(clean)) - ledger.margin[row]) < 1e-6
        fallen += bool(len(first))
    assert 0 < fallen < 10
    assert float(norm_of(ledger.best - images, norm).max()) <= eps * (1 + 1e-6)


def test_a_batch_holds_the_copies(run_own: RunOwn) -> None:
    sizes: list[int] = []
    net = balanced_net().double()
    net[0].register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    run_own(net, example_images(10).double(), [LINE], 1e-6, size=8)
    # ten clean images first; then two slots of three copies
    assert max(size for size in sizes if size < 8) == 6 and sizes.count(6) == 5 * STEPS
