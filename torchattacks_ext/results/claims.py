"""What do the verdicts of many images say of the whole data set, and what do they not say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, StateError
from ..numerics.populations.bounds import (
    count_bound,
    mean_failure_bounds,
    population_bounds,
)
from ..numerics.populations.multiplicity import Correction, adjust, adjust_e
from ..numerics.rates import sil
from .base.shares import check_confidence, share_between

Method = Literal["none", "holm", "bh", "by", "ebh"]
Claim = Literal["robust", "not_robust"]
CLAIMS: tuple[Claim, ...] = get_args(Claim)

SIDES: Mapping[str, str] = {
    "pra_interval": "two-sided",
    "count_bound": "one-sided",
    "population_bounds": "one-sided each",
    "mean_failure_bounds": "one-sided each",
}
"""Whether `confidence` belongs to both ends of an interval together, or to each end alone."""

_ERROR_MAX = 0.25
_BATCH_DEPENDENT = "an answer of the model depends on the other rows of the batch"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a test found, as far as claims about the whole data set need it.

    Arguments:
        n (int): images.
        certified (int): of them robust, and not known to be answered wrongly.
        refuted (int): of them refuted, or answered wrongly without any noise: what an upper bound
            of the population counts.
        n_mean, mean_failures (Tensor): (N,) int64 draws for the mean failure rate, failures of it.
        settings (dict): of the test.
        codes (frozenset): of the flags.
        unknown (int): images that the run did not get through.
        chosen (str): why nothing may be said that needs all images of the run, or None.
    """

    n: int
    certified: int
    refuted: int
    n_mean: Tensor
    mean_failures: Tensor
    settings: Mapping[str, Any]
    codes: frozenset[str]
    unknown: int = 0
    chosen: str | None = None

    @property
    def one_by_one(self) -> str | None:
        """Why the share of certified images says nothing of a new one, or None."""
        splitting = self.settings.get("test") == "splitting"
        return self.chosen or (None if splitting else self.dependent)

    @property
    def dependent(self) -> str | None:
        """Why verdicts of different images may not be counted like independent ones, or None."""
        if self.chosen is not None:
            return self.chosen
        if self.settings.get("shared_noise"):
            return (
                "noise was shared between the images, so their verdicts are dependent"
            )
        if self.settings.get("test") == "splitting":
            return (
                "splitting is exact for an ideal kernel only (guarantee='ideal-kernel')"
            )
        if "batch_dependent_model" in self.codes:
            return _BATCH_DEPENDENT
        if "not_replayable" in self.codes:
            return (
                "the sampler draws its own numbers, which may be shared between images"
            )
        return None

    def mean_doubt(self, confidence: float) -> str | None:
        """Why there are no bounds of the mean failure rate, or None."""
        drawn = np.unique(self.n_mean.numpy())
        if self.chosen is not None:
            return self.chosen
        if not (drawn > 0).any():
            return "needs draws of every image; measure with n_mean=16"
        if len(drawn) != 1:
            return "the budget ended before every image had its n_mean draws"
        if 1 - confidence > _ERROR_MAX:
            return f"holds for a confidence of {1 - _ERROR_MAX} or more"
        if "batch_dependent_model" in self.codes:
            return _BATCH_DEPENDENT
        return None


