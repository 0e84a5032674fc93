"""How do the reports of several shards become the one that an undivided run would have given?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import InputError, StateError, TorchattacksExtError
from ...numerics.ids import to_hex
from ...results.base import codec
from ...results.base.facts import Cost, Flag, versions
from ...results.base.origin import refuse_other_model
from ...results.base.result import Result
from ...results.base.unknown import known_fields
from ...results.evaluation import EvaluationReport, GalleryItem, StageReport
from ..contradictions import contradictions, largest
from .journal import REPORT, ROWS
from .shards import Shard

if TYPE_CHECKING:
    from ..stages import RowStage

Source = EvaluationReport | str | os.PathLike[str]


def merge(parts: Iterable[Source]) -> EvaluationReport:
    """One report of several: all shards of a run, or runs of one plan and model on disjoint data.

    parts: reports, their files, or folders that hold one: a state, or the folder of all states of a
    sharded run. Rows are put into the order of the data, doubts about the whole are asked anew;
    digests are those of the undivided run. No model is needed and no pass made. Raises InputError
    for nothing, an unfinished state and a missing or repeated shard, StateError for another plan,
    model or data set.

    >>> import torch
    >>> from torchattacks_ext import evaluate
    >>> from torchattacks_ext.testing import RateVictim
    >>> images, labels = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.long)
    >>> plan = {"eps": 0.1, "group_size": 1, "stages": ["clean"]}
    >>> run = lambda **part: evaluate(RateVictim(0.0), (images, labels), plan, **part)
    >>> whole = merge([run(shard="1/2"), run(shard="2/2")])
    >>> whole["clean"].result.digest() == run()["clean"].result.digest()
    True
    """
    reports = [report for part in parts for report in _read(part)]
    if not reports:
        raise InputError("merge needs at least one report, got none")
    _check(reports)
    shards = _shards(reports)
    if shards is not None:
        numbers = [shard.i for shard in shards]
        order = sorted(range(len(shards)), key=numbers.__getitem__)
        reports, shards = [reports[k] for k in order], [shards[k] for k in order]
    first, built = reports[0], _built(reports[0].plan)
    # where there are fewer groups than shards the last ones have no row
    held = [report for report in reports if report.data["n"]]
    places = _places(held, shards)
    stages = tuple(
        _stage([report.stages[k] for report in held], held, places, built)
        for k in range(len(first.stages))
    )
    return EvaluationReport(
        name=first.name,
        plan=first.plan,
        model=first.model,
        data=_data(reports),
        stages=stages,
        flags=largest(_flags(reports, stages)),
        cost=sum((report.cost for report in reports), Cost()),
        provenance={
            "versions": versions(),
            "device": first.provenance.get("device"),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "merged": len(reports),
        },
        gallery=_gallery(reports, stages),
    )


def _read(part: Source) -> Iterator[EvaluationReport]:
    """The reports behind a source."""
    if isinstance(part, EvaluationReport):
        yield part
        return
    path = Path(part)
    below = sorted(path.glob("shard-*-of-*")) if path.is_dir() else []
    if (path / REPORT).is_file():
        yield EvaluationReport.from_json(path / REPORT)
    elif below:
        for one in below:
            yield from _read(one)
    elif (path / ROWS).is_file():
        raise InputError(
            f"state {str(path)!r} has no {REPORT}: its run is not finished; run it again with the "
            "same state"
        )
    elif path.is_dir():
        raise InputError(f"folder {str(path)!r} holds no {REPORT}; give another one")
    else:
        yield EvaluationReport.from_json(path)


def _check(reports: Sequence[EvaluationReport]) -> None:
    """Raises StateError for another plan, model or set of stages than the first one's."""
    first = reports[0]
    for report in reports[1:]:
        one, two = (
            {k: v for k, v in each.plan.items() if k != "batch_size"}
            for each in (first, report)
        )
        odd = codec.differences(one, two)
        if odd:
            raise StateError(f"the reports have other plans ({odd}); run one plan")
        refuse_other_model({"model": first.model}, {"model": report.model}, "a report")
        names = [[stage.name for stage in each.stages] for each in (first, report)]
        if names[0] != names[1]:
            raise StateError(
                f"the reports have other stages: {names[0]} and {names[1]}"
            )


def _shards(reports: Sequence[EvaluationReport]) -> list[Shard] | None:
    """Which shard each report is; None where none of them is one."""
    told = [report.provenance.get("shard") for report in reports]
    if not any(told):
        return None
    known = [one for one in told if one]
    if len(known) < len(told):
        raise InputError("some reports are shards and some are not; merge one run")
    found = [Shard(one["i"], one["n"]) for one in known]
    n, seen = found[0].n, sorted(shard.i for shard in found)
    if any(shard.n != n for shard in found):
        raise InputError(f"shards of other numbers: {', '.join(map(str, found))}")
    if seen != list(range(1, n + 1)):
        lost = [f"{i}/{n}" for i in range(1, n + 1) if i not in seen]
        more = sorted({f"{i}/{n}" for i in seen if seen.count(i) > 1})
        what = (
            f"missing: {', '.join(lost)}" if lost else f"given twice: {', '.join(more)}"
        )
        raise InputError(f"not the {n} shards of one run ({what})")
    if len({codec.canonical(one["data"]) for one in known}) > 1:
        raise StateError("the shards saw other data sets; give each the same data")
    return found


