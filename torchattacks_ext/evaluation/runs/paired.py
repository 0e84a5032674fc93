"""Is a newer run worse than an older one on the same images? Exact paired tests, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...numerics.arguments import check_probabilities
from ...numerics.populations.multiplicity import adjust
from ...numerics.populations.regression import (
    drop_interval,
    drop_p_value,
    paired_counts,
    smallest_drop,
)
from ...results.base import codec
from ...results.evaluation import EvaluationReport
from .measured import Measured, measured, worst_case

POWER = 0.95


@dataclass(frozen=True)
class Line:
    """One stage in both runs, on the images that both know.

    old, new: shares. lost, gained: images that were right and are wrong, and the reverse. drop:
    (lost - gained) / n with its exact interval. p_value: one-sided, of "it did not fall"; adjusted:
    by Holm over all lines. detectable: the smallest drop that would have been found with
    probability .95 at this number of changed images, whatever the other lines say (at the
    significance of the family divided by their number); nan for none. copies: images that are
    there again, counted at their worst in the interval and the p-values.
    """

    stage: str
    metric: str
    n: int
    old: float
    new: float
    lost: int
    gained: int
    interval: tuple[float, float]
    p_value: float
    adjusted: float
    detectable: float
    copies: int = 0

    @property
    def drop(self) -> float:
        """old - new."""
        return self.old - self.new


@dataclass(frozen=True)
class PairedComparison:
    """What :func:`compare_runs` found.

    names: of the two runs, the older first. significance: the chance of one false regression among
    all lines. lines: a stage each. skipped: (stage, why it has no line). missing: (stage, what one
    of the runs did not measure of it); "no regression" beside any of these is no clean bill.

    >>> found = PairedComparison(("a", "b"), 0.05, (), (("PGD", "only in a"),))
    >>> found.regressions, found.to_dict()["skipped"]
    ((), [['PGD', 'only in a']])
    """

    names: tuple[str, str]
    significance: float
    lines: tuple[Line, ...]
    skipped: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...] = ()

    @property
    def regressions(self) -> tuple[Line, ...]:
        """Lines that fell, at the significance of the family."""
        return tuple(line for line in self.lines if line.adjusted <= self.significance)

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types, and `regressions` by name."""
        found = asdict(self) | {"regressions": [one.stage for one in self.regressions]}
        plain: dict[str, Any] = codec.plain(found)
        return plain


def compare_runs(
    old: EvaluationReport,
    new: EvaluationReport,
    *,
    significance: float = 0.05,
    eps: float | None = None,
) -> PairedComparison:
    """Each stage of two runs held against each other, image by image.

    Images are matched by their sample ids; those of one run alone are left out, and said. Stages
    are matched by name, and compared where their settings agree, but for what the model decides.
    significance: of the family of all lines together (Holm). eps: radius of certified accuracy.
    Raises InputError where the runs share no image or no stage. No row-pass.

    >>> import torch
    >>> from torchattacks_ext import evaluate
    >>> from torchattacks_ext.testing import HalfSpace
    >>> images, labels = torch.tensor([[0.9, 0.5], [0.6, 0.5]]), torch.tensor([0, 0])
    >>> plan = {"eps": 0.2, "stages": ["FGSM"]}
    >>> runs = [evaluate(HalfSpace(torch.tensor([1.0, 0.0]), -0.5), (images, labels), plan)] * 2
    >>> [line.stage for line in compare_runs(*runs).lines]
    ['clean', 'FGSM', 'worst_case']
    """
    check_probabilities(significance=significance)
    pairs, skipped = [], []
    mine, other_ones = list(_all(old, eps)), list(_all(new, eps))
    missing = [*_missing(old, mine), *_missing(new, other_ones)]
    theirs = {one.name: one for one in other_ones}
    for one in mine:
        other = theirs.pop(one.name, None)
        why = _unlike(one, other, new.name)
        if why:
            skipped.append((one.name, why))
        else:
            assert other is not None
            pairs.append((one, other))
    skipped += [(name, f"only in {new.name}") for name in theirs]
    skipped += [
        (stage.name, f"{run.name}: {next(iter(stage.missing().values()))}")
        for run in (old, new)
        for stage in run.stages
        if stage.result is None
    ]
    found = [_counts(one, other) for one, other in pairs]
    found = [line for line in found if line["n"]]
    if not found:
        raise InputError(
            "the two runs have no stage on common images; give runs of one plan on one data set"
        )
    adjusted = adjust([line["p_value"] for line in found], "holm")
    lines = tuple(
        Line(
            **line,
            adjusted=float(p),
            detectable=smallest_drop(
                max(line["lost"] + line["gained"] - line["copies"], 0),
                line["n"],
                significance / len(found),
                POWER,
            ).share,
        )
        for line, p in zip(found, adjusted)
    )
    names = old.name, new.name
    return PairedComparison(names, significance, lines, tuple(skipped), tuple(missing))


def _missing(
    run: EvaluationReport, found: Sequence[Measured]
) -> Iterator[tuple[str, str]]:
    """What the run did not measure: stages that raised, rows of others."""
    for stage in run.failed:
        yield stage.name, f"{run.name}: it has no result"
    for one in found:
        if one.lacks:
            yield one.name, f"{run.name}: {one.lacks}"


def _all(report: EvaluationReport, eps: float | None) -> Iterator[Measured]:
    for stage in report.stages:
        found = measured(stage, eps)
        if found is not None:
            yield found
    whole = worst_case(report)
    if whole is not None:
        yield whole


def _unlike(one: Measured, other: Measured | None, name: str) -> str:
    """Why two stages may not be held against each other; "" where they may."""
    if other is None:
        return f"not in {name}"
    odd = sorted(
        key
        for key in one.settings.keys() | other.settings.keys()
        if one.settings.get(key) != other.settings.get(key)
    )
    if one.metric != other.metric or odd:
        return f"other settings: {', '.join(odd) or 'another method'}"
    return ""


def _counts(one: Measured, other: Measured) -> dict[str, Any]:
    rows, there = _common(one, other)
    old, new = one.right[rows].numpy(), other.right[there].numpy()
    n, (lost, gained) = len(old), paired_counts(old, new)
    copies = min(max(one.copies, other.copies), n)
    return {
        "stage": one.name,
        "metric": one.metric,
        "n": n,
        "old": float(old.mean()) if n else 0.0,
        "new": float(new.mean()) if n else 0.0,
        "lost": lost,
        "gained": gained,
        "interval": _interval(lost, gained, n, copies),
        # an image that comes again says nothing new: at worst every copy is one that was lost
        "p_value": drop_p_value(max(lost - copies, 0), gained),
        "copies": copies,
    }


def _interval(lost: int, gained: int, n: int, copies: int) -> tuple[float, float]:
    """Of the drop, whichever rows the copies are."""
    left = n - copies
    if not left:
        return -1.0, 1.0
    least = max(lost - copies, 0), min(gained, left)
    most = min(lost, left), max(gained - copies, 0)
    return drop_interval(*least, left)[0], drop_interval(*most, left)[1]


def _common(one: Measured, other: Measured) -> tuple[Tensor, Tensor]:
    """Row numbers (M,), in both, of the images that both know."""
    rows = torch.arange(len(one))
    if not len(other):
        return rows[:0], rows[:0]
    order = other.ids.argsort()
    place = torch.searchsorted(other.ids[order], one.ids).clamp(max=len(other) - 1)
    there = order[place]
    both = (other.ids[there] == one.ids) & one.known & other.known[there]
    return rows[both], there[both]
