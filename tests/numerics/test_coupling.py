"""Are draws that rows of a call share found, at the false-alarm rate that is stated?"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torchattacks_ext.numerics.coupling import (
    N_ALONE,
    N_CALLS,
    N_COPIES,
    shares_draws,
    stands_apart,
)

SHAPE = (N_CALLS, N_COPIES)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_stated_false_alarm_rates_are_sums_of_exact_ones() -> None:
    clusters = 6 * 6 / math.comb(48, 8) + 3 * 15 / math.comb(48, 16)
    clusters += 2 * 20 / math.comb(48, 24)
    log = -math.log(2e-9)
    pairs = 2e-9 * (1 + log + log**2 / 2)
    assert clusters < 9.7e-8 and pairs < 4.5e-7 and clusters + 2 * pairs < 1e-6
    assert 1 / math.comb(23, N_ALONE) < 7.5e-7


@pytest.mark.parametrize("kind", ["normal", "cauchy", "coin", "rare", "one value"])
def test_independent_rows_raise_no_alarm(kind: str) -> None:
    """5 looks each; a false alarm has a probability of at most 1e-6 a look."""
    for seed in range(5):
        values = normal(*SHAPE, 3, seed=seed)
        if kind == "cauchy":
            values = values / normal(*SHAPE, 1, seed=seed + 1000)
        if kind in ("coin", "rare"):
            values = (values[..., :1] > (0.0 if kind == "coin" else 1.9)).float()
        if kind == "one value":
            values = torch.ones(*SHAPE, 3)
        assert not shares_draws(values)


def test_a_draw_that_all_rows_share_is_always_seen() -> None:
    for seed in range(5):
        shared = normal(N_CALLS, 1, 2, seed=seed).expand(*SHAPE, 2)
        assert shares_draws(shared + 1e-9 * normal(*SHAPE, 2, seed=seed))
    for struck in range(1, N_CALLS):  # a jitter of some calls, two values
        hit = (torch.arange(N_CALLS) < struck).float().reshape(-1, 1, 1)
        assert shares_draws(hit.expand(*SHAPE, 1))


def test_half_shared_noise_and_noise_that_sums_to_zero_are_seen() -> None:
    """At K = 10 power .98 a look: of 12, fewer than 6 with a probability of 1e-9."""
    half = [
        normal(N_CALLS, 1, 10, seed=seed) + normal(*SHAPE, 10, seed=seed + 500)
        for seed in range(12)
    ]
    assert sum(map(shares_draws, half)) >= 6
    centred = [z - z.mean(1, keepdim=True) for z in half]
    assert sum(map(shares_draws, centred)) >= 6


def test_answers_alone_that_differ_from_those_in_company_stand_apart() -> None:
    noise = normal(23, 4)
    alone, company = noise[:N_ALONE], noise[N_ALONE:]
    assert not stands_apart(alone, company)
    assert stands_apart(alone, company + 20)
    assert not stands_apart(alone, company + 20, least=1000)
    assert not stands_apart(torch.zeros(12, 1), torch.zeros(11, 1))


def test_differences_that_count_for_nothing_are_no_alarm() -> None:
    place = torch.arange(N_COPIES).reshape(1, -1, 1).expand(*SHAPE, 1) * 1e-7
    assert not shares_draws(place, least=1e-4)
