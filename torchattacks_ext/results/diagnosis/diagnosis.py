"""May the numbers of gradient attacks be believed? Columns, the checks they make, a verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._typing import Status
from ...errors import InputError
from ..base.columns import column
from ..base.facts import Flag
from ..base.shares import check_confidence, share
from ..sample import Sample
from .check import Check
from .rules import checks_of
from .words import NAMES

_DERIVED = ("checks", "masked", "causes")


def _yes() -> Any:
    """A column of 1 and 0, or -1 where it was not asked."""
    return column(torch.int8, "measurement", nullable=True, missing=-1)


def _number() -> Any:
    return column(torch.float64, "measurement")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Diagnosis(Sample):
    """What a model and short attacks show of masked gradients; one row an image.

    The columns are what was seen of each image (1 yes, 0 no, -1 not asked); `checks` are made of
    them, each with value, threshold, flag, source and a sentence, and `masked` is whether a check
    names a cause. Attacks are run on images that are right, and only where the model answers each
    image by itself and always the same.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        clean_correct (Tensor): (N,) int8, 1 or 0.
        repeated (Tensor): (N,) float64, share of the row's scores that occur again in the batch.
        hard (Tensor): scores are no more than two numbers.
        ce_zero_clean, ce_zero_start, margin_zero_clean, margin_zero_start (Tensor): the gradient
            of that loss is exactly 0, at the image and at a random start.
        gradient_odd, gradient_absent (Tensor): NaN or infinite pixels; no gradient at all.
        flat, moves (Tensor): at the start no score changes over a step of 2^-20; from the image to
            the start some does.
        rough (Tensor): (N,) float64, at the start, how far a step of .001 is not what the
            gradient foretells.
        unstable (Tensor): (N,) float64, relative change of the cross-entropy in noise of 8/255.
        one_step (Tensor): broken by one step of either loss.
        ce_half, ce_full, margin_half, margin_full (Tensor): broken by APGD on that loss, with half
            of the steps and with all.
        late_move (Tensor): (N,) float64, part of the rise of the best loss in the last 10 queries.
        silent (Tensor): a query was wrong, and that of largest loss is not.
        random_search, black_box (Tensor): broken by corners of the ball; by those or by Square;
            -1 where a gradient run broke the row.
        broken_x2, broken_x4, broken_x8, broken_free (Tensor): broken in larger balls, and in one
            that holds the grey image.
        transfer (Tensor): broken by candidates of a surrogate; surrogate_fooled: that surrogate
            was; surrogate_right: one is right on the image.
        consistency (Tensor): (N,) float64, rank correlation of a surrogate's loss and the target's
            margin on the way.

    >>> from torchattacks_ext import diagnose
    >>> from torchattacks_ext.testing import GradientKiller, small_net
    >>> net = small_net().eval()
    >>> images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> found = diagnose(GradientKiller(net), images, net(images).argmax(1), eps=0.1, queries=20)
    >>> found.masked, found.causes[0]
    (True, 'gradient_killed')
    """

    schema: ClassVar[str] = "diagnosis/1"
    retold: ClassVar[tuple[str, ...]] = NAMES

    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    repeated: Tensor = _number()
    hard: Tensor = _yes()
    ce_zero_clean: Tensor = _yes()
    ce_zero_start: Tensor = _yes()
    margin_zero_clean: Tensor = _yes()
    margin_zero_start: Tensor = _yes()
    gradient_odd: Tensor = _yes()
    gradient_absent: Tensor = _yes()
    flat: Tensor = _yes()
    moves: Tensor = _yes()
    rough: Tensor = _number()
    unstable: Tensor = _number()
    one_step: Tensor = _yes()
    ce_half: Tensor = _yes()
    ce_full: Tensor = _yes()
    margin_half: Tensor = _yes()
    margin_full: Tensor = _yes()
    late_move: Tensor = _number()
    silent: Tensor = _yes()
    random_search: Tensor = _yes()
    black_box: Tensor = _yes()
    broken_x2: Tensor = _yes()
    broken_x4: Tensor = _yes()
    broken_x8: Tensor = _yes()
    broken_free: Tensor = _yes()
    transfer: Tensor = _yes()
    surrogate_fooled: Tensor = _yes()
    surrogate_right: Tensor = _yes()
    consistency: Tensor = _number()

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """Every check, in the order of the phases; those that were not asked have the value nan."""
        names = ("status", *(spec.name for spec in self.columns()))
        return checks_of({n: getattr(self, n) for n in names}, self.traits)

    def __getitem__(self, name: str) -> Check:
        """The check of this name. Raises InputError naming those that exist."""
        for check in self.checks:
            if check.name == name:
                return check
        raise InputError(f"no check {name!r}; there are {list(NAMES)}")

    @property
    def traits(self) -> Mapping[str, Any]:
        """What the first rows showed of the model: randomised, batch_dependent and so on."""
        found: Mapping[str, Any] = self.settings.get("traits", {})
        return found

    @property
    def causes(self) -> tuple[str, ...]:
        """Names of the causes of masking, in the order of the checks; () for none."""
        found = [check.cause for check in self.checks if check.flag and check.cause]
        return tuple(dict.fromkeys(found))

    @property
    def masked(self) -> bool:
        """Whether what plain gradient attacks leave of this model is no measure of robustness."""
        return bool(self.causes)

    def told(self) -> tuple[Flag, ...]:
        """A doubt for each check that is flagged; those that only inform are quiet."""
        return tuple(
            Flag(c.name, c.sentence, details={} if c.cause else {"quiet": True})
            for c in self.checks
            if c.flag
        )

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """`masked`, `causes` and the names of all flagged checks; with groups, of each as well."""
        check_confidence(confidence)
        flagged = [check.name for check in self.checks if check.flag]
        asked = sum(check.asked for check in self.checks)
        return {
            "n": len(self),
            "clean_accuracy": share(self.clean_correct[self.clean_correct >= 0] == 1),
            "masked": self.masked,
            "causes": list(self.causes),
            "flagged": flagged,
            "checks": asked,
            **self.group_summaries(confidence),
        }

    def text(self, width: int = 100) -> str:
        """The verdict and a line for each check, flagged ones first; at most `width` characters."""
        lines = [self.verdict]
        for check in sorted(self.checks, key=lambda check: not check.flag):
            if check.asked:
                mark = "!" if check.flag and check.cause else "?" if check.flag else "."
                said = f"{mark} {check.name}: {check.sentence} [{check.source}]"
                lines += textwrap.wrap(said, width, subsequent_indent="  ")
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """One sentence on whether the numbers of gradient attacks may be believed."""
        if not self.masked:
            return (
                "No check found a reason to doubt gradient attacks on this model; that is no proof "
                "that they find all there is."
            )
        return (
            "What gradient attacks leave of this model is no measure of its robustness: "
            f"{', '.join(cause.replace('_', ' ') for cause in self.causes)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, with the checks and the verdict for readers of the file."""
        return {
            **super().to_dict(),
            "masked": self.masked,
            "causes": list(self.causes),
            "checks": [check.to_dict() for check in self.checks],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diagnosis:
        """The inverse of :meth:`to_dict`; checks are made anew of the columns."""
        kept = {key: value for key, value in data.items() if key not in _DERIVED}
        return super().from_dict(kept)
