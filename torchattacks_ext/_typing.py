"""Which words mean the same thing everywhere? Norms, verdicts, statuses and the logits function."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Literal, get_args

from torch import Tensor

Norm = Literal["Linf", "L2", "L1"]
NORMS: tuple[Norm, ...] = get_args(Norm)

LogitsFn = Callable[[Tensor], Tensor]
"""Maps images ``(N, ...)`` to logits ``(N, K)``."""


class Verdict(IntEnum):
    """What is known about one image; stored as int8, written as its name in lower case.

    >>> Verdict.ROBUST == 1, Verdict(2).name
    (True, 'NOT_ROBUST')
    """

    UNDECIDED = 0
    """Neither claim could be made: the budget ended first, or the test gave up between the two."""
    ROBUST = 1
    """The claim holds (for PRTest: failure rate <= tolerance, at level `significance`)."""
    NOT_ROBUST = 2
    """A witness or a rejected hypothesis says that the claim is false."""
    MISCLASSIFIED = 3
    """The clean image is already wrong: not robust in the score, but no statistical claim."""


class Status(IntEnum):
    """How the measurement of one image ended; stored as int8, written as its name in lower case.

    >>> [status.name.lower() for status in Status][:2]
    ['ok', 'non_finite']
    """

    OK = 0
    """Measured as asked."""
    NON_FINITE = 1
    """The model gave NaN or infinite logits for this image or a perturbation of it."""
    NOT_REACHED = 2
    """The budget of the whole run ended before this image was through with its own."""
    FAILED = 3
    """The model or the method raised on this image; a flag or the report names the reason."""
