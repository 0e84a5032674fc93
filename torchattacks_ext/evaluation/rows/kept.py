"""Which adversarial images are kept, and do they still fool the model as 8-bit pictures?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from ..._typing import Norm, Verdict
from ...engines.judge.active import Judge
from ...errors import ConfigError
from ...models.logits import LogitsView
from ...numerics.norms import Bounds, bounds_for, norm_of
from ...results.attack import AttackResult
from ...results.base import codec
from ...results.base.facts import Cost
from ...results.base.sidecar import SideCar
from .lots import Lot
from .pieces import Piece

Form = Literal["float", "uint8"]
FORMS: tuple[Form, ...] = get_args(Form)
LEVELS = 255
SLACK = 1e-4
"""Part of a level by which a pixel may miss the grid, and of the radius by which a norm may."""

Worst = Callable[[Tensor], Tensor]
"""Rows (k,) of a lot -> their adversarial images."""


def check_form(form: str | None, has_state: bool) -> None:
    """Raises ConfigError for another form, and for images without a state to lie in.

    >>> check_form("uint8", True)
    """
    if form is None:
        return
    if form not in FORMS:
        raise ConfigError(
            f"images={form!r} is not one of {FORMS}, or None to keep none"
        )
    if not has_state:
        raise ConfigError(
            f"images={form!r} are kept in the folder of a state; give state="
        )


def eight_bit(
    images: Tensor, worst: Tensor, eps: float, norm: Norm, bounds: Bounds
) -> tuple[Tensor, Tensor, Tensor]:
    """Adversarial images (k, ...) on the 256 levels of the bounds, inside the ball if that can be.

    images: the clean ones. Linf: the nearest level that the ball has; else the nearest of all.
    Returns levels (k, ...) uint8, pixels (k, ...), and whether they are in the ball (k,).

    >>> clean = torch.full((1, 1, 1, 1), 10 / 255)
    >>> eight_bit(clean, clean + 1.6 / 255, 1.7 / 255, "Linf", (0.0, 1.0))[0].item()
    11
    """
    low, high = bounds_for(bounds, images)
    unit = (high - low) / LEVELS
    levels = ((worst - low) / unit).round()
    if norm == "Linf":
        least = ((images - eps - low) / unit - SLACK).ceil()
        most = ((images + eps - low) / unit + SLACK).floor()
        levels = torch.minimum(torch.maximum(levels, least), most)
    levels = levels.clamp(0, LEVELS)
    pixels = low + levels * unit
    inside = norm_of(pixels - images, norm) <= eps * (1 + SLACK)
    return levels.to(torch.uint8), pixels, inside


@dataclass(frozen=True)
class Images:
    """Where adversarial images of attack stages go: a file of the state for each piece.

    form: "float" keeps them as judged (`result.images()` has them); "uint8" on 256 levels, asked
    again: the file's `fools` says which of them are in the ball and still fool the model.
    """

    form: Form
    folder: Path
    eps: float
    norm: Norm
    bounds: Bounds | None

    def keep(
        self, piece: Piece, stage: str, lot: Lot, worst: Worst | None, judge: Judge
    ) -> Piece:
        """The piece, with the images of its broken rows on the disk; at most one pass a row."""
        result = piece.result
        if worst is None or not isinstance(result, AttackResult) or result.sidecars:
            return piece
        rows = (result.verdict == int(Verdict.NOT_ROBUST)).nonzero().flatten()
        if not len(rows):
            return piece
        place = rows.to(lot.batch.images.device)
        shown, ids = worst(place).detach(), result.ids[rows]
        name = f"{codec.digest([stage.encode()])[:8]}-{piece.start}.safetensors"
        if self.form == "float" or self.bounds is None:
            car = SideCar.save(self.folder / name, ids, shown)
            return replace(piece, result=replace(result, sidecars=(car,)))
        clean, labels = lot.batch.images[place], lot.batch.labels
        assert labels is not None and isinstance(judge.view, LogitsView)
        found = eight_bit(clean, shown, self.eps, self.norm, self.bounds)
        meter, started = judge.view.meter, time.perf_counter()
        before, wanted, pixels = meter.snapshot(), labels[place], found[1].to(shown)
        with torch.no_grad():
            seen = judge.judge(
                len(rows), lambda part: (pixels[part], wanted[part]), None
            )
        assert seen is not None  # no budget was given
        fools = torch.from_numpy(seen.failed) & found[2].cpu()
        _write(self.folder / name, ids, found[0], fools)
        told = {"broken": len(rows), "still": int(fools.sum())}
        spent: Cost = meter.since(before, time.perf_counter() - started)
        tally = {**piece.tally, "eight_bit": told}
        return replace(piece, tally=tally, cost=piece.cost + spent)


def _write(path: Path, ids: Tensor, images: Tensor, fools: Tensor) -> None:
    from safetensors.torch import save_file

    tensors = {
        "ids": ids,
        "images": images.cpu().contiguous(),
        "fools": fools.to(torch.uint8),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with codec.replacing(path) as part:
        save_file(tensors, part)
