"""Which law does a method use, and does it agree with the ball it was given?"""

from __future__ import annotations

from typing import Any

from .._typing import Norm
from ..errors import ConfigError
from .base import CallableSampler, Sampler
from .linf import LinfUniform


def choose_sampler(sampler: Any, eps: float, norm: Norm, bounds: Any) -> Sampler:
    """`sampler` as a Sampler: itself, a wrapped callable f(images, u), or (None) the uniform ball.

    Raises ConfigError if its own eps or norm is not the given one, or where there is no
    uniform law.
    """
    if sampler is None:
        if norm != "Linf":
            raise ConfigError(
                f"norm={norm!r} has no built-in sampler; pass sampler=, or norm='Linf'"
            )
        return LinfUniform(eps, bounds=bounds)
    if not isinstance(sampler, Sampler):
        if not callable(sampler):
            raise ConfigError(
                f"sampler={sampler!r} is neither a Sampler nor a callable f(images, u)"
            )
        return CallableSampler(sampler)
    for name, given in (("eps", eps), ("norm", norm)):
        own = getattr(sampler, name)
        if own is not None and own != given:
            raise ConfigError(
                f"{name}={given!r} disagrees with the sampler's {name}={own!r}; pass the same, as "
                f"in PRTest(model, eps=sampler.eps, norm=sampler.norm, sampler=sampler)"
            )
    return sampler
