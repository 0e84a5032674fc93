"""Which models does a plan meet, and in which batches? The target and its surrogates as modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from ...._typing import LogitsFn
from ....data.stream import Batch
from ....engines.autoattack.runs import TARGET
from ....engines.judge.ledger import AttackSpec
from ....errors import ConfigError, InputError


class Normalised(nn.Module):
    """A surrogate that wants its inputs as the target does; scale: pixels to those."""

    def __init__(self, view: nn.Module, scale: LogitsFn) -> None:
        super().__init__()
        self.view, self._scale = view, scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        found: Tensor = self.view(self._scale(images))
        return found


def models_for(spec: AttackSpec, models: Mapping[str, nn.Module]) -> list[str]:
    """The models that a line of the plan is run on. Raises ConfigError for a name that is none."""
    surrogates = [name for name in models if name != TARGET]
    if spec.on == "each":
        return [*surrogates, TARGET]
    if spec.on == "surrogates":
        return surrogates
    if spec.on in models:
        return [spec.on]
    if spec.on != "best":
        raise ConfigError(
            f"on={spec.on!r} is no model here; the names are {sorted(models)}, or 'each', "
            "'surrogates', 'best'"
        )
    return [*surrogates, TARGET]  # the engine takes the rows that each one leads


def answers_vary(model: nn.Module, images: Tensor, n: int = 5) -> bool:
    """Whether `n` forward passes of up to 8 images differ anywhere; at most 8 n row-passes.

    >>> images = torch.ones(2, 9)
    >>> answers_vary(nn.Dropout(0.5).train(), images), answers_vary(nn.Flatten(), images)
    (True, False)
    """
    with torch.no_grad():
        first = model(images[:8])
        return any(not torch.equal(first, model(images[:8])) for _ in range(n - 1))


def whole(batches: Iterable[Batch]) -> Iterator[Batch]:
    """All batches as one: AutoAttack packs the survivors of the whole data set anew.

    Raises InputError at the first batch whose images have another size than those before.
    """
    parts: list[Batch] = []
    for batch in batches:
        shapes = [tuple(part.images.shape[1:]) for part in (*parts[:1], batch)]
        if shapes[0] != shapes[-1]:
            raise InputError(
                f"a batch has images of shape {shapes[-1]}, the first one of {shapes[0]}: here all "
                "images are attacked as one batch; bring them to one size, or measure each size "
                "by itself"
            )
        parts.append(batch)
    if not parts:
        return
    labels = [part.labels for part in parts if part.labels is not None]
    sizes = sorted({tuple(part.images.shape[1:]) for part in parts})
    if len(sizes) > 1:
        raise InputError(
            f"images have unequal sizes, {sizes[0]} and {sizes[1]}: all batches "
            "are packed as one here; measure each size by itself"
        )
    yield Batch(
        torch.cat([part.ids for part in parts]),
        torch.cat([part.images for part in parts]),
        torch.cat(labels),
        torch.cat([part.index for part in parts]),
    )
