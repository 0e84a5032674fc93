"""How do many runs stand beside each other? Shares, intervals, seeds apart from samples, ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ...errors import InputError
from ...numerics.arguments import check_confidence
from ...numerics.rates.binomial import clopper_pearson
from ...results.base import codec
from ...results.evaluation import EvaluationReport
from .measured import Measured, measured, worst_case


@dataclass(frozen=True)
class Cell:
    """One share: k of n images, and its exact interval for new images of the same source."""

    k: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """k / n; nan without images."""
        return self.k / self.n if self.n else math.nan


@dataclass(frozen=True)
class Spread:
    """A group of runs that differ in the training seed alone, in one column.

    runs: how many. mean: of their shares. sd: between seeds, with n - 1; low, high: an interval of
    the mean over new seeds (Student), nan for one run. It is not the interval over images: seeds
    move certified and robust accuracy more than many papers' gains do (arXiv:2601.13303).
    """

    runs: int
    mean: float
    sd: float
    low: float
    high: float


class Rank(NamedTuple):
    """Two columns: Spearman's correlation over the runs that have both, and how far one lies lower.

    drop: mean of the first column's share less the second's, over the same runs.
    """

    one: str
    other: str
    correlation: float
    runs: int
    drop: float


@dataclass(frozen=True)
class RunsTable:
    """What :func:`runs_table` found.

    names: of the runs. columns: (stage, metric). cells: a row a run, None where it has no such
    stage. spreads: group name -> one :class:`Spread` a column, None where it is not known. ranks:
    one :class:`Rank` a pair of columns. worst: the run with the least share in each column, all
    of them where several have it, "all alike" where every run has.
    cautions: what may not be compared.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    spreads: Mapping[str, tuple[Spread | None, ...]]
    ranks: tuple[Rank, ...]
    worst: tuple[str, ...]
    confidence: float
    cautions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types."""
        plain: dict[str, Any] = codec.plain(asdict(self))
        return plain


def runs_table(
    reports: Sequence[EvaluationReport],
    *,
    seeds: Mapping[str, str] | None = None,
    confidence: float = 0.95,
    eps: float | None = None,
) -> RunsTable:
    """Models by metrics, with intervals, rank correlations and the worst run of each column.

    seeds: name of a run -> name of its group of runs that differ in the training seed alone; such
    groups get a spread between seeds of their own, beside the interval over images. eps: radius of
    certified accuracy. Raises InputError for no runs, for two of one name, and for a seed group of
    runs that are not there. No row-pass.
    """
    check_confidence(confidence)
    names = [report.name for report in reports]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"runs {names or 'none'}: give at least one, each with a name of its own"
        )
    odd = sorted(set(seeds or {}) - set(names))
    if odd:
        raise InputError(f"seeds= names {odd}, which are not among the runs {names}")
    rows = [
        {(one.name, one.metric): one for one in _all(report, eps)} for report in reports
    ]
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(
        tuple(_cell(row.get(key), confidence) for key in columns) for row in rows
    )
    return RunsTable(
        names=tuple(names),
        columns=columns,
        cells=cells,
        spreads=_spreads(names, cells, seeds or {}, confidence),
        ranks=tuple(_ranks(columns, cells)),
        worst=tuple(_worst(names, cells, j) for j in range(len(columns))),
        confidence=confidence,
        cautions=tuple(_cautions(reports, rows, columns)),
    )


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's correlation (ties share ranks); nan for fewer than three pairs or a constant side.

    >>> rank_correlation([1, 2, 3], [2, 4, 9])
    1.0
    """
    if len(one) < 3 or len(set(one)) < 2 or len(set(other)) < 2:
        return math.nan
    return float(np.round(stats.spearmanr(one, other).statistic, 15))


