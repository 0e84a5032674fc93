"""What do stages say of the data as a whole? Their rows are reduced after the last batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..data.stream import Stream
from ..engines.judge.active import Judge
from ..errors import TorchattacksExtError
from ..models.logits import LogitsView
from ..models.session import session
from ..results.base.facts import Cost
from ..results.evaluation import StageReport

if TYPE_CHECKING:
    from .stages.base import RowStage, Whole

logger = logging.getLogger("torchattacks_ext")


def reduce_sets(
    stages: Sequence[RowStage],
    reports: Sequence[StageReport],
    judge: Judge,
    stream: Stream,
    data: Any,
    model: Mapping[str, Any],
) -> tuple[StageReport, ...]:
    """The reports, with those of set stages reduced; the others as they are.

    stages: of the reports, one each. data: as the caller gave them. A stage that raises has no
    result and says why.
    """
    from .stages.base import SetStage, Whole

    if not any(isinstance(stage, SetStage) for stage in stages):
        return tuple(reports)
    view, traits = judge.view, stream.traits
    assert isinstance(view, LogitsView) and traits is not None
    whole = Whole(view, judge, traits, stream, readable(data), model)
    found = []
    for stage, report in zip(stages, reports):
        if isinstance(stage, SetStage) and report.result is not None:
            report = _reduced(stage, report, whole)
        found.append(report)
    return tuple(found)


def readable(data: Any) -> bool:
    """Whether the data can be read a second time.

    >>> readable([1]), readable(iter([1]))
    (True, False)
    """
    return not isinstance(data, Iterator)


def _reduced(stage: Any, report: StageReport, whole: Whole) -> StageReport:
    meter, started = whole.view.meter, time.perf_counter()
    before, result, error = meter.snapshot(), report.result, None
    try:
        with session(whole.view.model):
            result = stage.reduce(report.result, whole)
    except Exception as raised:
        foreign = not isinstance(raised, TorchattacksExtError)
        error = f"{type(raised).__name__}: {raised}" if foreign else str(raised)
        trace = raised if foreign or raised.__cause__ is not None else None
        logger.warning("stage %s failed: %s", stage.label, error, exc_info=trace)
    cost: Cost = report.cost + meter.since(before, time.perf_counter() - started)
    if error is not None or result is None:
        return replace(report, result=None, error=error, cost=cost)
    settings = {**report.settings, **stage.settings, "guarantee": stage.guarantee}
    result = replace(result, cost=cost)
    return replace(
        report, result=result, cost=cost, settings=settings, notes=stage.notes
    )
