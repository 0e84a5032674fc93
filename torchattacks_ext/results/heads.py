"""How sensitive are the heads of one trunk? The paper's measures and three fair numbers, kept.

Filled by :func:`torchattacks_ext.defenses.sensitivity_report`; arXiv:2606.01746 is "the paper".
Quantiles are those of :data:`QUANTILES`; nan where there is no row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar

from ..errors import InputError
from ..numerics.rates.binomial import clopper_pearson
from .base import codec
from .base.document import Document
from .base.unknown import known_fields
from .base.words import one_line

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 60
"""Bins of a histogram of angles on [0, pi]: three degrees each."""
Spread = tuple[float, ...]
Answer = Literal["for", "against", "open"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class AngleLaw:
    """Angles of rows and classes of one head, with the Gaussian on [0, pi] that fits them best.

    Arguments:
        of (str): "features", or "step": the change of the features under attack.
        among (str): "own": the class of the label; "other": the others.
        n (int): angles.
        mean, deviation (float): of the Gaussian before it is cut, in radians.
        gap (float): largest difference of shares between angles and law (Kolmogorov).
        counts (tuple): angles in each of :data:`BINS` bins.
    """

    of: str
    among: str
    n: int
    mean: float
    deviation: float
    gap: float
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class HeadNumbers:
    """What was measured on one head.

    Arguments:
        name (str): of the head.
        kind (str): "linear" or "distance".
        n_right, n_kept (int): rows that are right unchanged, and under attack as well.
        laws (tuple): :class:`AngleLaw` each.
        own, other (tuple): relative change of the score of the own class and of the others, the
            paper's S_c or S_d, in quantiles.
        highest_own, highest_other (tuple): sup S_d in quantiles; () for a linear head.
        raw (tuple): (i) length of the change of the logits over that of the image, in quantiles.
        normalised (tuple): (ii) loss of margin over the clean margin, of right rows: 1 breaks.
        distance (tuple): of right rows to the nearest boundary, in feature space.
        moved (tuple): length of the change of the features, of right rows.
        reach (tuple): (iii) distance over moved: below 1 the change was long enough to break.
    """

    name: str
    kind: str
    n_right: int
    n_kept: int
    laws: tuple[AngleLaw, ...]
    own: Spread
    other: Spread
    highest_own: Spread
    highest_other: Spread
    raw: Spread
    normalised: Spread
    distance: Spread
    moved: Spread
    reach: Spread

    def law(self, of: str, among: str) -> AngleLaw | None:
        """One of the laws, None where it was not fitted."""
        return next((x for x in self.laws if (x.of, x.among) == (of, among)), None)


@dataclass(frozen=True, kw_only=True)
class HeadPair:
    """A linear head and one by distance, side by side.

    Arguments:
        linear, distance (str): their names.
        isotropic (float): P(eq. 8) where all three angles are isotropic.
        isotropic_at (float): eq. 11 at the median |cos g| that was measured.
        own, other, mixed (float): P(eq. 8) by the fitted laws, angles taken as independent: of own
            classes, of others, and of mixtures with weights 1 / K and 1 - 1 / K (eq. 12-13).
        held_own, held_other (float): share of pairs (row, class) on which eq. 8 holds, measured.
        larger_own, larger_other (float): share of pairs with S_c >= sup S_d, measured.
        n (int): rows that both heads have right.
        steadier (int): of these, rows whose margin the linear head loses less of (ii).
        farther (int): of these, rows whose boundary is farther away for the linear head (iii).
        only_linear, only_distance (int): images, of all, that this head alone has right under
            attack, each head under its own.
    """

    linear: str
    distance: str
    isotropic: float
    isotropic_at: float
    own: float
    other: float
    mixed: float
    held_own: float
    held_other: float
    larger_own: float
    larger_other: float
    n: int
    steadier: int
    farther: int
    only_linear: int
    only_distance: int

    def answers(self, confidence: float = 0.95) -> dict[str, Answer]:
        """What each fair comparison says of "the distance head is the less sensitive one".

        "normalised" is (ii), "reach" (iii), "kept" the images that one head alone has right under
        attack. "for" or
        "against" where an exact interval of the share of rows excludes one half, else "open";
        each interval by itself.
        """
        both = self.only_linear + self.only_distance
        counts = {
            "normalised": (self.steadier, self.n),
            "reach": (self.farther, self.n),
            "kept": (self.only_linear, both),
        }
        return {k: _answer(part, n, confidence) for k, (part, n) in counts.items()}


def _answer(linear: int, n: int, confidence: float) -> Answer:
    if not n:
        return "open"
    low, high = (float(side) for side in clopper_pearson(linear, n, confidence))
    return "against" if low > 0.5 else "for" if high < 0.5 else "open"


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
