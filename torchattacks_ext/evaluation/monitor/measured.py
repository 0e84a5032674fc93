"""What do images measure? One pass: features and a score of each, hashes of their pixels."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import torch
from torch import Tensor

from ...attacks.base.measuring import bar
from ...data.door import check_images
from ...data.stream import Batch, Stream
from ...errors import BackendError, InputError
from ...models.checks import inspect_model
from ...models.loans import lost_flags
from ...models.logits import LogitsView, working_dtype
from ...models.session import first_tensor, session
from ...numerics.arguments import parse_whole
from ...numerics.drift.tally import REACH
from ...numerics.ids import content_hashes
from ...results.base.facts import Cost, Flag, merge_flags, versions
from ..stages.sets.scored import fim_scores, logit_scores
from ..stages.sets.source import cut
from .features import features_and_logits, find_place
from .how import How


@dataclass(frozen=True, eq=False)
class Measured:
    """features (n, d) float32, scores (n,) float64, ids (n,) int64, and what stands beside them.

    place: where the features come from. shape: of an image.
    """

    features: Tensor
    scores: Tensor
    ids: Tensor
    place: str
    shape: tuple[int, ...]
    flags: tuple[Flag, ...]
    cost: Cost
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sha256(self) -> str:
        """Of the images, in any order."""
        return hashlib.sha256(self.ids.sort().values.numpy().tobytes()).hexdigest()


def measure(
    model: Any,
    data: Any,
    how: How,
    *,
    n: int | None = None,
    like: Mapping[str, Any] | None = None,
    allowed: Callable[[int], None] | None = None,
    progress: bool = False,
) -> Measured:
    """Features and scores of at most `n` images; labels are not looked at.

    data: images, (images, labels), Dataset, DataLoader or iterable of batches. like: settings of a
    reference, whose place of the features and shape of images are taken; None looks for them.
    allowed: raises for a number of images that cannot be; asked before the pass where the number is
    known, and after it. Raises InputError for data that cannot be read, images of several shapes or
    another one, and for images without finite features or a score: none is left out unsaid.
    progress: show a bar. Cost: a forward row-pass an image and those of the score; at most 108 to
    look at the model.
    """
    left = None if n is None else parse_whole(n, "n", 1)
    started = time.perf_counter()
    with torch.inference_mode(False):
        view = LogitsView(model, how.outputs, key=how.output_key)
        work = _Pass(view, how, like or {})
        stream = _opened(view, data, how)
        total = stream.total if left is None else min(left, stream.total or left)
        if allowed is not None and total is not None:
            allowed(total)
        with bar(total, "monitor", progress) as shown:
            for batch in stream:
                whole = batch if left is None else cut(batch, left)
                with session(model):
                    work.take(whole)
                shown.update(len(whole))
                left = None if left is None else left - len(whole)
                if left == 0:
                    break
    if allowed is not None and work.parts:
        allowed(sum(len(ids) for _, _, ids in work.parts))
    if len(stream.shapes) > 1:
        raise InputError(
            f"images have the shapes {sorted(stream.shapes)[:3]}; give images of one"
        )
    flags = [*work.flags, *stream.copies.flags(), *lost_flags(model)]
    meter = view.meter
    cost = Cost(meter.forward, meter.backward, time.perf_counter() - started)
    return work.result(merge_flags([flags]), cost)


class _Pass:
    """The parts so far."""

    def __init__(self, view: LogitsView, how: How, like: Mapping[str, Any]) -> None:
        self.view, self.how = view, how
        self.place: str | None = like.get("place")
        self._shape = like.get("shape")
        self.probe, self.flags = how.probe(), list[Flag]()
        self.parts = list[tuple[Tensor, Tensor, Tensor]]()
        self.shape: tuple[int, ...] = ()

    def take(self, batch: Batch) -> None:
        """Measure a batch; runs inside a session."""
        if not self.parts:
            self._look(batch.images)
        assert self.place is not None
        features, logits = features_and_logits(self.view, batch.images, self.place)
        scores = self._scores(batch, logits)
        ids = content_hashes(batch.images, None, self.how.box)
        self.parts.append((features, scores, ids))

    def _look(self, images: Tensor) -> None:
        self.shape = tuple(images.shape[1:])
        if self._shape is not None and self.shape != tuple(self._shape):
            raise InputError(
                f"images have shape {self.shape}, those of the reference {tuple(self._shape)}; "
                "prepare them likewise, or fit a reference for this shape"
            )
        reading = self.how.outputs, self.how.output_key
        traits = inspect_model(self.view.model, self.view, images, reading)
        self.flags += traits.flags()
        if self.place is None:
            self.place = find_place(self.view, images[:8], self.how.features)

    def _scores(self, batch: Batch, logits: Tensor) -> Tensor:
        if self.probe is None:
            return logit_scores(logits, [self.how.score])[self.how.score]
        try:
            return fim_scores(self.probe, self.view, batch)
        except BackendError as error:
            raise BackendError(
                f"score='fim' needs gradients, and {error}; fit with score='max_softmax', or "
                "method='blackbox'"
            ) from error

    def result(self, flags: tuple[Flag, ...], cost: Cost) -> Measured:
        """All rows, or InputError for rows that measure nothing."""
        if not self.parts:
            raise InputError("there are no images; give at least one")
        features, scores, ids = (torch.cat(side) for side in zip(*self.parts))
        _refuse(~torch.isfinite(features).all(1), "NaN or infinite features")
        _refuse(scores.isnan(), f"no {self.how.score} score (NaN, or the model raised)")
        assert self.place is not None
        return Measured(
            features,
            scores.double().clamp(-REACH, REACH),
            ids,
            self.place,
            self.shape,
            flags,
            cost,
            {
                "versions": versions(),
                "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
        )


def _refuse(odd: Tensor, what: str) -> None:
    if bool(odd.any()):
        rows = odd.nonzero().flatten()[:3].tolist()
        raise InputError(
            f"{int(odd.sum())} of {len(odd)} images have {what}, first at rows {rows}: nothing is "
            "said of a batch with such images; look at the model and at these images"
        )


def _opened(view: LogitsView, data: Any, how: How) -> Stream:
    images, labels = data, None
    if isinstance(data, tuple) and len(data) == 2:
        images, labels = data
    model = view.model

    def prepare(raw: Any) -> Tensor:
        sample = first_tensor(model)
        if isinstance(raw, Tensor) and sample is not None:
            raw = raw.to(sample.device)
        pixels = check_images(raw, how.box, working_dtype(model))
        pixels = pixels if sample is None else pixels.to(sample.device)
        return pixels.clone() if pixels.is_inference() else pixels

    return Stream(
        images,
        labels,
        batch_size=how.batch_size,
        bounds=how.box,
        prepare=prepare,
        need_labels=False,
    )
