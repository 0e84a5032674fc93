"""What share of the images is that, and how sure is it? nan and [0, 1] where there are none."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..._typing import Status, Verdict
from ...errors import ConfigError
from ...numerics.rates.binomial import clopper_pearson


def check_confidence(confidence: float) -> None:
    """Raises ConfigError unless it lies in (0, 1)."""
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence} must lie in (0, 1), say 0.95")


def share(rows: Tensor) -> float:
    """The part of `rows` (N,) bool that is true; nan for no rows.

    >>> import torch
    >>> share(torch.tensor([True, False]))
    0.5
    """
    return float(rows.double().mean()) if len(rows) else float("nan")


def share_interval(k: int, n: int, confidence: float, copies: int = 0) -> list[float]:
    """[low, high] for k of n, two-sided and exact (Clopper & Pearson 1934).

    copies: rows of the n that show an image again: those of n - copies others decide, and the
    copies are taken at their worst for either end. Raises ConfigError for a confidence outside
    (0, 1), where n > 0.

    >>> share_interval(0, 0, 0.95), share_interval(2, 4, 0.95, copies=4)
    ([0.0, 1.0], [0.0, 1.0])
    """
    least, most, left = without_copies(k, n, copies)
    if left <= 0:
        return [0.0, 1.0]
    low, _ = clopper_pearson(least, left, confidence)
    _, high = clopper_pearson(most, left, confidence)
    return [float(low), float(high)]


def without_copies(k: int, n: int, copies: int) -> tuple[int, int, int]:
    """(least, most, left): of `left` images that are there once, how many of the k there may be.

    >>> without_copies(9, 10, 2), without_copies(1, 10, 2)
    ((7, 8, 8), (0, 1, 8))
    """
    copies = min(copies, n)
    return max(k - copies, 0), min(k, n - copies), n - copies


def share_between(
    least: int,
    unknown: int,
    n: int,
    confidence: float,
    doubt: str | None = None,
    copies: int = 0,
) -> tuple[list[float], list[float]]:
    """([lower, upper], interval) of a share of n rows, of which `unknown` may still belong to it.

    least: rows known to belong to it. interval: two-sided and exact for a new row, from the lower
    end of the one share to the upper end of the other: it holds however the unknown rows end.
    doubt: why the rows say nothing of a new one; the interval is then [0, 1]. copies: rows that
    show an image again, as in :func:`share_interval`.

    >>> share_between(1, 2, 4, 0.95)[0]
    [0.25, 0.75]
    """
    if not n:
        return [float("nan")] * 2, [0.0, 1.0]
    ends = [least / n, (least + unknown) / n]
    if doubt is not None:
        return ends, [0.0, 1.0]
    low, _ = share_interval(least, n, confidence, copies)
    _, high = share_interval(least + unknown, n, confidence, copies)
    return ends, [low, high]


def left_out(why: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """{"left_out": names with the reasons why they say nothing}; {} where nothing is left out.

    >>> left_out({"pra_interval": None}), left_out({"count_bound": "no"})
    ({}, {'left_out': {'count_bound': 'no'}})
    """
    found = {name: reason for name, reason in why.items() if reason is not None}
    return {"left_out": found} if found else {}


def reached(status: Tensor) -> Tensor:
    """(N,) bool: rows with an answer; neither did the run end before them, nor the model raise.

    >>> import torch
    >>> reached(torch.tensor([0, 1, 2, 3])).tolist()
    [True, True, False, False]
    """
    return (status != int(Status.FAILED)) & (status != int(Status.NOT_REACHED))


def open_rows(verdict: Tensor, status: Tensor) -> Tensor:
    """(N,) bool: rows that are neither right nor wrong, since the run did not get through them.

    The budget ended before or within them (NOT_REACHED), or the model raised (FAILED).

    >>> import torch
    >>> verdicts, statuses = torch.tensor([0, 0, 2]), torch.tensor([0, 2, 2])
    >>> open_rows(verdicts, statuses).tolist()
    [False, True, False]
    """
    late = (status == int(Status.NOT_REACHED)) & (verdict == int(Verdict.UNDECIDED))
    return late | (status == int(Status.FAILED))
