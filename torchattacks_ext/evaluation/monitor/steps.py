"""What is to be done after an alarm, in which order, and what does each step cost? The run-book."""

from __future__ import annotations

from collections.abc import Sequence

from ...results.monitor.alert import Step

_PIPELINE = Step(
    do="Look at 20 of the new images beside 20 of the reference: size, colours, order of the "
    "channels, range, compression, crop.",
    tells="Most alarms are a changed camera, decoder or preprocessing, which is seen at once; then "
    "mend it and check again.",
    costs="minutes of a person, no row-pass",
)
_AUDIT = Step(
    do="Run `torchattacks-ext data-audit` on the new images.",
    tells="Constant, broken or repeated images; copies alone can raise an alarm.",
    costs="no row-pass",
)
_AGAIN = Step(
    do="Check a fresh batch of at least the same size, collected after this one.",
    tells="A second alarm on images that share nothing with the first one is hardly chance; none "
    "says that the first batch was odd, or a false alarm.",
    costs="the row-passes of this check once more",
)
_ACCURACY = Step(
    do="Label about 200 of the new images and run `torchattacks-ext evaluate` with the stage "
    "`shift` (docs/ood.md).",
    tells="Whether accuracy is lost: a shift that costs none may be harmless. No test here says "
    "that.",
    costs="labels, and a forward row-pass an image",
)
_ATTACKED = Step(
    do="Evaluate robustness on the labelled images again (`--profile fast`).",
    tells="Robust accuracy, failure rates and radii were measured on other images: they do not "
    "carry over.",
    costs="as `torchattacks-ext evaluate --dry-run` says",
)
_DECIDE = Step(
    do="Harmless: fit a new reference on recent images that were looked at, and start a new "
    "stream. Harmful: go back to the last release or send such images to a person.",
    tells="A new reference makes the shift the new normal: never fit one to silence an alarm.",
    costs="the row-passes of a fit, or a decision",
)


def steps(alarms: Sequence[str], above: float) -> tuple[Step, ...]:
    """The run-book: which tests alarmed, and the share of scores above the reference's median.

    >>> len(steps(["KS of the score"], 0.9))
    7
    """
    return (
        _PIPELINE,
        _AUDIT,
        _where(alarms, above),
        _AGAIN,
        _ACCURACY,
        _ATTACKED,
        _DECIDE,
    )


def _where(alarms: Sequence[str], above: float) -> Step:
    """Where the change is seen."""
    parts = []
    if any("score" in one for one in alarms):
        side = (
            "higher" if above > 0.6 else "lower" if above < 0.4 else "spread otherwise"
        )
        parts.append(
            f"the score is {side} than in the reference ({100 * above:.0f} % of the images above "
            "its median, 50 % expected): a higher one means that outputs are more sensitive, or "
            "less sure"
        )
    if any("feature" in one for one in alarms):
        parts.append(
            "features moved: of the classes of the images, or of how they look to the model"
        )
    return Step(
        do="Read which test alarmed (alert.json: tests, moved).",
        tells="; ".join(parts) or "the images differ from the reference",
        costs="nothing",
    )
