"""Do rows of one call share a random draw? Exact tests by exchange, for answers to copies.

Copies of one image went through a model in several calls. If every row draws for itself, all
answers are exchangeable, so that any other division of them into groups of the same size was as
likely as the one into calls. A draw that rows share makes the answers within a call more alike
than those of different calls; one that they divide up (antithetic noise) makes them less alike.

Two tests, each exact whatever the law of the answers is:

* clusters: the answers fall apart into clusters, and each call lies in one of them;
* pairs of calls: W = the distances between answers within a call, summed (Mantel 1967), has a rank
  among all 6,435 divisions of 16 answers into two eights; the p-values of three pairs, independent,
  are multiplied (Fisher 1932).
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

N_CALLS = 6
N_COPIES = 8
N_ALONE = 12
_PRODUCT = 2e-9
"""Of three uniform p-values: P(p1 p2 p3 <= c) = c (1 + L + L^2 / 2), L = -ln c; here 4.5e-7."""

Array = np.ndarray[Any, Any]


def shares_draws(answers: Tensor, least: float = 0.0) -> bool:
    """Whether the rows of a call share, or divide up, what is random in its answers.

    answers: (6, 8, K), six calls of eight copies of one image. least: distance of two answers
    below which nothing is random. A false alarm has a probability of at most 1e-6: 9.6e-8 by
    clusters, since at most six clusters have eight answers and each is a call with probability
    6 / C(48, 8) (three of sixteen, two of twenty-four: less), and 4.5e-7 for each side of the
    pairs. Power: a draw that all rows share, and that differs between two of the six calls, is
    seen for certain; a shared change that strikes a share q of the calls therefore with
    probability 1 - q^6 - (1 - q)^6: .97 at 1/2, .47 at .1, .11 at .02. Beside noise of each row,
    normal answers with K = 10: .98 at an intraclass correlation of .5, .5 at .3, .1 at .2; with
    K = 2: .9 at .9, .1 at .5. Noise that sums to zero over a call: .98; halves of opposite sign:
    .02.

    >>> calls = torch.arange(6.0).reshape(6, 1, 1).expand(6, 8, 2)
    >>> shares_draws(calls), shares_draws(torch.arange(48.0).reshape(8, 6, 1).transpose(0, 1))
    (True, False)
    """
    calls = answers.detach().double().cpu()
    rows = calls.flatten(0, 1)
    apart = torch.cdist(rows, rows).nan_to_num(0.0, 0.0, 0.0).numpy()
    if apart.max() <= least:
        return False
    if _clusters(apart) > 1:
        return True
    size = 2 * N_COPIES
    pairs = [slice(start, start + size) for start in range(0, len(rows), size)]
    p_values = np.array([_p_values(apart[pair, pair]) for pair in pairs])
    return bool((p_values.prod(0) <= _PRODUCT).any())


def stands_apart(alone: Tensor, company: Tensor, least: float = 0.0) -> bool:
    """Whether answers to a row by itself (12, K) keep apart from those beside others (11, K).

    True if every distance among the first is below every distance to the second, and these exceed
    `least`. If company changes nothing all 23 are exchangeable, and at most one set of 12 of them
    keeps apart so: a false alarm has a probability of at most 1 / C(23, 12) = 7.4e-7. Seen is an
    effect that exceeds what is random in the answers.

    >>> stands_apart(torch.zeros(12, 1), torch.ones(11, 1))
    True
    """
    values = torch.cat([alone, company]).detach().double().cpu()
    apart = torch.cdist(values, values).nan_to_num(0.0, 0.0, 0.0)
    n = len(alone)
    return bool(apart[:n, n:].min() > torch.clamp(apart[:n, :n].max(), min=least))


def _clusters(apart: Array) -> int:
    """Into how many clusters the calls fall, linked up to the largest distance within a call."""
    blocks = apart.reshape(N_CALLS, N_COPIES, N_CALLS, N_COPIES)
    own = np.arange(N_CALLS)
    linked = blocks.min((1, 3)) <= blocks[own, :, own, :].max()
    reach = np.linalg.matrix_power(linked.astype(np.int64), N_CALLS) > 0
    return len(np.unique(reach, axis=0))


def _p_values(apart: Array) -> tuple[float, float]:
    """Of two calls (16, 16): the share of divisions as tight as theirs, and of those as loose."""
    first, second = _divisions()
    within = _within(apart, first) + _within(apart, second)
    slack = 1e-9 * within.max()
    tight, loose = within <= within[0] + slack, within >= within[0] - slack
    return float(tight.mean()), float(loose.mean())


def _within(apart: Array, chosen: Array) -> Array:
    """Sum of the distances within each set of rows; chosen (D, 16) of zeros and ones."""
    return np.asarray(((chosen @ apart) * chosen).sum(1) / 2)


@cache
def _divisions() -> tuple[Array, Array]:
    """All 6,435 divisions of 16 answers into two eights, the calls themselves first."""
    others = itertools.combinations(range(1, 2 * N_COPIES), N_COPIES - 1)
    chosen = np.array([(0, *rest) for rest in others])
    first = np.zeros((len(chosen), 2 * N_COPIES))
    np.put_along_axis(first, chosen, 1.0, axis=1)
    return first, 1 - first
