"""What do the verdicts on single images say about a whole test set, and about all images?

Each verdict errs with probability at most ``significance``; the claims here are about many images
and err with probability at most ``error`` (= 1 - confidence), each one of its own:

* :func:`count_bound`: how many of *these* images are robust,
* :func:`population_bounds`: which share of *all* images is,
* :func:`mean_failure_bounds`: the mean failure rate of *these* images (no verdicts needed).

All three need that each image draws its own, independent noise.
"""

from __future__ import annotations

from operator import index

from ...errors import ConfigError
from ..arguments import check_probabilities, is_whole
from ..rates.binomial import least_s_to_refute, lower_bound, upper_bound

_ERROR_MAX = 0.25
"""Greatest error for which pooling images with unequal failure rates is proved."""


def count_bound(certified: int, m: int, significance: float, error: float) -> int:
    """Return how many of m images are robust at least, when ``certified`` of them were certified.

    Each image that is not robust is certified with probability at most ``significance``, on its
    own; so the number of false certificates is at most, in law, that of Bin(m, significance), and

        robust >= certified - q,    q the least with P(Bin(m, significance) > q) <= error,

    with probability at least ``1 - error``. A statement about these m images, whatever they are,
    if they were chosen without a look at any outcome: of the rows that a test certified, taken by
    themselves, it says nothing.

    Args:
        certified: Images with the verdict ROBUST.
        m: All images of the test set, those that were not certified included.
        significance: Level of each certificate, in (0, 1).
        error: Probability that the bound is too high, in (0, 1).

    Returns:
        At least 0; at most ``certified``.

    Raises:
        ConfigError: Arguments outside their domain.

    Example:
        >>> [9063 - count_bound(9063, 10_000, a, 0.05) for a in (1e-2, 1e-3, 1e-4)]
        [117, 15, 3]
    """
    _check_counts(m, certified=certified)
    check_probabilities(significance=significance, error=error)
    false_certificates = least_s_to_refute(m, significance, error) - 1
    return max(index(certified) - false_certificates, 0)


def population_bounds(
    certified: int, refuted: int, m: int, significance: float, error: float
) -> tuple[float, float]:
    """Return bounds (lower, upper) of the share R of all images that are robust.

    For m images that were drawn independently from the population, R = P(clean label right and
    p_fail <= tolerance). An image is certified with probability at most ``R + (1 - R) a``, refuted
    or misclassified with at most ``1 - R + R a``, a = significance. With the Clopper-Pearson lower
    limits c and f of these two probabilities

        lower = (c - a) / (1 - a),    upper = 1 - (f - a) / (1 - a),

    clipped to [0, 1]. Each is wrong with probability at most ``error``; both hold together with at
    least ``1 - 2 error``.

    Args:
        certified: Images with the verdict ROBUST.
        refuted: Images with the verdict NOT_ROBUST *or* MISCLASSIFIED: R asks for a right label.
        m: All images, undecided ones included.
        significance: Level of each verdict, in (0, 1).
        error: Probability that one bound is wrong, in (0, 1).

    Raises:
        ConfigError: Arguments outside their domain.

    Example:
        >>> lower, upper = population_bounds(9063, 800, 10_000, 0.01, 0.05)
        >>> round(lower, 7), round(upper, 7)
        (0.9003724, 0.9337591)
    """
    _check_counts(m, certified=certified, refuted=refuted)
    if certified + refuted > m:
        raise ConfigError(
            f"certified={certified} and refuted={refuted} are more than all m={m} images; an "
            "image has one verdict"
        )
    check_probabilities(significance=significance, error=error)
    at_least = lower_bound([certified, refuted], m, error)
    robust, not_robust = ((at_least - significance) / (1 - significance)).clip(0, 1)
    return float(robust), float(1 - not_robust)


def mean_failure_bounds(failures: int, draws: int, error: float) -> tuple[float, float]:
    """Return bounds (lower, upper) of the mean failure rate of a fixed test set.

    ``draws`` independent draws, the *same* number for each image, have ``failures`` failures. Their
    number S is a sum of Bernoulli variables whose mean rate is the wanted P, not a binomial one;
    still the Clopper-Pearson limits (L, U) hold. With N draws, Hoeffding (1956) has

        P(S <= c) <= P(Bin(N, P) <= c) where c <= N P - 1,
        P(S >= c) <= P(Bin(N, P) >= c) where c >= N P + 1.

    U errs where S <= c, for the greatest c with U(c) < P. The condition holds there if
    U(c) >= (c + 1) / N, that is P(Bin(N, (c + 1) / N) <= c) >= error. For c <= N - 2 the left side
    is at least 1/4 (Doerr 2018, arXiv:1712.00519, of N - Bin), hence ``error <= 1/4``; for
    c = N - 1 it is 0, so ``upper`` is 1 from N - 1 failures on. The lower side is the mirror image,
    N - S for S: L(c) <= (c - 1) / N for c >= 2, and ``lower`` is 0 up to 1 failure.

    It is conditional on the test set: it says nothing about images that were not drawn from. Images
    with unequal numbers of draws (after a sequential test, say) must not be pooled: the pooled rate
    then weighs an image by its draws.

    Args:
        failures: Failures of all images together.
        draws: Draws of all images together, images times draws of each.
        error: Probability that one bound is wrong, in (0, 0.25].

    Raises:
        ConfigError: Arguments outside their domain.

    Example:
        >>> lower, upper = mean_failure_bounds(30, 200 * 16, 0.05)
        >>> round(lower, 5), round(upper, 5)
        (0.00676, 0.01269)
    """
    _check_counts(draws, "draws", failures=failures)
    if not 0 < error <= _ERROR_MAX:
        raise ConfigError(
            f"error={error!r} is not in (0, {_ERROR_MAX}], where the limits are proved; give for "
            "example 0.05"
        )
    lower = 0.0 if failures <= 1 else float(lower_bound(failures, draws, error))
    upper = 1.0 if failures >= draws - 1 else float(upper_bound(failures, draws, error))
    return lower, upper


def pra_to_mean(pra: float, tolerance: float) -> float:
    """Return the greatest mean failure rate that a share ``pra`` of robust images leaves open.

    A robust image fails with probability at most ``tolerance``, any other one always at worst:
    ``P <= tolerance * R + (1 - R)``. It falls with R, so a lower bound of R gives an upper bound
    of P; an estimate of R gives none.

    Args:
        pra: Share R of robust images, or a lower bound of it, in [0, 1].
        tolerance: Tolerated failure rate of one image, in [0, 1].

    Raises:
        ConfigError: Arguments outside [0, 1].

    Example:
        >>> round(pra_to_mean(0.9063, 0.01), 6)
        0.102763
    """
    for name, value in (("pra", pra), ("tolerance", tolerance)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name}={value!r} is not in [0, 1]; give a fraction")
    return float(tolerance * pra + (1 - pra))


def _check_counts(most: int, total: str = "m", **counts: int) -> None:
    for name, count in {total: most, **counts}.items():
        if not is_whole(count, 0):
            raise ConfigError(
                f"{name}={count!r} is not an integer of at least 0; give a count"
            )
        if count > most:
            raise ConfigError(
                f"{name}={count} is more than {total}={most}; were they swapped?"
            )
    if most < 1:
        raise ConfigError(
            f"{total}={most} is not at least 1; there is nothing to count"
        )
