"""Which marks do rounded scores, grids of pixels and jumps leave, and which do they not leave?"""

from __future__ import annotations

import torch
from torch import Tensor

from torchattacks_ext.models.checks.answers import (
    SMALL,
    inward,
    is_hard,
    repeated,
    steps,
)
from torchattacks_ext.models.checks.gradients import loss_gradients
from torchattacks_ext.testing import Quantised, TiedLogits, small_net

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(20, 1, 8, 8, generator=GENERATOR)
IDS = torch.arange(20)
NET = small_net().eval()
LABELS = NET(IMAGES).argmax(1)


def repeated_slowly(logits: Tensor) -> list[float]:
    """The twin: every value against every other one."""
    every = logits.flatten().tolist()
    count = {value: every.count(value) for value in every}
    common = max(sorted(count), key=lambda value: count[value])
    again = {v for v, n in count.items() if n > 1 and v != common}
    return [sum(v in again for v in row) / len(row) for row in logits.tolist()]


def test_repeated_is_its_slow_twin() -> None:
    logits = torch.randint(0, 40, (6, 5), generator=torch.Generator().manual_seed(3))
    assert repeated(logits.double()).tolist() == repeated_slowly(logits.double())


def test_scores_of_a_net_do_not_repeat_and_rounded_ones_do() -> None:
    with torch.no_grad():
        assert float(repeated(NET(IMAGES)).mean()) < 0.02
        wide = TiedLogits(lambda x: 20 * NET(x), 0.5)(IMAGES)
        assert float(repeated(wide).mean()) > 0.5


def test_relu_scores_are_not_called_rounded() -> None:
    assert float(repeated(torch.randn(50, 10, generator=GENERATOR).relu()).max()) == 0


def test_hard_rows_are_two_numbers_of_three() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.5]])
    assert is_hard(logits).tolist() == [True, False]
    assert is_hard(torch.tensor([[0.2, 0.7]])).tolist() == [False]


def test_steps_stay_in_the_range_and_follow_the_ids() -> None:
    edges = torch.tensor([[0.0, 1.0, 0.5, 1e-4]]).expand(20, 4)
    found = inward(edges, IDS, 0)
    there = edges + SMALL * found
    assert bool(((there >= 0) & (there <= 1)).all()) and bool((found.abs() == 1).all())
    turned = inward(edges.flip(0), IDS.flip(0), 0).flip(0)
    assert torch.equal(found, turned) and not torch.equal(found, inward(edges, IDS, 1))
    wide = inward(edges * 255, IDS, 0, (0.0, 255.0))
    assert bool((wide.abs() == 255).all())


def seen(model: object) -> tuple[Tensor, Tensor]:
    view = model
    clean = loss_gradients(view, IMAGES, LABELS)  # type: ignore[arg-type]
    step = inward(IMAGES, IDS, 0)
    found = steps(view, IMAGES, LABELS, clean.logits, clean.margin, step)  # type: ignore[arg-type]
    return found.flat, found.rough


def test_a_smooth_net_moves_as_its_gradient_says() -> None:
    flat, rough = seen(NET)
    assert not bool(flat.any()) and float(rough.nanmedian()) < 0.1


def test_a_grid_of_pixels_is_flat() -> None:
    flat, _ = seen(Quantised(NET, 16))
    assert float(flat.double().mean()) > 0.9


def test_jumps_are_rough() -> None:
    def jumps(images: Tensor) -> Tensor:
        # a gradient of the net, and values that change at every small step
        kept = torch.frac(images.detach() * 1e4).sum((1, 2, 3))
        return NET(images) + torch.outer(kept, torch.tensor([-1.0, 0.0, 1.0]))

    flat, rough = seen(jumps)
    assert not bool(flat.any()) and float(rough.nanmedian()) > 0.9
