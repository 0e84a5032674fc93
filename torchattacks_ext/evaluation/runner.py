"""How is a model evaluated? One pass over the data, every stage on every batch, one report."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.door import check_images
from ..data.stream import Batch, Stream
from ..engines.active import Judge
from ..errors import InputError, ModelContractError, TorchattacksExtError
from ..models.checks import ModelTraits, inspect_model
from ..models.fingerprint import describe_model
from ..models.logits import LogitsView, working_dtype
from ..models.session import first_tensor, session
from ..results.base import Result
from ..results.evaluation import EvaluationReport, GalleryItem, StageReport
from ..results.facts import Cost, Flag, merge_flags, versions, warn_flags
from .gallery import Gallery

if TYPE_CHECKING:
    from .plan import Plan
    from .stages import RowStage, Shared

logger = logging.getLogger("torchattacks_ext")


@dataclass
class _Running:
    """A stage at work: the rows it has finished, what it cost, and why it ended early, if it did."""

    stage: RowStage
    results: list[Result] = field(default_factory=list)
    cost: Cost = Cost()
    error: str | None = None

    def report(self) -> StageReport:
        """What goes into the report; a stage that raised has no result at all."""
        whole = None
        if self.error is None and self.results:
            whole = type(self.results[0]).concat(self.results)
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

    model: Module or callable, pixels (N, ...) to scores (N, K). data: (images, labels), Dataset, DataLoader
    or iterable of batches (tuples or dicts). plan: dict or :class:`Plan`, say ``{"eps": "8/255", "stages":
    ["clean", {"name": "PGD", "steps": 20}, "prtest"]}``; unknown keys are refused. name: of the model, in
    the report. n: at most so many images, the first ones. progress: show a bar.

    Every attack is judged here: its candidate is clipped, projected on the plan's ball and predicted again.
    An attack that raises becomes a row with its reason, never a pass. Raises ConfigError for the plan,
    InputError for the data, ModelContractError for a model without finite logits; memory is bounded by the
    batch. Cost: the sum over the stages, in the report.

    >>> from torchattacks_ext.testing import RateVictim
    >>> images, labels = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.long)
    >>> report = evaluate(RateVictim(0.0), (images, labels), {"eps": 0.1, "stages": ["prtest"]})
    >>> report["prtest"].result.pra
    1.0
    """
    from .plan import check_plan
    from .stages import build_stages

    checked = check_plan(plan)
    running = [_Running(stage) for stage in build_stages(checked)]
    started = time.perf_counter()
    view = LogitsView(model, checked.outputs)  # type: ignore[arg-type]
    stream = _stream(view, data, checked)
    gallery = Gallery(checked.bounds)
    facts = _DataFacts()
    with _bar(stream.total if n is None else n, progress) as bar:
        for batch in _first(stream, n):
            facts.add(batch)
            with torch.inference_mode(False), session(model):
                shared = _shared(view, batch, checked, stream)
                for run in running:
                    _run_stage(run, batch, shared, gallery)
            bar.update(len(batch))
    return _report(
        name, checked, view, stream, running, gallery, facts, time.perf_counter() - started
    )


def _stream(view: LogitsView, data: Any, plan: Plan) -> Stream:
    if isinstance(data, tuple) and len(data) == 2:
        images, labels = data
    else:
        images, labels = data, None

    def prepare(raw: Any) -> Tensor:
        pixels = raw if isinstance(raw, Tensor) else torch.as_tensor(raw)
        sample = first_tensor(view.model)
        if sample is not None:
            pixels = pixels.to(sample.device)
        if pixels.is_inference():
            pixels = pixels.clone()
        return check_images(pixels, plan.bounds, working_dtype(view.model))

    def look(pixels: Tensor) -> ModelTraits:
        with session(view.model):
            return inspect_model(view.model, view, pixels, plan.outputs)

    return Stream(
        images,
        labels,
        batch_size=plan.batch_size,
        bounds=plan.bounds,
        prepare=prepare,
        look=look,
    )


