"""How is a number or a name written so that nobody reads more into it than it says?"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence

from ..results.base.facts import Cost
from ..results.base.words import percent_of as percent_of

NOT_KNOWN = "n/a"
_BIDI = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_LIMIT = 500
_SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def one_line(value: object, limit: int = _LIMIT) -> str:
    """A user's text on one line: no control characters (terminal codes), no direction marks.

    limit: most characters; a longer text ends in an ellipsis.

    >>> one_line("a\\n\\x1b[31mb")
    'a [31mb'
    """
    kept = []
    for char in str(value)[: 4 * limit]:
        group = unicodedata.category(char)
        if char.isspace():
            kept.append(" ")
        elif group not in ("Cc", "Cs", "Cn", "Co") and char not in _BIDI:
            kept.append(char)
    text = " ".join("".join(kept).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def escape(text: str) -> str:
    """Any text as itself on one line of Markdown: no HTML, no table cell, no link, no emphasis.

    >>> escape("a|b <script> [x](y)")
    'a\\\\|b &lt;script&gt; \\\\[x\\\\](y)'
    """
    plain = "".join(_ENTITIES.get(char, char) for char in one_line(text, 2000))
    return _SPECIAL.sub(r"\\\1", plain)


def count(number: int) -> str:
    """A whole number with thousands separated.

    >>> count(12345)
    '12,345'
    """
    return f"{number:,}"


def things(number: int, noun: str) -> str:
    """A count and its noun in the right number.

    >>> things(1, "image"), things(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def verb(number: int, one: str, many: str) -> str:
    """The form of a verb that goes with a count.

    >>> verb(1, "is", "are"), verb(0, "is", "are")
    ('is', 'are')
    """
    return one if number == 1 else many


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent, to .1; 0.0 and 100.0 are kept for none and all.

    >>> percent(1, 3), percent(1, 5000), percent(4999, 5000), percent(0, 7)
    ('33.3 %', '< 0.1 %', '> 99.9 %', '0.0 %')
    """
    return percent_of(part / whole) if whole else NOT_KNOWN


def share(part: int, whole: int) -> str:
    """`part` of `whole` in percent and in counts, or why there is no share.

    >>> share(934, 1000), share(0, 0)
    ('93.4 % (934 of 1,000)', 'n/a (no images)')
    """
    if whole == 0:
        return f"{NOT_KNOWN} (no images)"
    return f"{percent(part, whole)} ({count(part)} of {count(whole)})"


def interval(sides: Sequence[float]) -> str:
    """An interval of shares in percent, rounded outwards so that it never claims too much.

    >>> interval([0.91234, 0.95678])
    '[91.2, 95.7] %'
    """
    low, high = (float(side) for side in sides)
    if math.isnan(low) or math.isnan(high):
        return NOT_KNOWN
    # The 1e-9 undoes float noise only: .1 * 1000 must not become 101 or 99.
    down, up = math.floor(1000 * low + 1e-9), math.ceil(1000 * high - 1e-9)
    return f"[{down / 10:.1f}, {up / 10:.1f}] %"


def rate(value: object) -> str:
    """A small probability in percent, below 1e-5 as a power of ten; "n/a" for no number.

    >>> rate(1e-2), rate(1e-3), rate(3e-9), rate(0.9998), rate(None)
    ('1 %', '0.1 %', '3e-9', '> 99.9 %', 'n/a')
    """
    if isinstance(value, float) and 0 < value < 9.995e-6:
        return number(value)
    shown = number(100 * value) if isinstance(value, (int, float)) else NOT_KNOWN
    if shown == "100" and isinstance(value, float) and value < 1:
        return "> 99.9 %"
    return shown if shown == NOT_KNOWN else f"{shown} %"


def exact(value: object) -> str:
    """A number that was set: as it is in up to six digits, else to three and marked as rounded.

    >>> exact(0.1), exact(0.012345), exact(1 / 3), exact(None)
    ('0.1', '0.012345', 'about 0.333', 'n/a')
    """
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return number(value)
    for digits in range(3, 7):
        # 1e-12: 100 times a tolerance, or 1 - scale, is off by one unit in the last place
        if math.isclose(float(f"{value:.{digits}g}"), value, rel_tol=1e-12):
            return number(value, digits)
    return f"about {number(value)}" if abs(value) < 1000 else number(value)


def exact_rate(value: object) -> str:
    """A share that was set in percent, below 1e-5 as a power of ten: see :func:`exact`.

    >>> exact_rate(0.012345), exact_rate(1 / 3), exact_rate(1e-8), exact_rate(None)
    ('1.2345 %', 'about 33.3 %', '1e-8', 'n/a')
    """
    if not isinstance(value, (int, float)) or math.isnan(value):
        return NOT_KNOWN
    return exact(value) if 0 < value < 9.995e-6 else f"{exact(100 * value)} %"


def at_least(value: float) -> str:
    """A lower bound of a rate, rounded down to three digits so that it never claims too much.

    >>> at_least(0.123456), at_least(0.0)
    ('at least 12.3 %', 'at least 0 %')
    """
    return f"at least {rate(_outwards(value, math.floor))}"


def at_most(value: float) -> str:
    """An upper bound of a rate, rounded up to three digits.

    >>> at_most(0.123456), at_most(0.99999)
    ('at most 12.4 %', 'at most 100 %')
    """
    return f"at most {bounded(value)}"


def bounded(value: float) -> str:
    """The number in :func:`at_most`: never below what it bounds.

    >>> bounded(2 / 255), bounded(0.05)
    ('0.785 %', '5 %')
    """
    return rate(_outwards(value, math.ceil))


def _outwards(value: float, towards: Callable[[float], int]) -> float:
    if not 0 < value < 1:
        return value
    digits = 2 - math.floor(math.log10(value))
    undone = 1e-9 if towards is math.floor else -1e-9  # float noise only
    return round(towards(value * 10.0**digits + undone) / 10.0**digits, digits)


def number(value: object, digits: int = 3) -> str:
    """A number with a few significant digits; "n/a" for nan and for what is no number.

    >>> number(0.012345), number(float("nan")), number(1e-5), number(1234567.0)
    ('0.0123', 'n/a', '1e-5', '1,234,567')
    """
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or math.isnan(value)
    ):
        return NOT_KNOWN
    if math.isfinite(value) and (abs(value) >= 1000 or value == int(value)):
        return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.3g}"
    return f"{value:.{digits}g}".replace("e-0", "e-")


def confidence_text(confidence: float) -> str:
    """A confidence in percent.

    >>> confidence_text(0.95), confidence_text(0.999)
    ('95 %', '99.9 %')
    """
    return f"{100 * confidence:.12g} %"


def level(value: object) -> str:
    """A significance level as it is spoken of.

    >>> level(0.001), level(0.05)
    ('1e-3', '0.05')
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        return NOT_KNOWN
    power = math.log10(value)
    if abs(power - round(power)) < 1e-9 and power < -1:
        return f"1e{round(power)}"
    return f"{value:.3g}"


def radius(eps: object) -> str:
    """A radius in pixel units, as k/255 where it is one; exact, or marked as rounded.

    >>> radius(8 / 255), radius(0.3), radius(0.5 / 255), radius(0.1 / 7), radius(8.00001 / 255)
    ('8/255', '0.3', '0.5/255', 'about 0.0143', 'about 0.0314')
    """
    if (
        not isinstance(eps, (int, float))
        or isinstance(eps, bool)
        or not math.isfinite(eps)
    ):
        return NOT_KNOWN
    steps = round(255 * eps, 2)
    # 6e-8: half a unit in the last place of float32, in which radii may have been kept
    close = math.isclose(steps / 255, eps, rel_tol=6e-8)
    if close and 1 <= steps < 64.5 and steps == int(steps):
        return f"{int(steps)}/255"
    shown = exact(eps)
    if close and shown.startswith("about"):
        return f"{steps:g}/255"
    return shown


def seconds(value: float) -> str:
    """A duration in the unit that fits.

    >>> seconds(0.034), seconds(75.0), seconds(7200)
    ('0.03 s', '75 s', '2.0 h')
    """
    if math.isnan(value):
        return NOT_KNOWN
    if value < 10:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    if value < 600:
        return f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def cost_text(cost: Cost | None) -> str:
    """Row-passes and time on one line.

    >>> cost_text(Cost(1000, 20, 3.5))
    '1,000 forward, 20 backward, 3.5 s'
    """
    if cost is None:
        return ""
    passes = f"{count(cost.forward)} forward, {count(cost.backward)} backward"
    return f"{passes}, {seconds(cost.seconds)}"


def listing(names: Sequence[str], limit: int = 6) -> str:
    """Names as in a sentence; many are cut short with their number.

    >>> listing(["a", "b", "c"]), listing(list("abcd"), limit=2)
    ('a, b and c', 'a, b and 2 more')
    """
    shown = list(names)
    if len(shown) > limit:
        shown = [*shown[:limit], f"{len(names) - limit} more"]
    return " and ".join([", ".join(shown[:-1])] * (len(shown) > 1) + shown[-1:])
