"""How is it told whether scores know images from elsewhere? A row a set and score, and words."""

from __future__ import annotations

from math import nan

from ...numerics.detection.intervals import Ends
from ...results.datasets.ood import OODScores, OutsideSet
from ..words import confidence_text, count, listing, number, one_line
from .page import Told, fraction, with_ends

HEAD = (
    "Set",
    "Score",
    "AUROC",
    "Average precision",
    "Outside passed",
    "Evaluated reported",
)
NAMES = {
    "max_softmax": "max softmax",
    "energy": "energy",
    "max_logit": "max logit",
    "fim": "FIM score",
}
NOTES = (
    "AUROC: the chance that an image of the set scores higher than an evaluated one. 0.5 says "
    "nothing; below it the score takes the set for more familiar than the evaluated images.",
    "Average precision: of finding the set's images (the positive class) among both; a score that "
    "says nothing has their share, {prevalence}.",
    "Outside passed: FPR95 with evaluated images as the positive class, the share of the set that "
    "passes a threshold which 95 % of the evaluated images pass. Evaluated reported: FPR95 with "
    "the set as the positive class, the share of evaluated images that a threshold reports which "
    "reports 95 % of the set. Thresholds are chosen on these images.",
)
WORTH = "about these sets only; no threshold, and no claim about an attacker"


def score_name(name: str) -> str:
    """A score as readers know it."""
    return NAMES.get(name, one_line(name, 40))


def _set_name(one: OutsideSet, *more: str) -> str:
    """Its name, with what it is where that is another word."""
    told = [*([one.kind] if one.kind != one.name else []), *more]
    return f"{one_line(one.name, 40)} ({', '.join(told)})" if told else one.name


def ood_told(stage: str, result: OODScores, confidence: float) -> Told:
    """The table of one stage; what its intervals are stands below."""
    rows: list[tuple[str, ...]] = [HEAD]
    shown = result.doubt is None
    shares = []
    for one in result.outside:
        for i, score in enumerate(result.scores):
            known, other = result.pair(score, one.name)
            found = _ends(result, score, one.name, confidence if shown else None)
            first = _set_name(one, count(one.n)) if i == 0 else ""
            if found is None:
                rows.append((first, score_name(score), "no score", "", "", ""))
                continue
            shares.append(len(other) / (len(known) + len(other)))
            cells = (with_ends(ends, shown) for ends in found)
            rows.append((first, score_name(score), *cells))
    level = confidence_text(confidence)
    ends = (
        f"Intervals: bootstrap of both sides, {level}, approximate."
        if shown
        else f"No intervals: {result.doubt}."
    )
    low, high = min(shares, default=0.0), max(shares, default=0.0)
    part = fraction(low) if high - low < 5e-4 else f"{low:.3f} to {high:.3f}"
    notes = [note.format(prevalence=part) for note in NOTES]
    return Told(
        f"Images from elsewhere: {stage}",
        "How well scores tell evaluated images from other sets (kind, images).",
        tuple(rows),
        "llrrrr",
        (*notes, ends, *_fits(result), *_lost(result)),
    )


def _ends(
    result: OODScores, score: str, name: str, confidence: float | None
) -> list[Ends] | None:
    """The four numbers with their ends; nan for ends where no interval is said (None)."""
    if confidence is None:
        bare = result.numbers(score, name)
        return None if bare is None else [Ends(v, nan, nan) for v in bare.values()]
    found = result.separation(score, name, confidence)
    return None if found is None else list(vars(found).values())


def _fits(result: OODScores) -> tuple[str, ...]:
    fits = result.settings.get("detectors", {})
    fitted = [one_line(name, 40) for name, fit in fits.items() if fit]
    if not fitted:
        return ()
    n = next(fit["n"] for fit in fits.values() if fit)
    text = (
        f"{listing(fitted)} fitted once, on {count(n)} images; scores of another fit have another "
        "scale and are not put beside these."
    )
    return (text,)


def _lost(result: OODScores) -> tuple[str, ...]:
    lost = 0
    for one in result.outside:
        for score in result.scores:
            known, other = result.pair(score, one.name)
            lost = max(lost, len(result) + one.n - len(known) - len(other))
    return (
        f"Up to {count(lost)} images of a row have no score and are left out.",
    ) * bool(lost)


def ood_score(result: OODScores) -> tuple[str, tuple[str, ...]]:
    """What stands in the scorecard, and a line a set; the first score speaks for all."""
    if not result.outside:
        return "no other set was scored", ()
    lines, first = [], []
    for one in result.outside:
        cells = []
        for score in result.scores:
            found = result.numbers(score, one.name)
            value = None if found is None else found["auroc"]
            cells.append(
                f"{score_name(score)} {'none' if value is None else fraction(value)}"
            )
            if score == result.scores[0] and value is not None:
                first.append(value)
        lines.append(f"AUROC, {_set_name(one)}: {', '.join(cells)}")
    if not first:
        return "no score", tuple(lines)
    low, high = min(first), max(first)
    ends = fraction(low) if low == high else f"{fraction(low)} to {fraction(high)}"
    return f"AUROC {ends} ({score_name(result.scores[0])})", tuple(lines)


def ood_sentence(result: OODScores) -> str:
    """For a reader who does not compute."""
    sets = listing([_set_name(one) for one in result.outside])
    name, cells = result.scores[0], []
    for one in result.outside:
        found = result.numbers(name, one.name)
        if found is not None:
            missed = number(round(100 * found["fpr95_inside"], 1))
            cells.append(f"{missed} % of {one_line(one.name, 40)}")
    if not cells:
        return (
            f"Images from elsewhere ({sets}) were tried, but the model gave no score."
        )
    return (
        f"Images from elsewhere ({sets}) were shown to the model as well: a threshold on its score "
        f"“{score_name(name)}” that lets 95 % of the evaluated images pass also lets "
        f"{listing(cells)} pass."
    )
