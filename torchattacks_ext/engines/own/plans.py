"""What do the versions of the own engine run? Plans as data, with gates of the clean margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..._typing import Norm
from ..judge.spec import AttackSpec

NONE = float("inf")
"""The gate that lets every row through."""
_A = AttackSpec("apgd", loss="pm-t", steps=20)
_E = AttackSpec("square", on="target", steps=5000)


def _malt(targets: int, steps: int, gate: float, reach: float = 1.0) -> AttackSpec:
    return AttackSpec(
        "malt", loss="pm-t", steps=steps, targets=targets, gate=gate, reach=reach
    )


def _smooth(sigma: float, gate: float) -> AttackSpec:
    return AttackSpec("smooth", on="target", steps=100, sigma=sigma, gate=gate)


def _warm(steps: int, gate: float) -> AttackSpec:
    return AttackSpec("warm", on="target", loss="pm-t", steps=steps, gate=gate)


def _fab(targets: int, steps: int, gate: float) -> AttackSpec:
    return AttackSpec("fab-t", on="target", steps=steps, targets=targets, gate=gate)


def _full(
    *autoattack: AttackSpec,
    early: tuple[AttackSpec, ...] = (),
    wide: tuple[AttackSpec, ...] = (),
) -> tuple[AttackSpec, ...]:
    """No gates; and AutoAttack's components, which it contains."""
    return (
        _A,
        _malt(1, 30, NONE),
        *early,
        _smooth(2, NONE),
        _smooth(1, NONE),
        *wide,
        _malt(3, 100, NONE),
        _warm(100, NONE),
        *autoattack,
        AttackSpec("fab-t", on="best", steps=100),
        _E,
    )


_AUTOATTACK = (
    AttackSpec("apgd", loss="ce", steps=100),
    AttackSpec("apgd-t", steps=100),
)
_BLIND = (
    AttackSpec("noise", on="target", steps=10, gate=0),
    AttackSpec("square", on="target", steps=1000, gate=0),
)
"""For rows of which gradients say nothing, where a plan has no squares for them."""
PLANS: Mapping[str, tuple[AttackSpec, ...]] = {
    "fast": (_A, _malt(1, 30, 0.5), _smooth(2, 0.3), *_BLIND),
    "standard": (
        _A,
        _malt(1, 30, 0.5),
        _smooth(2, 0.4),
        _smooth(1, 0.25),
        _malt(3, 100, 0.25),
        _warm(100, 0.1),
        replace(_E, gate=0.25),
    ),
    "full": _full(*_AUTOATTACK, wide=(_smooth(3, NONE),)),
}
"""In Linf."""
_EARLY = (_fab(1, 50, NONE), _warm(50, NONE))
_IN_L2 = (_A, _malt(1, 30, 0.6), _fab(1, 50, NONE), _warm(50, 0.7))
_L2: Mapping[str, tuple[AttackSpec, ...]] = {
    "fast": (*_IN_L2, _smooth(2, 0.3), *_BLIND),
    "standard": (
        *_IN_L2,
        _fab(3, 100, 0.6),
        _smooth(2, 0.35),
        _malt(3, 100, 0.25),
        _warm(100, 0.45),
        replace(_E, gate=0.2),
    ),
    "full": _full(*_AUTOATTACK, early=_EARLY),
}
_IN_L1 = (_A, _malt(1, 30, 0.7), *_EARLY)
_CE = AttackSpec("apgd", loss="ce", steps=100, gate=0.85, reach=3)
_L1: Mapping[str, tuple[AttackSpec, ...]] = {
    "fast": (*_IN_L1, _CE, _smooth(2, 0.5), *_BLIND),
    "standard": (
        *_IN_L1,
        replace(_CE, restarts=2),
        replace(_CE, loss="margin", restarts=3),
        _malt(3, 100, 0.7, reach=3),
        _smooth(2, 0.6),
        _smooth(1, 0.4),
        _fab(3, 100, 0.5),
        _warm(100, 0.4),
        replace(_E, gate=0.15),
    ),
    # AutoAttack's own lines in L1
    "full": _full(
        replace(_CE, restarts=5, gate=NONE),
        AttackSpec("apgd-t", steps=100, targets=5, reach=3),
        early=_EARLY,
    ),
}


def plans_in(norm: Norm) -> Mapping[str, tuple[AttackSpec, ...]]:
    """The plans of a norm, by version.

    In L2 and L1 rows fall to FAB whose margin APGD leaves high: there it comes early, and gates are
    wider.

    >>> [line.label for line in plans_in("L2")["fast"]][:3]
    ['apgd-pm-t-20', 'malt-1-30', 'fab-t-50']
    """
    return {"L2": _L2, "L1": _L1}.get(norm, PLANS)


"""Streams of random numbers are named by stage, so that equal stages of two plans draw alike."""
LATE = ("smooth", "square")
"""Kinds that need no useful gradient at a point: what they alone break, masked gradients hid."""
DOUBT = 0.02
"""Share of the clean rows that such kinds may break before gradients are called unreliable."""
