"""What does a diagnosis say in words? The verdict, and a sentence for each flagged check."""

from __future__ import annotations

from ...results.diagnosis.check import Check
from ...results.diagnosis.diagnosis import Diagnosis
from ..words import count, listing, one_line, things

GUARANTEE = "none: a flag is a reason to doubt attacks, no flag is no proof of them"


def diagnosis_words(result: Diagnosis) -> tuple[str, tuple[str, ...]]:
    """(the main words, the details): causes, each flagged check with its source, how many were not.

    >>> import torch
    >>> from torchattacks_ext import diagnose
    >>> from torchattacks_ext.testing import RandomisedInput
    >>> found = diagnose(RandomisedInput(torch.nn.Flatten()), torch.rand(2, 1, 1, 2), [0, 1], 0.1)
    >>> diagnosis_words(found)[0]
    'masked: randomised'
    """
    named = [check for check in result.checks if check.flag and check.cause]
    others = [check for check in result.checks if check.flag and not check.cause]
    quiet = sum(check.asked and not check.flag for check in result.checks)
    left = sum(not check.asked for check in result.checks)
    causes = listing([cause.replace("_", " ") for cause in result.causes], 6)
    details = [
        result.verdict,
        *map(_told, named),
        *(f"for information: {_told(check)}" for check in others),
        f"{things(quiet, 'check')} without a flag, {count(left)} not asked",
    ]
    return f"masked: {causes}" if result.masked else "no masking found", tuple(details)


def _told(check: Check) -> str:
    return one_line(f"{check.name}: {check.sentence} ({check.source})", 400)