def _places(
    reports: Sequence[EvaluationReport], shards: Sequence[Shard] | None
) -> list[Tensor] | None:
    """The place of each row of each report in the whole data; None for the order given."""
    if shards is None:
        return None
    size = int(reports[0].plan["group_size"])
    counts = [int(report.data["n"]) for report in reports]
    return [shard.positions(n, size) for shard, n in zip(shards, counts)]


def _built(plan: Mapping[str, Any]) -> dict[str, RowStage]:
    """The stages of a plan by label; none where it holds models, which no file has."""
    from ..plan import check_plan  # pydantic is slow to import
    from ..stages import build_stages

    try:
        return {stage.label: stage for stage in build_stages(check_plan(plan))}
    except TorchattacksExtError:
        return {}


@dataclass(frozen=True)
class _Late:
    """What only the end of a run said of a stage: codes of flags, tallies, doubts of the data."""

    codes: tuple[str, ...]
    tallies: tuple[Mapping[str, Any], ...]
    doubts: tuple[Flag, ...]


def _late(report: EvaluationReport, label: str) -> _Late:
    told = report.provenance.get("shard") or {}
    doubts = tuple(known_fields(Flag, flag) for flag in told.get("doubts", ()))
    codes = (*told.get("late", {}).get(label, ()), *(flag.code for flag in doubts))
    return _Late(codes, tuple(told.get("tallies", {}).get(label, ())), doubts)


def _stage(
    parts: Sequence[StageReport],
    reports: Sequence[EvaluationReport],
    places: list[Tensor] | None,
    built: Mapping[str, RowStage],
) -> StageReport:
    """One stage of all reports; failed where it failed in one of them."""
    first, cost = parts[0], sum((part.cost for part in parts), Cost())
    results = [part.result for part in parts if part.result is not None]
    if len(results) < len(parts):
        errors = [part.error for part in parts if part.error is not None]
        error = errors[0] if errors else None
        return replace(first, result=None, error=error, cost=cost)
    stage = None if places is None else built.get(first.name)
    late = [_late(report, first.name) for report in reports]
    if stage is not None:
        results = [
            replace(r, flags=tuple(f for f in r.flags if f.code not in told.codes))
            for r, told in zip(results, late, strict=True)
        ]
    whole: Result = type(results[0]).concat(results)
    whole = replace(whole, cost=cost)
    tallies = [tally for told in late for tally in told.tallies]
    if places is not None:
        order = torch.cat(places).argsort()
        whole = whole.select(whole.ids[order])
    if stage is None:
        return replace(first, result=whole, cost=cost)
    whole = stage.finish(whole, tallies).with_flags(late[0].doubts)
    settings = {**first.settings, "guarantee": stage.guarantee}
    return replace(first, result=whole, cost=cost, settings=settings, notes=stage.notes)


def _data(reports: Sequence[EvaluationReport]) -> dict[str, Any]:
    """What the data were, all parts together."""
    first = reports[0]
    told = first.provenance.get("shard")
    if told:
        return {**first.data, **told["data"]}
    counts = [list(report.data.get("class_counts", ())) for report in reports]
    k = max(map(len, counts))
    rows = [count + [0] * (k - len(count)) for count in counts]
    kept = {k: v for k, v in first.data.items() if k != "sha256"}
    n = sum(int(report.data["n"]) for report in reports)
    return {**kept, "n": n, "class_counts": [sum(column) for column in zip(*rows)]}


def _flags(
    reports: Sequence[EvaluationReport], stages: Sequence[StageReport]
) -> Iterator[Flag]:
    """Doubts of the stages as one, those of single reports, and what stages say of each other."""
    told = [flag for stage in stages if stage.result for flag in stage.result.flags]
    yield from told
    yield from contradictions(stages)
    seen = {flag.code for flag in told}
    for report in reports:
        seen |= {f.code for s in report.stages if s.result for f in s.result.flags}
    counts: dict[tuple[str, Any], Flag] = {}
    for flag in (f for report in reports for f in report.flags if f.code not in seen):
        key = flag.code, flag.details.get("stage")
        old = counts.get(key)
        if old is not None and old.count is not None and flag.count is not None:
            flag = replace(flag, count=old.count + flag.count)
        counts[key] = flag
    yield from counts.values()


def _gallery(
    reports: Sequence[EvaluationReport], stages: Sequence[StageReport]
) -> tuple[GalleryItem, ...]:
    """The pictures of one stage that fail most, of all reports."""
    items = [item for report in reports for item in report.gallery]
    clean = next((stage.result for stage in stages if stage.result), None)
    if not items or clean is None:
        return ()
    place = {name: k for k, name in enumerate(to_hex(clean.ids))}
    names = [stage.name for stage in stages]
    kinds = {stage.name: stage.kind for stage in stages}
    shown = {item.stage for item in items}
    label = min(shown, key=lambda s: (kinds.get(s) != "prtest", names.index(s)))
    own = [item for item in items if item.stage == label]
    size = max(len(report.gallery) for report in reports)

    def rank(item: GalleryItem) -> tuple[float, float, int]:
        rate = 0.0 if item.p_fail != item.p_fail else -item.p_fail
        return rate, item.margin, place.get(item.id, 0)

    return tuple(sorted(own, key=rank)[:size])
