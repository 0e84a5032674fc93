"""How is a model evaluated? One pass over the data, every stage on every batch, one report."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import torch

from .._typing import Status
from ..data.stream import Batch, Stream
from ..engines.judge.active import Judge
from ..errors import ConfigError, ModelContractError, TorchattacksExtError
from ..models.checks import ModelTraits
from ..models.fingerprint import describe_model
from ..models.logits import LogitsView
from ..models.session import first_tensor, session
from ..results.base.facts import Cost, Flag, versions, warn_flags
from ..results.base.result import Result
from ..results.evaluation import EvaluationReport, GalleryItem, StageReport
from .gallery import Gallery
from .intake import DataFacts, open_stream

if TYPE_CHECKING:
    from .plan import Plan
    from .stages import RowStage, Shared

logger = logging.getLogger("torchattacks_ext")


@dataclass
class _Running:
    """A stage at work: its finished rows, what it cost, and why it ended early, if it did."""

    stage: RowStage
    results: list[Result] = field(default_factory=list)
    cost: Cost = Cost()
    error: str | None = None

    def report(self) -> StageReport:
        """What goes into the report; a stage that raised has no result at all."""
        whole = None
        if self.error is None and self.results:
            whole = type(self.results[0]).concat(self.results)
            whole = self.stage.finish(replace(whole, cost=self.cost))
        stage = self.stage
        return StageReport(
            name=stage.label,
            kind=stage.kind,
            result=whole,
            error=self.error,
            settings=stage.settings | {"guarantee": stage.guarantee},
            notes=stage.notes,
            cost=self.cost,
        )


def evaluate(
    model: Any,
    data: Any,
    plan: Plan | Mapping[str, Any],
    *,
    name: str | None = None,
    n: int | None = None,
    progress: bool = False,
) -> EvaluationReport:
    """Run every stage of `plan` on `model` and `data` and say what is left.

    model: Module or callable, pixels (N, ...) to scores (N, K). data: (images, labels), Dataset,
    DataLoader or iterable of batches (tuples or dicts). plan: dict or :class:`Plan`, say
    ``{"eps": "8/255", "stages": ["clean", {"name": "PGD", "steps": 20}, "prtest"]}``; unknown keys
    are refused. name: of the model, in the report. n: at most so many images, the first ones.
    progress: show a bar.

    Every attack is judged here: its candidate is clipped, projected on the plan's ball and
    predicted again. An attack that raises becomes a row with its reason, never a pass. Raises
    ConfigError for the plan, InputError for the data, ModelContractError for a model without
    finite logits. Memory is bounded by the batch. Cost: that of the stages, in the report; what
    is not in theirs is at most 65 forward row-passes to look at the model and 12 for the gallery.

    >>> from torchattacks_ext.testing import RateVictim
    >>> images, labels = torch.full((4, 1, 4, 4), 0.5), torch.zeros(4, dtype=torch.long)
    >>> data = [{"images": images, "labels": labels, "sample_ids": [1, 2, 3, 4]}]
    >>> report = evaluate(RateVictim(0.0), data, {"eps": 0.1, "stages": ["prtest"]})
    >>> report["prtest"].result.pra
    1.0
    """
    from .plan import check_plan
    from .stages import build_stages

    checked = check_plan(plan)
    running = [_Running(stage) for stage in build_stages(checked)]
    if not callable(model):
        raise ConfigError(
            f"model is {type(model).__name__}, expected a Module or a callable that maps images "
            "(N, ...) to scores (N, K)"
        )
    started = time.perf_counter()
    with torch.inference_mode(False):
        view = LogitsView(model, checked.outputs, key=checked.output_key)
        stream = open_stream(view, data, checked, n)
        gallery, facts, finite = Gallery(checked.box), DataFacts(), False
        with _bar(stream.total, progress) as bar:
            for batch in stream:
                facts.add(batch)
                with session(model):
                    finite |= _run_batch(running, batch, view, checked, stream, gallery)
                bar.update(len(batch))
        described = facts.describe()
        if not finite:
            raise ModelContractError(
                f"all {described['n']} images gave NaN or infinite logits; check the weights, the "
                "dtype and the scale of the input"
            )
        stages = tuple(run.report() for run in running)
        with session(model):
            failed = [stage.name for stage in stages if stage.error is not None]
            shown = gallery.items(_judge(view, checked), _device(view), failed)
    cost = Cost(view.meter.forward, view.meter.backward, time.perf_counter() - started)
    report = _report(name, checked, view, stream, stages, described, shown, cost)
    warn_flags(report.flags)
    return report


def _judge(view: LogitsView, plan: Plan) -> Judge:
    return Judge(view, targeted=False, batch_size=plan.batch_size)


def _device(view: LogitsView) -> torch.device:
    sample = first_tensor(view.model)
    return torch.device("cpu") if sample is None else sample.device


def _run_batch(
    running: list[_Running],
    batch: Batch,
    view: LogitsView,
    plan: Plan,
    stream: Stream,
    gallery: Gallery,
) -> bool:
    """Every stage on one batch; the clean answers are computed once and booked on the first.

    Returns whether any clean answer was finite.
    """
    from .stages import Shared
    from .stages.clean import labels_of

    judge, labels, traits = _judge(view, plan), labels_of(batch), stream.traits
    before, started = view.meter.snapshot(), time.perf_counter()
    with torch.no_grad():
        clean = judge.judge(
            len(batch), lambda part: (batch.images[part], labels[part]), None
        )
    assert clean is not None and traits is not None  # no budget; asked by the stream
    running[0].cost += view.meter.since(before, time.perf_counter() - started)
    shared = Shared(view, judge, clean, traits.n_classes, traits)
    for run in running:
        _run_stage(run, batch, shared, gallery, traits)
    return bool(clean.finite.any())


def _run_stage(
    run: _Running, batch: Batch, shared: Shared, gallery: Gallery, traits: ModelTraits
) -> None:
    """One batch of one stage; what it raises ends the stage, not the evaluation."""
    if run.error is not None:
        return
    meter, started = shared.view.meter, time.perf_counter()
    before = meter.snapshot()
    try:
        rows = run.stage.rows(batch, shared)
        gallery.offer(run.stage, batch, shared.clean, rows)
    except Exception as error:
        foreign = not isinstance(error, TorchattacksExtError)
        run.error = f"{type(error).__name__}: {error}" if foreign else str(error)
        trace = error if foreign or error.__cause__ is not None else None
        logger.warning(
            "stage %s failed: %s", run.stage.label, run.error, exc_info=trace
        )
    else:
        run.results.append(rows.result.with_flags(_doubts(rows.result, traits)))
    run.cost += meter.since(before, time.perf_counter() - started)


def _doubts(result: Result, traits: ModelTraits) -> Iterator[Flag]:
    """What every result must say: traits of the model, rows without finite logits."""
    yield from traits.flags()
    status = getattr(result, "status", None)
    bad = 0 if status is None else int((status == int(Status.NON_FINITE)).sum())
    if bad:
        yield Flag("non_finite", f"{result.no_number}; counted as failures", bad)


def _largest(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """One flag a code, that of the largest count: stages see the same rows, so no sums."""
    found: dict[str, Flag] = {}
    for flag in flags:
        old = found.get(flag.code)
        if old is None or (flag.count or 0) > (old.count or 0):
            found[flag.code] = flag
    return tuple(found.values())


@contextlib.contextmanager
def _bar(total: int | None, progress: bool) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(
        total=total, desc="evaluate", unit="image", disable=None if progress else True
    ) as bar:
        yield bar


def _report(
    name: str | None,
    plan: Plan,
    view: LogitsView,
    stream: Stream,
    stages: tuple[StageReport, ...],
    described: dict[str, Any],
    gallery: tuple[GalleryItem, ...],
    cost: Cost,
) -> EvaluationReport:
    flags = [flag for stage in stages if stage.result for flag in stage.result.flags]
    if stream.n_duplicates:
        text = (
            "the data hold images that occur more than once; they are not independent"
        )
        flags.append(Flag("duplicates", text, stream.n_duplicates))
    model = describe_model(view.model)
    return EvaluationReport(
        name=name or model["class"],
        plan=plan.facts(),
        model=model,
        data=described,
        stages=stages,
        flags=_largest(flags),
        cost=cost,
        provenance={
            "versions": versions(),
            "device": str(_device(view)),
            "threads": torch.get_num_threads(),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
        gallery=gallery,
    )
