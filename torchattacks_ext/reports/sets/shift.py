"""How is a loss of accuracy on a second set told? Three rows, and words."""

from __future__ import annotations

import math

from ...results.datasets.shift import Shift
from ..words import confidence_text, count, interval, number, one_line, share, things
from .page import Told

HEAD = ("Images", "Accuracy", "Interval", "n")


def shift_told(stage: str, result: Shift, confidence: float) -> Told:
    """Both accuracies and the drop with their intervals."""
    other = result.beside
    said = result.summary(confidence)
    rows = [HEAD]
    for name, one, sides in (
        ("evaluated", result, said["accuracy_interval"]),
        (_source(result), other, said["other_accuracy_interval"]),
    ):
        right, n = int((one.clean_correct == 1).sum()), int(one.answered.sum())
        rows.append((name, share(right, n), interval(sides), count(len(one))))
    rows.append(("lost", points(said["drop"]), _ends(result, confidence), ""))
    level = confidence_text(confidence)
    notes = [f"{level} intervals: exact of each accuracy, nominal of what is lost."]
    if said["paired"]:
        only, there, n = said["only_here"], said["only_there"], said["pairs"]
        notes.append(
            f"Paired{_left(result)}: of {things(n, 'pair')}, {count(only)} are right here only and "
            f"{count(there)} there only (McNemar's exact test: p = {number(said['p_value'])}; "
            "interval by Tango 1998)."
        )
    else:
        notes.append(
            "Different images: the interval of the difference is Newcombe's (1998)."
        )
    if result.doubt is not None:
        notes.append(f"No interval of what is lost: {result.doubt}.")
    return Told(
        f"A second test set: {stage}",
        "Share of images that are answered correctly.",
        tuple(rows),
        "lrrr",
        tuple(notes),
    )


def _left(result: Shift) -> str:
    """How many rows of the second set are nobody's partner."""
    more = 0 if result.other is None else len(result.other) - len(result.beside)
    return (
        f" ({things(more, 'further row')} of the second set left out)" if more else ""
    )


def _source(result: Shift) -> str:
    told = result.settings.get("other")
    name = told.get("source") if isinstance(told, dict) else None
    return f"second set ({one_line(name, 40)})" if name else "second set"


def points(value: float) -> str:
    """A difference of shares in percentage points.

    >>> points(0.0834), points(-0.01)
    ('8.3 points', '-1.0 points')
    """
    return "n/a" if math.isnan(value) else f"{100 * value:.1f} points"


def _ends(result: Shift, confidence: float) -> str:
    if result.doubt is not None:
        return ""
    low, high = result.drop_interval(confidence)
    down, up = math.floor(1000 * low + 1e-9) / 10, math.ceil(1000 * high - 1e-9) / 10
    return f"[{down:.1f}, {up:.1f}] points"


def shift_score(result: Shift, confidence: float) -> tuple[str, tuple[str, ...]]:
    """What stands in the scorecard, and both accuracies."""
    if result.other is None:
        return "the second set was not asked", ()
    other, sides = result.beside, []
    for name, one in (("evaluated", result), (_source(result), other)):
        right, n = int((one.clean_correct == 1).sum()), int(one.answered.sum())
        sides.append(f"{name}: {share(right, n)}")
    ends = _ends(result, confidence)
    lost = f"lost: {points(result.drop)} {ends}".strip()
    return f"{points(result.drop)} lost", (*sides, lost)


def shift_sentence(result: Shift) -> str:
    """For a reader who does not compute."""
    other = result.beside
    right, n = int((other.clean_correct == 1).sum()), int(other.answered.sum())
    drop = result.drop
    word = "more" if drop < 0 else "fewer"
    return (
        f"On the {_source(result)} it answers {share(right, n)} correctly, {points(abs(drop))} "
        f"{word} than on the measured one."
    )
