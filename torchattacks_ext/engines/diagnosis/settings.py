"""What does a diagnosis run? Radius, steps, queries and the larger radii, frozen."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..._typing import Norm
from ...errors import ConfigError
from ...numerics.arguments import parse_real, parse_seed, parse_whole
from ...numerics.norms import Bounds, check_norm
from ...numerics.unit import Unit, check_box

FACTORS = (2, 4, 8)
"""Radii beyond eps at which accuracy must fall."""
FREE = 0.5
"""Radius (Linf, of a range of 1) at which every image can become grey."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DiagnosisSettings:
    """Settings of one diagnosis.

    Arguments:
        eps (float): radius > 0, in pixel units.
        norm (str): "Linf", "L2" or "L1". (Default: "Linf")
        seed (int): of every random number. (Default: 0)
        steps (int): of each gradient run, even and >= 20; a run of half as many stands beside it.
            (Default: 40)
        queries (int): of Square. (Default: 1000)
        draws (int): corners of the ball that random search asks. (Default: 50)
        sweep_steps (int): of the runs at larger radii. (Default: 10)
        n_noise (int): draws of noise of radius 8/255 for unstable predictions. (Default: 10)
        bounds (tuple): (low, high) of a pixel. (Default: (0, 1))
        batch_size (int): most rows a call. (Default: 256)

    Raises ConfigError for values outside their domains.

    >>> DiagnosisSettings(eps=0.1).facts()["steps"]
    40
    """

    eps: float
    norm: Norm = "Linf"
    seed: int = 0
    steps: int = 40
    queries: int = 1000
    draws: int = 50
    sweep_steps: int = 10
    n_noise: int = 10
    bounds: Bounds | None = (0.0, 1.0)
    batch_size: int = 256

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_box(self.bounds, "diagnose")
        object.__setattr__(self, "eps", parse_real(self.eps, "eps"))
        if not 0 < self.eps < float("inf"):
            raise ConfigError(
                f"eps={self.eps!r} must be > 0: without a ball there is no attack to look at"
            )
        least = {"steps": 20, "queries": 1, "draws": 1, "sweep_steps": 1}
        least |= {"n_noise": 1, "batch_size": 1}
        for name, bound in least.items():
            value = parse_whole(getattr(self, name), name, bound)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "seed", parse_seed(self.seed))
        if self.steps % 2:
            raise ConfigError(
                f"steps={self.steps} must be even: half of them are run as well"
            )

    @property
    def unit(self) -> Unit:
        """The box as [0, 1]."""
        return Unit(self.bounds)

    def facts(self) -> dict[str, Any]:
        """What decides, in JSON types; bounds and batches are the caller's."""
        kept = [f.name for f in fields(self) if f.name not in ("bounds", "batch_size")]
        return {name: getattr(self, name) for name in kept}
