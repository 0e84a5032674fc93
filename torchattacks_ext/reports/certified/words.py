"""What may be said of a table of certified radii? Words that go with what the radii rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._typing import Norm
from ...errors import StatusError
from ...numerics.arguments import as_number
from ...results.certificates import TIERS, Certificates, CertifiedShare
from ..words import count, number, one_line, radius, share, things

CERTIFIED, CONFIDENT, ASSUMED, CLAIMED, REPRODUCTION = TIERS
WORTH = {
    CERTIFIED: "certificate: holds for every change within the radius, up to encoder rounding",
    CONFIDENT: (
        "certificate of the smoothed classifier, not of the model: each radius is too large with "
        "a small, stated probability"
    ),
    ASSUMED: "a certificate only if the assumed Lipschitz constant is right; nobody checked it",
    CLAIMED: "what another tool claims; an audit by attacks can refute it, nothing here proves it",
    REPRODUCTION: "none: a reproduction of published formulas, which may exceed the truth",
}
"""What a number of that tier is worth."""


@dataclass(frozen=True)
class Main:
    """The share that stands in the scorecard: at which radius, of which norm, how many images."""

    at: CertifiedShare
    norm: Norm
    converted: bool

    @property
    def words(self) -> str:
        """The ball in words.

        >>> Main(CertifiedShare(8 / 255, 0.5, 0.4, 0.6), "Linf", True).words
        'Linf radius 8/255, converted from L2'
        """
        more = ", converted from L2" * self.converted
        return f"{self.norm} radius {radius(self.at.eps)}{more}"


def main_share(
    result: Certificates, plan: Mapping[str, Any], confidence: float
) -> Main | None:
    """Certified accuracy in the ball of the plan; None without labels, a ball, or radii for it.

    Radii are in L2; for a plan in another norm they are converted, which is sound and weak:
    R_inf = R_2 / sqrt(n), R_1 = R_2.
    """
    eps, norm = as_number(plan.get("eps")), plan.get("norm", "L2")
    known = len(result) and bool((result.reference[result.answered] >= 0).all())
    if not known or not 0 <= eps < float("inf"):
        return None
    try:
        there = result.converted(norm)
    except StatusError:  # of another norm already, or the number of pixels is not known
        return None
    found = there.certified_accuracy(eps, confidence)
    return Main(found, norm, there is not result)


def details(result: Certificates, summary: Mapping[str, Any]) -> tuple[str, ...]:
    """What stands below the number: how it was found, on what it rests, how large the radii are."""
    facts = result.settings
    kind = f"{one_line(facts.get('L_kind', ''), 40)} bound" if "L_kind" in facts else ""
    if result.tier == REPRODUCTION:
        kind = "Lipschitz figure that may be too small"
    rests = f"{kind} L = {number(facts.get('L'), 4)}"
    if result.tier == CONFIDENT:
        rests = noise_words(facts)
    return tuple(
        filter(
            None,
            (
                f"status: {result.tier}",
                f"method {one_line(facts.get('method', ''), 40)}, {rests}",
                f"median radius {number(summary.get('median_radius'))} (L2, pixel units)",
                _abstained(int(summary.get("abstained", 0)), len(result)),
            ),
        )
    )


def noise_words(facts: Mapping[str, Any]) -> str:
    """Noise, draws and level of a smoothed classifier.

    >>> noise_words({"sigma": 0.25, "n": 1000, "significance": 0.001})
    'noise sigma 0.25, at most 1,000 draws an image, each radius wrong with probability 0.001'
    """
    level = number(facts.get("significance"))
    return (
        f"noise sigma {number(facts.get('sigma'))}, at most {count(int(facts.get('n', 0)))} draws "
        f"an image, each radius wrong with probability {level}"
    )


def _abstained(n: int, of: int) -> str:
    return f"abstains on {count(n)} of {things(of, 'image')}" if n else ""


def sentence(result: Certificates, main: Main | None) -> str:
    """One sentence for a reader who does not compute; main: of :func:`main_share`."""
    if main is None:
        return "What is provable of these images is not known: no labels, or no radii in this ball."
    part = share(round(main.at.value * len(result)), len(result))
    said = f"{part} of the images"
    within = f"no change of {main.norm} size {radius(main.at.eps)} or less"
    if result.tier == CERTIFIED:
        return f"It is proved for {said} that {within} makes the right answer wrong."
    if result.tier == CONFIDENT:
        return (
            f"With noise added and the majority of answers taken, {said} keep the right answer "
            f"under {within.removeprefix('no ')}; for each with a small, stated chance of error."
        )
    if result.tier == ASSUMED:
        return (
            f"For {said} {within} makes the right answer wrong, if a number that was assumed for "
            "this model is right; nobody checked it."
        )
    if result.tier == CLAIMED:
        return f"Another tool claims for {said} that {within} makes the right answer wrong."
    return (
        f"By published formulas that were reproduced here, {said} would keep the right answer "
        f"under changes of {main.norm} size {radius(main.at.eps)}; that is no proof and no "
        "certificate."
    )
