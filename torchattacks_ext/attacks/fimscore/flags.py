"""When should a reader doubt a sensitivity score? Saturation, caps, gradients that are zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...numerics.fisher.spectral import Ending
from ...numerics.resampling import carried_by_few, carriers
from ...results.base.facts import Flag
from ...results.sensitivity import Sensitivity

BIASED = {
    "srp_hutchinson": (
        "is a maximum of random quotients and lies below lambda, the more so the more classes "
        "there are (about .58 of it at 10 and .07 at 100 where one direction holds all); it is "
        "here to reproduce published numbers"
    ),
    "srp_blackbox": (
        "is a maximum over random directions, of the order of lambda / D for D pixels; it is here "
        "to reproduce published numbers and cannot be compared with other methods"
    ),
}
"""Methods of the paper that miss the eigenvalue by construction."""
STEPS = {
    "noise": (
        "rounding or random outputs dominate the differences: lambda is too large; use scores of "
        "more digits"
    ),
    "curvature": (
        "the scores bend within a step (kinks or saturation): lambda of the tangent is larger"
    ),
}
"""What the comparison of the steps h and 2 h of the black box may say."""
MANY_SATURATED = 0.1
"""Share of saturated rows above which a result says so."""


NO_GRADIENT = "no finite gradient"
"""Name of the count of images whose scores are finite and whose gradient is not."""


def missing_flags(counts: Mapping[str, int]) -> Iterator[Flag]:
    """What could not be computed, by why: NO_GRADIENT, or what was said of the Linf value.

    >>> [flag.code for flag in missing_flags({NO_GRADIENT: 1, "no back end": 2})]
    ['non_finite_gradient', 'linf_missing']
    """
    for why, count in counts.items():
        if why == NO_GRADIENT:
            yield Flag(
                "non_finite_gradient",
                "the scores are finite, but their gradient is NaN or infinite (a root, a norm or a "
                "logarithm at 0? log_softmax(z) has a gradient where softmax(z).log() has none): "
                "these images have no score",
                count,
            )
        else:
            yield Flag("linf_missing", f"the Linf value is missing (nan): {why}", count)


def fim_flags(
    result: Sensitivity, method: str, steps: Mapping[str, int]
) -> Iterator[Flag]:
    """One flag for each reason to doubt the numbers; steps: checks of black-box steps by name.

    >>> import torch
    >>> from torchattacks_ext import FIMScore
    >>> dead = lambda images: images.flatten(1)[:, :3].round()
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     result = FIMScore(dead).measure(torch.full((1, 1, 2, 2), 0.3))
    >>> [flag.code for flag in result.flags]
    ['zero_gradient']
    """
    usable = result.usable
    saturated = int((result.saturated & usable).sum())
    if saturated > MANY_SATURATED * max(int(usable.sum()), 1):
        yield Flag(
            "saturated",
            "the softmax is saturated (p_max is 1 in float32): lambda measures confidence here; "
            'compare calibrated scores (temperature="fit")',
            saturated,
        )
    dead = result.count(Ending.ZERO_GRADIENT)
    if dead:
        yield Flag(
            "zero_gradient",
            "no gradient reaches the images: a score of 0 says nothing about sensitivity; a "
            "quantiser, a sign or an argmax may be inside",
            dead,
        )
    lam = result.lam[usable]
    if carried_by_few(lam):
        yield Flag(
            "few_rows_carry_the_mean",
            f"the mean of lambda is carried by about {carriers(lam):.0f} of {len(lam):,} images: "
            "its interval covers less than it says, however many there are; read the median and "
            "its interval",
            None,
            {"quiet": True},
        )
    if method in BIASED:
        yield Flag("biased_estimator", f"method {method} {BIASED[method]}")
        return
    for name, words in STEPS.items():
        if steps.get(name):
            yield Flag(f"step_{name}", words, steps[name])
    capped = result.count(Ending.CAP)
    if capped:
        yield Flag(
            "not_converged",
            "the search for lambda ended at its cap: these values are lower bounds",
            capped,
        )
