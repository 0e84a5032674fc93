"""How sensitive is a model that only answers? A sketch of the Fisher information.

Directions (:mod:`.directions`) are asked in pairs (:mod:`.differences`), and their slopes give
the largest eigenvalue with an interval (:mod:`.judge`, where the equations are). The sketch is
unbiased, its top eigenvalue is not and is corrected (:mod:`.jackknife`). Here is the order of
asking: in rounds, images that are sure enough drop out, a quarter of each round is asked again
with twice the step.

Source: the score is arXiv:2606.04767, eq. 6. Its own black-box algorithm, the maximum over
directions, is too small by about (2 ln m)/D (:mod:`.srp`); the sketch is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ....errors import ConfigError, InputError
from ...norms import Bounds
from ..spectral import Ending
from .differences import LEVELS, Scores, ask, central_differences, check_images
from .directions import Directions, unseen_share
from .judge import Sketch, judge

_GROUP_NUMBERS = 1 << 24  # of direction entries held at a time
_MAX_STEP = 1 / 24  # of the box: 2 h |v| fits into half, normal numbers end at 5.8


def n_queries_of(n_directions: int, check: bool = True, n_round: int = 0) -> int:
    """Forward row-passes an image: 1 + 2 m, with the check 2 ceil(n/4) more for a round of n.

    n_directions: m >= 0; n_round: directions a round, 0 for one round of all.

    >>> n_queries_of(100, check=False), n_queries_of(80), n_queries_of(75, n_round=25)
    (201, 201, 193)
    """
    whole, rest = divmod(n_directions, n_round or max(n_directions, 1))
    quarters = whole * -(-(n_round or n_directions) // 4) - (-rest // 4)
    return 1 + 2 * n_directions + (2 * quarters if check else 0)


def n_directions_within(n_queries: int, check: bool = True, n_round: int = 0) -> int:
    """The most directions that ``n_queries`` forward row-passes an image pay for.

    Arguments else as for :func:`n_queries_of`. Raises ConfigError when that is none.

    >>> n_directions_within(201), n_directions_within(201, check=False)
    (80, 100)
    """
    m = max(0, (n_queries - 1) // 2)
    while m and n_queries_of(m, check, n_round) > n_queries:
        m -= 1
    if m < 1:
        raise ConfigError(f"n_queries={n_queries!r} is not enough for one direction")
    return m


@torch.no_grad()
def sketch(
    scores: Scores,
    images: Tensor,
    ids: Tensor,
    *,
    seed: int = 0,
    n_directions: int = 100,
    target: float | None = None,
    n_round: int = 25,
    h: float = 1e-3,
    grey: bool = False,
    bounds: Bounds | None = (0.0, 1.0),
    check: bool = True,
    confidence: float = 0.95,
    max_rows: int = 256,
) -> Sketch:
    """log lambda_max of the Fisher information of every image, from scores alone.

    scores: maps images (n, ...) to logits or log-probabilities (n, K), K >= 2 (of
    probabilities: their clamped log), row by row. images: (N, ...) float32 or float64; ids:
    (N,) int64, the name of each image for its random numbers. n_directions: m, at most; more
    than D are never used (grey: they are). target: an image is done once half its interval is
    below this, looked at every ``n_round`` directions; None: all m at once. h: root mean
    square step a pixel, in (0, 1/24 of the box]; a pair is 2 h sqrt(D) apart, see
    :mod:`.differences` for images at the border of the box. grey: 8-bit inputs, multiples of
    1/255 in [0, 1]; random signs and one grey level replace directions and h. check: ask a
    quarter of the directions again with 2 h. confidence: of the interval. max_rows: rows of
    one call of scores. Raises ConfigError and InputError for arguments outside their domain
    and what :func:`.differences.ask` raises; NaN and infinite scores are a status.

    Bias of lam^: h^2 terms and kinks inside the step (lower h), (rounding of the scores / h)^2
    (raise h), and upwards where the leading eigenvalues tie, by 1.1 to 1.2 at m = 100 (more
    directions). Stopping at a target prefers short intervals, which cover somewhat less than they
    say. Memory: N m K numbers and 64 MiB.
    Cost: :func:`n_queries_of` forward row-passes an image.

    >>> weights = torch.tensor([[1.0, -1.0], [0.0, 2.0], [0.5, 0.5]]).double()
    >>> found = sketch(lambda x: x @ weights, torch.full((1, 3), 0.5).double(), torch.tensor([0]))
    >>> p = torch.softmax(torch.full((3,), 0.5).double() @ weights, 0)
    >>> exact = (p[0] * p[1] * (weights[:, 0] - weights[:, 1]).square().sum()).log()
    >>> bool((found.log_lam - exact).abs() < 1e-5), found.n_directions.item()
    (True, 3)
    """
    asker = _Asker(scores, images, ids, seed, h, grey, bounds, check, max_rows)
    asker.check_arguments(n_directions, n_round, confidence, target)
    size = images[0].numel()
    total = n_directions if grey else min(n_directions, size)
    starts = range(0, len(images), max_rows)
    logits = torch.cat([ask(scores, images[i : i + max_rows]) for i in starts])
    found, alive = Sketch.unknown(len(images)), logits.isfinite().all(1)
    near = far = logits.new_zeros(len(images), 0, logits.shape[1])
    twice, done = torch.zeros(0, dtype=torch.int64), 0
    while done < total and bool(alive.any()):
        stop = total if target is None else min(done + n_round, total)
        rows = alive.nonzero().squeeze(1)
        new_near, new_far = asker.round(rows, done, stop)
        near, far = _append(near, rows, new_near), _append(far, rows, new_far)
        twice = torch.cat([twice, torch.arange(done, done + new_far.shape[1])])
        part = judge(
            logits[rows],
            near[rows],
            far[rows],
            twice,
            unseen=1.0 if grey else unseen_share(stop, size),
            confidence=confidence,
            target=target,
        )
        for name, column in vars(part).items():
            getattr(found, name)[rows] = column
        alive[rows] = part.status == Ending.CAP
        done = stop
    return found


def _append(kept: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """``new`` behind ``kept`` at ``rows``; other rows get zeros, which nobody reads."""
    added = kept.new_zeros(len(kept), new.shape[1], kept.shape[2])
    added[rows] = new
    return torch.cat([kept, added], 1)


@dataclass(frozen=True, eq=False)
class _Asker:
    """Everything that stays the same from round to round."""

    scores: Scores
    images: Tensor
    ids: Tensor
    seed: int
    h: float
    grey: bool
    bounds: Bounds | None
    check: bool
    max_rows: int

    def check_arguments(
        self, m: int, n_round: int, confidence: float, target: float | None
    ) -> None:
        check_images(self.images, self.ids)
        if m < 1 or n_round < 1 or self.max_rows < 1:
            raise ConfigError(
                f"n_directions={m!r}, n_round={n_round!r} and max_rows={self.max_rows!r} must be "
                ">= 1"
            )
        if not 0 < confidence < 1 or not (target is None or target > 0):
            raise ConfigError(
                f"confidence={confidence!r} must be in (0, 1), target={target!r} > 0 or None"
            )
        levels = self.images * LEVELS
        if self.grey and not bool(((levels - levels.round()).abs() < 1e-2).all()):
            raise InputError("grey=True needs images in whole multiples of 1/255")
        low, high = self.bounds or (float("-inf"), float("inf"))
        room = torch.as_tensor(high) - torch.as_tensor(low)
        if not self.h > 0 or not bool((self.h <= room * _MAX_STEP).all()):
            raise ConfigError(
                f"h={self.h!r} must be in (0, 1/24 of the box]: it is the step a pixel"
            )

    def round(self, rows: Tensor, first: int, stop: int) -> tuple[Tensor, Tensor]:
        """Slopes (n, stop - first, K) with step h, and (n, q, K) with 2 h of the first quarter."""
        size, near, far = self.images[0].numel(), [], []
        quarter = -(-(stop - first) // 4) if self.check else 0
        n_rows = max(1, _GROUP_NUMBERS // (size * stop))
        for start in range(0, len(rows), n_rows):
            group = rows[start : start + n_rows].to(self.images.device)
            x, ids = self.images[group], self.ids.to(group.device)[group]
            space = Directions(self.seed, ids, "sketch", size, x.dtype)
            draw = space.signs if self.grey else space.orthonormal
            v = draw(first, stop)
            near.append(self._slopes(x, v, 1))
            far.append(
                self._slopes(x, v[:, :quarter], 2) if quarter else near[-1][:, :0]
            )
        return torch.cat(near), torch.cat(far)

    def _slopes(self, x: Tensor, v: Tensor, times: int) -> Tensor:
        return central_differences(
            self.scores,
            x,
            v,
            self.h * times,
            bounds=self.bounds,
            grey_levels=times if self.grey else 0,
            max_rows=self.max_rows,
        )
