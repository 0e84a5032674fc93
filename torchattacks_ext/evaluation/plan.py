"""What is to be run? A plan of stages, checked before any model is touched; unknown keys are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from .._typing import Norm
from ..data.door import as_bounds
from ..errors import ConfigError
from .zoo import attack_names


def parse_eps(value: Any) -> float:
    """A radius as a number or as text: 0.3, "0.3", "8/255". Raises ConfigError for anything else.

    >>> parse_eps("8/255") == 8 / 255
    True
    """
    try:
        number = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ConfigError(
            f"eps={value!r} must be a number >= 0 in pixel units of [0, 1], say 8/255"
        )
    return number


class StageSpec(BaseModel):
    """One stage: `name` (a stage, or an attack of torchattacks) and its arguments.

    label: how it is called in the report; needed only where two stages would share one.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    label: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything but name and label."""
        return dict(self.model_extra or {})


class Plan(BaseModel):
    """The settings of one evaluation.

    eps: radius in pixel units ("8/255" is understood). norm: of the ball that judges every attack. seed,
    batch_size, bounds: as in :class:`~torchattacks_ext.PRTest`. stages: in the order of the report; the
    clean stage comes first even where it is not named.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    eps: float
    norm: Norm = "Linf"
    seed: int = 0
    batch_size: int = 256
    bounds: tuple[float, float] | None = (0.0, 1.0)
    outputs: str = "logits"
    stages: tuple[StageSpec, ...]

    @field_validator("eps", mode="before")
    @classmethod
    def _eps(cls, value: Any) -> float:
        return parse_eps(value)

    @field_validator("stages", mode="before")
    @classmethod
    def _stages(cls, value: Any) -> Any:
        if isinstance(value, (str, Mapping)):
            raise ConfigError('stages must be a list, say ["clean", {"name": "PGD"}]')
        return [{"name": item} if isinstance(item, str) else item for item in value]


def check_plan(plan: Plan | Mapping[str, Any]) -> Plan:
    """A validated plan. Raises ConfigError naming each wrong key, its value and what is expected.

    >>> check_plan({"eps": "8/255", "stages": ["clean", "PGD"]}).stages[1].name
    'PGD'
    """
    if isinstance(plan, Plan):
        return plan
    if not isinstance(plan, Mapping):
        raise ConfigError(
            f"plan is {type(plan).__name__}, expected a dict with 'eps' and 'stages'"
        )
    try:
        checked = Plan.model_validate(dict(plan))
    except ValidationError as error:
        raise ConfigError(f"plan: {_words(error)}") from None
    as_bounds(checked.bounds)
    if checked.batch_size < 1:
        raise ConfigError(f"batch_size={checked.batch_size} must be >= 1")
    return checked


def _words(error: ValidationError) -> str:
    parts = []
    for problem in error.errors():
        where = ".".join(str(step) for step in problem["loc"]) or "plan"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(Plan.model_fields)
            parts.append(f"{where!r} is not a key of a plan; its keys are {known}")
        else:
            got = repr(problem.get("input"))[:60]
            parts.append(f"{where}={got}: {problem['msg']}")
    return "; ".join(parts)


def default_plan(eps: Any, **changes: Any) -> Plan:
    """Clean accuracy, FGSM, PGD with 20 steps and PRTest at radius `eps`; `changes` replace fields."""
    radius = parse_eps(eps)
    stages = [
        {"name": "clean"},
        {"name": "FGSM"},
        {"name": "PGD", "steps": 20, "alpha": radius / 4},
        {"name": "prtest"},
    ]
    return check_plan({"eps": radius, "stages": stages} | changes)


def known_stages() -> tuple[str, ...]:
    """Names that a stage may have: own stages, then every registered attack."""
    return ("clean", "prtest", "attack", *attack_names())
