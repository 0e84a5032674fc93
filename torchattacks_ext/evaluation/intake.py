"""Which rows does an evaluation see? The stream at its door, and what is written down of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.batches import RawBatch
from ..data.door import check_images
from ..data.stream import Batch, Stream
from ..errors import InputError
from ..models.checks import ModelTraits, inspect_model
from ..models.checks.traits import N_ROWS
from ..models.logits import LogitsView, working_dtype
from ..models.memory import give_back, too_short
from ..models.session import first_tensor, session
from ..numerics.arguments import is_whole
from ..numerics.ids import content_hashes
from .rows.lots import Lot
from .state.shards import Shard

if TYPE_CHECKING:
    from .plan import Plan


class _Head(Stream):
    """The first `n` rows of a stream (None: all); later batches are not loaded at all."""

    n: int | None = None

    def _raw(self) -> Iterator[RawBatch]:
        left = self.n
        for raw in super()._raw():
            if left is None:
                yield raw
                continue
            sides = (raw.images, raw.labels, raw.ids, raw.groups)
            yield RawBatch(*(None if side is None else side[:left] for side in sides))
            left -= min(left, len(raw.images))
            if not left:
                return

    def _label(self, raw: RawBatch, n: int, device: torch.device) -> Tensor | None:
        found = super()._label(raw, n, device)
        return found.clone() if found is not None and found.is_inference() else found


def open_stream(view: LogitsView, data: Any, plan: Plan, n: int | None) -> Stream:
    """The checked rows of `data`, in its order, at most `n`; `traits` of the model after the first.

    data: (images, labels), Dataset, DataLoader or iterable of batches. Raises InputError at the
    door. Cost: at most 57 forward row-passes to look at the model, 100 where it is
    randomised.
    """
    if n is not None and not is_whole(n, 1):
        raise InputError(f"n={n!r} must be an integer >= 1, or None for all images")
    n = None if n is None else int(n)
    if isinstance(data, tuple) and len(data) == 2:
        images, labels = data
    else:
        images, labels = data, None

    def prepare(raw: Any) -> Tensor:
        sample = first_tensor(view.model)
        if isinstance(raw, Tensor) and sample is not None:
            raw = raw.to(sample.device)
        pixels = check_images(raw, plan.box, working_dtype(view.model))
        if sample is not None:
            pixels = pixels.to(sample.device)
        return pixels.clone() if pixels.is_inference() else pixels

    def look(pixels: Tensor) -> ModelTraits:
        with session(view.model):
            return _seen(view, pixels, plan)

    stream = _Head(
        images,
        labels,
        batch_size=plan.batch_size,
        bounds=plan.box,
        prepare=prepare,
        look=look,
    )
    stream.n = n
    if n is not None and stream.total is not None:
        stream.total = min(n, stream.total)
    return stream


def _seen(view: LogitsView, pixels: Tensor, plan: Plan) -> ModelTraits:
    """What a look shows, at fewer rows where memory is short."""
    while True:
        try:
            read = plan.outputs, plan.output_key
            return inspect_model(view.model, view, pixels, read)
        except Exception as error:
            if not too_short(error) or len(pixels) == 1:
                raise
        give_back()
        pixels = pixels[: min(N_ROWS, len(pixels)) // 2]


def lots_of(batch: Batch, plan: Plan, shard: Shard, hashed: bool) -> Iterator[Lot]:
    """The rows of a batch that a shard has, in pieces without a gap.

    hashed: whether it is written down what each of them shows.
    """
    start = int(batch.index[0])
    spans = shard.spans(start, start + len(batch), plan.group_size)
    for span in spans:
        lot = Lot(batch).cut(*span)
        if hashed:
            own = lot.batch
            content = content_hashes(own.images, own.labels, plan.box)
            lot = Lot(own, None, content)
        yield lot


_MOST_SHAPES = 8


def _common(shapes: list[list[int]]) -> list[int | None]:
    """One shape for all, None at sides that differ; empty where they have not as many sides."""
    if len({len(shape) for shape in shapes}) != 1:
        return []
    sides = zip(*shapes, strict=True)
    return [one[0] if len(set(one)) == 1 else None for one in sides]


class DataFacts:
    """What the data were: how many, which (a hash of their ids), of which shape and classes."""

    def __init__(self) -> None:
        self._ids: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._shapes: dict[tuple[int, ...], None] = {}

    def add(self, batch: Batch) -> None:
        """Take note of a batch; its images are not kept."""
        self._ids.append(batch.ids.cpu())
        self._shapes[tuple(batch.images.shape[1:])] = None
        if batch.labels is not None:
            self._labels.append(batch.labels.cpu())

    @property
    def n(self) -> int:
        """Rows so far."""
        return sum(map(len, self._ids))

    def describe(self, shard: Shard | None = None) -> dict[str, Any]:
        """n, shape, class_counts, sha256, in JSON types. Raises InputError for no rows at all, but
        of a shard, which may have none.

        Images of unequal sizes: `shape` has None where they differ (it is empty where even the
        number of sides does), and `shapes` holds the first few of all.
        """
        none = torch.zeros(0, dtype=torch.int64)
        if not self._ids and (shard is None or shard.n == 1):
            raise InputError(
                "the data are empty: nothing to evaluate; give at least one image"
            )
        ids = torch.cat(self._ids or [none]).sort().values
        counts = torch.cat(self._labels).bincount().tolist() if self._labels else []
        shapes = [list(shape) for shape in self._shapes]
        return {
            "n": len(ids),
            "shape": _common(shapes),
            **({"shapes": shapes[:_MOST_SHAPES]} if len(shapes) > 1 else {}),
            "class_counts": counts,
            "sha256": hashlib.sha256(ids.numpy().tobytes()).hexdigest(),
        }
