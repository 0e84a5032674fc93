"""Which rows are worth an expensive look, and what do they say of the others? A budget, spent.

Rows come with scores: the lower, the likelier an expensive attack breaks what a cheap one left.
The lowest are looked at one and all, and are known. Of the others, cut into strata by score,

* "planned" looks at a few at random (the pilot, known from then on), guesses the share of broken
  rows from them, plans n for the half width (:func:`.planning.sample_size`) and looks at n of those
  that are left. Given the pilot that is a sample of fixed size from a fixed set: the interval is
  exact, and no part of its level is spent on the plan.
* "anytime" looks at one chunk after the other until the interval of :mod:`.anytime`, which is right
  at all times at once, is short enough.

Which rows are looked at is a function of the seed and of their ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ConfigError
from ..arguments import check_confidence, parse_real, parse_seed, parse_whole
from ..streams import uniform
from .anytime import product_bounds
from .planning import sample_size
from .strata import COMBINATIONS, Combination, Stratum, joint_fits, total_bounds

IntArray = NDArray[np.int64]
Strike = Callable[[IntArray], NDArray[np.bool_]]
"""Looks at rows (R,): which of them are broken (R,)."""
Method = Literal["planned", "anytime"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class SpendSettings:
    """How a budget is spent; checked as a whole.

    Arguments:
        half_width (float): of the interval, as a share of all images, > 0. (Default: 0.01)
        confidence (float): of the interval, in (0, 1). (Default: 0.95)
        method (str): "planned" or "anytime". (Default: "planned")
        exhaustive (float): share of the rows that are looked at whole, lowest first, in [0, 1].
            (Default: 0.01)
        pilot (int): rows of the pilot of "planned", >= 1. (Default: 60)
        strata (int): into how many the others are cut by score, >= 1. (Default: 1)
        combine (str): how the strata of "planned" are put together. (Default: "joint")
        chunk (int): rows of one look of "anytime", >= 1. (Default: 32)
        seed (int): of the draw. (Default: 0)

    >>> SpendSettings(half_width=0.02).confidence
    0.95
    """

    half_width: float = 0.01
    confidence: float = 0.95
    method: Method = "planned"
    exhaustive: float = 0.01
    pilot: int = 60
    strata: int = 1
    combine: Combination = "joint"
    chunk: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("half_width", "confidence", "exhaustive"):
            value = parse_real(getattr(self, name), name)
            object.__setattr__(self, name, value)
        for name, least in (("pilot", 1), ("strata", 1), ("chunk", 1)):
            whole = parse_whole(getattr(self, name), name, least)
            object.__setattr__(self, name, whole)
        object.__setattr__(self, "seed", parse_seed(self.seed))
        check_confidence(self.confidence)
        if not 0 < self.half_width <= 0.5:
            raise ConfigError(
                f"half_width={self.half_width!r} must be in (0, 0.5], a share of all images: 0.01 "
                "is one point"
            )
        if not 0 <= self.exhaustive <= 1:
            raise ConfigError(
                f"exhaustive={self.exhaustive!r} must be in [0, 1], a share of the rows"
            )
        for name, known in (("method", METHODS), ("combine", COMBINATIONS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} is not one of {known}"
                )
        if (self.method, self.combine) == ("planned", "joint") and self.strata > 2:
            raise ConfigError(
                f"strata={self.strata} needs combine='split' or 'product'; 'joint' takes two"
            )

    def facts(self) -> dict[str, float | int | str]:
        """All of them, in JSON types."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Spent:
    """What was looked at and what follows. strata: the known rows first, then those sampled.

    looked, broken (M,) bool. member (M,): number of the row's stratum in `strata`. lower, upper:
    of all broken rows. combine: how their strata were put together ("split" where "joint" would
    take too much memory).
    """

    looked: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    member: IntArray
    strata: tuple[Stratum, ...]
    lower: int
    upper: int
    combine: Combination

    @property
    def estimate(self) -> float:
        """Sum of size / drawn * broken over the strata; half of those without a draw."""
        return sum(
            one.size / one.drawn * one.broken if one.drawn else one.size / 2
            for one in self.strata
        )


