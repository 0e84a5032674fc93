r"""What do the slopes along a few random directions say about the largest eigenvalue?

The score is lam = lambda_max(F), F = J^T S J with logits z, p = softmax(z), J = dz/dx (K x D),
S = diag p - p p^T. The K x K matrix M = R^T J J^T R, S = R R^T, has the same eigenvalues, and
from the slopes J v_i along directions with E[v_i v_i^T] = I

    Ghat = (1/m) sum_i (R^T J v_i)(R^T J v_i)^T,   E[Ghat] = M,   raw = lambda_max(Ghat).

Any R with R R^T = S will do. R = diag(s)(I - s s^T), s = sqrt(p), loses everything once
pi = 1 - p_c rounds to 0; so with c = argmax p, t_k = sqrt(p_k / pi), t_c = 0 and a = pi / (1 +
sqrt(p_c)) we take R^T J = sqrt(pi) (I - a t t^T) diag(t) (J - 1 J_c) and keep log pi apart: log
lam stays finite however saturated the softmax is.

Errors. Ghat is unbiased, its top eigenvalue is not: raw is too large by about (1/m) sum_j lam_j /
(lam_1 - lam_j) of itself, j > 1; at m = 100 by 1/4 on untrained nets. lam^ is raw with values of
unseen directions (:func:`.jackknife.corrected`), right within 5 % there; where the leading
eigenvalues tie it stays too large, by about 1.1 (three equal ones 1.05, nine 1.2; raw 1.2, 1.5).
The relative standard deviation is about sqrt(2/m) sqrt(1 - m/D) for orthonormal directions and the
jackknife measures it. A 95 % interval reaches from that below lam^ to that above raw, because the
correction errs too: it covers 94 to 98 % from m = 100 on (untrained nets, planted spectra), 88 to
98 % at m = 50, about 70 % in a tie of nine.

Source: the score is arXiv:2606.04767, eq. 6; the sketch and its interval are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from scipy import stats
from torch import Tensor

from ..spectral import Ending
from .jackknife import corrected, log_error, top_eigenvalues

_TOO_HIGH, _TOO_LOW = 1.5, 0.67


class StepCheck(IntEnum):
    """What the comparison of the steps h and 2 h says.

    >>> StepCheck.NOISE.name
    'NOISE'
    """

    FINE = 0
    """Both steps see the same slopes, up to the thresholds .67 and 1.5 of their ratio."""
    NOISE = 1
    """Rounding or random outputs dominate: raise h."""
    CURVATURE = 2
    """The scores bend within the step: lower h."""
    NOT_CHECKED = 3
    """Not asked for, or without meaning: status is ZERO_GRADIENT or NON_FINITE."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """The sketch of N images: columns (N,) on the CPU, float64 or int64.

    log_lam: natural logarithm of lam^, in nats per squared pixel unit; -inf for ZERO_GRADIENT,
    nan for NON_FINITE. low, high: its interval (-inf, inf where nothing is known), about the
    random directions alone: what the step does is in h_ratio. error: jackknife standard error
    of log_lam, to first order the relative one of lam^; bias: what was taken off, >= 0, so that
    log_lam + bias is the top eigenvalue of the sketch as it is. n_directions, n_queries: spent.
    h_ratio: lam^ with step h over lam^ with step 2 h on the same quarter of the
    directions, nan without the check; h_check: :class:`StepCheck`; status: :class:`Ending`.
    """

    log_lam: Tensor
    low: Tensor
    high: Tensor
    error: Tensor
    bias: Tensor
    n_directions: Tensor
    n_queries: Tensor
    h_ratio: Tensor
    h_check: Tensor
    status: Tensor

    @classmethod
    def unknown(cls, n: int) -> Sketch:
        """n images whose scores are not finite, at one query each.

        >>> Sketch.unknown(2).n_queries
        tensor([1, 1])
        """
        nan = torch.full((n,), float("nan"), dtype=torch.float64)
        inf = torch.full_like(nan, float("inf"))
        zero = torch.zeros(n, dtype=torch.int64)
        return cls(
            log_lam=nan,
            low=-inf,
            high=inf,
            error=inf.clone(),
            bias=nan.clone(),
            n_directions=zero,
            n_queries=zero + 1,
            h_ratio=nan.clone(),
            h_check=zero + StepCheck.NOT_CHECKED,
            status=zero + Ending.NON_FINITE,
        )

    def where(self, mask: Tensor, other: Sketch) -> Sketch:
        """Rows of this one where ``mask`` (N,) is set, else of ``other``.

        >>> blank = Sketch.unknown(2)
        >>> blank.where(torch.tensor([True, False]), blank).n_queries
        tensor([1, 1])
        """
        mine, theirs = vars(self), vars(other)
        return Sketch(
            **{name: torch.where(mask, mine[name], theirs[name]) for name in mine}
        )


def responses(logits: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """log pi (N,) and the a_i (N, m, K) with M ~ (pi / m) sum_i a_i a_i^T, float64.

    logits: (N, K) finite logits or log-probabilities at the images; slopes: (N, m, K), J v_i.
    Both may be shifted by any number an image and direction. See the file for the equation.

    >>> log_pi, a = responses(torch.tensor([[0.0, 60.0]]), torch.tensor([[[0.0, 3.0]]]))
    >>> round(log_pi.item()), a[0].abs().round(decimals=6).tolist()
    (-60, [[3.0, 0.0]])
    """
    z = logits.double()
    top = z.argmax(1, keepdim=True)
    others = (z - z.gather(1, top)).scatter(1, top, float("-inf"))
    log_odds = others.logsumexp(1, keepdim=True)
    log_top = -torch.nn.functional.softplus(log_odds)
    log_pi = log_odds + log_top
    a = (log_pi.exp() / (1 + (log_top / 2).exp())).unsqueeze(1)
    t = ((others - log_odds) / 2).exp().unsqueeze(1)
    y = t * (slopes.double() - slopes.double().gather(2, _every(top, slopes)))
    return log_pi.squeeze(1), y - a * t * (t * y).sum(2, keepdim=True)


def _every(top: Tensor, slopes: Tensor) -> Tensor:
    return top.unsqueeze(1).expand(-1, slopes.shape[1], 1)


def judge(
    logits: Tensor,
    near: Tensor,
    far: Tensor,
    twice: Tensor,
    *,
    unseen: float,
    confidence: float,
    target: float | None,
) -> Sketch:
    """The sketch that follows from the slopes of m >= 1 directions.

    logits: (N, K), finite; near: (N, m, K), slopes with step h; far: (N, q, K), those with
    2 h of the directions ``twice`` (q,), q = 0 for no check; rows with a NaN become NON_FINITE.
    unseen: share of the variance that orthogonality leaves, in [0, 1]; confidence: of the
    interval, in (0, 1), with the t quantile of m - 1 degrees; target: half-width below which a
    row is CONVERGED, above it is CAP; None: all are CONVERGED. n_queries is 1 + 2 m + 2 q.
    No passes; one singular value decomposition of m x K a row, two of q x K.

    >>> slopes = torch.tensor([[[3.0, 0.0], [-3.0, 0.0]]])
    >>> row = judge(torch.zeros(1, 2), slopes, slopes[:, :1], torch.tensor([0]),
    ...             unseen=1.0, confidence=0.95, target=None)
    >>> round(row.log_lam.exp().item(), 6), row.h_ratio.item(), row.status.item()
    (2.25, 1.0, 0)
    """
    m = near.shape[1]
    finite = near.isfinite().all(2).all(1) & far.isfinite().all(2).all(1)
    near, far = near.nan_to_num(0, 0, 0), far.nan_to_num(0, 0, 0)
    log_pi, a = responses(logits, near)
    top, without, alone = top_eigenvalues(a)
    error = log_error(without) * unseen**0.5
    if unseen == 0:  # all of space was asked; inf * 0 is not 0
        error = torch.zeros_like(top)
    log_raw = (top / m).log()
    log_lam = corrected(a, top, alone, unseen).log()
    bias = (log_raw - log_lam).nan_to_num(0.0, 0.0, 0.0)
    log_lam = log_lam + log_pi
    half = error * float(stats.t.isf((1 - confidence) / 2, max(m - 1, 1)))
    zero = top <= 0
    low = (log_lam - half).masked_fill(zero, float("-inf"))
    high = (log_lam + bias + half).masked_fill(zero, float("inf"))
    wide = torch.zeros_like(zero) if target is None else ~((high - low) / 2 < target)
    status = wide.long() * Ending.CAP
    status[zero] = Ending.ZERO_GRADIENT
    a_far = responses(logits, far)[1]
    jumps = _moves_in_jumps(logits, near, a) & ~zero
    ratio, code = _step_check(a[:, twice], a_far, jumps)
    spent = torch.full((len(top),), m)
    queries = 1 + 2 * spent + 2 * far.shape[1]
    found = Sketch(log_lam, low, high, error, bias, spent, queries, ratio, code, status)
    blank = replace(Sketch.unknown(len(top)), n_directions=spent, n_queries=queries)
    return found.where(finite, blank)


def _moves_in_jumps(logits: Tensor, near: Tensor, a: Tensor) -> Tensor:
    """(N,): do the changes of the class that matters most come in three sizes or fewer?

    Such scores are rounded to steps as large as their changes. Random directions would need
    a tie in float64 to look so otherwise; below 8 directions nothing is said.
    """
    top, main = logits.argmax(1), a.square().sum(1).argmax(1)
    rows = torch.arange(len(near))
    sizes = (near[rows, :, main] - near[rows, :, top]).abs().sort(1).values
    apart = sizes.diff(dim=1) > 1e-6 * sizes[:, -1:]
    return (apart.sum(1) < 3) & (near.shape[1] >= 8)


def _step_check(near: Tensor, far: Tensor, jumps: Tensor) -> tuple[Tensor, Tensor]:
    """Ratio and code from the responses of the same directions with h and with 2 h.

    A ratio above 1.5 has two causes. Noise: the two are not alike, so that regressing the first
    on the second gives a factor below 1 (noise of variance n/h^2 beside the signal 1 has
    ratio (1 + n)/(1 + n/4) and factor 1/(1 + n/4)). Slopes that fade with the step, alpha <= 1 of
    the near one: the factor is E[alpha]/E[alpha^2] >= 1. Scores that move in jumps look like
    either, or like nothing: they are noise whenever the two steps disagree.
    """
    n, q = near.shape[:2]
    blank = Sketch.unknown(n)
    if q == 0:
        return blank.h_ratio, blank.h_check
    top_near, top_far = top_eigenvalues(near)[0], top_eigenvalues(far)[0]
    ratio = top_near / top_far
    factor = (near * far).sum((1, 2)) / far.square().sum((1, 2))
    code = torch.full((n,), int(StepCheck.FINE))
    high, low = ratio > _TOO_HIGH, ratio < _TOO_LOW
    noise = (high & ~(factor >= 1)) | (jumps & ~((ratio - 1).abs() < 1e-5))
    code[low | high] = StepCheck.CURVATURE
    code[noise | (top_near <= 0)] = StepCheck.NOISE
    code[(top_near <= 0) & (top_far <= 0) & ~noise] = StepCheck.NOT_CHECKED
    return ratio, code
