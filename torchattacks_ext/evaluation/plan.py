"""What is to be run? A plan of stages, checked before any model is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from torch import Tensor

from .._typing import Norm
from ..data.described import ARGUMENTS as DATA_SETS
from ..data.described import described
from ..data.door import as_bounds
from ..engines.judge.ledger import AttackSpec
from ..errors import ConfigError, InputError
from ..models.fingerprint import describe_model
from ..models.scores import Outputs
from ..numerics.arguments import parse_number, plain_scalar
from ..numerics.norms import Bounds
from ..results.base import codec
from ..samplers import CallableSampler, Sampler
from .plans.keys import whole_plan
from .plans.places import PlanFile
from .plans.words import did_you_mean as did_you_mean  # noqa: F401
from .plans.words import mistakes
from .zoo.catalogue import attack_names

RESERVED = "worst_case"
"""The name of the last line of a report, which no stage may have."""


def parse_eps(value: Any) -> float:
    """A radius in pixel units of [0, 1], as :func:`.arguments.parse_number` reads it.

    >>> parse_eps("8/255") == 8 / 255
    True
    """
    return parse_number(value, "eps")


class StageSpec(BaseModel):
    """One stage: `name` (a stage, or an attack of torchattacks) and its arguments.

    label: how it is called in the report; needed only where two stages would share one.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1)
    label: str | None = Field(default=None, min_length=1)

    @field_validator("label")
    @classmethod
    def _free(cls, value: str | None) -> str | None:
        if value == RESERVED:
            raise ConfigError(f"{value!r} is the report's own line; use another label")
        return value

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything but name and label."""
        return {key: plain_scalar(v) for key, v in (self.model_extra or {}).items()}

    def facts(self) -> dict[str, Any]:
        """The stage in JSON types, a sampler by its settings. Raises ConfigError for arguments
        that JSON cannot hold.
        """
        known = {"name": self.name, "label": self.label}
        return known | plain_arguments(self.arguments, f"stage {self.name!r}")


class Plan(BaseModel):
    """The settings of one evaluation; build it with :func:`check_plan`.

    eps: radius in pixel units ("8/255" is understood). norm: of the ball that judges every attack.
    threat_model: both by the name that the literature uses, see
    :data:`.plans.threats.THREATS`; then eps and norm may be left out, and must be the same.
    seed (0 .. 2^63 - 1), batch_size, outputs, output_key: as in :class:`~torchattacks_ext.PRTest`.
    group_size: rows that an attack of torchattacks gets at once, in the order of the data and
    whatever the batches are: many of them draw for all rows together.
    bounds: (low, high), each a number or one a channel; None for data without a range, which
    attacks that clip cannot have.
    stages: in the order of the report; the clean stage comes first even where it is not named. A
    key `budget`, say {"attack": "msa", "half_width": 0.01}, is short for a stage "budgeted" with
    these arguments behind the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threat_model: str | None = None
    eps: float
    norm: Norm = "Linf"
    seed: int = Field(default=0, ge=0, lt=2**63)
    batch_size: int = Field(default=256, ge=1)
    group_size: int = Field(default=100, ge=1)
    bounds: tuple[Any, Any] | None = (0.0, 1.0)
    outputs: Outputs = "logits"
    output_key: str | int | None = None
    stages: tuple[StageSpec, ...]

    @model_validator(mode="before")
    @classmethod
    def _short_keys(cls, value: Any) -> Any:
        return whole_plan(value) if isinstance(value, Mapping) else value

    @field_validator("eps", mode="before")
    @classmethod
    def _eps(cls, value: Any) -> float:
        return parse_eps(value)

    @field_validator("seed", "batch_size", "group_size", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return plain_scalar(value)  # pydantic knows no 0-d tensors

    @field_validator("bounds")
    @classmethod
    def _bounds(cls, value: tuple[Any, Any] | None) -> tuple[Any, Any] | None:
        try:
            box = as_bounds(value)
        except ConfigError:
            raise ConfigError(
                "must be finite (low, high) with low < high, say (0, 1), or None where "
                "the data have no range"
            ) from None
        if box is None:
            return None
        low, high = (_plain_side(side) for side in box)
        return low, high

    @field_validator("stages", mode="before")
    @classmethod
    def _stages(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise ConfigError('must be a list, say ["clean", {"name": "PGD"}]')
        return [{"name": item} if isinstance(item, str) else item for item in value]

    @property
    def box(self) -> Bounds | None:
        """The bounds as arithmetic takes them."""
        return as_bounds(self.bounds)

    def facts(self) -> dict[str, Any]:
        """The plan in JSON types, as it stands in a report."""
        own = self.model_dump(mode="json", exclude={"stages"})
        return own | {"stages": [stage.facts() for stage in self.stages]}


def _plain_side(side: float | Tensor) -> float | tuple[float, ...]:
    """A bound as JSON can hold it."""
    return tuple(side.tolist()) if isinstance(side, Tensor) else side


def check_plan(plan: Plan | Mapping[str, Any]) -> Plan:
    """A validated plan. Raises ConfigError naming each wrong key, its value and what is expected.

    Of a plan file (:func:`.plans.places.read_plan`) it names the lines as well. Stages and their
    arguments are checked where they are built
    (:func:`~torchattacks_ext.evaluation.stages.build_stages`), also before any forward pass.

    >>> check_plan({"eps": "8/255", "stages": ["clean", "PGD"]}).stages[1].name
    'PGD'
    >>> check_plan({"threat_model": "cifar10-l2-0.5", "stages": ["PGD"]}).norm
    'L2'
    """
    if isinstance(plan, Plan):  # model_copy(update=...) has checked nothing
        plan = {field: getattr(plan, field) for field in Plan.model_fields}
    if not isinstance(plan, Mapping):
        raise ConfigError(
            f"plan is {type(plan).__name__}, expected a dict with 'eps' and 'stages'"
        )
    places = plan.places if isinstance(plan, PlanFile) else None
    try:
        return Plan.model_validate(dict(plan))
    except ValidationError as error:
        said = mistakes(error, (*Plan.model_fields, "budget"), places)
        origin = "plan" if places is None else f"plan file {places.file}"
        raise ConfigError(f"{origin}: {said}") from None


def plain_arguments(arguments: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Arguments in JSON types; a sampler, or a callable under that name, by its settings.

    Surrogates stand there by class and weight hash, lines of a plan by their fields. Raises
    ConfigError for others: they could neither be written into a report nor compared.
    """
    found = {}
    for key, value in arguments.items():
        if key == "sampler" and callable(value):
            value = CallableSampler(value)
        if isinstance(value, Sampler):
            value = value.settings()
        if key in ("surrogates", "plan"):
            value = _each(value)
        if key in DATA_SETS:
            value = described(value)
        try:
            found[key] = codec.plain(value)
        except (InputError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{owner}: {key}={value!r:.60} is a {type(value).__name__}; give a number, text, "
                "list or dict"
            ) from error
    return found


def _each(value: Any) -> Any:
    """Models and attack lines of a dict or list as facts; what is neither stays as it is."""
    if isinstance(value, Mapping):
        return {name: _each(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each(one) for one in value]
    if isinstance(value, AttackSpec):
        return value.facts()
    return describe_model(value) if callable(value) else value


def default_plan(eps: Any, **changes: Any) -> Plan:
    """Clean accuracy, FGSM, PGD with 20 steps and PRTest at radius `eps`; `changes` replace fields.

    >>> [stage.name for stage in default_plan("8/255", batch_size=64).stages]
    ['clean', 'FGSM', 'PGD', 'prtest']
    """
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
    own = "clean", "prtest", "fim", "certified", "smoothed", "diagnostics", "stress"
    sets = "sweep", "ood", "shift", "data-audit"
    attacks = "msa", "autoattack", "budgeted", "attack"
    return (*own, *sets, *attacks, *attack_names())
