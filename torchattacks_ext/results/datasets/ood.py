"""How well do scores tell the evaluated images from others? Scores of both, and what they give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._typing import Status
from ...errors import InputError
from ...numerics.detection.intervals import Separation, numbers, separation
from ..base import codec
from ..base.columns import column
from ..base.shares import check_confidence, left_out
from ..base.unknown import known_fields
from ..sample import Sample

SCORES = ("max_softmax", "energy", "max_logit", "fim")
"""Scores that are columns; those of detectors stand beside them by their own names."""
KINDS = ("near", "far", "noise")
POSITIVES = {
    "fpr95_inside": "outside images that pass where 95 % of the evaluated ones do",
    "fpr95_outside": "evaluated images that are reported where 95 % of the outside ones are",
}
"""Both numbers that are called FPR95, by what they count."""


@dataclass(frozen=True, kw_only=True)
class OutsideSet:
    """Images that are not of the source of the evaluated ones, scored.

    Arguments:
        name (str): of the set.
        kind (str): "near", "far" or "noise", as its giver says.
        n (int): images.
        scores (dict): name -> n floats, higher = from outside; nan where there is none.
        copies (int): images that show an earlier one of the set again.
        source (str): where they come from.
        sha256 (str): of the sorted hashes of their contents.
    """

    name: str
    kind: str
    n: int
    scores: Mapping[str, tuple[float, ...]]
    copies: int = 0
    source: str = ""
    sha256: str = ""

    def facts(self) -> dict[str, Any]:
        """Which images these are, without their scores."""
        names = ("name", "kind", "n", "copies", "source", "sha256")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class OODScores(Sample):
    """Scores of evaluated images, one row an image, beside those of sets from elsewhere.

    Every score is higher for images from outside. No threshold is set: AUROC, average precision and
    FPR95 say how well the order of a score tells the two apart. They are about these sets only.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        prediction (Tensor): (N,) int64 argmax; -1 where the model raised.
        clean_correct (Tensor): (N,) int8, 1 or 0; -1 where the model raised.
        max_softmax (Tensor): (N,) float64 log(1 - p_max).
        energy (Tensor): (N,) float64 -logsumexp of the logits.
        max_logit (Tensor): (N,) float64 minus the largest logit.
        fim (Tensor): (N,) float64 log lambda_max of the input Fisher information.
        outside (tuple): :class:`OutsideSet`; () before they were scored.

    nan in a score that was not asked for, and where there is no number. Settings name the `scores`
    that were asked for, the `sets`, and what each of the `detectors` was fitted on.

    >>> from torchattacks_ext import evaluate
    >>> images, labels = torch.rand(8, 1, 4, 4) / 4, torch.zeros(8, dtype=torch.long)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    >>> plan = {"eps": 0, "stages": [{"name": "ood", "scores": ["energy"]}]}
    >>> found = evaluate(net, (images, labels), plan)["ood"].result
    >>> [one.name for one in found.outside], found.separation("energy", "uniform").auroc.high <= 1
    (['uniform'], True)
    """

    schema: ClassVar[str] = "ood/1"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    prediction: Tensor = column(torch.int64, "decision", nullable=True)
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    max_softmax: Tensor = column(torch.float64, "measurement")
    energy: Tensor = column(torch.float64, "measurement")
    max_logit: Tensor = column(torch.float64, "measurement")
    fim: Tensor = column(torch.float64, "measurement")
    outside: tuple[OutsideSet, ...] = ()

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of all scores, those of detectors last."""
        detectors = self.settings.get("detectors", {})
        return *self.settings.get("scores", ()), *detectors

    def inside(self, score: str) -> Tensor:
        """(N,) float64 of the evaluated images. Raises InputError for a score that is not here."""
        if score in SCORES and score in self.scores:
            found: Tensor = getattr(self, score)
            return found
        columns = self.extra.get("columns", {})
        if score not in self.scores or score not in columns:
            raise InputError(f"score={score!r} is not one of {', '.join(self.scores)}")
        return torch.tensor([float(v) for v in columns[score]], dtype=torch.float64)

    def set(self, name: str) -> OutsideSet:
        """The set of this name. Raises InputError naming those that exist."""
        for one in self.outside:
            if one.name == name:
                return one
        names = [one.name for one in self.outside]
        raise InputError(f"no set {name!r}; this result has {names or 'none'}")

    def pair(self, score: str, name: str) -> tuple[Tensor, Tensor]:
        """The scores (n,), (m,) float64 of both sides that are numbers; InputError as above."""
        other = torch.tensor(self.set(name).scores[score], dtype=torch.float64)
        known = self.inside(score)
        return known[~known.isnan()], other[~other.isnan()]

    def separation(
        self, score: str, name: str, confidence: float = 0.95
    ) -> Separation | None:
        """AUROC, average precision and both FPR95 of a score, with bootstrap intervals.

        name: of the set. Outside images are the positive class of the average precision. None where
        a side has no score that is a number. Cost: .2 s for 1,000 images on either side, once; use
        :meth:`numbers` where no interval is wanted.
        Raises ConfigError for a confidence outside (0, 1), InputError for unknown names.
        """
        check_confidence(confidence)
        known, other = self.pair(score, name)
        if not len(known) or not len(other):
            return None
        return separation(known.numpy(), other.numpy(), confidence)

    def numbers(self, score: str, name: str) -> dict[str, float] | None:
        """The values of :meth:`separation` by name, without intervals; None as there."""
        known, other = self.pair(score, name)
        if not len(known) or not len(other):
            return None
        return numbers(known.numpy(), other.numpy())

    @property
    def doubt(self) -> str | None:
        """Why no interval is said: rows that were chosen, or images that are there twice."""
        copies = self.n_copies or any(one.copies for one in self.outside)
        return self.chosen or ("images that occur more than once" if copies else None)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """set -> its kind, n and for each score the numbers with their intervals.

        `fpr95_inside`, `fpr95_outside`: what is positive where 95 % of it are found. `prevalence`:
        of the outside images, which the average precision of a score without meaning has. Raises
        ConfigError for a confidence outside (0, 1).
        """
        check_confidence(confidence)
        return {
            "n": len(self),
            "scores": list(self.scores),
            "sets": self.by_set(confidence, ends=self.doubt is None),
            "fpr95_counts": dict(POSITIVES),
            "confidence": confidence,
            **left_out({"intervals": self.doubt if self.outside else None}),
            **self.group_summaries(confidence),
        }

    def group_summaries(self, confidence: float) -> dict[str, Any]:
        """{"groups": name -> n and the numbers of each set, without intervals}, or {}."""
        found = {
            name: {"n": len(part), "sets": part.by_set(confidence, ends=False)}
            for name, part in self.by_group().items()
        }
        return {"groups": found} if found else {}

    def by_set(self, confidence: float = 0.95, *, ends: bool = True) -> dict[str, Any]:
        """set -> its numbers, as in :meth:`summary`; ends: whether with intervals."""
        return {one.name: self._of(one, confidence, ends) for one in self.outside}

    def _of(self, one: OutsideSet, confidence: float, ends: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": one.kind, "n": one.n}
        for score in self.scores:
            known, other = self.pair(score, one.name)
            values = self.numbers(score, one.name)
            if values is None:
                found[score] = None
                continue
            cells: dict[str, Any] = dict(values)
            value = self.separation(score, one.name, confidence) if ends else None
            if value is not None:
                for name, (_, low, high) in vars(value).items():
                    cells[f"{name}_interval"] = [low, high]
            cells["prevalence"] = len(other) / (len(known) + len(other))
            lost = len(self) + one.n - len(known) - len(other)
            found[score] = cells | ({"without_score": lost} if lost else {})
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        sets = [
            one.facts() | {"scores": {k: list(v) for k, v in one.scores.items()}}
            for one in self.outside
        ]
        return super().to_dict() | {"outside": codec.plain(sets)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OODScores:
        """The inverse of :meth:`to_dict`. Raises InputError for another schema or damage."""
        raw = dict(data)
        sets = raw.pop("outside", ())
        found = super().from_dict(raw)
        try:
            return replace(found, outside=tuple(_read(one) for one in sets))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not a whole {cls.schema}: {error!r}; is the file damaged?"
            ) from error


def _read(one: Mapping[str, Any]) -> OutsideSet:
    scores = {k: tuple(float(v) for v in column) for k, column in one["scores"].items()}
    if odd := [k for k, column in scores.items() if len(column) != one["n"]]:
        raise InputError(
            f"scores {odd} of set {one['name']!r} are not {one['n']}, one an image; is the file "
            "damaged?"
        )
    return known_fields(OutsideSet, {**one, "scores": scores})


def nothing(n: int) -> Tensor:
    """(n,) float64 of nan: a score that was not asked for."""
    return torch.full((n,), math.nan, dtype=torch.float64)
