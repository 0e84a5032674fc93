"""How large are errors under corruption beside those of a baseline? The mean corruption error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import ConfigError

ALEXNET: Mapping[str, float] = {
    "clean": 0.435,
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""Top-1 errors of AlexNet on ImageNet-C, means over five severities, and on ImageNet itself.

Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR (arXiv:1903.12261). There are no such numbers for CIFAR-10-C.
"""


def corruption_errors(
    errors: Mapping[str, Sequence[float]],
    baseline: Mapping[str, float],
    clean: float | None = None,
) -> dict[str, float]:
    """CE of each corruption: its mean error divided by that of the baseline, 1 = as bad as that.

    errors: name -> errors in [0, 1], one a severity. baseline: name -> mean error in [0, 1].
    clean: the error without a corruption; where it is given, it is subtracted above, and
    baseline["clean"] below (relative CE, what a corruption adds). It is a ratio of means: the mean
    of ratios, one a severity, is another number. Raises ConfigError for a name that the baseline
    lacks, and where a divisor is not positive.

    >>> corruption_errors({"fog": [0.25, 0.5]}, {"fog": 0.5, "clean": 0.25})
    {'fog': 0.75}
    >>> corruption_errors({"fog": [0.25, 0.5]}, {"fog": 0.5, "clean": 0.25}, clean=0.125)
    {'fog': 1.0}
    """
    asked = [*errors] + ["clean"] * (clean is not None)
    missing = [name for name in asked if name not in baseline]
    if missing:
        raise ConfigError(f"the baseline has no error of {', '.join(missing)}; give it")
    less = 0.0 if clean is None else clean
    base_less = 0.0 if clean is None else baseline["clean"]
    found = {}
    for name, each in errors.items():
        divisor = baseline[name] - base_less
        if not divisor > 0:
            raise ConfigError(
                f"the baseline's error of {name!r} is {baseline[name]:g}, not above {base_less:g}: "
                "nothing can be divided by what it adds; leave the corruption out"
            )
        found[name] = (sum(each) / len(each) - less) / divisor
    return found
