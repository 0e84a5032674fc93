"""What was measured on the heads of a trunk, in words that claim no more than that?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...results.heads import AngleLaw, HeadNumbers, HeadPair, HeadSensitivity
from ..words import (
    confidence_text,
    listing,
    number,
    one_line,
    percent_of,
    radius,
    share,
    things,
)

_MIDDLE = 2
_FAIR = {
    "normalised": "the loss of margin (ii)",
    "reach": "the distance to the boundary (iii)",
    "kept": "the images that one head alone has right under attack",
}


def render_heads(result: HeadSensitivity, confidence: float = 0.95) -> str:
    """The measures of all heads as text, and where they go against the paper's claim.

    confidence: of each interval, in (0, 1).

    >>> render_heads(HeadSensitivity(n=2, size=3, n_classes=2, eps=0.1, norm="Linf", attack="PGD",
    ...     heads=())).splitlines()[0]
    'Sensitivity of heads on one trunk: 2 images, 3 features, 2 classes'
    """
    lines = [
        f"Sensitivity of heads on one trunk: {things(result.n, 'image')}, "
        f"{things(result.size, 'feature')}, {result.n_classes} classes",
        f"Attack: {one_line(result.attack)}; {result.norm}, radius {radius(result.eps)}.",
        "These are measures on these images under this attack; they bound nothing.",
    ]
    for head in result.heads:
        lines += ["", *_head(head, result.n, confidence)]
    for pair in result.pairs:
        lines += ["", *_pair(pair, confidence)]
    return "\n".join(lines) + "\n"


def _head(head: HeadNumbers, n: int, confidence: float) -> Iterator[str]:
    kind = "product with rows" if head.kind == "linear" else "distance to rows"
    yield f"Head {one_line(head.name)!r}, {kind}"
    yield f"  right: {share(head.n_right, n)}; under attack: {share(head.n_kept, n)}"
    letter = "S_c" if head.kind == "linear" else "S_d"
    own, other = number(head.own[_MIDDLE]), number(head.other[_MIDDLE])
    yield f"  {letter}, relative change of a score, median: own class {own}, others {other}"
    if head.highest_own:
        tops = number(head.highest_own[_MIDDLE]), number(head.highest_other[_MIDDLE])
        yield f"  sup S_d, median: own class {tops[0]}, others {tops[1]}"
    for law in head.laws:
        yield f"  {_law(law)}"
    yield (
        f"  (i) change of logits over that of the image, median: {number(head.raw[_MIDDLE])} "
        "(the head's own unit: not to be compared between kinds of heads)"
    )
    yield f"  (ii) loss of margin in clean margins, median: {number(head.normalised[_MIDDLE])}"
    yield (
        f"  (iii) distance to the boundary {number(head.distance[_MIDDLE])}, change of features "
        f"{number(head.moved[_MIDDLE])}, ratio {number(head.reach[_MIDDLE])} (medians)"
    )


def _law(law: AngleLaw) -> str:
    what = "change of features" if law.of == "step" else "features"
    whose = "own class" if law.among == "own" else "others"
    centre, width = (f"{math.degrees(x):.1f}" for x in (law.mean, law.deviation))
    return (
        f"angle of {what} and rows, {whose}: {centre} +- {width} degrees, "
        f"gap of the law {number(law.gap, 2)}"
    )


def _pair(pair: HeadPair, confidence: float) -> Iterator[str]:
    linear, far = one_line(pair.linear), one_line(pair.distance)
    yield f"{far!r} beside {linear!r}"
    yield (
        f"  P(eq. 8): isotropic {number(pair.isotropic)}, at the measured |cos g| "
        f"{number(pair.isotropic_at)}; by fitted laws: own class {number(pair.own)}, others "
        f"{number(pair.other)}, mixed {number(pair.mixed)}"
    )
    yield (
        f"  counted: eq. 8 holds on {percent_of(pair.held_own)} of own classes and "
        f"{percent_of(pair.held_other)} of others; S_c >= sup S_d on "
        f"{percent_of(pair.larger_own)} and {percent_of(pair.larger_other)}"
    )
    yield (
        f"  of {things(pair.n, 'image')} that both have right, {linear} loses less margin on "
        f"{pair.steadier} and has its boundary farther away on {pair.farther}; right under attack "
        f"with {linear} alone {pair.only_linear}, with {far} alone {pair.only_distance} (of all)"
    )
    answers = pair.answers(confidence)
    against = [words for key, words in _FAIR.items() if answers[key] == "against"]
    agree = [words for key, words in _FAIR.items() if answers[key] == "for"]
    still = [words for key, words in _FAIR.items() if answers[key] == "open"]
    at = confidence_text(confidence)
    claim = f"the claim that {far!r} is the less sensitive head"
    if against:
        yield f"  AGAINST {claim} speaks, at {at}: {listing(against)}."
    if agree:
        yield f"  In favour of {claim} speaks, at {at}: {listing(agree)}."
    if still:
        yield f"  Open at {at}: {listing(still)}."
