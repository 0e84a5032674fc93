"""Is Square the published one, with each row's own numbers, on every pixel, and blind to no tie?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.square import misfit, windows
from torchattacks_ext.numerics.losses import margins
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.testing import TiedLogits
from torchattacks_ext.testing.props import balanced_net, example_images

RunOwn = Callable[..., Any]
QUERIES, SHAPE = 40, (3, 6, 8)
LINE = AttackSpec("square", on="target", steps=QUERIES)
STREAM = f"own/target/square-{QUERIES}"


def square_naive(
    net: Any, image: Tensor, number: int, eps: float
) -> tuple[list[Tensor], int]:
    """All queries of one image, as long as it is right; loops over pixels. How many moved one."""
    c, h, w = image.shape
    ids, label = torch.tensor([number]), net(image[None]).argmax(1)

    def edge(number: float, pixel: float) -> float:
        return min(max(pixel + (-eps if number < 0.5 else eps), 0.0), 1.0)

    best, least, asked, moved = image.clone(), float("inf"), [], 0
    for query in range(QUERIES + 1):
        new = best.clone()
        if query == 0:
            numbers = uniform(0, ids, f"{STREAM}/stripes", 0, c * w)[0].reshape(c, w)
            for i in range(c):
                for j in range(w):
                    for k in range(h):
                        new[i, k, j] = edge(float(numbers[i, j]), float(image[i, k, j]))
        else:
            numbers = uniform(0, ids, STREAM, query, 2 + c)[0].double()
            side = int(windows(QUERIES, h, w)[query])
            top, left = (int(u * (s - side + 1)) for u, s in zip(numbers, (h, w)))
            for i in range(c):
                for k in range(top, top + side):
                    for j in range(left, left + side):
                        new[i, k, j] = edge(
                            float(numbers[2 + i]), float(image[i, k, j])
                        )
        asked.append(new)
        moved += query == 0 or not torch.equal(new, best)
        margin = float(margins(net(new[None]), label))
        if margin < least:
            best, least = new, margin
        if margin < 0:
            break
    return asked, moved


def test_square_naive_asks_the_same(run_own: RunOwn) -> None:
    net, images = balanced_net(shape=SHAPE).double(), example_images(8, SHAPE).double()
    labels = net(images).argmax(1)
    ledger, engine = run_own(net, images, [LINE], 0.03)
    fallen, passes, queries = 0, 0, 0
    for row, image in enumerate(images):
        points, moved = square_naive(net, image, row, 0.03)
        asked = torch.stack(points)
        margin = margins(net(asked), labels[row].expand(len(asked)))
        clean = torch.as_tensor(ledger.clean_margin[row])
        assert abs(float(margin.min().clamp_max(clean)) - ledger.margin[row]) < 1e-9
        fallen, passes = fallen + bool(margin.min() < 0), passes + moved
        queries += len(points)
    assert 0 < fallen < 8
    assert passes + 16 <= engine.meter.forward <= 1.15 * queries + 16


def test_a_square_that_moves_no_pixel_is_not_asked(run_own: RunOwn) -> None:
    """With one channel at least half of the squares of one pixel, here of all but a few."""
    net, images = balanced_net().double(), example_images(3).double()
    line = AttackSpec("square", on="target", steps=2000)
    sides = windows(2000, 8, 8)
    ledger, engine = run_own(net, images, [line], 1e-6)
    assert (sides == 1).sum() > 1000 and ledger.alive.all()
    assert engine.meter.forward < 3 * (2000 - 0.4 * (sides == 1).sum())


def test_any_batch_is_asked_alike(run_own: RunOwn) -> None:
    net, images = balanced_net().double(), example_images(12).double()
    line = AttackSpec("square", on="target", steps=60)
    whole, _ = run_own(net, images, [line], 0.05)
    for size in (1, 5):
        parts, _ = run_own(net, images, [line], 0.05, size=size)
        assert torch.equal(parts.best, whole.best)
        assert 0 < (parts.breaker >= 0).sum() < 12


def test_windows_halve_and_stay_inside() -> None:
    sides = windows(10_000, 32, 32)
    assert sides[1] == sides[10] == 29 and sides[11] == 20 and sides[8001] == 1
    assert (windows(100, 3, 9) <= 3).all() and (windows(100, 3, 9) >= 1).all()


def test_every_pixel_is_touched() -> None:
    """Also the last row and column, at sides below the image's."""
    ids, touched = torch.arange(4000), torch.zeros(6, 8, dtype=torch.bool)
    numbers = uniform(0, ids, "any", 1, 2).double()
    for side in (1, 3):
        start = [(numbers[:, i] * (n - side + 1)).long() for i, n in ((0, 6), (1, 8))]
        for top, left in zip(*(s.tolist() for s in start)):
            touched[top : top + side, left : left + side] = True
        assert touched.all()
        touched[:] = False


class Corner(nn.Module):
    """Wrong only where the last pixel of the last row is pushed up."""

    def forward(self, x: Tensor) -> Any:
        last = x[:, 0, -1, -1] - 0.5
        return torch.stack([0.05 - last, torch.zeros_like(last)], 1)


def test_the_last_pixel_can_be_pushed(run_own: RunOwn) -> None:
    images = torch.full((4, 1, 8, 8), 0.5, dtype=torch.float64)
    line = AttackSpec("square", on="target", steps=100)
    ledger, _ = run_own(Corner(), images, [line], 0.1)
    assert (ledger.breaker >= 0).sum() >= 2  # a window that spares the border: none


def test_a_tie_that_argmax_decides_for_the_label_goes_on(run_own: RunOwn) -> None:
    net = TiedLogits(balanced_net(shape=SHAPE), 0.5).eval()
    images = example_images(8, SHAPE)
    ledger, _ = run_own(net, images, [LINE], 0.3)
    with torch.no_grad():
        wrong = net(ledger.best).argmax(1) != ledger.labels
    assert wrong.tolist() == (ledger.breaker >= 0).tolist()
    assert wrong.any()


def test_what_is_no_picture_is_said(run_own: RunOwn) -> None:
    assert "square needs images" in misfit(torch.zeros(2, 5))
    net = nn.Linear(5, 3).double().requires_grad_(False)
    ledger, engine = run_own(net, torch.rand(2, 5).double(), [LINE])
    assert engine.skipped == {misfit(torch.zeros(2, 5))}
