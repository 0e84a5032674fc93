"""Is the answer with two corrected columns that of the whole batch with one row replaced?"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchattacks_ext.defenses.hpm.alone import Alone
from torchattacks_ext.engines.joint.ledgers import Isolated

from .conftest import Make, images_of

M = 16


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"empty": "zero"},
        {"mixer": "convex", "share": 0.0},
        {"distance": "l2sq", "assign": "hard"},
        {"distance": "dot"},
        {"use_global": False, "empty": "zero"},
        {"assign": "soft"},
        {"assign": "none"},
    ],
)
@pytest.mark.parametrize(
    "seeds", [range(1), pytest.param(range(1, 6), marks=pytest.mark.slow)]
)
def test_two_columns_are_brute_force(
    make: Make, case: dict[str, Any], seeds: range
) -> None:
    moved = 0
    for seed in seeds:
        hpm = make(seed, **case)
        clean, other = images_of(M, 3 + seed), images_of(M, 30 + seed)
        with torch.no_grad():
            brute = Isolated(hpm, clean)(other)
            quick = hpm.alone_in(clean)(other, torch.arange(M))
            said = [hpm.head.fc(hpm.trunk(x)).argmax(1) for x in (clean, other)]
        moved += int((said[0] != said[1]).sum())
        assert torch.allclose(quick, brute, rtol=1e-4, atol=2e-5)
        assert torch.equal(quick.argmax(1), brute.argmax(1))
    assert moved > M * len(seeds) // 4  # rows did change their class


def test_a_class_that_is_left_or_begun_is_empty_or_not(make: Make) -> None:
    for empty in ("global", "zero"):
        hpm = make(empty=empty, mixer="convex", share=0.2)
        z = hpm.forward_features(images_of(300)).detach()
        said = hpm.head.fc(z).argmax(1)
        rows = [int((said == k).nonzero()[0]) for k in (0, 1, 2)]
        clean = z[rows[:2]]  # one row each of classes 0 and 1
        for new in rows:  # leaves a class empty; the last one begins another
            batch = torch.stack([z[new], clean[1]])
            own = Alone(hpm.head, clean)(z[new][None], torch.tensor([0]))
            assert torch.allclose(own[0], hpm.head(batch)[0], atol=1e-5)


def test_the_gradient_runs_through_the_row_alone(make: Make) -> None:
    hpm = make(
        assign="hard"
    )  # with "ste" the whole batch has a gradient of the choice besides
    clean, other = images_of(M, 3), images_of(M, 30).requires_grad_()
    weights = torch.randn(M, 5, generator=torch.Generator().manual_seed(0))
    ways = [
        torch.autograd.grad((ask * weights).sum(), other)[0]
        for ask in (
            Isolated(hpm, clean)(other),
            hpm.alone_in(clean)(other, torch.arange(M)),
        )
    ]
    assert torch.allclose(*ways, rtol=1e-3, atol=1e-5)


def test_rows_come_in_any_order(make: Make) -> None:
    hpm, clean, other = make(), images_of(M, 3), images_of(M, 30)
    ask, places = hpm.alone_in(clean), torch.tensor([5, 0, 9])
    whole = ask(other, torch.arange(M))
    assert torch.allclose(ask(other[places], places), whole[places], atol=1e-6)
