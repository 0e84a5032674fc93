"""How is a model of MAITE's form called? A list of images in, a list of scores out.

The protocol is structural: anything callable on a sequence of images (C, H, W), with a dict
`metadata` that has an `id`, is such a model. Its answers may be probabilities or logits, which
nothing tells: say `outputs="probs"` where they are probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelContractError


class MaiteModel(nn.Module):
    """`model` of MAITE's form on batches: images (N, C, H, W) to scores (N, K).

    Modules that the model is or has as attributes are registered with their parameters, and a
    gradient goes through them where the model lets it. Without any the images are detached: the
    model may turn them into arrays, and gives scores only. Raises ModelContractError where it does
    not answer each image with one row of K scores.

    >>> class Two:
    ...     metadata = {"id": "two", "index2label": {0: "dark", 1: "light"}}
    ...     def __call__(self, batch):
    ...         return [torch.stack([1 - image.mean(), image.mean()]) for image in batch]
    >>> MaiteModel(Two())(torch.full((1, 3, 2, 2), 0.75)).tolist()
    [[0.25, 0.75]]
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        own = isinstance(model, nn.Module) or not hasattr(model, "__dict__")
        parts = () if own else vars(model).values()
        self.inside = nn.ModuleList(
            part for part in parts if isinstance(part, nn.Module)
        )
        self.differs = isinstance(model, nn.Module) or len(self.inside) > 0

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, K) on the device of the images."""
        answers = self.model(list(images if self.differs else images.detach()))
        if len(answers) != len(images):
            raise ModelContractError(
                f"the model gave {len(answers)} answers to {len(images)} images, expected one each"
            )
        rows = [torch.as_tensor(row).to(images.device) for row in answers]
        shapes = sorted({tuple(row.shape) for row in rows})
        if len(shapes) != 1 or len(shapes[0]) != 1:
            raise ModelContractError(
                f"the model's answers have the shapes {shapes}, expected scores (K,) each"
            )
        return torch.stack(rows)


def is_maite_model(value: object) -> bool:
    """Whether `value` has the form of a MAITE model.

    >>> is_maite_model(nn.Flatten()), is_maite_model(len)
    (False, False)
    """
    return callable(value) and not isinstance(value, type) and has_metadata(value)


def has_metadata(value: object) -> bool:
    """Whether `metadata` is a mapping with an `id`."""
    found = getattr(value, "metadata", None)
    return isinstance(found, Mapping) and "id" in found


def labels_of(value: object) -> tuple[str, ...] | None:
    """The names in `metadata["index2label"]`, where they are those of classes 0 .. K-1."""
    found = getattr(value, "metadata", None)
    names = found.get("index2label") if isinstance(found, Mapping) else None
    return listed(names)


def listed(names: object) -> tuple[str, ...] | None:
    """{number: name} as names in order; None unless the numbers are 0 .. K-1.

    >>> listed({"1": "swan", "0": "duck"}), listed({0: "duck", 2: "swan"})
    (('duck', 'swan'), None)
    """
    if not isinstance(names, Mapping) or not names:
        return None
    try:
        by_number = {int(key): str(name) for key, name in names.items()}
    except (TypeError, ValueError):
        return None
    if sorted(by_number) != list(range(len(names))):
        return None
    return tuple(by_number[i] for i in range(len(names)))