def _first(stream: Stream, n: int | None) -> Iterator[Batch]:
    """The batches of a stream, cut after `n` images."""
    left = n
    if left is not None and left < 1:
        raise InputError(f"n={n} must be >= 1, or None for all images")
    for batch in stream:
        if left is None or len(batch) < left:
            yield batch
            left = None if left is None else left - len(batch)
            continue
        yield Batch(
            batch.ids[:left],
            batch.images[:left],
            None if batch.labels is None else batch.labels[:left],
            batch.index[:left],
            None if batch.groups is None else batch.groups[:left],
        )
        return


def _shared(view: LogitsView, batch: Batch, plan: Plan, stream: Stream) -> Shared:
    from .stages import Shared
    from .stages.clean import labels_of

    judge = Judge(view, targeted=False, batch_size=plan.batch_size)
    labels = labels_of(batch)
    with torch.inference_mode():
        clean = judge.judge(
            len(batch), lambda part: (batch.images[part], labels[part]), None
        )
    traits = stream.traits
    if clean is None or traits is None or not clean.finite.any():
        raise ModelContractError(
            "no image of a batch got finite logits; check the weights, the dtype and the scale of the "
            "input"
        )
    return Shared(view, judge, clean, traits.n_classes)


def _run_stage(run: _Running, batch: Batch, shared: Shared, gallery: Gallery) -> None:
    """One batch of one stage; what it raises ends the stage, not the evaluation."""
    if run.error is not None:
        return
    meter, started = shared.view.meter, time.perf_counter()
    before = meter.snapshot()
    try:
        rows = run.stage.rows(batch, shared)
    except Exception as error:
        logger.warning("stage %s failed", run.stage.label, exc_info=error)
        kind = "" if isinstance(error, TorchattacksExtError) else f"{type(error).__name__}: "
        run.error = f"{kind}{error}"
    else:
        run.results.append(rows.result)
        gallery.offer(run.stage, batch, shared.clean, rows)
    extra = Cost(forward=len(batch)) if run.stage.kind == "clean" else Cost()
    run.cost += meter.since(before, time.perf_counter() - started) + extra


@contextlib.contextmanager
def _bar(total: int | None, progress: bool) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(
        total=total, desc="evaluate", unit="image", disable=None if progress else True
    ) as bar:
        yield bar


class _DataFacts:
    """What the data were: how many, which (a hash of their ids), of which shape and classes."""

    def __init__(self) -> None:
        self._ids: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._shape: list[int] = []

    def add(self, batch: Batch) -> None:
        self._ids.append(batch.ids.cpu())
        self._shape = list(batch.images.shape[1:])
        if batch.labels is not None:
            self._labels.append(batch.labels.cpu())

    def describe(self) -> dict[str, Any]:
        if not self._ids:
            raise InputError("the data are empty: nothing to evaluate")
        ids = torch.cat(self._ids).sort().values
        counts = torch.cat(self._labels).bincount().tolist() if self._labels else []
        return {
            "n": len(ids),
            "shape": self._shape,
            "class_counts": counts,
            "sha256": hashlib.sha256(ids.numpy().tobytes()).hexdigest(),
        }


def _report(
    name: str | None,
    plan: Plan,
    view: LogitsView,
    stream: Stream,
    running: list[_Running],
    gallery: Gallery,
    facts: _DataFacts,
    seconds: float,
) -> EvaluationReport:
    described = facts.describe()
    stages = tuple(run.report() for run in running)
    own: list[Flag] = [] if stream.traits is None else list(stream.traits.flags())
    if stream.n_duplicates:
        text = "the data hold images that occur more than once; they are not independent"
        own.append(Flag("duplicates", text, stream.n_duplicates))
    flags = merge_flags(
        [own, *(stage.result.flags for stage in stages if stage.result is not None)]
    )
    warn_flags(flags, stacklevel=4)
    model = describe_model(view.model)
    items: tuple[GalleryItem, ...] = gallery.items()
    return EvaluationReport(
        name=name or model["class"],
        plan=plan.model_dump(mode="json"),
        model=model,
        data=described,
        stages=stages,
        flags=flags,
        cost=Cost(view.meter.forward, view.meter.backward, seconds),
        provenance={
            "versions": versions(),
            "device": str(_device(view)),
            "threads": torch.get_num_threads(),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
        gallery=items,
    )


def _device(view: LogitsView) -> torch.device:
    sample = first_tensor(view.model)
    return torch.device("cpu") if sample is None else sample.device