def dataset_claims(found: Evidence, confidence: float) -> dict[str, Any]:
    """Every claim about the data set as a whole; None, with a reason, where one does not hold."""
    check_confidence(confidence)
    n, certified, error = found.n, found.certified, 1 - confidence
    doubt, mean_doubt = found.dependent, found.mean_doubt(confidence)
    level = found.settings.get("significance")
    if doubt is None and not (isinstance(level, float) and n):
        doubt = "needs images, and the level of the test in the settings"
    least, bounds, mean, mean_bounds = None, None, None, None
    if doubt is None and isinstance(level, float):
        least = count_bound(certified, n, level, error)
        bounds = list(population_bounds(certified, found.refuted, n, level, error))
    counted = certified, found.unknown, n, confidence
    ends, interval = share_between(*counted, doubt=found.one_by_one)
    draws, failures = int(found.n_mean.sum()), int(found.mean_failures.sum())
    if draws:
        mean = failures / draws
    if mean_doubt is None:
        mean_bounds = list(mean_failure_bounds(failures, draws, error))
    left_out = {"pra_interval": found.one_by_one}
    left_out |= {"count_bound": doubt, "population_bounds": doubt}
    left_out |= {"mean_failure_bounds": mean_doubt}
    return {
        "certified": certified,
        "pra": certified / n if n else float("nan"),
        **({"pra_bounds": ends} if found.unknown else {}),
        "pra_interval": interval,
        "count_bound": least,
        "population_bounds": bounds,
        "mean_failure": mean,
        "mean_failure_bounds": mean_bounds,
        "confidence": confidence,
        "sides": dict(SIDES),
        "left_out": {name: why for name, why in left_out.items() if why is not None},
    }


def corrected(
    p_value: Tensor, log_e: Tensor, method: Method, settings: Mapping[str, Any]
) -> Tensor:
    """Adjusted p-values (N,) float64 of p-values and log e-values (N,) of one claim an image.

    Raises ConfigError for a method that does not fit the settings of the test.
    """
    if method == "bh" and settings.get("shared_noise"):
        raise ConfigError(
            "method='bh' needs independent images, and these shared their noise; use 'by', 'holm' "
            "or 'ebh'"
        )
    if method != "ebh":
        plain: Correction = method
        return torch.from_numpy(np.asarray(adjust(p_value.numpy(), plain)))
    if bool(log_e.isnan().any()):
        raise ConfigError(
            f"method='ebh' needs e-values, and test={settings.get('test')!r} has none; use "
            "'holm', 'bh' or 'by', or measure with test='eprocess'"
        )
    return torch.from_numpy(np.asarray(adjust_e(log_e.numpy())))


@dataclass(frozen=True)
class SilBand:
    """Which SIL numeric band the bound of the mean failure rate falls in; a number, no level.

    Arguments:
        upper (float): bound of the mean failure rate, one-sided.
        band (int or None): 4, 3, 2, 1; None for a bound of 0.1 and more.
        confidence (float): of the bound.
        law (str): the perturbation that was drawn.
        caveats (tuple): why this is no claim about the safety of a system.

    >>> SilBand(0.004, 2, 0.95, "linf").text
    'upper bound 0.004 falls in the SIL-2 numeric band (IEC 61508, low demand) under linf'
    """

    upper: float
    band: int | None
    confidence: float
    law: str
    caveats: tuple[str, ...] = sil.SIL_CAVEATS

    @property
    def text(self) -> str:
        """One sentence that claims the number and nothing else."""
        if self.band is None:
            return (
                f"upper bound {self.upper:.4g} falls in no SIL numeric band (IEC 61508, low "
                f"demand: below 0.1) under {self.law}"
            )
        return (
            f"upper bound {self.upper:.4g} falls in the SIL-{self.band} numeric band (IEC 61508, "
            f"low demand) under {self.law}"
        )

    def __str__(self) -> str:
        return "\n".join([self.text, *(f"* {caveat}" for caveat in self.caveats)])


def sil_of(found: Evidence, confidence: float) -> SilBand:
    """The band of the upper bound. Raises StateError where there is none."""
    claims = dataset_claims(found, confidence)
    if claims["mean_failure_bounds"] is None:
        why = claims["left_out"]["mean_failure_bounds"]
        raise StateError(f"sil() needs a bound of the mean failure rate, which {why}")
    upper = float(claims["mean_failure_bounds"][1])
    law = found.settings.get("sampler", {})
    name = str(law.get("name", "the sampler")) if isinstance(law, Mapping) else str(law)
    return SilBand(upper, sil.sil_band(upper), confidence, name)
