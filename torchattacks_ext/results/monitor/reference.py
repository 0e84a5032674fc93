"""What is kept of the images that later ones are held against? Features, a score, ids."""

from __future__ import annotations

import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import InputError
from ..base import codec, words
from ..base.facts import Cost, Flag

MOST_BYTES = 1 << 30
LEAST_ROWS, MOST_ROWS = 100, 4000
"""Images of a reference: fewer say little, more make a check slow (its cost is quadratic)."""
MOST_FEATURES = 1 << 16
_TENSORS = {"features": (2, torch.float32), "scores": (1, torch.float64)}
_TENSORS |= {"ids": (1, torch.int64)}
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    struct.error,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)


def check_size(m: int) -> None:
    """Raises InputError unless so many images can be a reference.

    >>> check_size(1000)
    """
    if not LEAST_ROWS <= m <= MOST_ROWS:
        raise InputError(
            f"a reference has {LEAST_ROWS} to {MOST_ROWS:,} images, here are {m:,}; "
            + (
                "take more"
                if m < LEAST_ROWS
                else f"take n={MOST_ROWS}, drawn at random"
            )
        )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Reference:
    """Features and scores of clean images, by one model, that later ones are held against.

    Arguments:
        features (Tensor): (m, d) float32, finite.
        scores (Tensor): (m,) float64, finite, one number an image.
        ids (Tensor): (m,) int64 hashes of the images alone, whatever their labels.
        settings (dict): how they were measured: place ("penultimate:NAME" or "logits"), score,
            method, outputs, output_key, bounds, shape of an image, prepared.
        model (dict): class, sha256 and tag of the model.
        data (dict): what the images were.
        flags (tuple): doubts.
        cost (Cost): row-passes and seconds.
        provenance (dict): versions, date.

    m is from 100 to 4,000. Raises InputError for tensors that are no such.

    >>> parts = {"features": torch.rand(100, 3), "scores": torch.rand(100).double()}
    >>> Reference(**parts, ids=torch.arange(100), settings={"score": "fim", "place": "logits"})
    Reference(n=100, features=3, place=logits, score=fim)
    """

    schema: ClassVar[str] = "monitor_reference/1"

    features: Tensor
    scores: Tensor
    ids: Tensor
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    cost: Cost = Cost()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (sides, dtype) in _TENSORS.items():
            tensor = getattr(self, name)
            if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
                raise InputError(f"{name} is no plain tensor")
            if tensor.dim() != sides or tensor.dtype != dtype:
                raise InputError(
                    f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected {dtype} "
                    f"with {sides} dimensions"
                )
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"{name} has NaN or infinite numbers")
        m, d = self.features.shape
        if not len(self.scores) == len(self.ids) == m:
            raise InputError(
                f"{m} rows of features, {len(self.scores)} scores and {len(self.ids)} ids do not "
                "belong together"
            )
        check_size(m)
        if not 1 <= d <= MOST_FEATURES:
            raise InputError(f"{d} features an image, expected 1 to {MOST_FEATURES:,}")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        facts: dict[str, Any] = {"n": len(self), "features": self.features.shape[1]}
        facts |= {key: self.settings.get(key) for key in ("place", "score")}
        return words.one_line("Reference", facts, self.flags)

    @property
    def digest(self) -> str:
        """SHA-256 in hex of the numbers, the settings and the model."""
        parts = [
            getattr(self, name).contiguous().numpy().tobytes() for name in _TENSORS
        ]
        return codec.digest(
            [*parts, codec.canonical(self.settings), codec.canonical(self.model)]
        )

    def facts(self) -> dict[str, Any]:
        """Everything but the tensors, in JSON types."""
        found: dict[str, Any] = codec.plain(
            {
                "schema": self.schema,
                "digest": self.digest,
                "n": len(self),
                "n_features": self.features.shape[1],
                "settings": self.settings,
                "model": self.model,
                "data": self.data,
                "flags": [flag.to_dict() for flag in self.flags],
                "cost": vars(self.cost),
                "provenance": self.provenance,
            }
        )
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one file of torch.save in one step: tensors, and the rest as JSON text.

        Raises InputError where the file system refuses.
        """
        tensors = {name: getattr(self, name).contiguous().clone() for name in _TENSORS}
        text = json.dumps(self.facts(), allow_nan=False)
        with codec.replacing(path) as part:
            torch.save({"about": text, **tensors}, part)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """Read what :meth:`save` wrote, by PyTorch's restricted reader: nothing in it can run.

        Raises InputError for a file that is none, that was changed or is larger than 1 GB, and for
        another schema.
        """
        file = Path(path)
        if not file.is_file():
            raise InputError(
                f"the reference {str(file)!r} is not a file; write one with fit"
            )
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"{file} has more than {MOST_BYTES >> 30} GB")
        try:
            with warnings.catch_warnings():  # torch warns of other files before it refuses
                warnings.simplefilter("ignore")
                raw = torch.load(file, map_location="cpu", weights_only=True)
            about = json.loads(raw["about"])
            tensors = {name: raw[name] for name in _TENSORS}
        except _DAMAGED as error:
            raise InputError(
                f"{str(file)!r} is no reference of `monitor fit`, or is damaged "
                f"({type(error).__name__})"
            ) from error
        try:
            return cls._of(about, tensors)
        except InputError as error:
            raise InputError(f"{str(file)!r}: {error}") from error

    @classmethod
    def _of(cls, about: Any, tensors: Mapping[str, Any]) -> Reference:
        if not isinstance(about, Mapping):
            raise InputError(
                "what it says of itself is no object; is the file damaged?"
            )
        facts = codec.migrate(dict(about), cls.schema)
        try:
            flags = tuple(Flag(**one) for one in facts["flags"])
            cost = Cost(**facts["cost"])
            names = ("settings", "model", "data", "provenance")
            rest: dict[str, Any] = {name: dict(facts[name]) for name in names}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"a part is missing ({error}); is the file damaged?"
            ) from error
        found = cls(**tensors, **rest, flags=flags, cost=cost)
        if found.digest != facts.get("digest"):
            raise InputError(
                "its numbers are not those that were written: it was changed or is damaged; fit "
                "it again"
            )
        return found
