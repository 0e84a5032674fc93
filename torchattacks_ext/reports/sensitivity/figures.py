"""What do the sensitivity scores of a report look like, image by image?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...results.evaluation import EvaluationReport
from ...results.sensitivity import Sensitivity
from ..stages import settings_of, usable
from ..words import one_line
from .spread import lambda_histogram, lambda_scatter

CAPTION = (
    "Lower lambda = less sensitive outputs at this image; small also where the model is merely "
    "confident. The margin radius is the first-order distance to another class."
)


@dataclass(frozen=True)
class ScoreFigures:
    """stage: its name. figures: HTML, already escaped. caption: how to read them."""

    stage: str
    figures: tuple[str, ...]
    caption: str = CAPTION


def score_figures(report: EvaluationReport) -> list[ScoreFigures]:
    """A histogram and a scatter for each stage with sensitivity scores.

    >>> score_figures(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found = []
    for stage in report.stages:
        result = stage.result
        if not usable(stage) or not isinstance(result, Sensitivity):
            continue
        log_lam = result.log_lam.numpy()
        norm = one_line(settings_of(stage).get("norm", ""), 10)
        known = (result.clean_correct >= 0).all()
        figures = [lambda_histogram(log_lam, saturated=result.saturated.numpy())]
        radius = result.margin_radius.numpy()
        if np.isfinite(radius).any():
            figures.append(
                lambda_scatter(
                    log_lam,
                    np.where(np.isfinite(radius), radius, np.nan),
                    (result.clean_correct == 1).numpy() if bool(known) else None,
                    margin_name=f"margin radius ({norm}, pixel units)",
                    title="Sensitivity against the margin radius",
                )
            )
        found.append(ScoreFigures(one_line(stage.name), tuple(figures)))
    return found
