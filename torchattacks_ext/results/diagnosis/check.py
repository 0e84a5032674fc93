"""What is one check? A number, held against a threshold from a source, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ...numerics.rates.binomial import lower_bound
from ..base import codec
from ..base.unknown import known_fields

DOUBT = 0.05
"""Chance of a flag on shares by luck alone, at most, where the truth lies at the threshold."""


@dataclass(frozen=True)
class Check:
    """One indicator of masked gradients.

    Arguments:
        name (str): stable, say "black_box_beats_gradient".
        value (float): what was measured; nan where it was not.
        threshold (float): what it is held against.
        flag (bool): whether it speaks against the numbers of gradient attacks.
        source (str): the paper or code that the indicator comes from.
        sentence (str): what was seen, for a reader.
        cause (str): what a flag names as the cause of masking; "" for a check that only informs.

    >>> check = Check("finite_outputs", 0.0, 0.0, False, "AutoAttack", "all answers are finite")
    >>> Check.from_dict(check.to_dict()) == check
    True
    """

    name: str
    value: float
    threshold: float
    flag: bool
    source: str
    sentence: str
    cause: str = ""

    def to_dict(self) -> dict[str, Any]:
        """In JSON types; nan as the string "nan"."""
        found: dict[str, Any] = codec.plain(asdict(self))
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Check:
        """The inverse of :meth:`to_dict`."""
        raw = {**data, "value": float(data["value"])}
        raw["threshold"] = float(data["threshold"])
        return known_fields(cls, raw)

    @property
    def asked(self) -> bool:
        """Whether anything was measured."""
        return not math.isnan(self.value)


def exceeds(hits: Tensor, threshold: float) -> bool:
    """Whether the share of `hits` (M,) bool lies above the threshold beyond the luck of M images.

    Published thresholds are those of thousands of images; of fewer, the exact one-sided 95 % lower
    limit (Clopper & Pearson 1934) of the share must exceed them.

    >>> import torch
    >>> [exceeds(torch.arange(100) < k, 0.01) for k in (3, 4)]
    [False, True]
    """
    n, k = len(hits), int(hits.sum())
    return n > 0 and float(lower_bound(k, n, DOUBT)) > threshold


def outweighs(one: Tensor, other: Tensor) -> bool:
    """Whether more rows (M,) bool are in `one` alone than in `other` alone, by an exact sign test.

    >>> import torch
    >>> outweighs(torch.arange(9) < 5, torch.arange(9) < 0)
    True
    """
    a, b = int((one & ~other).sum()), int((other & ~one).sum())
    if a <= b:
        return False
    # P(Bin(a + b, 1/2) >= a) < DOUBT, said by the exact limit of the same tail
    return float(lower_bound(a, a + b, DOUBT)) > 0.5
