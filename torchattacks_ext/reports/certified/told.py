"""What does a stage of certificates tell, whatever the renderer? A table by radius, and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...results.certificates import GRID, Certificates
from ...results.evaluation import EvaluationReport
from ..stages import settings_of, usable
from ..words import interval, number, one_line, radius, share, things
from .curve import certified_curve
from .words import CERTIFIED, CONFIDENT, REPRODUCTION, WORTH, noise_words

HEAD = ("Radius (L2, pixel units)", "Right and certified beyond it", "Interval")
ALIGN = "rll"
NOTES = (
    "A radius is of the image's own answer: the ball around the image, pixels outside [0, 1] "
    "included, is answered alike. Only right answers count here.",
    "Intervals hold for one radius at a time, for new images of the same source.",
)


@dataclass(frozen=True)
class CertifiedTold:
    """stage: its name. tier: what its radii may be called; one table, one tier.

    rows: cells below :data:`HEAD`. notes: what to know. figure: an HTML figure, escaped; "" where
    there is nothing to draw.
    """

    stage: str
    tier: str
    rows: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    figure: str

    @property
    def title(self) -> str:
        """Heading of its section."""
        more = "" if self.tier == CERTIFIED else f" ({self.tier})"
        return f"Certified accuracy by radius: {self.stage}{more}"


def certified_told(
    report: EvaluationReport, confidence: float = 0.95
) -> list[CertifiedTold]:
    """One a stage with certificates and labels.

    >>> certified_told(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found = []
    for stage in report.stages:
        result = stage.result
        if not usable(stage) or not isinstance(result, Certificates) or not len(result):
            continue
        if bool((result.reference[result.answered] < 0).any()):
            continue
        settings = settings_of(stage)
        found.append(_told(one_line(stage.name), result, settings, confidence))
    return found


def _told(
    name: str, result: Certificates, settings: Mapping[str, Any], confidence: float
) -> CertifiedTold:
    n = len(result)
    only = result.fixed_radius
    radii = settings.get("radii") or GRID["L2"] if only is None else (only,)
    zero = [0.0] if only is None else []
    points = result.curve([*zero, *(eps for eps in radii if eps > 0)], confidence)
    rows = tuple(
        (radius(p.eps), share(round(p.value * n), n), interval((p.low, p.high)))
        for p in points
    )
    right = (result.clean_correct == 1).numpy()
    largest = result.radius[result.clean_correct == 1]
    finite = largest[largest.isfinite()]
    size = f"median {number(float(finite.median()))}, largest {number(float(finite.max()))}"
    notes = (
        f"Worth: {WORTH.get(result.tier, WORTH[REPRODUCTION])}.",
        (
            f"Radii of {things(len(finite), 'right answer')}: {size}."
            if len(finite)
            else ""
        ),
        _grounds(result.tier, settings),
        *NOTES,
    )
    figure = (
        ""
        if only is not None
        else certified_curve(
            np.where(right, result.radius.numpy(), -1.0),
            tier=result.tier,
            marks=[float(eps) for eps in radii],
            confidence=confidence,
            title=f"Certified accuracy: {name}",
        )
    )
    return CertifiedTold(name, result.tier, rows, tuple(filter(None, notes)), figure)


def _grounds(tier: str, settings: Mapping[str, Any]) -> str:
    """What the radii rest on, in a sentence."""
    if tier == CONFIDENT:
        return f"{noise_words(settings).capitalize()}."
    source = one_line(settings.get("L_source", ""), 200) or "no source given"
    return (
        f"Lipschitz constant of the encoder: {number(settings.get('L'), 6)} ({source})."
    )
