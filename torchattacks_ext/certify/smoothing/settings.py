"""How many noisy copies, at which level, for which radius? Checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...numerics.arguments import (
    check_probabilities,
    parse_number,
    parse_seed,
    parse_whole,
)
from ...numerics.smoothing.cohen import check_draws, check_sigma
from ...numerics.smoothing.early import GIVE_UP, radius_test


@dataclass(frozen=True, kw_only=True)
class SmoothingSettings:
    """What a smoothed certifier was told.

    Arguments:
        sigma (float): standard deviation of the noise, in pixel units of [0, 1].
        n0 (int): draws that choose the class. (Default: 100)
        n (int): fresh draws that bound it, at most. (Default: 100_000)
        significance (float): chance that the radius of an image is too large. (Default: 0.001)
        eps (float): the one radius that is asked for; draws stop when it is decided. None asks for
            the largest. (Default: None)
        give_up (float): level at which an image is taken to miss `eps`. (Default: 0.01)
        seed (int): of the noise, >= 0. (Default: 0)
        batch_size (int): rows of one forward; changes no decision. (Default: 256)

    Raises ConfigError for values outside their domains, and where n draws could prove nothing.

    >>> SmoothingSettings(sigma=0.25).facts()["n"]
    100000
    """

    sigma: float
    n0: int = 100
    n: int = 100_000
    significance: float = 0.001
    eps: float | None = None
    give_up: float = GIVE_UP
    seed: int = 0
    batch_size: int = 256

    def __post_init__(self) -> None:
        check_probabilities(significance=self.significance)
        checked: dict[str, Any] = {
            "sigma": check_sigma(self.sigma),
            "n0": check_draws("n0", self.n0),
            "n": check_draws("n", self.n, self.significance),
            "seed": parse_seed(self.seed),
            "batch_size": parse_whole(self.batch_size, "batch_size", 1),
            "eps": None if self.eps is None else parse_number(self.eps, "eps"),
        }
        if self.significance >= 0.5:
            raise ConfigError(
                f"significance={self.significance!r} must be below 0.5, say 0.001"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.eps is not None:
            radius_test(self.eps, self.sigma, self.significance, self.n, self.give_up)

    def facts(self) -> dict[str, Any]:
        """What decides, in JSON types; the level at which images are given up only with `eps`."""
        own = {
            "sigma": self.sigma,
            "n0": self.n0,
            "n": self.n,
            "significance": self.significance,
            "seed": self.seed,
        }
        if self.eps is None:
            return own
        return own | {"fixed_radius": self.eps, "give_up": self.give_up}
