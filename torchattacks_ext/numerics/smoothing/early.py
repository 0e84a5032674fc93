"""When do noisy answers decide one radius? A sequential test that stops as soon as they do.

"The radius is eps" is "p > Phi(eps / sigma)" (see :mod:`.cohen`), so "p_fail < 1 - Phi(eps /
sigma)" of the chosen class. The e-processes of :mod:`..rates.evalues` say so at any look: the claim
is false with probability `significance` at most, however often one looks (Ville 1939). A second
one, the other way round, only saves draws: where it shows at the level `give_up` that the radius is
not reached, the image gets none. It may be wrong more often, since nothing is claimed then.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special

from ...errors import ConfigError
from ..arguments import check_probabilities, parse_number
from ..rates.evalues import bar_of
from ..rates.sequential import Boundaries, boundaries, limits_at
from .cohen import check_draws, check_sigma

OUTWARD = 1 + 2.0**-40
"""Factor of eps / sigma: the edge of the test is on the safe side of the rounded one."""
GIVE_UP = 0.01
"""Level at which an image is given up where nobody says otherwise."""


@lru_cache(maxsize=64)
def radius_test(
    eps: float,
    sigma: float,
    significance: float,
    n_max: int,
    give_up: float = GIVE_UP,
) -> Boundaries:
    """Looks and limits of the test "the radius is eps", failures being answers of other classes.

    `certify_at`: failures at most for the claim; `refute_at`: failures from which an image is given
    up. The last look is n_max itself. eps: L2, in pixel units, >= 0. Raises ConfigError for
    settings outside their domains, and where even n_max answers of one class could not prove eps.

    >>> table = radius_test(0.5, 0.5, 0.001, 100_000)
    >>> int(table.looks[table.certify_at >= 0][0]), table.n_max, round(table.tolerance, 6)
    (44, 100000, 0.158655)
    """
    eps, sigma = parse_number(eps, "eps"), check_sigma(sigma)
    check_probabilities(give_up=give_up)
    n_max = check_draws("n", n_max, significance)
    if not give_up < 0.5:
        raise ConfigError(f"give_up={give_up!r} must be in (0, 0.5)")
    tolerance = float(special.ndtr(-eps / sigma * OUTWARD))
    if n_max * np.log1p(-tolerance) > np.log(significance):  # not even all of them
        raise ConfigError(_too_far(eps, sigma, n_max))
    claim = boundaries(tolerance, significance, n_max)
    leave = boundaries(tolerance, give_up, n_max)
    looks = np.unique(np.concatenate([claim.looks, leave.looks, [n_max]]))
    certify_at, _ = limits_at(looks, tolerance, bar_of(significance))
    _, refute_at = limits_at(looks, tolerance, bar_of(give_up))
    if (certify_at < 0).all():
        raise ConfigError(_too_far(eps, sigma, n_max))
    for one in (looks, certify_at, refute_at):
        one.flags.writeable = False
    return Boundaries(tolerance, significance, looks, certify_at, refute_at)


def _too_far(eps: float, sigma: float, n_max: int) -> str:
    return (
        f"eps={eps:g} cannot be proved with sigma={sigma:g} and n={n_max} draws, whatever the "
        "answers; give a smaller eps, a larger sigma or more draws"
    )