def between_seeds(shares: Sequence[float], confidence: float = 0.95) -> Spread:
    """The spread of runs that differ in the training seed alone.

    >>> found = between_seeds([0.5, 0.52, 0.54])
    >>> round(found.mean, 3), round(found.sd, 3), round(found.low, 3), round(found.high, 3)
    (0.52, 0.02, 0.47, 0.57)
    """
    n, mean = len(shares), float(np.mean(shares))
    if n < 2:
        return Spread(n, mean, math.nan, math.nan, math.nan)
    sd = float(np.std(shares, ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
    return Spread(n, mean, sd, mean - half, mean + half)


def _all(report: EvaluationReport, eps: float | None) -> Iterable[Measured]:
    for stage in report.stages:
        found = measured(stage, eps)
        if found is not None:
            yield found
    try:
        whole = worst_case(report)
    except InputError:  # stages of other images have no worst case
        whole = None
    if whole is not None:
        yield whole


def _cell(one: Measured | None, confidence: float) -> Cell | None:
    if one is None or not len(one):
        return None
    k, n = one.n_right, len(one)
    late = int((~one.known).sum())
    low = float(clopper_pearson(k, n, confidence)[0])
    high = float(clopper_pearson(k + late, n, confidence)[1])
    return Cell(k, n, low, high)


def _spreads(
    names: Sequence[str],
    cells: Sequence[Sequence[Cell | None]],
    seeds: Mapping[str, str],
    confidence: float,
) -> dict[str, tuple[Spread | None, ...]]:
    found: dict[str, tuple[Spread | None, ...]] = {}
    for group in dict.fromkeys(seeds.values()):
        rows = [cells[i] for i, name in enumerate(names) if seeds.get(name) == group]
        columns = zip(*rows, strict=True)
        found[group] = tuple(
            (
                None
                if any(cell is None for cell in column)
                else between_seeds(
                    [c.share for c in column if c is not None], confidence
                )
            )
            for column in columns
        )
    return found


def _ranks(
    columns: Sequence[tuple[str, str]], cells: Sequence[Sequence[Cell | None]]
) -> Iterable[Rank]:
    for i in range(len(columns)):
        for j in range(i + 1, len(columns)):
            pairs = [
                (one.share, other.share)
                for one, other in ((row[i], row[j]) for row in cells)
                if one is not None and other is not None
            ]
            first, second = [a for a, _ in pairs], [b for _, b in pairs]
            drop = float(np.mean(first) - np.mean(second)) if pairs else math.nan
            names, value = (columns[i][0], columns[j][0]), rank_correlation(
                first, second
            )
            yield Rank(*names, value, len(pairs), drop)


def _worst(
    names: Sequence[str], cells: Sequence[Sequence[Cell | None]], column: int
) -> str:
    known = [
        (cell.share, name)
        for name, row in zip(names, cells)
        if (cell := row[column]) is not None
    ]
    least = min((share for share, _ in known), default=math.nan)
    found = [name for share, name in known if share == least]
    return "all alike" if 1 < len(found) == len(known) else ", ".join(found)


def _cautions(
    reports: Sequence[EvaluationReport],
    rows: Sequence[Mapping[tuple[str, str], Measured]],
    columns: Sequence[tuple[str, str]],
) -> Iterable[str]:
    data = {str(report.data.get("sha256")) for report in reports}
    if len(data) > 1:
        yield "runs are of different images: shares may differ for that reason alone"
    for key in columns:
        known = [row[key] for row in rows if key in row]
        if len(known) < len(rows):
            yield f"{key[0]}: {len(rows) - len(known)} runs have no such stage"
        if len({str(sorted(_comparable(one).items())) for one in known}) > 1:
            yield f"{key[0]}: runs have different settings"
        late = [one.lacks for one in known if one.lacks]
        if late:
            yield f"{key[0]}: {late[0]}"
    for report in reports:
        for stage in report.failed:
            yield f"{report.name}: stage {stage.name} raised, and is in no column"


def _comparable(one: Measured) -> dict[str, Any]:
    from .paired import FREE

    return {key: value for key, value in one.settings.items() if key not in FREE}
