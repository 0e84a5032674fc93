"""Which radius and norm does the literature use for a data set? Threat models by name."""

from __future__ import annotations

from dataclasses import dataclass

from ..._typing import Norm
from ...errors import ConfigError
from ...numerics.arguments import parse_number
from .words import did_you_mean


@dataclass(frozen=True)
class ThreatModel:
    """A ball that others have measured in as well.

    eps: radius in pixel units of [0, 1], as it is written. source: who uses it.
    """

    name: str
    eps: str
    norm: Norm
    source: str

    @property
    def radius(self) -> float:
        """The radius as a number."""
        return parse_number(self.eps, "eps")


_BENCH = "RobustBench (Croce et al. 2021, arXiv:2010.09670)"
THREATS = (
    ThreatModel("cifar10-linf-8", "8/255", "Linf", _BENCH),
    ThreatModel(
        "cifar10-linf-2", "2/255", "Linf", "Wong et al. 2018, arXiv:1805.12514"
    ),
    ThreatModel("cifar10-l2-0.5", "0.5", "L2", _BENCH),
    ThreatModel("cifar10-l1-12", "12", "L1", "Croce & Hein 2021, arXiv:2103.01208"),
    ThreatModel("cifar100-linf-8", "8/255", "Linf", _BENCH),
    ThreatModel("imagenet-linf-4", "4/255", "Linf", _BENCH),
    ThreatModel("imagenet-l2-3", "3", "L2", "Salman et al. 2020, arXiv:2007.08489"),
    ThreatModel("mnist-linf-0.3", "0.3", "Linf", "Madry et al. 2018, arXiv:1706.06083"),
    ThreatModel(
        "mnist-linf-0.1", "0.1", "Linf", "Wong & Kolter 2018, arXiv:1711.00851"
    ),
)
"""Of a whole number after "linf" the radius is that over 255; all others are pixel units."""


def threat_model(name: str) -> ThreatModel:
    """The threat model of that name, in any mixture of cases. Raises ConfigError with all names.

    >>> threat_model("CIFAR10-Linf-8").eps
    '8/255'
    """
    for threat in THREATS:
        if threat.name == str(name).lower():
            return threat
    known = [threat.name for threat in THREATS]
    raise ConfigError(
        f"threat_model={name!r} is not known{did_you_mean(str(name), known)}; known are "
        f"{', '.join(known)}, others by eps and norm"
    )
