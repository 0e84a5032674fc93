"""Which small real images need no download? scikit-learn's digits, split for all."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import ConfigError, MissingExtra

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

N_CLASSES = 10
SOURCE = (
    "Optical Recognition of Handwritten Digits, Alpaydin & Kaynak 1998, UCI Machine "
    "Learning Repository (doi:10.24432/C50P49), as shipped with scikit-learn"
)
LICENCE = "CC BY 4.0"


def load_digits(split: Split = "test") -> tuple[Tensor, Tensor]:
    """Images (N, 1, 8, 8) float32 in [0, 1] and labels (N,) int64 in [0, 10) of one
    split.

    Pixels are the 17 grey levels of the source divided by 16. Every fourth image of
    each class is for testing (445 images, 1352 for training), so the split is
    stratified, disjoint and the same everywhere. Both are dealt out class by class: any
    first n images are as balanced as can be. The order of the source is by writer, so
    the same hands wrote both splits: an easy test set, for demonstrations. Raises
    ConfigError for another split, MissingExtra without scikit-learn.

    >>> images, labels = load_digits("test")
    >>> images.shape, labels[:12].tolist()
    (torch.Size([445, 1, 8, 8]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split!r} is not one of {SPLITS}")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingExtra(
            "the digits images come with scikit-learn, which is not installed; "
            "pip install 'torchattacks_ext[demo]'"
        ) from error
    raw = datasets.load_digits()
    images = torch.tensor(raw.images / 16, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(raw.target, dtype=torch.int64)
    rank = ranks(labels)
    rows = ((rank % 4 == 3) == (split == "test")).nonzero()[:, 0]
    rows = rows[(rank[rows] * N_CLASSES + labels[rows]).argsort()]
    return images[rows], labels[rows]


def ranks(labels: Tensor) -> Tensor:
    """How many earlier rows have the same label: (N,) int64 to (N,) int64.

    >>> ranks(torch.tensor([3, 0, 3, 3, 0])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = labels.argsort(stable=True)
    counts = labels.bincount().tolist()
    rank = torch.empty_like(labels)
    rank[order] = torch.cat([torch.arange(n) for n in counts] or [order])
    return rank
