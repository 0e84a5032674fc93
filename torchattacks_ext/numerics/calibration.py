"""Does a model know how often it is right? Softmax scores of each row, and their errors.

All in float64 from the logits themselves. The expected calibration error compares, in bins of
equal width, the mean confidence with the share that is right (Naeini, Cooper and Hauskrecht 2015;
Guo et al. 2017, arXiv:1706.04599):

    ECE = sum_b n_b / n |right_b - confidence_b|,   bin b = ((b - 1) / B, b / B].
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .incbeta import FloatArray
from .populations.means import mean_interval
from .resampling import resamples

N_BINS = 15
"""Bins of equal width in [0, 1]."""
EDGES = np.arange(1, N_BINS) / N_BINS
NEAR = 1e-5
"""How near an edge a confidence may lie before float noise could move it to the next bin."""
N_RESAMPLES = 1000


def softmax_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """(3, N) float64: largest probability, -log of the label's, Brier score, of logits (N, K).

    The Brier score is sum_k (p_k - [k = label])^2, in [0, 2]. nan where a logit is nan.

    >>> softmax_scores(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))[:, 0].tolist()
    [0.5, 0.6931471805599453, 0.5]
    """
    wide = torch.float32 if logits.device.type == "mps" else torch.float64
    log = torch.log_softmax(logits.to(wide), 1)
    probs, own = log.exp(), log.gather(1, labels.long()[:, None])[:, 0]
    brier = probs.square().sum(1) - 2 * own.exp() + 1
    return torch.stack([probs.amax(1), -own, brier.clamp(min=0.0)])


def near_an_edge(confidence: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(N,) bool: rows that float noise could move to another bin.

    >>> near_an_edge(np.array([0.2, 0.25])).tolist()
    [True, False]
    """
    gaps = np.abs(np.asarray(confidence)[:, None] - EDGES)
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = gaps.min(1) < NEAR
    return found


def calibration_error(confidence: FloatArray, right: FloatArray) -> float:
    """The expected calibration error of n rows; nan for none.

    confidence: (n,) in [0, 1]. right: (n,) 1 or 0.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.3]), np.array([1.0, 0.0, 0.0])), 4)
    0.3667
    """
    if not len(confidence):
        return float("nan")
    bins, gaps = _bins(confidence), right - confidence
    return float(np.abs(np.bincount(bins, gaps, N_BINS)).sum() / len(gaps))


def error_interval(
    confidence: FloatArray, right: FloatArray, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval (low, high) of the calibration error, cut to [0, 1]; it leans to be wide.

    The error is the L1 norm of a mean (gap by bin), so that of the sample and that of the source
    differ by at most the norm D of the difference of the two means. The ends are e -+ q, with q the
    quantile of D over resamples: unlike percentiles of e itself, which is too large in any sample,
    this holds for a calibrated model as well. Nominal: as resamples are. (0, 1) below two rows.
    level in (0, 1). Cost: 1,000 sums over the rows.

    >>> error_interval(np.array([0.9]), np.array([1.0]))
    (0.0, 1.0)
    """
    if len(confidence) < 2:
        return 0.0, 1.0
    gaps = np.asarray(right - confidence, dtype=np.float64)
    reach = _reach(_bins(confidence).tobytes(), gaps.tobytes(), level, seed)
    error = calibration_error(confidence, right)
    return max(0.0, error - reach), min(1.0, error + reach)


@lru_cache(maxsize=64)
def _reach(bins: bytes, gaps: bytes, level: float, seed: int) -> float:
    """Quantile of D over the resamples; a report asks for the same one several times."""
    place, values = np.frombuffer(bins, np.int64), np.frombuffer(gaps)
    own, found = np.bincount(place, values, N_BINS), []
    for drawn in resamples(len(values), N_RESAMPLES, seed):
        cells = place[drawn] + N_BINS * np.arange(len(drawn))[:, None]
        sums = np.bincount(cells.ravel(), values[drawn].ravel(), N_BINS * len(drawn))
        found.append(np.abs(sums.reshape(-1, N_BINS) - own).sum(1) / len(values))
    return float(np.quantile(np.concatenate(found), level, method="higher"))


def overconfidence(
    confidence: FloatArray, right: FloatArray, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Mean confidence minus the share that is right, and an interval valid for any number of rows.

    > 0: the model claims more than it keeps. The interval is :func:`.means.mean_interval`, in the
    order of the rows. nan and (-1, 1) for none.

    >>> overconfidence(np.array([1.0, 1.0]), np.array([1.0, 0.0]))[0]
    0.5
    """
    if not len(confidence):
        return float("nan"), (-1.0, 1.0)
    gaps = np.clip((confidence - right + 1) / 2, 0.0, 1.0)
    low, high = mean_interval(gaps, level)
    return float((confidence - right).mean()), (2 * low - 1, 2 * high - 1)


def _bins(confidence: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    found = np.searchsorted(EDGES, confidence, side="left")
    return np.asarray(found, dtype=np.int64)
