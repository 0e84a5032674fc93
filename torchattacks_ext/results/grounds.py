"""On what do the claims of a random test stand? What was seen of the model, and what was asked.

A guarantee is never read from settings alone: what a look at the model and the law found counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Guarantee = Literal[
    "exact", "independent-calls", "one-row-calls", "ideal-kernel", "none", "unverified"
]

GUARANTEES: Mapping[str, str] = {
    "exact": "exact: each verdict is wrong with a probability of at most the significance",
    "independent-calls": "independent-calls: so if separate calls of the model and the law draw "
    "independently, which is not verified; each draw of an image had a call of its own, which "
    "other images shared",
    "one-row-calls": "one-row-calls: so for answers to single rows, if separate calls draw "
    "independently, which is not verified; each draw had a call of its own",
    "ideal-kernel": "ideal-kernel: so for random moves that mix ideally; how well they mix on "
    "this model is not verified",
    "none": "none: splitting needs a model that gives the same answer again; every image is "
    "undecided",
    "unverified": "unverified: the model or the law may have shared random draws between rows of a "
    "call, which were counted as independent; measure anew",
}
"""What each word of `guarantee` means."""

_CALLS = ", if separate calls draw independently (not verified)"
LIMITS: Mapping[str, str] = {
    "ideal-kernel": ", for an ideal kernel only (how well the moves of splitting mix is not "
    "verified)",
    "independent-calls": _CALLS,
    "one-row-calls": _CALLS,
    "none": "; every image undecided, the model gives no answer twice",
    "unverified": ", not verified: draws may have shared the model's own randomness",
}
"""What stands beside every claim of a test that is not exact, in few words."""

RANDOM = frozenset({"randomised_model", "draws_random_numbers", "shared_model_draws"})
"""Codes of a model that draws numbers of its own."""

_MIXES = frozenset({"batch_dependent_model", "law_mixes_rows"})
_LAW = "not_replayable"
OF_MODEL = RANDOM | _MIXES | {_LAW}
"""Codes of what a look showed; they stay with all draws that were made."""


def guarantee_of(settings: Mapping[str, Any], codes: Iterable[str]) -> str | None:
    """What the verdicts of a result are worth; None where its settings do not say.

    codes: of its flags. A file that says "exact" of a model that drew numbers is not believed.

    >>> guarantee_of({"guarantee": "exact"}, ["randomised_model"])
    'unverified'
    """
    word = settings.get("guarantee")
    if word == "exact" and OF_MODEL & frozenset(codes):
        return "unverified"
    return None if word is None else str(word)


def dependence(settings: Mapping[str, Any], codes: Iterable[str]) -> str | None:
    """Why verdicts of different images may depend on each other, or None."""
    if settings.get("shared_noise"):
        return "noise was shared between the images, so their verdicts are dependent"
    return _calls(settings, frozenset(codes))


def mean_dependence(settings: Mapping[str, Any], codes: Iterable[str]) -> str | None:
    """The same for the draws of the mean failure rate, which no noise is shared among."""
    return _calls(settings, frozenset(codes))


def _calls(settings: Mapping[str, Any], codes: frozenset[str]) -> str | None:
    word = guarantee_of(settings, codes)
    if _LAW in codes:
        return "the sampler draws its own numbers, which may be shared between images"
    if word == "one-row-calls":
        return None
    if "law_mixes_rows" in codes:
        return "a draw of the sampler depends on the other rows of the batch"
    if "batch_dependent_model" in codes:
        return "an answer of the model depends on the other rows of the batch"
    if RANDOM & codes or word in ("independent-calls", "unverified"):
        return (
            "the model draws numbers of its own, which rows of one call may share; with "
            "batch_size=1 every draw has a call of its own"
        )
    return None


@dataclass(frozen=True)
class Asked:
    """What a test asked of an image, in words.

    kind: "label", "prediction" or "target". share, interval: names in a summary. good: what a
    certified image is shown to be, after "are"; each: the same of one image. reason: why nothing is
    said of labels; "" where they count.
    """

    kind: str
    share: str
    good: str
    each: str
    reason: str

    @property
    def interval(self) -> str:
        """Name of the interval of the share."""
        return f"{self.share}_interval"


_ASKED = (
    Asked("label", "pra", "right and robust", "stays right", ""),
    Asked(
        "prediction",
        "stable_share",
        "stable (they keep their clean answer, right or wrong)",
        "keeps its clean answer",
        "the reference is the model's own answer, so nothing is known of the labels: read "
        "stable_share",
    ),
    Asked(
        "target",
        "target_missed_share",
        "shown not to reach the target",
        "does not reach the target",
        "the reference is a target, so nothing is known of right answers: read "
        "target_missed_share",
    ),
)


def asked_of(settings: Mapping[str, Any]) -> Asked:
    """What a test of these settings asked; of an old file without them, the label.

    >>> asked_of({"mode": "default", "reference": "prediction"}).each
    'keeps its clean answer'
    """
    if str(settings.get("mode", "")).startswith("targeted"):
        return _ASKED[2]
    return _ASKED[settings.get("reference") == "prediction"]


def named(claims: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """Claims about a data set under the names of what was tested.

    Where nothing is known of labels `pra` and its interval are None, with the reason, and the share
    stands under its own name.

    >>> named({"pra": 1.0, "left_out": {}}, asked_of({"reference": "prediction"}))["stable_share"]
    1.0
    """
    found = dict(claims)
    if asked.kind == "label":
        return found
    for old, new in (("pra", asked.share), ("pra_interval", asked.interval)):
        if old in found:
            found[new], found[old] = found[old], None
    if "pra_bounds" in found:
        found[f"{asked.share}_bounds"] = found.pop("pra_bounds")
    sides = dict(found.get("sides", {}))
    if "pra_interval" in sides:
        sides[asked.interval] = sides.pop("pra_interval")
    reasons = {"pra": asked.reason, "pra_interval": asked.reason}
    return found | {"sides": sides, "left_out": found["left_out"] | reasons}
