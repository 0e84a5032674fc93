"""Which test does PRTest run, and can it decide anything? Names to rules, and doubts beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from ...errors import ConfigError
from ...numerics.arguments import parse_whole
from ...numerics.rates.binomial import fixed_design, zero_failure_n
from ...numerics.rates.fixed import FixedN
from ...numerics.rates.group import GroupSequential
from ...numerics.rates.rules import N_MAX, EProcess, Rule
from ...numerics.rates.sequential import check_design
from ...numerics.rates.splitting import LastParticle
from ...numerics.rates.sprt import Sprt
from ...results.base.facts import Flag
from ...results.prob_robustness import ProbRobustness
from ...samplers.base import Sampler

Test = Literal["eprocess", "fixed", "sprt", "group", "splitting"]
Reference = Literal["label", "prediction"]
CleanPolicy = Literal["fail", "sample"]

FEW_MOVES = 10
"""Moves a death below which splitting is seen to mix badly even on a linear model."""
MANY_CLOSE = 0.1
"""Share of close draws above which the reader is told."""

NOT_REPLAYABLE = Flag(
    "not_replayable",
    "the sampler gave two answers to the same numbers: worst draws cannot be shown again, and the "
    "run cannot be repeated",
)

LAW_MIXES_ROWS = Flag(
    "law_mixes_rows",
    "a draw of the sampler depends on the other rows of the batch: it was asked row by row, which "
    "is slow; let each row depend on its own image and numbers only",
)
NEEDS_FIXED_MODEL = Flag(
    "splitting_needs_fixed_model",
    "splitting compares margins that a model must give again, and this one (or its batches) gives "
    "others: every image is UNDECIDED; use test='eprocess'",
)

_RULES: dict[str, Callable[[float, float, int], Rule]] = {
    "eprocess": EProcess.design,
    "sprt": Sprt.design,
    "group": GroupSequential.design,
}


def choose(name: str, value: str, kind: object) -> None:
    """Raise ConfigError unless `value` is one of the words of the Literal `kind`.

    >>> choose("test", "fixed", Test)
    """
    words = get_args(kind)
    if value not in words:
        raise ConfigError(f"{name}={value!r} is not one of {words}")


def make_rule(
    test: str, tolerance: float, significance: float, n_max: int | None
) -> Rule:
    """The rule of a test by draws; n_max None = 20,000, or what the fixed test needs.

    Raises ConfigError for settings outside their domain, a fixed test that can certify nothing, or
    an n_max below the first look.

    >>> make_rule("fixed", 0.01, 0.01, None).boundaries.n_max
    6314
    """
    if test == "fixed":
        return FixedN.design(tolerance, significance, n_max)
    rule = _RULES[test](tolerance, significance, N_MAX if n_max is None else n_max)
    if not rule.boundaries.n_max:
        raise ConfigError(f"n_max={n_max} is below the first look; expected >= 8")
    return rule


def make_splitting(
    sampler: Sampler,
    tolerance: float,
    significance: float,
    n_systems: int,
    n_particles: int,
) -> LastParticle:
    """The counts of a splitting run.

    Raises ConfigError for settings outside their domain and for a law that cannot be moved a
    little (no `from_latent`).
    """
    if not sampler.has_latent:
        raise ConfigError(
            f"sampler {sampler.name!r} has no from_latent, which test='splitting' needs to move a "
            "perturbation a little; give one, or use test='eprocess'"
        )
    return LastParticle(tolerance, significance, n_systems, n_particles)


def most_draws(engine: Rule | LastParticle, n_max: int | None, n_moves: int) -> int:
    """`n_max`, or what it is where nobody says.

    Raises ConfigError unless a whole number >= 1 that has room for the particles of splitting.
    """
    if n_max is not None:
        n_max = parse_whole(n_max, "n_max", 1)
        if isinstance(engine, LastParticle) and n_max < engine.total:
            raise ConfigError(
                f"n_max={n_max} is below the {engine.total} particles of test='splitting' "
                "(n_systems * n_particles), which are drawn first; give a larger one, or None"
            )
        return n_max
    if isinstance(engine, Rule):
        return N_MAX if engine.name != "fixed" else engine.boundaries.n_max
    return splitting_cost(engine, n_moves)


def draws_to_certify(engine: Rule | LastParticle, n_max: int, n_moves: int) -> int:
    """Draws of an image that never fails (splitting: evaluations), at most `n_max`."""
    if isinstance(engine, Rule):
        return engine.least_n or engine.boundaries.n_max
    return min(splitting_cost(engine, n_moves), n_max)


def doubts(engine: Rule | LastParticle, n_max: int, n_moves: int) -> tuple[Flag, ...]:
    """What is known beforehand: a design that can certify nothing, or hardly anything."""
    if isinstance(engine, LastParticle):
        return _splitting_doubts(engine, n_moves, n_max)
    return _rule_doubts(engine, n_max)


def _rule_doubts(rule: Rule, n_max: int) -> tuple[Flag, ...]:
    table = rule.boundaries
    level = f"tolerance={table.tolerance:g}, significance={table.significance:g}"
    if rule.least_n is None:
        text = (
            f"n_max={n_max} can certify no image: without a single failure the test needs n_max >= "
            f"{_least(rule)} at {level}"
        )
        return (Flag("cannot_certify", text),)
    if not rule.weak:
        return ()
    text = (
        f"n_max={n_max} is small for {level}: an image that fails at half the tolerance is not "
        f"certified even with its expected failures; give n_max >= {_enough(rule)}, or read "
        "UNDECIDED with that in mind"
    )
    return (Flag("low_power", text),)


def _least(rule: Rule) -> int:
    """The least n_max with which zero failures certify."""
    table = rule.boundaries
    if rule.name == "eprocess":
        return check_design(table.tolerance, table.significance, 1)
    if rule.name == "group":
        return zero_failure_n(table.tolerance, table.significance)
    return _grow(rule, lambda found: found.least_n is not None)


def _enough(rule: Rule) -> int:
    """An n_max with which p_fail = tolerance / 2 is certified at its expected failures."""
    table = rule.boundaries
    if rule.name == "fixed":
        half = table.tolerance / 2
        level = table.significance
        return fixed_design(table.tolerance, half, level, 0.5)[0]
    return _grow(rule, lambda found: not found.weak)


def _grow(rule: Rule, enough: Callable[[Rule], bool]) -> int:
    table, n = rule.boundaries, max(rule.boundaries.n_max, 8)
    while n < 2**40:
        n += max(1, n // 8)
        found = _RULES[rule.name](table.tolerance, table.significance, n)
        if enough(found):
            return n
    return n


def flags_of(result: ProbRobustness, test: str, law: Sampler) -> list[Flag]:
    """Doubts that the run showed: of the law, close draws, margins that repeat under splitting."""
    found = [NOT_REPLAYABLE] * (not law.replayable)
    return found + [LAW_MIXES_ROWS] * (not law.rowwise) + _flags_of_rows(result, test)


def _flags_of_rows(result: ProbRobustness, test: str) -> list[Flag]:
    if test == "splitting" and result.settings.get("guarantee") == "none":
        return [NEEDS_FIXED_MODEL]
    if test == "splitting":
        tied = int(((result.n_samples > 0) & (result.n_deaths < 0)).sum())
        text = (
            "margins repeat exactly (saturated scores, 8-bit or hard outputs): the counts of "
            "splitting mean nothing there, so these images are UNDECIDED; use test='eprocess'"
        )
        return [Flag("tied_margins", text, tied)] * bool(tied)
    drawn = int(result.n_drawn.sum())
    close = int(result.n_close[result.n_drawn > 0].sum())
    text = (
        "so many draws had a margin within 1e-4 of the largest logit that they were asked again "
        "one by one: slow, and near float rounding; a common offset of the logits does this (let "
        "the model subtract its row mean), or tied outputs"
    )
    return [Flag("many_close_draws", text, close)] * (close > MANY_CLOSE * drawn)


def splitting_cost(law: LastParticle, n_moves: int) -> int:
    """Evaluations of an image that is certified: M N for the particles and `n_moves` a death.

    >>> splitting_cost(LastParticle(1e-6, 0.01, 8, 16), 20)
    37628
    """
    return law.total + n_moves * (law.certify + law.n_systems - 1)


def _splitting_doubts(law: LastParticle, n_moves: int, n_max: int) -> tuple[Flag, ...]:
    found = [
        Flag(
            "ideal_kernel",
            "splitting is exact for an ideal kernel only: how well the moves mix on this model is "
            "not verified, so read its verdicts as guarantee='ideal-kernel', not 'exact'",
        )
    ]
    if n_moves < FEW_MOVES:
        text = (
            f"n_moves={n_moves} leaves copies near their originals: the counts of deaths then vary "
            f"more than their law says; give n_moves >= {FEW_MOVES}, better 20"
        )
        found.append(Flag("few_moves", text))
    need = splitting_cost(law, n_moves)
    if n_max < need:
        text = (
            f"n_max={n_max} can certify no image: {law.certify} deaths cost up to {need} "
            "evaluations; give n_max=None or at least that"
        )
        found.append(Flag("cannot_certify", text))
    return tuple(found)
