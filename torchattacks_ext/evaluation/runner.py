"""How is a model evaluated? One pass over the data, every stage on every batch, one report."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..data.stream import Stream
from ..engines.judge.active import Judge
from ..errors import ConfigError, ModelContractError
from ..models.fingerprint import describe_model
from ..models.loans import lost_flags
from ..models.logits import LogitsView
from ..models.session import first_tensor, session
from ..results.base.facts import Cost, Flag, versions, warn_flags
from ..results.evaluation import EvaluationReport, GalleryItem, StageReport
from .contradictions import contradictions, largest
from .gallery import Gallery
from .intake import DataFacts, lots_of, open_stream
from .keeping import Nowhere, keeping, look_of
from .limits import Limits, late_flags
from .progress import live
from .rows.kept import Form, Images, check_form
from .running import Running
from .sets import reduce_sets
from .state.key import Key, key_of
from .state.shards import Shard, read_shard

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
    state: str | os.PathLike[str] | None = None,
    tag: str | None = None,
    shard: str | Shard | None = None,
    max_minutes: float | None = None,
    max_queries: int | None = None,
    images: Form | None = None,
) -> EvaluationReport:
    """Run every stage of `plan` on `model` and `data` and say what is left.

    model: Module or callable, pixels (N, ...) to scores (N, K). data: (images, labels), Dataset,
    DataLoader or iterable of batches (tuples or dicts). plan: dict or :class:`Plan`, say
    ``{"eps": "8/255", "stages": ["clean", {"name": "PGD", "steps": 20}, "prtest"]}``; unknown keys
    are refused. name: of the model, in the report. n: at most so many images, the first ones.
    progress: show a live line.

    state: a folder that keeps each finished row group, so that the same call goes on after any end
    (docs/state.md); tag: a name of the model, needed there where it has no weights to hash. shard:
    "i/n" or "auto", one part of the rows in groups of the plan's `group_size`
    (:func:`~torchattacks_ext.evaluation.merge` joins the reports). images: "float" or "uint8"
    keeps the adversarial image of each broken row in the state, as judged or on 256 levels and
    asked again. max_minutes, max_queries
    (forward row-passes): no row group is begun beyond them; rows that were not reached are
    undecided.

    Every attack is judged here: its candidate is clipped, projected on the plan's ball and
    predicted again. An attack that raises becomes rows with its reason, never a pass; where memory
    is too short batches are halved. Raises ConfigError for the plan, InputError for the data,
    ModelContractError for a model without finite logits, StateError for the state of another run.
    Memory is bounded by the batch and the group. Cost: that of the stages, in the report; what
    is not in theirs is at most 57 forward row-passes to look at the model (100 where it is
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

    checked, part = check_plan(plan), read_shard(shard)
    limits = Limits(max_minutes, max_queries)
    check_form(images, state is not None)
    running = [Running(stage) for stage in build_stages(checked)]
    if not callable(model):
        raise ConfigError(
            f"model is {type(model).__name__}, expected a Module or a callable that maps images "
            "(N, ...) to scores (N, K)"
        )
    for run in running:
        run.stage.accepts(model)
        if part is not None and run.stage.of_all:
            raise ConfigError(
                f"stage {run.stage.label!r} is about all images together; run it without a shard"
            )
    with torch.inference_mode(False):
        view = LogitsView(model, checked.outputs, key=checked.output_key)
        stream = open_stream(view, data, checked, n)
        whose = describe_model(model)
        key = None
        if state is not None:
            key = _key(checked, running, whose, tag, stream, part, images)
        with keeping(_folder(state, part), key) as keeper:
            facts = checked, view, stream, whose, part, limits, name, images, data
            scene = _Scene(*facts)
            report = _run(scene, running, keeper, progress)
            keeper.finish(report)
    warn_flags(report.flags)
    return report


@dataclass(frozen=True, eq=False)
class _Scene:
    """What one run is about. model: its class, weights and size, as they were before."""

    plan: Plan
    view: LogitsView
    stream: Stream
    model: Mapping[str, Any]
    shard: Shard | None
    limits: Limits
    name: str | None
    images: Form | None
    data: Any

    def kept(self, folder: Path | None) -> Images | None:
        """Where adversarial images go."""
        if self.images is None or folder is None:
            return None
        plan, place = self.plan, folder / "images"
        return Images(self.images, place, plan.eps, plan.norm, plan.box)


def _folder(state: str | os.PathLike[str] | None, shard: Shard | None) -> Path | None:
    """Each shard has a state of its own, so that all may be given the same one."""
    if state is None:
        return None
    return Path(state) if shard is None else Path(state) / shard.folder


def _key(
    plan: Plan,
    running: list[Running],
    model: Mapping[str, Any],
    tag: str | None,
    stream: Stream,
    shard: Shard | None,
    images: Form | None,
) -> Key:
    data, facts = {"images": stream.total}, plan.facts()
    facts |= {} if images is None else {"kept images": images}
    by_batch = any(run.stage.unit == "batch" for run in running)
    part = None if shard is None else str(shard)
    return key_of(facts, model, tag, data, part, by_batch=by_batch)


def _run(
    scene: _Scene, running: list[Running], keeper: Nowhere, progress: bool
) -> EvaluationReport:
    """The whole pass, from what an earlier run left to the report."""
    from .work import Work, judge_of  # brings pydantic, which is slow to import

    plan, view, stream, started = (
        scene.plan,
        scene.view,
        scene.stream,
        time.perf_counter(),
    )
    before = look = keeper.recall(running)
    stream.traits = None if before is None else before.traits
    gallery, facts, whole = Gallery(plan.box), DataFacts(), DataFacts()
    for run in running:
        gallery.put(run.stage, ())
    shard, kept = scene.shard or Shard(), keeper.folder is not None
    budget = scene.limits.budget(view.meter)
    with live(stream.total, running, progress) as line:
        work = Work(
            running, plan, view, stream, gallery, keeper, line, budget, scene.model
        )
        work.images = scene.kept(keeper.folder)
        for batch in stream:
            whole.add(batch)
            if look is None:
                look = look_of(stream, view.meter.snapshot(), len(batch))
                keeper.looked(look)
            work.n_looked = look.n
            # ids of the caller say nothing of what the rows show; others are hashes of it
            hashed = kept and stream.copies.quiet
            for lot in lots_of(batch, plan, shard, hashed):
                facts.add(lot.batch)
                with session(view.model):
                    work.take(lot)
        with session(view.model):
            work.close()
    for run in running:
        run.before.refuse_more(whole.n)
    described, all_rows = facts.describe(shard), whole.describe()
    if work.asked and not work.finite:
        raise _nothing_finite(running, described["n"])
    doubts = [*lost_flags(view.model), *stream.copies.flags()]
    stages = tuple(run.report(doubts) for run in running)
    judge, ordered = judge_of(view, plan.batch_size), [run.stage for run in running]
    stages = reduce_sets(ordered, stages, judge, stream, scene.data, scene.model)
    shown = _shown(gallery, stages, judge)
    gone = sum((run.gone for run in running), Cost() if before is None else before.cost)
    spent = Cost(view.meter.forward, view.meter.backward, time.perf_counter() - started)
    late = late_flags(running, scene.limits, kept)
    origin = keeper.facts()
    if scene.shard is not None:
        origin["shard"] = _part(scene, running, all_rows, doubts)
    found = (stages, described, shown, gone + spent)
    return _report(scene, *found, [*late], origin)


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


def _device(view: LogitsView) -> torch.device:
    sample = first_tensor(view.model)
    return torch.device("cpu") if sample is None else sample.device


def _part(
    scene: _Scene, running: list[Running], data: Mapping[str, Any], doubts: list[Flag]
) -> dict[str, Any]:
    """What `merge` must know of a shard to say what the whole run would have said."""
    assert scene.shard is not None
    return {
        "i": scene.shard.i,
        "n": scene.shard.n,
        "data": dict(data),
        "doubts": [flag.to_dict() for flag in doubts],
        "late": {run.stage.label: list(run.late) for run in running},
        "tallies": {run.stage.label: run.tallies for run in running},
    }


def _report(
    scene: _Scene,
    stages: tuple[StageReport, ...],
    described: dict[str, Any],
    gallery: tuple[GalleryItem, ...],
    cost: Cost,
    late: list[Flag],
    origin: Mapping[str, Any],
) -> EvaluationReport:
    stream = scene.stream
    flags = [flag for stage in stages if stage.result for flag in stage.result.flags]
    flags += [*stream.copies.flags(), *stream.doubts(), *contradictions(stages), *late]
    return EvaluationReport(
        name=scene.name or scene.model["class"],
        plan=scene.plan.facts(),
        model=scene.model,
        data=described,
        stages=stages,
        flags=largest(flags),
        cost=cost,
        provenance={
            "versions": versions(),
            "device": str(_device(scene.view)),
            "threads": torch.get_num_threads(),
            "by_batch": [s.name for s in stages if s.settings.get("unit") == "batch"],
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **origin,
        },
        gallery=gallery,
    )
