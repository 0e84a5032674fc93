"""How do the groups of a data set differ under a random test? One row each, and a warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._typing import Verdict
from ...results.grounds import Asked
from ..words import confidence_text, count, interval, one_line, percent

MOST_GROUPS = 40
"""Groups in the table; of more, those with the lowest probabilistic robust accuracy."""

HEAD = (
    "Group",
    "n",
    "PRA",
    "Robust",
    "Not robust",
    "Undecided",
    "Misclassified",
)

_SHARE = {
    "label": "PRA is the probabilistic robust accuracy",
    "prediction": "Certified is the share shown to keep its clean answer, right or wrong,",
    "target": "Certified is the share shown not to reach the target,",
}


def group_head(asked: Asked) -> tuple[str, ...]:
    """HEAD, in the words of what was tested: an accuracy needs labels."""
    if asked.kind == "label":
        return HEAD
    return tuple("Certified" if name == "PRA" else name for name in HEAD)


def group_rows(
    groups: Mapping[str, Mapping[str, Any]], asked: Asked, confidence: float
) -> tuple[tuple[tuple[str, ...], ...], str]:
    """A row for each group, cells as in HEAD, and how to read them; () and "" without groups.

    groups: name -> its summary. asked: what was tested.
    """
    if not groups:
        return (), ""
    names, cut = list(groups), ""
    if len(names) > MOST_GROUPS:
        names = sorted(names, key=lambda name: float(groups[name][asked.share]))[
            :MOST_GROUPS
        ]
        cut = f" Shown are the {MOST_GROUPS} lowest of {count(len(groups))} groups."
    note = (
        f"{_SHARE.get(asked.kind, _SHARE['label'])} with its two-sided "
        f"{confidence_text(confidence)} interval. Several groups are several claims: each interval "
        f"holds by itself, so among many of them some will be wrong.{cut}"
    )
    return tuple(_group(name, groups[name], asked) for name in names), note


def _group(name: str, said: Mapping[str, Any], asked: Asked) -> tuple[str, ...]:
    verdicts = [Verdict.ROBUST, Verdict.NOT_ROBUST, Verdict.UNDECIDED]
    verdicts.append(Verdict.MISCLASSIFIED)
    counts = [count(said[verdict.name.lower()]) for verdict in verdicts]
    n = said["n"]
    pra = f"{percent(said['certified'], n)} {interval(said[asked.interval])}"
    return one_line(name, 60) or "(no name)", count(n), pra, *counts
