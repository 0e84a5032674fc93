"""What is a data set with a name? Labelled images, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

UNKNOWN = "not stated"


class LabelledTensors(TensorDataset):
    """Images (N, C, H, W) and labels (N,) that say how their classes are called."""

    def __init__(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
        super().__init__(images, labels)
        self.classes = list(classes)


@dataclass(frozen=True, eq=False)
class NamedData:
    """Labelled images with their origin.

    name: for people. dataset: item i is (image (C, H, W) float32 in [0, 1], label). n:
    its length. n_total: images in the source. n_classes: None where the source does not
    say. source, licence: for the report; "not stated" where nobody knows. classes: their names in
    the order of the labels, None where the source has none. notes: what was taken of the source,
    what was done to it, for the report.
    """

    name: str
    dataset: Dataset[Any]
    n: int
    n_total: int
    n_classes: int | None = None
    source: str = UNKNOWN
    licence: str = UNKNOWN
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def loader(self, batch_size: int) -> DataLoader[Any]:
        """Batches (images (B, C, H, W), labels (B,)) in the order of the data.

        A loader draws a seed for workers each time it starts: here not from the global
        generator.
        """
        own = torch.Generator()
        return DataLoader(self.dataset, batch_size=batch_size, generator=own)

    def facts(self) -> dict[str, Any]:
        """Everything but the images and the names of the classes, in JSON types."""
        return {
            "name": self.name,
            "n": self.n,
            "n_total": self.n_total,
            "n_classes": self.n_classes,
            "source": self.source,
            "licence": self.licence,
            "notes": list(self.notes) or None,
        }
