"""Into which SIL band of numbers does a failure bound fall, and why is that no safety claim?

IEC 61508-1:2010 gives, for a safety function that is demanded at most once a year (low demand), a
target for the mean probability of a dangerous failure on demand. Only these four bands of numbers
are here. A bound that falls into one is *not achieved* integrity: see :data:`SIL_CAVEATS`.
"""

from __future__ import annotations

from ...errors import ConfigError
from ..arguments import check_confidence
from .binomial import zero_failure_n

SIL_UPPER_EDGES: dict[int, float] = {4: 1e-4, 3: 1e-3, 2: 1e-2, 1: 1e-1}
"""Band -> the failure probability below which it begins; band n ends at a tenth of it."""

SIL_CAVEATS: tuple[str, ...] = (
    "The levels are about dangerous failures of a whole safety function in its real use; a wrong "
    "label of one model is neither of the two.",
    "Faults of software are systematic, not random: the standard asks for a development process "
    "(systematic capability, IEC 61508-3), which no measured rate can replace.",
    "The architecture limits the level as well (redundancy, diagnostics), whatever the rate is.",
    "The rate holds for these images and this distribution of perturbations; both would have to "
    "represent the real demands.",
    "The calculation takes demands as independent; real ones come in runs (one camera, one fog).",
    "The tolerance of a robust image is a rate per image, not the mean rate over all demands: "
    "images that are not robust may fail always and count in full.",
    "The bands used here are those of low demand, at most one demand a year. For more frequent "
    "demands the standard counts failures per hour: 30 decisions a second turn 1e-8 per hour into "
    "9.3e-14 per decision, which no sampling can show.",
    "Random perturbations say nothing about an adversary: read the rate next to the accuracy "
    "under attack.",
    "Statistical testing of software has its own list of conditions (IEC 61508-7, Annex D, "
    "informative); none of them is checked here.",
)
"""Why a bound inside a band is never a level that a system has; to be printed with every band."""


def sil_band(upper: float) -> int | None:
    """Return the SIL band of numbers that an upper failure bound falls into, None if in none.

    Bands of IEC 61508-1:2010 (mean probability of dangerous failure on demand, low demand): 4 is
    [1e-5, 1e-4), 3 is [1e-4, 1e-3), 2 is [1e-3, 1e-2), 1 is [1e-2, 1e-1). The table ends at 1e-5:
    a smaller bound still gives 4. From 1e-1 on there is no band. The band describes a number, under
    the sampled distribution, and is never a level of the system (:data:`SIL_CAVEATS`).

    Args:
        upper: Upper confidence bound of the mean failure rate, in [0, 1].

    Returns:
        4, 3, 2, 1 or None.

    Raises:
        ConfigError: ``upper`` is NaN or not in [0, 1].

    Example:
        >>> sil_band(0.0046), sil_band(0.01), sil_band(0.1)
        (2, 1, None)
    """
    if not 0 <= upper <= 1:
        raise ConfigError(
            f"upper={upper!r} is not in [0, 1]; give an upper bound of the mean failure rate"
        )
    bands = (band for band, edge in SIL_UPPER_EDGES.items() if upper < edge)
    return next(bands, None)


def zero_failure_demands(band: int, confidence: float) -> int:
    """Return the least number of independent demands, none failing, that bounds the rate in a band.

    The least n with ``(1 - edge)^n <= 1 - confidence``, for the upper edge of the band: what a
    perfect record would cost. It is a size of the task, never evidence for a level.

    Args:
        band: 1, 2, 3 or 4.
        confidence: One-sided confidence of the bound, in (0, 1).

    Raises:
        ConfigError: No such band, or ``confidence`` outside its domain.

    Example:
        >>> [zero_failure_demands(band, 0.95) for band in (1, 2, 3, 4)]
        [29, 299, 2995, 29956]
    """
    if band not in SIL_UPPER_EDGES:
        raise ConfigError(
            f"band={band!r} is not one of {tuple(SIL_UPPER_EDGES)}; the standard has these four"
        )
    check_confidence(confidence)
    return zero_failure_n(SIL_UPPER_EDGES[band], 1 - confidence)
