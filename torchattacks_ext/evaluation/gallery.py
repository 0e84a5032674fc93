"""Which few images should a reader see? Those that fail most, kept as 8-bit pictures."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..data.stream import Batch
from ..engines.judge.active import Judge, Judged
from ..numerics.ids import to_hex
from ..numerics.norms import Bounds, bounds_for
from ..results.attack import AttackResult
from ..results.base import codec
from ..results.evaluation import GalleryItem
from ..results.prob_robustness import ProbRobustness

if TYPE_CHECKING:
    from .stages import RowStage, StageRows

SIZE = 6


@dataclass(frozen=True, eq=False)
class Picture:
    """One image on its way into the gallery; prediction None where nobody has asked the model.

    rank: the lowest come first: minus the failure rate, the margin, the place in the data. clean:
    on 256 levels; worst: as well, or pixels where the model may be asked for its prediction.
    """

    rank: tuple[float, float, int]
    id: str
    label: int
    prediction: int | None
    p_fail: float
    margin: float
    clean: Tensor
    worst: Tensor

    def to_dict(self) -> dict[str, Any]:
        """In JSON types; images as base64 of their bytes."""
        images = ("clean", "worst")
        facts = {k: codec.plain(v) for k, v in vars(self).items() if k not in images}
        return facts | {k: _packed(getattr(self, k)) for k in images}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Picture:
        """The inverse of :meth:`to_dict`."""
        first, margin, place = facts["rank"]
        rank = float(first), float(margin), int(place)
        numbers = {key: float(facts[key]) for key in ("p_fail", "margin")}
        images = {key: _unpacked(facts[key]) for key in ("clean", "worst")}
        return cls(**{**facts, **numbers, **images, "rank": rank})


def _packed(image: Tensor) -> dict[str, Any]:
    flat = image.contiguous().numpy()
    data = base64.b64encode(flat.tobytes()).decode("ascii")
    return {"dtype": str(flat.dtype), "shape": list(flat.shape), "data": data}


def _unpacked(facts: Mapping[str, Any]) -> Tensor:
    raw = np.frombuffer(base64.b64decode(facts["data"]), dtype=facts["dtype"]).copy()
    return torch.from_numpy(raw).reshape(facts["shape"])


class Gallery:
    """At most six images of one stage: PRTest if it ran, else the first attack.

    Ranked by estimated failure rate, then by margin, ties in the order of the data; images whose
    clean version is wrong are not shown. Only (C, H, W) images with one or three channels in a
    finite range can be shown; a few images a stage are held at a time.
    """

    def __init__(self, bounds: Bounds | None) -> None:
        self._bounds = bounds
        self._kept: dict[str, list[Picture]] = {}
        self._kinds: dict[str, str] = {}

    def offer(
        self, stage: RowStage, batch: Batch, clean: Judged, rows: StageRows
    ) -> list[Picture]:
        """Take the worst rows of one batch, if they are worse than those kept; returns them."""
        shape = batch.images.shape[1:]
        if self._bounds is None or len(shape) != 3 or shape[0] not in (1, 3):
            return []
        result = rows.result
        if rows.worst is None or not isinstance(result, (ProbRobustness, AttackResult)):
            return []
        shelf = self._kept.setdefault(stage.label, [])
        taken = self._take(batch, clean, rows, result, shelf)
        self.put(stage, taken)
        return taken

    def put(self, stage: RowStage, pictures: Iterable[Picture]) -> None:
        """Pictures of some rows of a stage beside those kept; the worst of all stay."""
        self._kinds[stage.label] = stage.kind
        shelf = self._kept.setdefault(stage.label, [])
        shelf += pictures
        shelf.sort(key=lambda kept: kept.rank)
        del shelf[SIZE:]

    def _take(
        self,
        batch: Batch,
        clean: Judged,
        rows: StageRows,
        result: ProbRobustness | AttackResult,
        shelf: list[Picture],
    ) -> list[Picture]:
        if isinstance(result, ProbRobustness):
            rate, margin = result.p_fail.numpy(), result.worst_margin.numpy()
        else:
            margin = result.margin.numpy()
            rate = np.full(len(margin), np.nan)
        first = -np.nan_to_num(rate)
        usable = np.flatnonzero(~clean.failed & (margin < np.inf))
        ranked = usable[np.lexsort((margin[usable], first[usable]))][:SIZE]
        places = batch.index.tolist()
        bar = shelf[-1].rank if len(shelf) == SIZE else (np.inf, np.inf, 0)
        order = [
            row
            for row in ranked.tolist()
            if (first[row], margin[row], places[row]) < bar
        ]
        if not order or rows.worst is None:
            return []
        place = torch.tensor(order, device=batch.images.device)
        worst = rows.worst(place).detach()
        if rows.prediction is not None:  # nobody asks the model again
            worst = self._bytes(worst)
        worst, image = worst.cpu(), self._bytes(batch.images[place])
        names = to_hex(result.ids[order])
        return [
            Picture(
                rank=(float(first[row]), float(margin[row]), places[row]),
                id=names[k],
                label=int(result.reference[row]),
                prediction=(
                    None if rows.prediction is None else int(rows.prediction[row])
                ),
                p_fail=float(rate[row]),
                margin=float(margin[row]),
                clean=image[k].clone(),
                worst=worst[k].clone(),
            )
            for k, row in enumerate(order)
        ]

    def _bytes(self, images: Tensor) -> Tensor:
        """Pixels (k, ...) on 256 levels; what is there already comes back as it is."""
        if images.dtype == torch.uint8:
            return images
        assert self._bounds is not None  # offer takes nothing without bounds
        low, high = bounds_for(self._bounds, images)
        unit = ((images - low) / (high - low)).clamp(0, 1)
        return (unit * 255).round().to(torch.uint8).cpu()

    def items(
        self, judge: Judge, device: torch.device, failed: Collection[str] = ()
    ) -> tuple[GalleryItem, ...]:
        """The kept images of one stage, the worst first; stages that `failed` are not shown.

        What the model says of a failing draw of PRTest is asked now: at most six forward
        row-passes (and one for each close one). Runs inside a session of the model.
        """
        shown = [label for label in self._kept if label not in failed]
        shown.sort(key=lambda label: self._kinds[label] != "prtest")
        label = next((name for name in shown if self._kept[name]), None)
        if label is None:
            return ()
        return tuple(
            GalleryItem(
                id=kept.id,
                label=kept.label,
                prediction=_prediction(judge, device, kept),
                stage=label,
                p_fail=kept.p_fail,
                margin=kept.margin,
                clean=kept.clean,
                worst=self._bytes(kept.worst[None])[0],
            )
            for kept in self._kept[label]
        )


def _prediction(judge: Judge, device: torch.device, kept: Picture) -> int:
    """What the model says of the worst image: known, or safe by its margin, or asked."""
    if kept.prediction is not None:
        return kept.prediction
    if kept.margin > 0:
        return kept.label
    image = kept.worst[None].to(device)
    label = torch.tensor([kept.label], device=device)
    with torch.no_grad():
        seen = judge.judge(1, lambda part: (image[part], label[part]), None)
    assert seen is not None  # no budget was given
    return int(seen.prediction[0])
