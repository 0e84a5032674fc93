"""What does a sensitivity score say in words? The number, its spread, and what weakens it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..words import NOT_KNOWN, count, number, percent_of, things

GUARANTEE = "local diagnostic of the outputs, no certificate and no accuracy"


def sensitivity_words(summary: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """(the main number, the details) of :meth:`Sensitivity.summary`.

    >>> sensitivity_words({"n": 0, "median": float("nan")})[0]
    'median lambda n/a'
    """
    low, high = summary.get("median_interval", (None, None))
    spread = summary.get("quartiles", (None, None))
    failed, n = summary.get("failed", 0), summary.get("n", 0)
    details = [
        f"median interval over images [{number(low)}, {number(high)}]",
        f"quartiles {number(spread[0])} and {number(spread[1])}",
        f"mean (R_norm) {number(summary.get('r_norm'))}, of which the 5 % largest hold "
        f"{_percent(summary.get('top_share'))}",
        "nats * 2 per squared pixel unit; lower = less sensitive",
    ]
    saturated = summary.get("saturated_fraction")
    if saturated:
        details.append(f"softmax saturated for {_percent(saturated)}")
    for name, words in (
        ("zero_gradient", "without a gradient"),
        ("capped", "lower bounds only"),
    ):
        if summary.get(name):
            details.append(f"{things(summary[name], 'image')} {words}")
    if failed:
        details.append(f"no number for {count(failed)} of {things(n, 'image')}")
    for name in ("correct", "incorrect"):
        if name in summary:
            part = summary[name]
            details.append(
                f"{name} images ({count(part['n'])}): median {number(part['median'])}"
            )
    return f"median lambda {number(summary.get('median'))}", tuple(details)


def _percent(value: Any) -> str:
    return percent_of(value) if isinstance(value, float) else NOT_KNOWN