def spend(
    scores: Tensor, ids: Tensor, n_images: int, strike: Strike, settings: SpendSettings
) -> Spent:
    """Look at as many of M rows as the interval needs.

    Args:
        scores: (M,) real numbers, lower = likelier broken; NaN counts as lowest.
        ids: (M,) int64, one a row.
        n_images: of how many images the half width is a share, >= M.
        strike: looks at rows. What it says of a row must not depend on which others are asked.
        settings: see there.

    Returns:
        A :class:`Spent`; its interval is wrong with probability at most ``1 - confidence`` over
        the draw of rows, whatever the scores are.

    Example:
        >>> truth = torch.arange(1000) < 12                     # the lowest scores are broken
        >>> scores = torch.arange(1000.0)
        >>> spent = spend(scores, torch.arange(1000), 2000, lambda rows: truth.numpy()[rows],
        ...               SpendSettings(half_width=0.02))
        >>> int(spent.looked.sum()), spent.lower, spent.upper
        (114, 10, 83)
    """
    order = torch.nan_to_num(scores.double(), nan=-math.inf).argsort(stable=True)
    known = math.ceil(settings.exhaustive * len(order))
    ledger = _Ledger(len(order), strike)
    ledger.look(order[:known].numpy())
    cuts = np.array_split(order[known:].numpy(), settings.strata)
    queues = [rows[_shuffled(ids, rows, settings.seed)] for rows in cuts if len(rows)]
    room = settings.half_width * n_images
    if settings.method == "planned":
        strata = _planned(ledger, queues, room, settings)
        combine = settings.combine
        if combine == "joint" and not joint_fits([one for _, one in strata]):
            combine = "split"  # as is known before the outcomes
    else:
        strata = _anytime(ledger, queues, room, settings)
        combine = "product"
    drawn, member = ledger.looked.copy(), np.zeros(len(order), dtype=np.int64)
    for number, (rows, stratum) in enumerate(strata, 1):
        drawn[rows[: stratum.drawn]] = False
        member[rows] = number
    first = Stratum(int(drawn.sum()), int(drawn.sum()), int(ledger.broken[drawn].sum()))
    every = (first, *(stratum for _, stratum in strata))
    error = 1 - settings.confidence
    if settings.method == "planned":
        lower, upper = total_bounds(every, error, combine)
    else:
        lower, upper = (first.broken + side for side in _now(every[1:], error))
    return Spent(ledger.looked, ledger.broken, member, every, lower, upper, combine)


_SHRUNK = 0.25
"""Added to what the pilot saw; the mean half width is then the asked one, or up to a tenth more."""
Queues = list[tuple[IntArray, Stratum]]


class _Ledger:
    def __init__(self, n: int, strike: Strike) -> None:
        self.looked = np.zeros(n, dtype=bool)
        self.broken = np.zeros(n, dtype=bool)
        self._strike = strike

    def look(self, rows: IntArray) -> int:
        """Look at rows for the first time; how many are broken."""
        if not len(rows):
            return 0
        assert not self.looked[rows].any()
        self.looked[rows] = True
        self.broken[rows] = self._strike(rows)
        return int(self.broken[rows].sum())


def _shuffled(ids: Tensor, rows: IntArray, seed: int) -> IntArray:
    """A random order of the rows, from 48 random bits for each id."""
    u = uniform(seed, ids[torch.from_numpy(rows)].cpu(), "budget", 0, 2).double()
    return (u[:, 0] + u[:, 1] / 2**24).argsort(stable=True).numpy()


def _planned(
    ledger: _Ledger, queues: list[IntArray], room: float, settings: SpendSettings
) -> Queues:
    """Pilot, plan, sample: the same share of each stratum."""
    total = sum(map(len, queues))
    if total <= 2 * room or not total:
        return [(rows, Stratum(len(rows), 0, 0)) for rows in queues]
    pilot = min(settings.pilot, total)
    cuts = [min(len(rows), math.ceil(pilot * len(rows) / total)) for rows in queues]
    seen = sum(ledger.look(rows[:cut]) for rows, cut in zip(queues, cuts))
    guess = (seen + _SHRUNK) / (sum(cuts) + 1)
    left = [rows[cut:] for rows, cut in zip(queues, cuts)]
    rest = sum(map(len, left))
    size = sample_size(rest, guess, room, 1 - settings.confidence)
    found = []
    for rows in left:
        draws = min(len(rows), math.ceil(size * len(rows) / rest)) if rest else 0
        broken = ledger.look(rows[:draws])
        found.append((rows, Stratum(len(rows), draws, broken)))
    return found


def _anytime(
    ledger: _Ledger, queues: list[IntArray], room: float, settings: SpendSettings
) -> Queues:
    """Chunk after chunk, each stratum in proportion, until the interval is short enough."""
    found = [(rows, Stratum(len(rows), 0, 0)) for rows in queues]
    total, error = sum(map(len, queues)), 1 - settings.confidence
    drawn = 0
    while drawn < total:
        lower, upper = _now([stratum for _, stratum in found], error)
        if upper - lower <= 2 * room:
            break
        drawn = min(total, drawn + settings.chunk)
        after = []
        for rows, old in found:
            upto = min(len(rows), math.ceil(drawn * len(rows) / total))
            broken = old.broken + ledger.look(rows[old.drawn : upto])
            after.append((rows, Stratum(len(rows), upto, broken)))
        found = after
    return found


def _now(strata: Sequence[Stratum], error: float) -> tuple[int, int]:
    """The limits at this moment. Every stratum stays in the product, also when it is through.

    Without its factor the product would be no martingale any more.
    """
    return product_bounds([one.counts for one in strata], error) if strata else (0, 0)
