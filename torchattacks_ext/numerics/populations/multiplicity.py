"""Which claims survive when many are made at once? Adjusted p-values and e-values.

A claim whose adjusted value is at most q is kept at level q. With the p-values sorted,
p_(1) <= ... <= p_(m),

    holm:  max over j <= i of min(1, (m - j + 1) p_(j)),
    bh:    min over j >= i of m p_(j) / j,
    by:    min(1, c(m) bh),  c(m) = 1 + 1/2 + ... + 1/m.

Holm (1979) bounds the probability of *any* false claim and needs no assumption on dependence.
Benjamini & Hochberg (1995) bound the expected *share* of false claims for independent p-values (or
positively dependent ones), Benjamini & Yekutieli (2001) for all.

p-values that are each valid at any stop are still not independent where one row's test stops, or
goes on, because of what another row said: someone tests 45 images at the tolerance, stops if BH at
.2 claims anything, and else goes on to five that never fail; then the expected share of false
claims is .2075 (e-process, tolerance .1, exact). Holm and BY need no independence; e-BH
(:func:`adjust_e`) needs none either, and is the one of the share that costs no factor for it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from ...errors import ConfigError, InputError
from ..incbeta import FloatArray

Correction = Literal["none", "holm", "bh", "by"]
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)


def adjust(p_values: ArrayLike, method: Correction) -> FloatArray:
    """Return adjusted p-values: "adjusted <= q" are the claims that ``method`` keeps at level q.

    ``"holm"`` and ``"by"`` hold under any dependence, ``"bh"`` where the p-values are independent:
    images that draw their own noise are, images that share one set of draws are not, and images
    whose tests were stopped or extended after a look at the others' results are not either.
    ``"none"`` returns the p-values: each claim is right at its own level, the list is not.

    Args:
        p_values: Any shape; all entries together are one family.
        method: ``"none"``, ``"holm"``, ``"bh"`` or ``"by"``.

    Returns:
        New float64 array of the same shape, in input order, in [0, 1].

    Raises:
        ConfigError: Unknown method.
        InputError: A p-value that is NaN or outside [0, 1].

    Example:
        >>> adjust([0.04, 0.01, 0.03], "holm")
        array([0.06, 0.03, 0.06])
        >>> adjust([0.04, 0.01, 0.03], "bh")
        array([0.04, 0.03, 0.04])
    """
    if method not in CORRECTIONS:
        raise ConfigError(
            f"method={method!r} is not one of {CORRECTIONS}; take 'holm' against any "
            "false claim, 'bh' against too large a share of them"
        )
    p = np.array(p_values, dtype=np.float64)
    wrong = p[~((p >= 0) & (p <= 1))]
    if wrong.size:
        raise InputError(
            f"{wrong.size} p-values are not in [0, 1], the first is {wrong[0]}; leave out the "
            "images without one"
        )
    if method == "none" or p.size == 0:
        return p
    flat = p.ravel()
    found = (
        _holm(flat)
        if method == "holm"
        else false_discovery_control(flat, method=method)
    )
    return np.asarray(found, dtype=np.float64).reshape(p.shape)


def adjust_e(log_e: ArrayLike) -> FloatArray:
    """Return e-BH as adjusted values: "adjusted <= q" are the claims kept at level q.

    e-BH keeps the k largest E for the greatest k with ``k E_(k) >= m / q``. That is the procedure
    of Benjamini and Hochberg on ``min(1, 1 / E)``, and it bounds the expected share of false claims
    by q under *any* dependence of the E (Wang & Ramdas 2022, arXiv:2009.02824), one that comes from
    stopping rows by what others said included: E of each row has mean at most 1 at any such stop.

    It needs ``mean of E <= 1`` under each null. E at the draw where the image stopped has it
    (optional stopping). The running maximum over the draws has not, although ``1 / max E`` is a
    p-value (Ville): e-BH on maxima does not bound the share (arXiv:2501.19360). So give
    :func:`~torchattacks_ext.numerics.rates.evalues.log_e_low` of the counts at the stop, never the
    greatest value on the way.

    Args:
        log_e: ln E at the stopping time, any shape; -inf is E = 0, +inf is E without bound.

    Returns:
        New float64 array of the same shape, in input order, in [0, 1]; 0 where E is above 1e323.

    Raises:
        InputError: A value that is NaN.

    Example:
        >>> adjust_e(np.log([400, 30, 0.5])).round(4)
        array([0.0075, 0.05  , 1.    ])
    """
    log_e = np.asarray(log_e, dtype=np.float64)
    if missing := int(np.isnan(log_e).sum()):
        raise InputError(
            f"{missing} values of log E are NaN; leave out the images that were not tested"
        )
    return adjust(np.exp(-np.maximum(log_e, 0.0)), "bh")


def _holm(p: FloatArray) -> FloatArray:
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return np.minimum(steps, 1.0)[np.argsort(order)]
