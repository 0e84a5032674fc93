"""What do the verdicts of many images say of the whole data set, and what do they not say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from .._typing import Verdict
from ..errors import ConfigError, StateError
from ..numerics.populations.bounds import (
    count_bound,
    mean_failure_bounds,
    population_bounds,
)
from ..numerics.populations.multiplicity import Correction, adjust, adjust_e
from ..numerics.rates import sil
from ..numerics.rates.binomial import clopper_pearson

if TYPE_CHECKING:
    from .prob_robustness import ProbRobustness

Method = Literal["none", "holm", "bh", "by", "ebh"]
Claim = Literal["robust", "not_robust"]

SIDES: Mapping[str, str] = {
    "pra_interval": "two-sided",
    "count_bound": "one-sided",
    "population_bounds": "one-sided each",
    "mean_failure_bounds": "one-sided each",
}
"""Whether `confidence` belongs to both ends of an interval together, or to each end alone."""

_ERROR_MAX = 0.25


def dataset_claims(result: ProbRobustness, confidence: float) -> dict[str, Any]:
    """Every claim about the data set as a whole; None, with a reason, where one does not hold."""
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence} must lie in (0, 1), say 0.95")
    n, certified = len(result), int(result.certified.sum())
    low, high = clopper_pearson(certified, n, confidence) if n else (0.0, 1.0)
    doubt, mean_doubt = _dependent(result), _mean_doubt(result, confidence)
    level = result.settings.get("significance")
    if doubt is None and not (isinstance(level, float) and n):
        doubt = "needs images, and the level of the test in the settings"
    least, bounds, mean, mean_bounds = None, None, None, None
    if doubt is None and isinstance(level, float):
        least = count_bound(certified, n, level, 1 - confidence)
        refuted = int(refuted_or_wrong(result).sum())
        bounds = list(population_bounds(certified, refuted, n, level, 1 - confidence))
    draws, failures = int(result.n_mean.sum()), int(result.mean_failures.sum())
    if draws:
        mean = failures / draws
    if mean_doubt is None:
        mean_bounds = list(mean_failure_bounds(failures, draws, 1 - confidence))
    left_out = {"count_bound": doubt, "population_bounds": doubt}
    left_out |= {"mean_failure_bounds": mean_doubt}
    return {
        "certified": certified,
        "pra": certified / n if n else float("nan"),
        "pra_interval": [float(low), float(high)],
        "count_bound": least,
        "population_bounds": bounds,
        "mean_failure": mean,
        "mean_failure_bounds": mean_bounds,
        "confidence": confidence,
        "sides": dict(SIDES),
        "left_out": {name: why for name, why in left_out.items() if why is not None},
    }


def refuted_or_wrong(result: ProbRobustness) -> Tensor:
    """(N,) bool: refuted, or clean answer wrong; what an upper bound of the population counts."""
    wrong = result.verdict == int(Verdict.MISCLASSIFIED)
    refuted = result.verdict == int(Verdict.NOT_ROBUST)
    return refuted | wrong | (result.clean_correct == 0)


def _dependent(result: ProbRobustness) -> str | None:
    """Why verdicts of different images may not be counted like independent ones, or None."""
    if result.settings.get("shared_noise"):
        return "noise was shared between the images, so their verdicts are dependent"
    if result.settings.get("test") == "splitting":
        return "splitting is exact for an ideal kernel only (guarantee='ideal-kernel')"
    if any(flag.code == "batch_dependent_model" for flag in result.flags):
        return "an answer of the model depends on the other rows of the batch"
    if any(flag.code == "not_replayable" for flag in result.flags):
        return "the sampler draws its own numbers, which may be shared between images"
    return None


def _mean_doubt(result: ProbRobustness, confidence: float) -> str | None:
    """Why there are no bounds of the mean failure rate, or None."""
    drawn = np.unique(result.n_mean.numpy())
    if not (drawn > 0).any():
        return "needs draws of every image; measure with n_mean=16"
    if len(drawn) != 1:
        return "the budget ended before every image had its n_mean draws"
    if 1 - confidence > _ERROR_MAX:
        return f"holds for a confidence of {1 - _ERROR_MAX} or more"
    if any(flag.code == "batch_dependent_model" for flag in result.flags):
        return "an answer of the model depends on the other rows of the batch"
    return None


def corrected(result: ProbRobustness, method: Method, claim: Claim) -> Tensor:
    """Adjusted p-values (N,) float64; see :meth:`ProbRobustness.corrected`."""
    if claim not in ("robust", "not_robust"):
        raise ConfigError(f"claim={claim!r} is not one of ('robust', 'not_robust')")
    if method == "bh" and result.settings.get("shared_noise"):
        raise ConfigError(
            "method='bh' needs independent images, and these shared their noise; use 'by', 'holm' "
            "or 'ebh'"
        )
    if method != "ebh":
        p = getattr(result, f"p_value_{claim}").numpy()
        plain: Correction = method
        return torch.from_numpy(np.asarray(adjust(p, plain)))
    log_e = getattr(result, f"log_e_{claim}")
    if bool(log_e.isnan().any()):
        raise ConfigError(
            f"method='ebh' needs e-values, and test={result.settings.get('test')!r} has none; use "
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


def sil_of(result: ProbRobustness, confidence: float) -> SilBand:
    """See :meth:`ProbRobustness.sil`."""
    found = dataset_claims(result, confidence)
    if found["mean_failure_bounds"] is None:
        why = found["left_out"]["mean_failure_bounds"]
        raise StateError(f"sil() needs a bound of the mean failure rate, which {why}")
    upper = float(found["mean_failure_bounds"][1])
    law = result.settings.get("sampler", {})
    name = str(law.get("name", "the sampler")) if isinstance(law, Mapping) else str(law)
    return SilBand(upper, sil.sil_band(upper), confidence, name)
