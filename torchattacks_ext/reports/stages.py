"""What does a stage's record say of its method, its ball and its law?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..evaluation.zoo.catalogue import AttackInfo, attack_info
from ..results.accuracy import Accuracy
from ..results.attack import AttackResult
from ..results.certificates import Certificates
from ..results.datasets.budgeted import Budgeted
from ..results.diagnosis.diagnosis import Diagnosis
from ..results.evaluation import EvaluationReport, StageReport
from ..results.prob_robustness import ProbRobustness
from ..results.sensitivity import Sensitivity
from ..results.stress import Stress
from ..results.sweep import Sweep
from .laws import ball_text as ball_text
from .laws import law_ball, law_of
from .laws import law_text as law_text


def settings_of(stage: StageReport) -> dict[str, Any]:
    """The settings of the stage, those of its result on top."""
    own = {} if stage.result is None else stage.result.settings
    return {**stage.settings, **own}


def zoo_entry(stage: StageReport) -> AttackInfo | None:
    """The entry of torchattacks' registry, by the method's name or the stage's; None if unknown."""
    settings = settings_of(stage)
    # neither the stage "autoattack" nor a class of another package is one of torchattacks
    if settings.get("method") == "MSA" or "origin" in settings:
        return None
    for name in (settings.get("method"), settings.get("attack"), stage.name):
        try:
            return attack_info(str(name))
        except ConfigError:
            continue
    return None


def balls(report: EvaluationReport) -> list[str]:
    """Every ball that an attack or a random test of this report worked in, each once.

    A stage that failed before it said anything worked in the ball of the plan; a random test
    whose law no ball holds has none.
    """
    found = []
    for stage in report.stages:
        settings = settings_of(stage)
        if is_attack(stage) or is_budgeted(stage) or is_sweep(stage):
            found.append(ball_text(settings) or ball_text(report.plan))
        elif is_test(stage):
            found.append(law_ball({**_ball(report.plan), **settings}))
    return [ball for ball in dict.fromkeys(found) if ball]


def free_laws(report: EvaluationReport) -> list[str]:
    """The laws of the random tests with a result that no ball holds, in words, each once."""
    ran = [settings_of(s) for s in report.stages if is_test(s) and usable(s)]
    return list(
        dict.fromkeys(law_text(s) for s in ran if law_of(s) and not law_ball(s))
    )


def _ball(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plan[key] for key in ("eps", "norm") if key in plan}


def is_clean(stage: StageReport) -> bool:
    """Whether the stage measures unchanged images."""
    return stage.kind == "clean" or isinstance(stage.result, Accuracy)


def is_attack(stage: StageReport) -> bool:
    """Whether the stage is an attack."""
    return stage.kind == "attack" or isinstance(stage.result, AttackResult)


def is_budgeted(stage: StageReport) -> bool:
    """Whether the stage ran an attack on a sample of what another left."""
    return stage.kind == "budgeted" or isinstance(stage.result, Budgeted)


def is_test(stage: StageReport) -> bool:
    """Whether the stage is a test of random perturbations."""
    return stage.kind == "prtest" or isinstance(stage.result, ProbRobustness)


def is_score(stage: StageReport) -> bool:
    """Whether the stage scores the sensitivity of the outputs, without an attack."""
    return stage.kind == "fim" or isinstance(stage.result, Sensitivity)


def is_certified(stage: StageReport) -> bool:
    """Whether the stage gives radii within which an answer cannot change."""
    return stage.kind == "certified" or isinstance(stage.result, Certificates)


def is_diagnosis(stage: StageReport) -> bool:
    """Whether the stage looks for masked gradients."""
    return stage.kind == "diagnostics" or isinstance(stage.result, Diagnosis)


def is_stress(stage: StageReport) -> bool:
    """Whether the stage measures corrupted images."""
    return stage.kind == "stress" or isinstance(stage.result, Stress)


def is_sweep(stage: StageReport) -> bool:
    """Whether the stage asks one attack at several radii."""
    return stage.kind == "sweep" or isinstance(stage.result, Sweep)


def stressed(report: EvaluationReport) -> bool:
    """Whether a stage of corruptions has a result."""
    return any(is_stress(stage) and usable(stage) for stage in report.stages)


def sources(report: EvaluationReport) -> str:
    """Of which source no image was measured: another one, or a third beside a second test set."""
    shifted = any(s.kind == "shift" and usable(s) for s in report.stages)
    return "a third source" if shifted else "another source"


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
