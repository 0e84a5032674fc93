"""What was a probe told? Frozen settings, checked as a whole, and attributes that read them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, overload

import torch

from ..._typing import NORMS, Norm
from ...data.door import as_bounds
from ...errors import ConfigError
from ...models.scores import Key, Outputs, check_outputs
from ...numerics.arguments import (
    as_number,
    parse_seed,
    parse_whole,
    plain_scalar,
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeSettings:
    """The settings that every probe has; a method adds its own in a subclass.

    Arguments and their domains are those of :class:`~torchattacks_ext.Probe`. Raises ConfigError
    for a value outside its domain, so that an object that exists can be used.

    >>> ProbeSettings(eps=0.1, norm="L2").batch_size
    256
    """

    eps: float
    norm: Norm
    seed: int = 0
    batch_size: int = 256
    bounds: Any = (0, 1)
    outputs: Outputs = "logits"
    output_key: Key = None
    n_queries: int | None = None
    max_queries: int | None = None
    max_seconds: float | None = None
    keep: str | os.PathLike[str] = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", as_bounds(self.bounds))
        object.__setattr__(self, "keep", os.fspath(self.keep))
        object.__setattr__(self, "output_key", plain_scalar(self.output_key))
        check_outputs(self.outputs, self.output_key)
        if self.norm not in NORMS:
            raise ConfigError(f"norm={self.norm!r} is not one of {NORMS}")
        object.__setattr__(self, "eps", _radius(self.eps, self.norm, self.bounds))
        object.__setattr__(self, "seed", parse_seed(self.seed))
        for name in ("batch_size", "n_queries", "max_queries"):
            value = getattr(self, name)
            if value is not None or name == "batch_size":
                object.__setattr__(self, name, parse_whole(value, name, 1))
        if self.max_seconds is not None:
            seconds = as_number(self.max_seconds)
            if not seconds > 0:
                given = f"max_seconds={self.max_seconds!r}"
                raise ConfigError(f"{given} must be > 0, or None")
            object.__setattr__(self, "max_seconds", seconds)

    @property
    def keeps(self) -> bool:
        """Whether images are kept."""
        return self.keep != "none"

    def facts(self) -> dict[str, Any]:
        """Every setting that may change a decision, in JSON types; part of a result's digest."""
        bounds = self.bounds
        if bounds is not None:
            bounds = [torch.as_tensor(side).tolist() for side in bounds]
        found = {
            "eps": float(self.eps),
            "norm": self.norm,
            "seed": self.seed,
            "bounds": bounds,
            "outputs": self.outputs,
        }
        # named only where it is used: older results have no such setting
        return found | (
            {} if self.output_key is None else {"output_key": self.output_key}
        )


def _radius(given: Any, norm: Norm, bounds: Any) -> float:
    eps = as_number(given)
    if not 0 <= eps < float("inf"):
        raise ConfigError(
            f"eps={given!r} must be a finite number >= 0, in pixel units of [0, 1]: say 8/255"
        )
    if bounds is not None and norm == "Linf":
        low, high = (torch.as_tensor(side) for side in bounds)
        width = float((high - low).max())
        if eps > width:
            raise ConfigError(
                f"eps={eps:g} is wider than the pixel range {width:g}; eps has the unit of the "
                f"images: did you mean {eps:g}/255?"
            )
    plain = plain_scalar(given)
    return plain if isinstance(plain, int) else eps


class Configured(Protocol):
    """What has settings, and takes others."""

    config: Any

    def change_settings(self, **changes: Any) -> None:
        """Other values of some settings."""


class Setting(Generic[T]):
    """An attribute that is read from frozen settings; assigning it makes new ones, checked.

    So `attack.eps = 4 / 255` in a loop changes everything that hangs on the radius, or, where the
    value is none, nothing. shown: the field that is read, where what was given is not what counts.
    """

    def __init__(self, shown: str = "") -> None:
        self._shown = shown

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._shown = self._shown or name

    @overload
    def __get__(self, probe: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, probe: Configured, owner: type) -> T: ...

    def __get__(self, probe: Configured | None, owner: type) -> Any:
        return self if probe is None else getattr(probe.config, self._shown)

    def __set__(self, probe: Configured, value: T) -> None:
        probe.change_settings(**{self._name: value})
