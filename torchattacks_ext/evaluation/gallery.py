"""Which few images should a reader see? Those that fail most, kept as 8-bit pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..data.stream import Batch
from ..engines.active import Judged
from ..numerics.ids import to_hex
from ..results.attack import AttackResult
from ..results.evaluation import GalleryItem
from ..results.prob_robustness import ProbRobustness

if TYPE_CHECKING:
    from .stages import RowStage, StageRows

SIZE = 6


class Gallery:
    """At most six images of one stage: PRTest if it ran, else the first attack.

    Ranked by estimated failure rate, then by margin. Only (C, H, W) images with one or three channels in
    finite bounds can be shown; memory is bounded by the six.
    """

    def __init__(self, bounds: Any) -> None:
        self._bounds = bounds
        self._stage: str | None = None
        self._kind = ""
        self._best: list[tuple[float, float, GalleryItem]] = []

    def offer(
        self, stage: RowStage, batch: Batch, clean: Judged, rows: StageRows
    ) -> None:
        """Take the worst rows of one batch, if they are worse than those kept."""
        shape = batch.images.shape[1:]
        if self._bounds is None or len(shape) != 3 or shape[0] not in (1, 3):
            return
        result = rows.result
        if rows.worst is None or not isinstance(result, (ProbRobustness, AttackResult)):
            return
        if self._stage != stage.label:
            if self._stage is not None and (self._kind == "prtest" or stage.kind != "prtest"):
                return
            self._stage, self._kind, self._best = stage.label, stage.kind, []
        self._take(stage, batch, clean, rows, result)

    def _take(
        self,
        stage: RowStage,
        batch: Batch,
        clean: Judged,
        rows: StageRows,
        result: ProbRobustness | AttackResult,
    ) -> None:
        if isinstance(result, ProbRobustness):
            rate, margin = result.p_fail, result.worst_margin
        else:
            rate, margin = torch.full_like(result.margin, float("nan")), result.margin
        usable = np.flatnonzero(~clean.failed & torch.isfinite(margin).numpy())
        keys = np.lexsort((margin.numpy()[usable], -rate.nan_to_num(0).numpy()[usable]))
        chosen = torch.from_numpy(usable[keys[:SIZE]])
        if not len(chosen) or rows.worst is None:
            return
        place = chosen.to(batch.images.device)
        shown = self._bytes(rows.worst(place))
        plain = self._bytes(batch.images[place])
        for k, row in enumerate(chosen.tolist()):
            item = GalleryItem(
                id=to_hex(result.ids[row : row + 1])[0],
                label=int(result.reference[row]),
                prediction=int(clean.prediction[row]),
                stage=stage.label,
                p_fail=float(rate[row]),
                margin=float(margin[row]),
                clean=plain[k],
                worst=shown[k],
            )
            rank = float(rate[row].nan_to_num(0))
            self._best.append((-rank, float(margin[row]), item))
        self._best.sort(key=lambda entry: entry[:2])
        del self._best[SIZE:]

    def _bytes(self, images: Tensor) -> Tensor:
        low, high = self._bounds
        unit = ((images - low) / (high - low)).clamp(0, 1)
        return (unit * 255).round().to(torch.uint8).cpu()

    def items(self) -> tuple[GalleryItem, ...]:
        """The kept images, the worst first."""
        return tuple(item for _, _, item in self._best)
