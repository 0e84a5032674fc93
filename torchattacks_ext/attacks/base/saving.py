"""How are perturbed images saved so that `Attack.load` reads them and their score stays true?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...data.batches import open_batch
from ...data.door import as_tensor
from ...errors import ConfigError, InputError


class _Pile:
    """Batches of one kind of tensor, on the CPU."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = {}

    def add(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            self.parts.setdefault(name, []).append(tensor.detach().cpu())

    def file(self, save_type: str) -> dict[str, Any]:
        whole: dict[str, Any] = {n: torch.cat(p) for n, p in self.parts.items()}
        if save_type == "int":
            for name in ("adv_inputs", "clean_inputs"):
                if name in whole:
                    whole[name] = (whole[name] * 255).round().to(torch.uint8)
        return whole | {"save_type": save_type}


@dataclass(frozen=True, eq=False)
class SavedBatch:
    """A batch as it will be saved: clean pixels, perturbed pixels, the logits (B, K) of those."""

    clean: Tensor
    found: Tensor
    logits: Tensor


Attack = Callable[[Tensor, Tensor, bool], SavedBatch]
"""(images, labels, whether pixels are rounded to 8 bits) -> the batch."""


def save_attack(
    attack: Attack,
    data_loader: Iterable[Any],
    save_path: str | os.PathLike[str] | None,
    *,
    aimed: bool,
    save_predictions: bool,
    save_clean_inputs: bool,
    save_type: str,
) -> tuple[float, float, float]:
    """The work of :meth:`Probe.save`; see there. Raises ConfigError, InputError before any pass.

    aimed: the labels are targets; robust are then the images that are not at their target, and true
    labels given by mistake cannot raise the accuracy.
    """
    if save_type not in ("float", "int"):
        raise ConfigError(f"save_type={save_type!r} is not one of ('float', 'int')")
    pile, started = _Pile(), time.perf_counter()
    right = total = 0
    l2_sum, l2_n = 0.0, 0
    for batch in data_loader:
        raw = open_batch(batch)
        if raw.labels is None:
            raise InputError("save needs labels; let the loader yield (images, labels)")
        given = as_tensor(raw.images, "images")
        labels = as_tensor(raw.labels, "labels")
        done = attack(given, labels, save_type == "int")
        prediction = done.logits.argmax(1).cpu()
        wrong = (prediction == labels.cpu().flatten()) == aimed
        l2 = (done.found - done.clean).flatten(1).norm(dim=1).cpu()[wrong]
        right += int((~wrong).sum())
        total += len(wrong)
        l2_sum, l2_n = l2_sum + float(l2.sum()), l2_n + len(l2)
        if save_path is not None:
            pile.add(adv_inputs=done.found, labels=labels)
            if save_predictions:
                pile.add(preds=prediction)
            if save_clean_inputs:
                pile.add(clean_inputs=done.clean)
    if not total:
        raise InputError("the loader is empty: nothing to save; check its data set")
    seconds = time.perf_counter() - started
    if save_path is not None:
        part = f"{os.fspath(save_path)}.part"
        torch.save(pile.file(save_type), part)
        os.replace(part, save_path)
    mean_l2 = l2_sum / l2_n if l2_n else float("nan")
    return 100 * right / total, mean_l2, seconds
