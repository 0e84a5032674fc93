"""Which law does a method use, and does it agree with the ball it was given?"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import torch

from .._typing import Norm
from ..errors import ConfigError
from ..numerics.norms import check_norm
from .affine import Affine
from .base import CallableSampler, Sampler
from .compose import Compose
from .corruptions import Corruption
from .eightbit import EightBit
from .gaussian import Gaussian
from .l1 import L1Ball
from .l2 import L2Ball
from .linf import LinfUniform
from .photometric import Photometric

_LAWS: tuple[type[Sampler], ...] = (
    LinfUniform,
    L2Ball,
    L1Ball,
    Gaussian,
    Affine,
    Photometric,
    Compose,
    EightBit,
    Corruption,
)

SAMPLERS: dict[str, type[Sampler]] = {law.name: law for law in _LAWS}
"""The built-in laws by the name that stands in their settings and in plans."""

_BALLS: dict[str, str] = {"Linf": "linf", "L2": "l2", "L1": "l1"}


def choose_sampler(sampler: Any, eps: float, norm: Norm, bounds: Any) -> Sampler:
    """`sampler` as a Sampler that agrees with the ball of a method.

    sampler: None for the uniform law in the ball; a Sampler as it is; a callable
        f(images, u), wrapped; or a name of :data:`SAMPLERS` with its arguments, in the
        types of JSON and YAML: "linf", or {"name": "gaussian", "sigma": 0.1}. "compose"
        has a list "laws" of such descriptions, "eight_bit" one "law". Numbers may be
        written "8/255". ``eps`` and ``bounds`` that are not named are the given ones; a law
        without an eps ignores it. The settings of a built-in law are such a description.
    eps, norm, bounds: the ball and the range of the method.

    Raises ConfigError for an unknown name or argument, and where the law has another eps or
    norm than the given one.

    >>> choose_sampler(None, 0.5, "L2", (0, 1))
    L2Ball(norm='L2', eps=0.5, boundary='clamp', bounds=[0.0, 1.0])
    >>> choose_sampler({"name": "eight_bit", "law": "linf"}, 8 / 255, "Linf", (0, 1)).name
    'eight_bit'
    """
    if sampler is None:
        check_norm(norm)
        sampler = _BALLS[norm]
    law = _law(sampler, {"eps": eps, "bounds": bounds})
    for name, given in (("eps", eps), ("norm", norm)):
        own = getattr(law, name)
        if own is not None and own != given:
            raise ConfigError(
                f"{name}={given!r} disagrees with the sampler's {name}={own!r}; pass the same, as "
                f"in PRTest(model, eps=sampler.eps, norm=sampler.norm, sampler=sampler)"
            )
    return law


def _law(given: Any, defaults: Mapping[str, Any]) -> Sampler:
    """A Sampler, a function, a name or a description as a Sampler."""
    if isinstance(given, Sampler):
        return given
    if isinstance(given, str):
        return _described({"name": given}, defaults)
    if isinstance(given, Mapping):
        return _described(given, defaults)
    if isinstance(given, type) and issubclass(given, Sampler):
        raise ConfigError(
            f"sampler={given.__name__} is a class; make one, as in {given.__name__}(...)"
        )
    if not callable(given):
        raise ConfigError(
            f"sampler={given!r} is neither a Sampler, a name such as 'linf', a description "
            'such as {"name": "gaussian", "sigma": 0.1}, nor a callable f(images, u)'
        )
    return CallableSampler(given)


def _described(text: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sampler:
    """A built-in law from its name and arguments, or from its settings."""
    name = text.get("name")
    if not isinstance(name, str) or name not in SAMPLERS:
        raise ConfigError(
            f"sampler name {name!r} is unknown{_hint(name, SAMPLERS)}; expected one of "
            f"{sorted(SAMPLERS)}, or pass a Sampler or a callable f(images, u)"
        )
    kind: Any = SAMPLERS[name]
    known = inspect.signature(kind).parameters
    # Settings also hold the norm, and sometimes the eps, that follow from the arguments.
    told = {key: value for key, value in text.items() if key != "name"}
    outcome = {k: told.pop(k, None) for k in ("norm", "eps") if k not in known}
    law: Sampler = kind(**_arguments(name, known, told, defaults))
    for key, value in outcome.items():
        if value is not None and _number(value) != getattr(law, key):
            raise ConfigError(
                f"sampler {name!r} has {key}={getattr(law, key)!r}, not {value!r}; leave {key!r} "
                "out: it follows from the other arguments"
            )
    return law


def _arguments(
    name: str,
    known: Mapping[str, inspect.Parameter],
    told: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    for key in told:
        if key not in known:
            raise ConfigError(
                f"sampler {name!r} has no argument {key!r}{_hint(key, known)}; expected some of "
                f"{list(known)}"
            )
    chosen = {key: value for key, value in defaults.items() if key in known}
    chosen |= {k: v for k, v in told.items() if k != "eps" or v is not None}
    for key, parameter in known.items():
        if key not in chosen and parameter.default is parameter.empty:
            raise ConfigError(
                f"sampler {name!r} needs {key!r}; give it, as in "
                f'{{"name": "{name}", "{key}": ...}}'
            )
    return {key: _value(key, value, defaults) for key, value in chosen.items()}


def _value(key: str, value: Any, defaults: Mapping[str, Any]) -> Any:
    """One argument, from the types of JSON to those of the law."""
    if key == "law":
        return _law(value, defaults)
    if key == "laws":
        if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
            raise ConfigError(f'laws={value!r} must be a list, say ["linf", "l2"]')
        return [_law(one, defaults) for one in value]
    if key == "bounds" and isinstance(value, Iterable):
        return tuple(_bound(bound) for bound in value)
    return _number(value)


def _bound(value: Any) -> Any:
    """A list as a tensor, one value a channel; what is no number is left for the law to refuse."""
    try:
        return torch.tensor(value) if isinstance(value, list) else value
    except (TypeError, ValueError):
        return value


def _number(value: Any) -> Any:
    """The strings "8/255" and "1e-3" as floats, anything else as it is."""
    try:
        return float(Fraction(value)) if isinstance(value, str) else value
    except (ValueError, ZeroDivisionError):
        return value


def _hint(word: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word).lower(), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
