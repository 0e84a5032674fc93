"""What does each version of MSA run? Plans as data, in the order in which they are run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from ..._typing import Norm
from ...engines.autoattack.runs import TARGET
from ...engines.autoattack.sequence import STANDARD
from ...engines.judge.spec import AttackSpec
from ...engines.own.plans import PLANS as OWN_PLANS
from ...engines.own.plans import plans_in
from ...errors import ConfigError

Version = Literal[
    "autoattack", "paper", "standard", "rand", "quick", "custom", "fast", "full"
]
VERSIONS: tuple[str, ...] = get_args(Version)
EngineName = Literal["autoattack", "torchattacks", "own"]
Headline = Literal["iso", "union", "realised"]

SEQUENCES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # (on each surrogate, on the target)
    "autoattack": (STANDARD, STANDARD),
    "paper": (("apgd-ce", "apgd-dlr"), ("square",)),
}
"""Versions that run AutoAttack's components by its own protocol, over the whole data set."""

PLANS: Mapping[str, tuple[AttackSpec, ...]] = {
    "standard": (
        AttackSpec("noise", on="target", steps=10),
        AttackSpec("apgd", loss="ce", steps=10),
        AttackSpec("apgd", loss="margin", steps=10),
        AttackSpec("apgd", loss="ce", steps=100),
        AttackSpec("apgd-t", steps=100),
        AttackSpec("fab-t", on="best", steps=100),
        AttackSpec("square", on="target", steps=5000),
        AttackSpec("warm", on="best", loss="margin", steps=100, restarts=2),
    ),
    "rand": (
        # gradients and losses are means over 20 draws (EOT); shares of draws decide
        AttackSpec("noise", on="target", steps=10),
        AttackSpec("apgd", loss="ce", steps=20),
        AttackSpec("apgd", loss="ce", steps=100),
        AttackSpec("apgd", loss="dlr", steps=100),
        AttackSpec("warm", on="best", loss="margin", steps=50),
    ),
    "quick": (
        AttackSpec("noise", on="target", steps=10),
        AttackSpec("apgd", loss="ce", steps=20),
        AttackSpec("apgd", loss="margin", steps=20),
        AttackSpec("square", on="target", steps=500),
    ),
}
"""Versions that harvest each run, row by row."""


def make_plan(
    version: str,
    plan: Iterable[AttackSpec | Mapping[str, Any]] | None,
    engine: str = "autoattack",
    norm: Norm = "Linf",
) -> tuple[AttackSpec, ...]:
    """The lines of a version; of "custom" those that are given.

    Raises ConfigError for an unknown version, or one that this engine does not have, for lines
    beside another version than "custom", for lines that are none, or not this engine's.

    >>> [spec.kind for spec in make_plan("custom", [{"kind": "apgd", "steps": 5}])]
    ['apgd']
    """
    if version not in VERSIONS:
        raise ConfigError(f"version={version!r} is not one of {VERSIONS}")
    if (plan is None) == (version == "custom"):
        raise ConfigError(
            'plan= goes with version="custom", and only there: give a list of AttackSpec'
        )
    _check_engine(version, engine)
    if plan is None:
        own = plans_in(norm) if engine == "own" else {}
        return {**PLANS, **own}.get(version, ())
    lines = _read(plan)
    foreign = [line.label for line in lines if line.is_own and engine != "own"]
    if foreign:
        raise ConfigError(
            f'plan: {foreign} are run by engine="own" alone, not by engine={engine!r}'
        )
    return lines


def _check_engine(version: str, engine: str) -> None:
    if version == "autoattack" and engine == "own":
        raise ConfigError(
            'version="autoattack" is AutoAttack itself, which engine="own" does not run: say '
            'engine="autoattack", or version="standard" of engine="own"'
        )
    if version in OWN_PLANS and version not in PLANS and engine != "own":
        raise ConfigError(
            f'version={version!r} is a plan of engine="own"; say so, or version="standard"'
        )


def _read(plan: Iterable[AttackSpec | Mapping[str, Any]]) -> tuple[AttackSpec, ...]:
    lines = []
    for line in plan:
        try:
            lines.append(line if isinstance(line, AttackSpec) else AttackSpec(**line))
        except TypeError as error:
            raise ConfigError(f"plan: {line!r:.80} is no AttackSpec: {error}") from None
    if not lines:
        raise ConfigError("plan= is empty; give at least one AttackSpec")
    return tuple(lines)


def sources(
    version: str, lines: Iterable[AttackSpec], surrogates: Iterable[str]
) -> tuple[str, ...]:
    """Everything that may break a row, "model/attack", in the order of the plan.

    Raises ConfigError for a line on a model that is not there.

    >>> sources("paper", (), ["fc"])
    ('fc/apgd-ce', 'fc/apgd-dlr', 'target/square')
    """
    names, found = list(surrogates), []
    if version in SEQUENCES:
        on_surrogates, on_target = SEQUENCES[version]
        found = [f"{name}/{attack}" for name in names for attack in on_surrogates]
        found += [f"{TARGET}/{attack}" for attack in on_target]
    for line in lines:
        on = {"each": [*names, TARGET], "best": [*names, TARGET], "surrogates": names}
        if line.on not in (*on, *names, TARGET):
            raise ConfigError(
                f"on={line.on!r} is no model here; the names are {[*names, TARGET]}, or {[*on]}"
            )
        found += [f"{name}/{line.label}" for name in on.get(line.on, [line.on])]
    return tuple(dict.fromkeys(found))


def plan_hash(version: str, lines: Iterable[AttackSpec]) -> str:
    """16 hex digits of what is run, for settings.

    >>> plan_hash("quick", PLANS["quick"]) == plan_hash("standard", PLANS["standard"])
    False
    """
    facts = [
        version,
        [line.facts() for line in lines],
        list(SEQUENCES.get(version, ())),
    ]
    text = json.dumps(facts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
