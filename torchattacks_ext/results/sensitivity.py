"""How sensitive is the output distribution to small changes of each image, and of all of them?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .._typing import Status
from ..errors import ConfigError
from ..numerics.arguments import as_number
from ..numerics.fisher.ball import VALID_RANGE
from ..numerics.fisher.spectral import Ending
from ..numerics.resampling import Statistic, bootstrap, bootstrap_t, carriers
from .base.columns import column
from .base.shares import check_confidence
from .correlation import Correlation, correlate_columns
from .sample import Sample

SATURATED = -16.0
"""log(1 - p_max) below which float32 calls p_max 1."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sensitivity(Sample):
    """Result of :class:`~torchattacks_ext.FIMScore`; one row an image.

    lambda = lambda_max of the input Fisher information in [0, 1] pixel space, in nats * 2 / |dx|^2;
    lower = less sensitive. It is a local, first-order diagnostic of the *output distribution*: no
    certificate, and no statement about labels. `log_lam` is the number to use: `lam` underflows for
    a saturated softmax.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        ending (Tensor): (N,) int8 codes of :class:`Ending`: how the search for lambda ended.
        prediction (Tensor): (N,) int64 clean answer; -1 where it is not known.
        reference (Tensor): (N,) int64 labels; -1 where none were given.
        clean_correct (Tensor): (N,) int8, 1, 0 or -1 (no label).
        log_lam (Tensor): (N,) float64 log lambda; -inf for a zero gradient, nan for no number.
        log_trace (Tensor): (N,) float64 log of the trace, lambda <= trace; an estimate where
            no gradient of every class was taken.
        log_rest (Tensor): (N,) float64 log(1 - p_max).
        margin_radius (Tensor): (N,) float64 first-order distance to another class in the norm of
            the settings; inf where no gradient leads there.
        log_linf (Tensor): (N,) float64 log of the largest e^T F e that was found over |e|_inf <= 1.
        log_linf_upper (Tensor): (N,) float64 log of an upper bound of it.
        spread (Tensor): (N,) float64 range of the logits' change for a unit step along the top
            eigenvector: KL is quadratic within 19 % while `spread * eps <= 0.5`.
        log_low (Tensor): (N,) float64 lower limit of log lambda (black box), else log lambda.
        log_high (Tensor): (N,) float64 upper limit.
        residual (Tensor): (N,) float64 relative residual of the eigenvalue; 0 when exact.
        n_iterations (Tensor): (N,) int64 iterations; 0 for the exact method.
        n_queries (Tensor): (N,) int64 forward row-passes of the black-box methods, else 0.

    >>> from torchattacks_ext import FIMScore
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    >>> result = FIMScore(net).measure(torch.full((2, 1, 2, 2), 0.5), ids=[1, 2])
    >>> bool(torch.isfinite(result.log_lam).all()), result.count(Ending.CONVERGED)
    (True, 2)
    """

    schema: ClassVar[str] = "sensitivity/1"
    no_number: ClassVar[str] = "NaN or infinite logits, or gradients that are"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    ending: Tensor = column(torch.int8, "provenance", enum=Ending)
    prediction: Tensor = column(torch.int64, "decision", nullable=True)
    reference: Tensor = column(torch.int64, "decision", nullable=True)
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    log_lam: Tensor = column(torch.float64, "measurement")
    log_trace: Tensor = column(torch.float64, "measurement")
    log_rest: Tensor = column(torch.float64, "measurement")
    margin_radius: Tensor = column(torch.float64, "measurement")
    log_linf: Tensor = column(torch.float64, "measurement")
    log_linf_upper: Tensor = column(torch.float64, "measurement")
    spread: Tensor = column(torch.float64, "measurement")
    log_low: Tensor = column(torch.float64, "measurement")
    log_high: Tensor = column(torch.float64, "measurement")
    residual: Tensor = column(torch.float64, "provenance")
    n_iterations: Tensor = column(torch.int64, "provenance")
    n_queries: Tensor = column(torch.int64, "provenance")

    @property
    def lam(self) -> Tensor:
        """(N,) float64 lambda; 0 where the softmax is sharper than float64 can say."""
        return self.log_lam.exp()

    @property
    def trace(self) -> Tensor:
        """(N,) float64 trace of the information matrix."""
        return self.log_trace.exp()

    @property
    def p_max(self) -> Tensor:
        """(N,) float64 probability of the clean answer."""
        return -torch.expm1(self.log_rest)

    @property
    def saturated(self) -> Tensor:
        """(N,) bool: p_max is 1 in float32; lambda measures confidence there."""
        return self.log_rest < SATURATED

    def kl_l2(self, eps: float) -> Tensor:
        """(N,) largest KL of the outputs in nats over |e|_2 <= eps: about lambda eps^2 / 2.

        A second-order estimate; see :meth:`believable`. Raises ConfigError for eps < 0.
        """
        return self._quadratic(self.log_lam, eps)

    def kl_linf(self, eps: float) -> Tensor:
        """(N,) the same over |e|_inf <= eps, from the worst signs that were found."""
        return self._quadratic(self.log_linf, eps)

    def believable(self, eps: float) -> Tensor:
        """(N,) bool: an L2 step of eps along the top eigenvector stays where KL is quadratic.

        `spread * eps <= 0.5`: within 19 % where the logits are affine on the way.
        """
        eps = _radius(eps)
        return self.spread * eps <= VALID_RANGE

    def _quadratic(self, log_value: Tensor, eps: float) -> Tensor:
        eps = _radius(eps)
        return log_value.exp() * eps**2 / 2

    def count(self, ending: Ending) -> int:
        """How many rows ended so."""
        unknown = int(Status.NOT_REACHED), int(Status.FAILED)
        reached = (self.status != unknown[0]) & (self.status != unknown[1])
        return int(((self.ending == int(ending)) & reached).sum())

    @property
    def usable(self) -> Tensor:
        """(N,) bool: rows with a number, zero gradients included."""
        return (self.status == int(Status.OK)) & ~self.log_lam.isnan()

    @property
    def r_norm(self) -> float:
        """Mean of lambda over usable rows (arXiv:2606.04767, eq. 6), lower = less sensitive."""
        return _mean(self.lam[self.usable])

    @property
    def r_spec(self) -> float:
        """Mean of 1 / lambda (eq. 6), ruled by the few rows of smallest lambda; inf with a zero."""
        return _mean((-self.log_lam[self.usable]).exp())

    @classmethod
    def _joined_facts(cls, parts: Sequence[Sensitivity]) -> dict[str, Any]:
        told = [part.provenance for part in parts]
        if not all("step_checks" in one and "jvp" in one for one in told):
            return {}
        checks: Counter[str] = Counter()
        for one in told:
            checks.update(one["step_checks"])
        backends = {name for one in told for name in one["jvp"]}
        return {"jvp": sorted(backends), "step_checks": dict(checks)}

    def correlate(
        self,
        outcome: Tensor,
        subsets: Mapping[str, Tensor] | None = None,
        *,
        outcome_name: str = "outcome",
        confidence: float = 0.95,
        n_resamples: int = 2000,
        seed: int = 0,
    ) -> Correlation:
        """How well the score orders `outcome` (N,), beside what any score must beat.

        outcome: a number an image, in the order of the rows: a minimum radius, or 1 where an attack
        failed and 0 where it succeeded, so that larger = more robust. Predictors point the same
        way: minus log lambda, p_max, margin_radius and, with labels, clean_correct; a useful score
        is positive and above margin_radius. subsets: name -> (N,) bool, shown side by side. Rows
        without a number in a predictor or in the outcome are dropped and counted. Spearman, Kendall
        and Pearson, each with a bootstrap interval. Raises InputError for another length.

        >>> from torchattacks_ext import FIMScore
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
        >>> result = FIMScore(net).measure(torch.rand(20, 1, 2, 2))
        >>> table = result.correlate(result.margin_radius)
        >>> round(table.find("margin_radius").value, 6)
        1.0
        """
        predictors = {
            "minus log_lam": -self.log_lam,
            "p_max": self.p_max,
            "margin_radius": self.margin_radius,
        }
        if bool((self.clean_correct >= 0).all()) and len(self):
            predictors["clean_correct"] = self.clean_correct.double()
        return correlate_columns(
            predictors,
            outcome,
            subsets,
            confidence,
            n_resamples,
            seed,
            outcome_name=outcome_name,
        )

    def summary(self, confidence: float = 0.95, seed: int = 0) -> dict[str, Any]:
        """Values of the data set, with bootstrap intervals over its images; strata by correctness.

        confidence in (0, 1): of the intervals of 2,000 resamples (they say how the numbers would
        vary over images like these), bootstrap-t for the mean, percentiles else. Where few rows
        carry the mean (`r_norm_carriers`, a flag) its interval covers less: read the median.
        `top_share`: the part of the sum of lambda that the 5 %
        largest rows hold. With labels, `correct` and `incorrect` have their own values. Raises
        ConfigError for another confidence.
        """
        check_confidence(confidence)
        found: dict[str, Any] = {"n": len(self), "confidence": confidence}
        found |= self._values(self.usable, confidence, seed)
        found |= {
            "failed": int((~self.usable).sum()),
            "saturated_fraction": _mean(self.saturated[self.usable].double()),
            "zero_gradient": self.count(Ending.ZERO_GRADIENT),
            "capped": self.count(Ending.CAP),
            "estimator": self.settings.get("estimator"),
        }
        for name, code in (("correct", 1), ("incorrect", 0)):
            rows = self.usable & (self.clean_correct == code)
            if bool((self.clean_correct >= 0).any()):
                found[name] = {"n": int(rows.sum())} | self._values(
                    rows, confidence, seed
                )
        return found | self.group_summaries(confidence)

    def _values(self, rows: Tensor, confidence: float, seed: int) -> dict[str, Any]:
        log_lam = self.log_lam[rows].numpy()
        lam = np.exp(log_lam)
        quarter = np.quantile(lam, [0.25, 0.5, 0.75]) if len(lam) else [np.nan] * 3
        size = np.sort(lam)[::-1]
        top = size[: max(1, round(0.05 * len(size)))].sum() if len(size) else np.nan
        total = size.sum()

        def interval(values: Any, statistic: Statistic) -> list[float]:
            if not len(values):
                return [float("nan"), float("nan")]
            return list(bootstrap(values, statistic, confidence, seed=seed))

        return {
            "r_norm": float(lam.mean()) if len(lam) else float("nan"),
            "r_norm_interval": _of_mean(lam, confidence, seed),
            "r_norm_carriers": carriers(lam),
            "r_spec": float(np.exp(-log_lam).mean()) if len(lam) else float("nan"),
            "median": float(quarter[1]),
            "median_interval": interval(lam, "median"),
            "quartiles": [float(quarter[0]), float(quarter[2])],
            "mean_log": float(log_lam.mean()) if len(lam) else float("nan"),
            "mean_log_interval": interval(log_lam, "mean"),
            "top_share": float(top / total) if total > 0 else float("nan"),
        }


def _of_mean(lam: Any, confidence: float, seed: int) -> list[float]:
    """Of numbers that are not negative, so neither is their mean."""
    low, high = bootstrap_t(lam, confidence, seed=seed)
    return [max(low, 0.0) if low == low else low, high]


def _radius(eps: Any) -> float:
    found = as_number(eps)
    if not 0 <= found < float("inf"):
        raise ConfigError(f"eps={eps!r} must be a finite number >= 0, in pixel units")
    return found


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else float("nan")
