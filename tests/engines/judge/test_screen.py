"""Does one lucky draw decide nothing? Screening, choosing and reporting are apart."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor, nn

from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.screen import CHOICE, POOL, ScreenLedger, votes


class Coin(nn.Module):
    """Right with probability x[0], whatever the rest says; class 0 is right."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, images: Tensor) -> Tensor:
        self.rows += len(images)
        right = torch.rand(len(images)) < images[:, 0]
        score = torch.where(right, 1.0, -1.0)
        return torch.stack([score, -score, torch.full_like(score, -9.0)], 1)


def opened(chance: float, n: int = 4) -> tuple[Coin, ScreenLedger]:
    model = Coin()
    images = torch.full((n, 2), chance)
    judge = Judge(model, targeted=False, batch_size=3, rechecks=False)
    labels = torch.zeros(n, dtype=torch.long)
    ledger = ScreenLedger.open(judge, images, labels, 1.0, "Linf")
    ledger.start_from(np.ones(n, dtype=bool))
    return model, ledger


def test_votes_have_the_chance_of_the_model() -> None:
    torch.manual_seed(0)
    images = torch.tensor([[0.3, 0.0], [0.9, 0.0]])
    found = votes(Coin(), images, 400, 3, 1)
    assert found.sum(1).tolist() == [400, 400] and not found[:, 2].any()
    for row, chance in enumerate((0.3, 0.9)):
        low, high = binom.ppf([1e-7, 1 - 1e-7], 400, chance)
        assert low <= found[row, 0] <= high


def test_numbers_that_are_none_vote_for_nobody() -> None:
    odd = torch.tensor([[float("nan"), 1.0]])
    assert votes(lambda x: x, odd, 3, 2, 8).tolist() == [[0, 0]]


def test_single_wrong_draws_leave_a_row_alive() -> None:
    torch.manual_seed(1)
    _, ledger = opened(0.6)
    for _ in range(
        40
    ):  # 0.4 wrong each: some of 40 draws are, but for a chance of 1e-9
        ledger.offer(torch.arange(4), ledger.images, "same")
    assert (ledger.pool_margin[:, 0] < 0).all()
    assert bool(ledger.alive.all()) and (ledger.breaker == -1).all()
    ledger.settle()
    assert bool(ledger.alive.all())


def test_a_candidate_that_is_nearly_always_wrong_ends_the_search() -> None:
    torch.manual_seed(2)
    _, ledger = opened(0.9)
    bad = torch.tensor([[0.0, 0.5]]).expand(4, 2)
    ledger.offer(torch.arange(4), bad, "bad")
    assert bool(ledger.alive.all())
    ledger.settle()
    assert not bool(ledger.alive.any())
    assert [ledger.sources[i] for i in ledger.breaker] == ["bad"] * 4
    assert ledger.entries["bad"].broken == 4 and torch.equal(ledger.best, bad)


def test_the_better_of_two_candidates_is_chosen_by_new_draws() -> None:
    torch.manual_seed(3)
    _, ledger = opened(0.95, n=1)
    for chance in (0.8, 0.3, 0.85):
        ledger.offer(torch.tensor([0]), torch.tensor([[chance, 0.0]]), str(chance))
    ledger.settle()
    # P(20 draws of the 0.3 coin score above those of a 0.8 coin) < 1e-3; the seed is fixed
    assert abs(float(ledger.best[0, 0]) - 0.3) < 1e-6
    assert ledger.sources[int(ledger.lead[0])] == "0.3"


def test_each_candidate_is_weighed_once_and_dead_rows_never() -> None:
    torch.manual_seed(4)
    model, ledger = opened(0.9, n=3)
    ledger.offer(torch.arange(3), ledger.images, "a")
    before = model.rows
    ledger.settle()
    spent = model.rows - before
    # in a place of the pool, and as the latest
    assert spent == 2 * CHOICE * 3 <= POOL * CHOICE * 3
    ledger.settle()
    assert model.rows == before + spent
    ledger.start_from(np.zeros(3, dtype=bool))
    ledger.offer(torch.arange(3), ledger.images, "b")
    ledger.settle()
    assert model.rows == before + spent
