"""What is one picture of a report? A clean image and its worst draw, as bytes fit for JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base import codec
from ..base.unknown import known_fields


@dataclass(frozen=True, eq=False)
class GalleryItem:
    """One image that fails most, for the eye. clean, worst: uint8 (C, H, W). p_fail may be nan."""

    id: str
    label: int
    prediction: int
    stage: str
    p_fail: float
    margin: float
    clean: Tensor
    worst: Tensor

    def to_dict(self) -> dict[str, Any]:
        """In JSON types; images as base64 of their bytes."""
        images = ("clean", "worst")
        facts = {k: codec.plain(v) for k, v in vars(self).items() if k not in images}
        return facts | {"clean": _pack(self.clean), "worst": _pack(self.worst)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GalleryItem:
        """The inverse of :meth:`to_dict`."""
        facts = dict(data)
        facts |= {name: float(facts[name]) for name in ("p_fail", "margin")}
        facts |= {name: _unpack(facts[name]) for name in ("clean", "worst")}
        return known_fields(cls, facts)


def _pack(image: Tensor) -> dict[str, Any]:
    data = base64.b64encode(image.numpy().tobytes()).decode("ascii")
    return {"shape": list(image.shape), "uint8": data}


def _unpack(data: Mapping[str, Any]) -> Tensor:
    flat = np.frombuffer(base64.b64decode(data["uint8"]), dtype=np.uint8).copy()
    return torch.from_numpy(flat).reshape(data["shape"])
