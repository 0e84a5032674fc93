"""What does a stage's record say of its method, its ball and its law?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..evaluation.zoo import AttackInfo, attack_info
from ..results.accuracy import Accuracy
from ..results.attack import AttackResult
from ..results.evaluation import EvaluationReport, StageReport
from ..results.prob_robustness import ProbRobustness
from .words import one_line, radius

_UNIFORM = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def settings_of(stage: StageReport) -> dict[str, Any]:
    """The settings of the stage, those of its result on top."""
    own = {} if stage.result is None else stage.result.settings
    return {**stage.settings, **own}


def zoo_entry(stage: StageReport) -> AttackInfo | None:
    """The entry of torchattacks' registry, by the method's name or the stage's; None if unknown."""
    settings = settings_of(stage)
    for name in (settings.get("method"), settings.get("attack"), stage.name):
        try:
            return attack_info(str(name))
        except ConfigError:
            continue
    return None


def ball_text(settings: Mapping[str, Any]) -> str:
    """The ball in words, or "" where the settings name none.

    >>> ball_text({"norm": "Linf", "eps": 8 / 255})
    'Linf ball of radius 8/255'
    """
    if settings.get("norm") is None or settings.get("eps") is None:
        return ""
    return f"{one_line(settings['norm'], 20)} ball of radius {radius(settings['eps'])}"


def law_text(settings: Mapping[str, Any]) -> str:
    """The kind of random perturbation of a PRTest in words.

    >>> law_text({"norm": "Linf", "eps": 8 / 255, "sampler": None})
    'uniform noise in the Linf ball of radius 8/255'
    """
    law = settings.get("sampler")
    facts = law if isinstance(law, Mapping) else {}
    name = one_line(facts.get("name", law if isinstance(law, str) else ""), 60)
    ball = ball_text({**settings, **{k: v for k, v in facts.items() if v is not None}})
    if not name or name in _UNIFORM:
        return f"uniform noise in the {ball or 'stated ball'}"
    return f"the law “{name}”" + (
        f" within the {ball}" if ball and facts.get("eps") else ""
    )


def balls(report: EvaluationReport) -> list[str]:
    """Every ball that an attack or a random test of this report worked in, each once."""
    found = [
        ball_text(settings_of(stage))
        for stage in report.stages
        if is_attack(stage) or is_test(stage)
    ]
    named = [ball for ball in dict.fromkeys(found) if ball]
    planned = ball_text(report.plan)
    return named or [planned] * bool(found and planned)


def is_clean(stage: StageReport) -> bool:
    """Whether the stage measures unchanged images."""
    return stage.kind == "clean" or isinstance(stage.result, Accuracy)


def is_attack(stage: StageReport) -> bool:
    """Whether the stage is an attack."""
    return stage.kind == "attack" or isinstance(stage.result, AttackResult)


def is_test(stage: StageReport) -> bool:
    """Whether the stage is a test of random perturbations."""
    return stage.kind == "prtest" or isinstance(stage.result, ProbRobustness)


def usable(stage: StageReport) -> bool:
    """Whether the stage has a result and did not raise."""
    return stage.error is None and stage.result is not None


def n_images(report: EvaluationReport) -> int | None:
    """How many images were measured; None where no stage has a result and the data do not say."""
    for stage in report.stages:
        if stage.result is not None:
            return len(stage.result)
    n = report.data.get("n")
    return n if isinstance(n, int) else None
