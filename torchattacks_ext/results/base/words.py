"""How does a result look at a prompt and in a notebook? One line of text, one small HTML table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from .facts import Flag


def _short(value: Any) -> str:
    """Floats to four digits, also inside lists; anything else on one line."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_short, value))}]"
    return " ".join(str(value).split())


def one_line(name: str, facts: Mapping[str, Any], flags: Iterable[Flag]) -> str:
    """`name(key=value, ..)` on one line; nested dicts are left out.

    >>> one_line("Accuracy", {"n": 3, "clean_accuracy": 2 / 3}, [])
    'Accuracy(n=3, clean_accuracy=0.6667)'
    """
    shown = [f"{k}={_short(v)}" for k, v in facts.items() if not isinstance(v, Mapping)]
    codes = [flag.code for flag in flags]
    return f"{name}({', '.join(shown + ([f'flags={codes}'] if codes else []))})"


def html_table(name: str, facts: Mapping[str, Any]) -> str:
    """A table of two columns; every word is escaped, nested dicts are left out."""
    cells = "".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(_short(value))}</td></tr>"
        for key, value in facts.items()
        if not isinstance(value, Mapping)
    )
    return f"<table><caption>{html.escape(name)}</caption>{cells}</table>"
