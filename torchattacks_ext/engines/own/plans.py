"""What do the versions of the own engine run? Plans as data, with gates of the clean margin."""

from __future__ import annotations

from collections.abc import Mapping

from ..judge.spec import AttackSpec

_A = AttackSpec("apgd", loss="pm-t", steps=20)
_B = AttackSpec("malt", loss="pm-t", steps=30, targets=1, gate=0.5)
_D = AttackSpec("malt", loss="pm-t", steps=100, targets=3, gate=0.25)


def _smooth(sigma: float, gate: float) -> AttackSpec:
    return AttackSpec("smooth", on="target", steps=100, sigma=sigma, gate=gate)


def _warm(gate: float) -> AttackSpec:
    return AttackSpec("warm", on="target", loss="pm-t", steps=100, gate=gate)


_BLIND = (
    AttackSpec("noise", on="target", steps=10, gate=0),
    AttackSpec("square", on="target", steps=1000, gate=0),
)
"""For rows of which gradients say nothing, where a plan has no squares for them."""
PLANS: Mapping[str, tuple[AttackSpec, ...]] = {
    "fast": (_A, _B, _smooth(2, 0.3), *_BLIND),
    "standard": (
        _A,
        _B,
        _smooth(2, 0.4),
        _smooth(1, 0.25),
        _D,
        _warm(0.1),
        AttackSpec("square", on="target", steps=5000, gate=0.25),
    ),
    # no gates; and AutoAttack's components, which it contains
    "full": (
        _A,
        AttackSpec("malt", loss="pm-t", steps=30, targets=1),
        _smooth(2, float("inf")),
        _smooth(1, float("inf")),
        AttackSpec("malt", loss="pm-t", steps=100, targets=3),
        _warm(float("inf")),
        AttackSpec("apgd", loss="ce", steps=100),
        AttackSpec("apgd-t", steps=100),
        AttackSpec("fab-t", on="best", steps=100),
        AttackSpec("square", on="target", steps=5000),
    ),
}
"""Streams of random numbers are named by stage, so that equal stages of two plans draw alike."""
LATE = ("smooth", "square")
"""Kinds that need no useful gradient at a point: what they alone break, masked gradients hid."""
DOUBT = 0.02
"""Share of the clean rows that such kinds may break before gradients are called unreliable."""
