"""How does a result look at a prompt and in a notebook? One line of text, one small HTML table."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

from .facts import Flag


def percent_of(part: float) -> str:
    """A share in [0, 1] in percent, to .1; 0.0 and 100.0 are kept for none and all.

    >>> percent_of(1 / 3), percent_of(2e-4), percent_of(0.9998), percent_of(1.0)
    ('33.3 %', '< 0.1 %', '> 99.9 %', '100.0 %')
    """
    if math.isnan(part):
        return "n/a"
    shown = f"{100 * part:.1f}"
    if part > 0 and shown == "0.0":
        return "< 0.1 %"
    if part < 1 and shown == "100.0":
        return "> 99.9 %"
    return f"{shown} %"


def short(value: Any, digits: int = 4) -> str:
    """Floats to four digits, also inside lists; anything else on one line.

    A number below 1 is not shown as 1: that is kept for all, and 0.99996 gets more digits.

    >>> short(2 / 3), short(0.99996), short([1.0, float("nan")])
    ('0.6667', '0.99996', '[1, nan]')
    """
    if isinstance(value, float):
        shown = f"{value:.{digits}g}"
        hidden = abs(value) < 1 == abs(float(shown))
        return short(value, digits + 1) if hidden and digits < 17 else shown
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(short(item, digits) for item in value)}]"
    return " ".join(str(value).split())


def fixed(value: float) -> str:
    """Three decimals; more digits where they would make 1 of a smaller number.

    >>> fixed(0.5), fixed(0.9998), fixed(1.0)
    ('0.500', '0.9998', '1.000')
    """
    shown = f"{value:.3f}"
    return short(value) if abs(value) < 1 == abs(float(shown)) else shown


def one_line(name: str, facts: Mapping[str, Any], flags: Iterable[Flag]) -> str:
    """`name(key=value, ..)` on one line; nested dicts are left out.

    >>> one_line("Accuracy", {"n": 3, "clean_accuracy": 2 / 3}, [])
    'Accuracy(n=3, clean_accuracy=0.6667)'
    """
    shown = [f"{k}={short(v)}" for k, v in facts.items() if not isinstance(v, Mapping)]
    codes = [flag.code for flag in flags]
    return f"{name}({', '.join(shown + ([f'flags={codes}'] if codes else []))})"


def html_table(name: str, facts: Mapping[str, Any]) -> str:
    """A table of two columns; every word is escaped, nested dicts are left out."""
    cells = "".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(short(value))}</td></tr>"
        for key, value in facts.items()
        if not isinstance(value, Mapping)
    )
    return f"<table><caption>{html.escape(name)}</caption>{cells}</table>"
