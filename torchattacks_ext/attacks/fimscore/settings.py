"""What was FIMScore told? Its settings, checked as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from ...errors import ConfigError, StatusError
from ...models.jvp import BACKENDS
from ...numerics.arguments import (
    as_number,
    is_whole,
    parse_real,
    parse_whole,
    plain_scalar,
)
from ...numerics.fisher.blackbox.sketch import n_queries_of
from ..base.settings import ProbeSettings
from .temperature import given_temperature

Method = Literal[
    "auto",
    "gram",
    "lanczos",
    "power",
    "srp_hutchinson",
    "blackbox",
    "srp_blackbox",
]
METHODS: tuple[str, ...] = get_args(Method)
BLACK_BOX = ("blackbox", "srp_blackbox")
"""Methods that ask for scores only."""
SKETCH = ("n_directions", "target", "grey")
"""Their settings."""
ROUND = 25
"""Directions between two looks at the interval, where a target is set."""
MOST_POINTS = 1024
"""Points of a smoothed score, an image, at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FIMSettings(ProbeSettings):
    """The settings of :class:`~torchattacks_ext.FIMScore`; arguments and their domains are there.

    Raises ConfigError for a value outside its domain.

    >>> FIMSettings(eps=0.1, norm="L2", smooth=[0.05, 8]).smooth
    (0.05, 8)
    """

    method: Method = "auto"
    tol: float | None = None
    dtype: torch.dtype | None = None
    temperature: float | Literal["fit"] | None = None
    jvp: str = "auto"
    n_directions: int = 100
    target: float | None = None
    grey: bool = False
    kl: bool = True
    smooth: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "smooth", _noise(self.smooth, self.method))
        for name in ("tol", "target"):
            if getattr(self, name) is not None:
                value = parse_real(getattr(self, name), name)
                object.__setattr__(self, name, value)
        n_directions = parse_whole(self.n_directions, "n_directions", 2)
        object.__setattr__(self, "n_directions", n_directions)
        self._check_method()
        self._check_sketch()

    @property
    def black_box(self) -> bool:
        """Whether the method asks for scores only."""
        return self.method in BLACK_BOX

    @property
    def row_passes(self) -> int:
        """Of an image, at most: its forward, and jvps, each of which may run up to two forwards."""
        if self.black_box:
            return n_queries_of(self.n_directions, n_round=ROUND) + 1
        return 30 * (1 if self.smooth is None else self.smooth[1])

    def facts(self) -> dict[str, Any]:
        """Those of every probe and these; those of a special use where it is asked for.

        A temperature that is still to be fitted is "fit" here.
        """
        temperature = self.temperature
        known = temperature is None or temperature == "fit"
        found: dict[str, Any] = {
            "estimator": self.method,
            "tol": self.tol,
            "dtype": None if self.dtype is None else str(self.dtype),
            "temperature": temperature if known else given_temperature(temperature),
            "space": "pixels",
        }
        if self.black_box:
            found |= {name: getattr(self, name) for name in SKETCH}
        if not self.kl:
            found["kl"] = False
        if self.smooth is not None:
            found["smooth"] = list(self.smooth)
        return super().facts() | found

    def _check_method(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method={self.method!r} is not one of {METHODS}")
        if self.tol is not None and not 0 < self.tol < 1:
            raise ConfigError(f"tol={self.tol!r} must lie in (0, 1), say 1e-3, or None")
        if self.dtype not in (None, torch.float32, torch.float64):
            raise ConfigError(
                f"dtype={self.dtype!r} is neither torch.float64, torch.float32 nor None; half "
                "precision has not the digits for a Jacobian"
            )
        if self.jvp not in ("auto", *BACKENDS):
            raise ConfigError(f"jvp={self.jvp!r} is not one of {('auto', *BACKENDS)}")
        given_temperature(self.temperature)
        object.__setattr__(self, "temperature", plain_scalar(self.temperature))

    def _check_sketch(self) -> None:
        target = self.target
        if target is not None and not 0 < target < float("inf"):
            raise ConfigError(
                f"target={target!r} must be a number > 0, half an interval of log lambda, or None"
            )
        if self.grey and self.method != "blackbox":
            raise ConfigError('grey=True goes with method="blackbox"')


def needs_radius(settings: FIMSettings) -> None:
    """Raises ConfigError for eps = 0: there is no finite step to compare lambda with."""
    if not settings.eps > 0:
        raise ConfigError(
            f"eps={settings.eps!r}: an audit compares lambda with steps of length eps; give "
            "FIMScore an eps > 0, for example 8/255"
        )


def needs_gradient(settings: FIMSettings) -> None:
    """Raises StatusError for a black box: its sketch has no direction worth a step."""
    if settings.black_box:
        raise StatusError(
            f"method={settings.method!r} measures and has no direction to step along; use a "
            "method with gradients for images and directions"
        )


def _noise(smooth: object, method: str) -> tuple[float, int] | None:
    """(sigma, n), or None."""
    if smooth is None:
        return None
    given = tuple(smooth) if isinstance(smooth, (tuple, list)) else ()
    pair = len(given) == 2 and is_whole(given[1], 2)
    if not (
        pair and 0 < as_number(given[0]) < math.inf and int(given[1]) <= MOST_POINTS
    ):
        raise ConfigError(
            f"smooth={smooth!r} must be (sigma, n): a standard deviation > 0 in pixel units and "
            f"a number of points in [2, {MOST_POINTS}], or None"
        )
    if method not in ("auto", "lanczos"):
        raise ConfigError(
            f'smooth goes with method "auto" or "lanczos", not {method!r}: the mean of F has too '
            "many rows for the others"
        )
    return as_number(given[0]), int(given[1])
