"""Which numbers must hold before a release? A policy of rules, read from YAML, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ...errors import ConfigError, InputError
from ...numerics.arguments import parse_number
from ..plans.words import plain_words
from .measured import METRICS

Metric = Literal[
    "clean_accuracy",
    "attacked_accuracy",
    "probabilistic_robustness",
    "certified_accuracy",
]
MOST_BYTES = 1 << 20


class Rule(BaseModel):
    """One demand: the lower bound of `metric` is at least `fail`, and better at least `warn`.

    metric: of :data:`~.measured.METRICS`. stage: its name in the report ("worst_case" for the worst
    over all). eps: radius of certified accuracy. fail, warn: shares in [0, 1]. drop: of a rule
    beside a baseline: True demands that a paired test finds no fall.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric
    stage: str = Field(min_length=1)
    eps: float | None = None
    fail: float | None = Field(default=None, ge=0, le=1)
    warn: float | None = Field(default=None, ge=0, le=1)
    drop: bool = False

    @field_validator("eps", mode="before")
    @classmethod
    def _eps(cls, value: Any) -> Any:
        return None if value is None else parse_number(value, "eps")

    @model_validator(mode="after")
    def _whole(self) -> Rule:
        if self.fail is None and self.warn is None and not self.drop:
            raise ConfigError("a rule needs fail=, warn= or drop=")
        if self.fail is not None and self.warn is not None and self.warn < self.fail:
            raise ConfigError(
                f"warn={self.warn} must be at least fail={self.fail}: a warning comes first"
            )
        if self.metric == "certified_accuracy" and self.eps is None:
            raise ConfigError("certified_accuracy needs eps=, a radius")
        return self

    @property
    def name(self) -> str:
        """How results call it.

        >>> Rule(metric="clean_accuracy", stage="clean", fail=0.9).name
        'clean_accuracy of clean'
        """
        more = "" if self.eps is None else f" at {self.eps:g}"
        return f"{self.metric} of {self.stage}{more}"


class Demand(BaseModel):
    """What a report must contain at all: a stage, with these settings, on at least n images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    n: int = Field(default=1, ge=1)


class Policy(BaseModel):
    """All rules of a gate.

    rules: at least one. require: what must have been run. n: fewest images of any rule.
    confidence: of each lower bound, one-sided. significance: of all `drop` rules together (Holm).

    >>> Policy(rules=[{"metric": "clean_accuracy", "stage": "clean", "fail": 0.9}]).n
    1
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...] = Field(min_length=1)
    require: tuple[Demand, ...] = ()
    n: int = Field(default=1, ge=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    significance: float = Field(default=0.05, gt=0, lt=1)

    @field_validator("confidence", "significance")
    @classmethod
    def _number(cls, value: float) -> float:
        if math.isnan(value):
            raise ConfigError("must be a number in (0, 1)")
        return value


def check_policy(policy: Policy | Mapping[str, Any]) -> Policy:
    """A validated policy. Raises ConfigError naming each wrong key, its value and what is expected.

    >>> check_policy({"rules": [{"metric": "clean_accuracy", "stage": "clean", "warn": 1}]}).n
    1
    """
    if isinstance(policy, Policy):
        return policy
    if not isinstance(policy, Mapping):
        raise ConfigError(
            f"policy is a {type(policy).__name__}, expected a dict with 'rules'"
        )
    try:
        return Policy.model_validate(dict(policy))
    except ValidationError as error:
        raise ConfigError(f"policy: {_words(error)}") from None


def read_policy(path: Any) -> Policy:
    """The policy of a YAML file. Raises InputError for a file that cannot be read, ConfigError."""
    file = Path(path)
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"{file.name} has more than {MOST_BYTES >> 20} MB")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the policy {str(file)!r} cannot be read: {error}") from error
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise InputError(f"{file.name}{where} is no YAML") from error
    return check_policy(found if found is not None else {})


def _words(error: ValidationError) -> str:
    parts = []
    for problem in error.errors():
        where = ".".join(str(step) for step in problem["loc"]) or "policy"
        said = plain_words(problem)
        if problem["type"] == "missing":
            parts.append(f"{where!r} is missing")
            continue
        if problem["type"] == "too_short":
            if parts:
                continue  # what is in the list is told already
            said = "needs one rule at least"
        if problem["type"] == "extra_forbidden":
            said = "is no key here"
        if problem["type"] == "literal_error":
            said = f"is not one of {', '.join(METRICS)}"
        got = repr(problem.get("input"))[:60]
        parts.append(f"{where}={got}: {said}")
    return "; ".join(parts)
