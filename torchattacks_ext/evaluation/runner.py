"""How is a model evaluated? One pass over the data, every stage on every batch, one report."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import torch

from ..data.stream import Batch, Stream
from ..engines.judge.active import Judge, Judged
from ..errors import ConfigError, ModelContractError
from ..models.broken import models_own
from ..models.fingerprint import describe_model
from ..models.loans import lost_flags
from ..models.logits import LogitsView
from ..models.session import first_tensor, session
from ..results.base.facts import Cost, Flag, versions, warn_flags
from ..results.evaluation import EvaluationReport, GalleryItem, StageReport
from .contradictions import contradictions
from .gallery import Gallery
from .intake import DataFacts, open_stream
from .running import Running

if TYPE_CHECKING:
    from .plan import Plan

logger = logging.getLogger("torchattacks_ext")


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
    is not in theirs is at most 65 forward row-passes to look at the model (100 where it is
    randomised) and 12 for the gallery.

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
    running = [Running(stage) for stage in build_stages(checked)]
    if not callable(model):
        raise ConfigError(
            f"model is {type(model).__name__}, expected a Module or a callable that maps images "
            "(N, ...) to scores (N, K)"
        )
    for run in running:
        run.stage.accepts(model)
    started = time.perf_counter()
    with torch.inference_mode(False):
        view = LogitsView(model, checked.outputs, key=checked.output_key)
        stream = open_stream(view, data, checked, n)
        gallery, facts, finite = Gallery(checked.box), DataFacts(), False
        whose = describe_model(model)
        with _bar(stream.total, progress) as bar:
            for batch in stream:
                facts.add(batch)
                with session(model):
                    finite |= _run_batch(running, batch, view, stream, gallery, whose)
                bar.update(len(batch))
        described = facts.describe()
        if not finite:
            raise _nothing_finite(running, described["n"])
        doubts = [*lost_flags(model), *stream.copies.flags()]
        stages = tuple(run.report(doubts) for run in running)
        shown = _shown(gallery, stages, _judge(view, checked))
    cost = Cost(view.meter.forward, view.meter.backward, time.perf_counter() - started)
    report = _report(name, checked, view, stream, stages, described, shown, cost, whose)
    warn_flags(report.flags)
    return report


def _nothing_finite(running: list[Running], n: int) -> ModelContractError:
    """What is raised where no image has a finite answer: what the model raised, if it did."""
    found = next((run.failure for run in running if run.failure is not None), None)
    return found or ModelContractError(
        f"all {n} images gave NaN or infinite logits; check the weights, the dtype and the scale "
        "of the input"
    )


def _shown(
    gallery: Gallery, stages: tuple[StageReport, ...], judge: Judge
) -> tuple[GalleryItem, ...]:
    """The pictures of the report; none where the model does not answer for them any more."""
    failed = [stage.name for stage in stages if stage.error is not None]
    view = judge.view
    assert isinstance(view, LogitsView)
    try:
        with session(view.model):
            return gallery.items(judge, _device(view), failed)
    except Exception as error:
        logger.warning("the report has no pictures: %s", error, exc_info=error)
        return ()


def _judge(view: LogitsView, plan: Plan) -> Judge:
    return Judge(view, targeted=False, batch_size=plan.batch_size)


def _device(view: LogitsView) -> torch.device:
    sample = first_tensor(view.model)
    return torch.device("cpu") if sample is None else sample.device


def _run_batch(
    running: list[Running],
    batch: Batch,
    view: LogitsView,
    stream: Stream,
    gallery: Gallery,
    whose: Mapping[str, Any],
) -> bool:
    """Every stage on one batch; the clean answers are computed once and booked on the first.

    Returns whether any clean answer was finite. Where the model raises on the clean images, the
    batch is FAILED in every stage.
    """
    from .stages.base import Shared
    from .stages.clean import labels_of

    plan, labels, traits = running[0].stage.plan, labels_of(batch), stream.traits
    judge = _judge(view, plan)
    before, started = view.meter.snapshot(), time.perf_counter()
    clean: Judged | None = None
    try:
        with torch.no_grad():
            clean = replace(judge, scored=True).judge(
                len(batch), lambda part: (batch.images[part], labels[part]), None
            )
    except ModelContractError as error:
        failure = models_own(error)
        for run in running:
            run.fail(batch, failure)
    running[0].cost += view.meter.since(before, time.perf_counter() - started)
    if clean is None:  # no budget: only a failure leaves none
        return False
    assert traits is not None  # asked by the stream
    stream.answered(batch.labels, clean.prediction)
    shared = Shared(view, judge, clean, traits.n_classes, traits, whose)
    for run in running:
        run.take(batch, shared, gallery, traits)
    return bool(clean.finite.any())


def _largest(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """One flag a code, that of the largest count: stages see the same rows, so no sums.

    Those that are about one stage stand for themselves.
    """
    found: dict[tuple[str, Any], Flag] = {}
    for flag in flags:
        key = flag.code, flag.details.get("stage")
        old = found.get(key)
        if old is None or (flag.count or 0) > (old.count or 0):
            found[key] = flag
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
    model: Mapping[str, Any],
) -> EvaluationReport:
    flags = [flag for stage in stages if stage.result for flag in stage.result.flags]
    flags += [*stream.copies.flags(), *stream.doubts(), *contradictions(stages)]
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
