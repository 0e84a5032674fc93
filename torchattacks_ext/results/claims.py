"""What do the verdicts of many images say of the whole data set, and what do they not say?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, ReliabilityWarning, StateError
from ..numerics.populations.bounds import (
    count_bound,
    mean_failure_bounds,
    population_bounds,
)
from ..numerics.populations.multiplicity import Correction, adjust, adjust_e
from ..numerics.rates import sil
from .base.shares import check_confidence, share_between, without_copies
from .grounds import dependence, mean_dependence

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
        copies (int): images of the n that are there again, so not independent of the others.
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
    copies: int = 0
    unknown: int = 0
    chosen: str | None = None

    @property
    def one_by_one(self) -> str | None:
        """Why the share of certified images says nothing of a new one, or None."""
        return self.chosen or self.entangled

    @property
    def dependent(self) -> str | None:
        """Why verdicts of different images may not be counted like independent ones, or None."""
        if self.chosen is not None:
            return self.chosen
        if self.settings.get("test") == "splitting":
            return (
                "splitting is exact for an ideal kernel only (guarantee='ideal-kernel')"
            )
        return dependence(self.settings, self.codes)

    @property
    def entangled(self) -> str | None:
        """Why p-values of different images may depend on each other, or None."""
        if self.settings.get("test") == "splitting":  # exact or not is another question
            return mean_dependence(self.settings, self.codes)
        return self.dependent

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
        return mean_dependence(self.settings, self.codes)


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
        bounds = _population(found, level, error)
    counted = certified, found.unknown, n, confidence
    ends, interval = share_between(*counted, found.one_by_one, found.copies)
    draws, failures = int(found.n_mean.sum()), int(found.mean_failures.sum())
    if draws:
        mean = failures / draws
    if mean_doubt is None:
        mean_bounds = list(mean_failure_bounds(failures, draws, error))
    left_out = {"pra_interval": found.one_by_one}
    left_out |= {"count_bound": doubt, "population_bounds": doubt}
    if doubt is None and bounds is None:
        left_out["population_bounds"] = (
            "every image of these may be a copy of another one; measure each image once"
        )
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


def peeked_at(provenance: Mapping[str, Any], codes: frozenset[str]) -> str | None:
    """Why rows may have been stopped by what other rows said, or None.

    >>> peeked_at({"resumed": 1}, frozenset())
    'the run was gone on with (resume=) when earlier results were known'
    """
    if provenance.get("resumed"):
        return "the run was gone on with (resume=) when earlier results were known"
    if "budget_spent" in codes:
        return "the budget ended the run, so that rows stopped at what others had cost"
    return None


def _population(found: Evidence, level: float, error: float) -> list[float] | None:
    """Bounds from images that are there once; copies are taken at their worst for either end."""
    least, _, left = without_copies(found.certified, found.n, found.copies)
    refuted, *_ = without_copies(found.refuted, found.n, found.copies)
    return list(population_bounds(least, refuted, left, level, error)) if left else None


def corrected(
    p_value: Tensor,
    log_e: Tensor,
    method: Method | None,
    found: Evidence,
    peeked: str | None,
) -> Tensor:
    """Adjusted p-values (N,) float64 of p-values and log e-values (N,) of one claim an image.

    peeked: why a row may have been stopped by what others said, or None (:func:`peeked_at`).
    method None is "ebh" then, if there are e-values, and "holm" otherwise. Raises ConfigError for
    a method that does not fit the settings of the test; a ReliabilityWarning says where "bh" does
    not bound the share of false claims.
    """
    settings = found.settings
    if method is None:
        able = len(log_e) and not bool(log_e.isnan().any())
        method = "ebh" if peeked and able else "holm"
    if method == "bh" and settings.get("shared_noise"):
        raise ConfigError(
            "method='bh' needs independent images, and these shared their noise; use 'by', 'holm' "
            "or 'ebh'"
        )
    if method == "bh" and (why := peeked or found.entangled):
        text = (
            f"[bh_not_valid] method='bh' bounds the share of false claims for independent rows "
            f"that do not stop each other, and {why}; use 'ebh', 'by' or 'holm'"
        )
        warnings.warn(text, ReliabilityWarning, stacklevel=3)
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
