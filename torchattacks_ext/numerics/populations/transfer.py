"""What is left of a certified share where the data are not those of the model? KL divergences.

If an event has probability q under a law Q, and KL(P | Q) <= eps of the *joint* law of latent and
label, then its probability under P is at least the least p with kl(p | q) <= eps (data processing
for the event), kl the divergence of two coins. That is the best bound from eps alone; Pinsker's
q - sqrt(eps / 2) and Bretagnolle & Huber's q - sqrt(1 - exp(-eps)) are weaker. No finite sample
bounds a KL divergence from above: eps is somebody's assumption. From below it can be bounded
(:func:`kl_lower_bound`), so that an assumption can be refuted.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, special

from ...errors import ConfigError
from ..arguments import check_probabilities, parse_number
from ..rates.binomial import lower_bound, upper_bound

Side = Literal["below", "above", "both"]


class Transfer(NamedTuple):
    """Lower bounds of a share under P, conditional on KL(P | Q) <= eps of the joint law.

    inversion is the best of them; the others are for comparison with papers.
    """

    pinsker: float
    bretagnolle_huber: float
    inversion: float


def binary_kl(p: float, q: float) -> float:
    """kl(p | q) = p ln(p / q) + (1 - p) ln((1 - p) / (1 - q)), in nats; inf where q excludes p.

    >>> binary_kl(0.5, 0.5), round(binary_kl(0.8, 0.9), 5), binary_kl(0.5, 1.0)
    (0.0, 0.0444, inf)
    """
    return float(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q))


def kl_transfer(q: float, eps_kl: float) -> Transfer:
    """Lower bounds of the share under P of what has the share q under Q; each at least 0.

    q in [0, 1]; eps_kl >= 0, in nats: an assumed bound of KL(P | Q) of the joint law of latent and
    label; of the latents alone it says nothing about labels. Raises ConfigError outside.

    >>> [round(bound, 6) for bound in kl_transfer(0.9, 0.1)]
    [0.676393, 0.591516, 0.743134]
    """
    q, eps_kl = _share(q), parse_number(eps_kl, "eps_kl")
    found = (
        q - math.sqrt(eps_kl / 2),
        q - math.sqrt(-math.expm1(-eps_kl)),
        _inverted(q, eps_kl),
    )
    return Transfer(*(max(0.0, bound) for bound in found))


def kl_lower_bound(
    hits: int, n: int, q: float, significance: float = 0.05, side: Side = "both"
) -> float:
    """A lower bound of KL(P | Q), in nats, from how often an event of Q-probability q happened.

    hits of n independent draws of P; the event is chosen before they are seen. side: on which side
    of q its probability is looked for, chosen beforehand too; "both" splits the level. The bound
    exceeds KL(P | Q) with probability at most `significance`: it can refute an assumed eps, and
    never confirm one. Raises ConfigError for arguments outside their domains.

    >>> round(kl_lower_bound(800, 1000, 0.9, side="below"), 5)
    0.02904
    """
    q = _share(q)
    check_probabilities(significance=significance)
    if side not in ("below", "above", "both"):
        raise ConfigError(f"side={side!r} is neither 'below', 'above' nor 'both'")
    level = significance / 2 if side == "both" else significance
    found = 0.0
    if side != "above":
        up = float(upper_bound(hits, n, level))
        found = max(found, binary_kl(up, q) if up < q else 0.0)
    if side != "below":
        low = float(lower_bound(hits, n, level))
        found = max(found, binary_kl(low, q) if low > q else 0.0)
    return found


def kl_from_classifier(right: int, n: int, significance: float = 0.05) -> float:
    """A lower bound of KL(P | Q) from a classifier that tells draws of P from draws of Q.

    right of n held-out draws, each of P or Q with probability 1/2: its accuracy a bounds the total
    variation, TV >= 2a - 1, and KL >= 2 TV^2 (Pinsker). a is replaced by its Clopper-Pearson lower
    bound; 0 where that is 1/2 or less.

    >>> round(kl_from_classifier(900, 1000), 4), kl_from_classifier(500, 1000)
    (1.1736, 0.0)
    """
    check_probabilities(significance=significance)
    a = float(lower_bound(right, n, significance))
    return 2 * max(0.0, 2 * a - 1) ** 2


def _inverted(q: float, eps_kl: float) -> float:
    """The least p in [0, q] with kl(p | q) <= eps_kl, rounded down."""
    if q == 0 or binary_kl(0.0, q) <= eps_kl:
        return 0.0
    if q == 1 or eps_kl == 0:  # kl(p | 1) is infinite below 1
        return q
    root = optimize.brentq(lambda p: binary_kl(p, q) - eps_kl, 0.0, q, xtol=1e-15)
    return float(np.nextafter(root - 2e-15, 0.0))


def _share(q: float) -> float:
    found = parse_number(q, "q")
    if found > 1:
        raise ConfigError(f"q={q!r} must be in [0, 1]: a share under Q")
    return found
