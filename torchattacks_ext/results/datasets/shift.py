"""How much accuracy is lost on a second test set? Both sets' answers, and the difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._typing import Status
from ...errors import InputError, StateError
from ...numerics.populations.differences import (
    mcnemar,
    paired_interval,
    unpaired_interval,
)
from ..accuracy import Accuracy
from ..base.columns import column
from ..base.shares import check_confidence, left_out, share, share_between
from ..sample import Sample

COPIES = "images that occur more than once"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Shift(Sample):
    """Answers to the evaluated images, one row an image, beside those to a second set.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        prediction (Tensor): (N,) int64 argmax; -1 where the model raised.
        clean_correct (Tensor): (N,) int8, 1 or 0; -1 where the model raised.
        place (Tensor): (N,) int64 position of the row in its data.
        partner (Tensor): (N,) int64 row of `other` that shows the same thing; -1 for none.
        other (Accuracy): the answers to the second set; None before they were asked for.

    Settings name the second set as `other`, and how rows were `paired`.

    >>> right = torch.tensor([True, True, False, True])
    >>> Shift.of(right, right & False, paired=True).drop
    0.75
    """

    schema: ClassVar[str] = "shift/1"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    prediction: Tensor = column(torch.int64, "decision", nullable=True)
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    place: Tensor = column(torch.int64, "provenance")
    partner: Tensor = column(torch.int64, "decision", nullable=True, missing=-1)
    other: Accuracy | None = None

    @classmethod
    def of(
        cls, right: Tensor, other: Tensor, *, paired: bool = False, **settings: Any
    ) -> Shift:
        """From answers that are known: right (N,), other (M,) bool.

        paired: whether row i of both shows the same thing; then N = M. settings: facts to keep.
        Raises InputError for other shapes and unequal lengths of pairs.
        """
        for name, values in (("right", right), ("other", other)):
            if values.dim() != 1 or values.dtype != torch.bool or not len(values):
                raise InputError(
                    f"{name} is {tuple(values.shape)} {values.dtype}, expected (N,) bool, N >= 1"
                )
        if paired and len(right) != len(other):
            raise InputError(
                f"{len(right)} and {len(other)} rows are no pairs; leave out paired=True"
            )
        rows = torch.arange(len(right))
        found = Accuracy(
            ids=torch.arange(len(other)), **_columns(other), margin=_sign(other)
        )
        return cls(
            ids=rows,
            **_columns(right),
            place=rows.clone(),
            partner=rows.clone() if paired else torch.full_like(rows, -1),
            other=found,
            settings={"method": "shift", **settings},
        )

    @property
    def answered(self) -> Tensor:
        """(N,) bool: rows with an answer."""
        return self.status != int(Status.FAILED)

    @property
    def accuracy(self) -> float:
        """Share of right answers on the evaluated images; nan for none."""
        return share(self.clean_correct[self.answered] == 1)

    @property
    def other_accuracy(self) -> float:
        """Share of right answers :attr:`beside`. Raises StateError before it was asked for."""
        return self.beside.clean_accuracy

    @property
    def beside(self) -> Accuracy:
        """The rows of the second set that the evaluated ones are held against.

        All of them; where every evaluated row has a partner, the partners, so that accuracies and
        drop are of the same rows. Raises StateError before the second set was asked for.
        """
        other = self._known()
        if self.pairs() is None or len(other) == len(self):
            return other
        return other.select(other.ids[self.partner], declared=True)

    @property
    def drop(self) -> float:
        """What is lost: :attr:`accuracy` less :attr:`other_accuracy`, of the pairs if all are."""
        pairs = self.pairs()
        if pairs is None:
            return self.accuracy - self.other_accuracy
        only, other, n = pairs
        return (only - other) / n if n else float("nan")

    def pairs(self) -> tuple[int, int, int] | None:
        """(right here only, right there only, pairs); None where not every row has a partner.

        Pairs with a row on which the model raised are left out. Raises StateError before the second
        set was asked for.
        """
        other = self._known()
        if not len(self) or bool((self.partner < 0).any()):
            return None
        if int(self.partner.max()) >= len(other):
            raise StateError("partner names rows that the second set does not have")
        there = other.clean_correct[self.partner] == 1
        known = self.answered & other.answered[self.partner]
        here = (self.clean_correct == 1) & known
        there &= known
        both = int((here & there).sum())
        return int(here.sum()) - both, int(there.sum()) - both, int(known.sum())

    def drop_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Ends for the drop on new images of both sources, nominal.

        Of pairs Tango's (1998), else Newcombe's (1998); see :mod:`~.populations.differences`.
        (-1, 1) where rows were chosen or are there twice, or there are none. Raises ConfigError for
        a confidence outside (0, 1).
        """
        check_confidence(confidence)
        other, pairs = self._known(), self.pairs()
        n, m = int(self.answered.sum()), int(other.answered.sum())
        if self.doubt is not None or not n or not m or (pairs and not pairs[2]):
            return -1.0, 1.0
        if pairs is not None:
            return paired_interval(*pairs, confidence)
        right = [int((one.clean_correct == 1).sum()) for one in (self, other)]
        return unpaired_interval(right[0], n, right[1], m, confidence)

    @property
    def doubt(self) -> str | None:
        """Why no interval is said of the drop; None where one is."""
        copies = self.n_copies or (self.other is not None and self.other.n_copies)
        return self.chosen or (COPIES if copies else None)

    def _known(self) -> Accuracy:
        if self.other is None:
            raise StateError(
                "the second set was not asked for yet; these are the rows of a part of a run"
            )
        return self.other

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Both accuracies with exact intervals, the drop with its own, and McNemar's exact test.

        `p_value`: that both are as often right; of pairs only. Raises ConfigError for a confidence
        outside (0, 1).
        """
        check_confidence(confidence)
        n, right = int(self.answered.sum()), int((self.clean_correct == 1).sum())
        sides = share_between(right, 0, n, confidence, self.chosen, self.n_copies)[1]
        found: dict[str, Any] = {
            "n": len(self),
            "accuracy": self.accuracy,
            "accuracy_interval": sides,
            "confidence": confidence,
        }
        if self.other is not None:
            there, pairs = self.beside.summary(confidence), self.pairs()
            found |= {
                "other_n": there["n"],
                "other_accuracy": there["clean_accuracy"],
                "other_accuracy_interval": there["clean_accuracy_interval"],
                "drop": self.drop,
                "drop_interval": list(self.drop_interval(confidence)),
                "paired": pairs is not None,
            }
            if pairs is not None:
                found |= dict(zip(("only_here", "only_there", "pairs"), pairs))
                found["p_value"] = mcnemar(*pairs[:2])
            found |= left_out({"drop_interval": self.doubt})
        return found | self.group_summaries(confidence)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        other = None if self.other is None else self.other.to_dict()
        return super().to_dict() | {"other": other}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shift:
        """The inverse of :meth:`to_dict`. Raises InputError for another schema or damage."""
        raw = dict(data)
        other = raw.pop("other", None)
        found = super().from_dict(raw)
        if other is not None:
            if not isinstance(other, Mapping):
                raise InputError(f"field 'other' of {cls.schema} is damaged")
            found = replace(found, other=Accuracy.from_dict(other))
        return found


def _columns(right: Tensor) -> dict[str, Any]:
    """Columns of answers of which only their truth is known: label 0, answer 0 or 1."""
    code = right.to(torch.int8)
    return {
        "status": torch.zeros_like(code),
        "reference": torch.zeros(len(right), dtype=torch.int64),
        "prediction": 1 - code.long(),
        "clean_correct": code,
    }


def _sign(right: Tensor) -> Tensor:
    return torch.where(right, 1.0, -1.0).double()
