"""How sensitive are the heads of one trunk? The paper's measures and three fair numbers, kept.

Filled by :func:`torchattacks_ext.defenses.sensitivity_report`; arXiv:2606.01746 is "the paper".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from ...errors import InputError
from ...numerics.rates.binomial import clopper_pearson
from ..base import codec
from ..base.document import Document
from ..base.unknown import known_fields
from ..base.words import one_line
from .numbers import QUANTILES, AngleLaw, HeadNumbers, HeadPair

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, repr=False)
class HeadSensitivity(Document):
    """Measures of sensitivity of several heads of one trunk.

    Arguments:
        n, size, n_classes (int): images, features, classes.
        eps (float), norm (str): the ball of the attack.
        attack (str): what gave the changed images, in words.
        heads (tuple): :class:`HeadNumbers` each.
        pairs (tuple): :class:`HeadPair`, the linear head beside each other one.
        extra (dict): fields of a newer file that this version does not know; written back.
    """

    schema: ClassVar[str] = "head_sensitivity/1"

    n: int
    size: int
    n_classes: int
    eps: float
    norm: str
    attack: str
    heads: tuple[HeadNumbers, ...]
    pairs: tuple[HeadPair, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def head(self, name: str) -> HeadNumbers:
        """The head of a name. Raises InputError for another."""
        for one in self.heads:
            if one.name == name:
                return one
        raise InputError(
            f"{name!r} is none of the heads {[one.name for one in self.heads]}"
        )

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Medians a head, and what each pair says, in plain numbers."""
        middle = QUANTILES.index(0.5)
        found: dict[str, Any] = {"n": self.n, "eps": self.eps, "norm": self.norm}
        for one in self.heads:
            low, high = _interval(one.n_kept, self.n, confidence)
            found[one.name] = {
                "clean_accuracy": one.n_right / self.n,
                "attacked_accuracy": one.n_kept / self.n,
                "attacked_interval": [low, high],
                **{
                    name: getattr(one, name)[middle]
                    for name in ("own", "other", "raw", "normalised", "reach")
                },
            }
        for pair in self.pairs:
            key = f"{pair.distance} beside {pair.linear}"
            found[key] = pair.answers(confidence)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types: nan as the string "nan"."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        own["heads"] = [asdict(one) for one in self.heads]
        own["pairs"] = [asdict(one) for one in self.pairs]
        return {**codec.plain(self.extra), "schema": self.schema, **codec.plain(own)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HeadSensitivity:
        """The inverse of :meth:`to_dict`; unknown fields of the whole are kept.

        Raises InputError for another schema or a damaged file.
        """
        raw = codec.migrate(dict(data), cls.schema)
        raw.pop("schema")
        names = {f.name for f in fields(cls)} - {"extra"}
        known = {name: raw.pop(name) for name in names & raw.keys()}
        try:
            known["heads"] = tuple(_head(one) for one in known["heads"])
            known["pairs"] = tuple(_read(HeadPair, one) for one in known["pairs"])
            return cls(**known, extra=raw)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not a whole {cls.schema}: {error}; is the file damaged?"
            ) from error

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self.summary(), ())


def _interval(part: int, n: int, confidence: float) -> tuple[float, float]:
    if not n:
        return math.nan, math.nan
    low, high = clopper_pearson(part, n, confidence)
    return float(low), float(high)


def _head(data: Mapping[str, Any]) -> HeadNumbers:
    laws = tuple(_read(AngleLaw, law) for law in data["laws"])
    return _read(HeadNumbers, {**data, "laws": laws})


def _read(cls: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass of numbers and tuples from JSON, where nan and inf are strings."""
    words = {"name", "kind", "of", "among", "linear", "distance"}
    lifted = {}
    for key, value in data.items():
        if isinstance(value, list):
            value = tuple(float(v) if isinstance(v, str) else v for v in value)
        elif isinstance(value, str) and key not in words:
            value = float(value)
        lifted[key] = value
    return known_fields(cls, lifted)
