"""What will MSA cost for an image that withstands all of it? An estimate for dry runs."""

from __future__ import annotations

from ....attacks.msa.plans import SEQUENCES
from ....attacks.msa.settings import MSASettings
from ....engines.judge.spec import AttackSpec

_FOLLOWED = ("apgd-ce", "apgd-dlr")
"""Names in AutoAttack's own sequence of what is kind "apgd" in a plan."""


def passes_of(settings: MSASettings, n: int, n_classes: int = 10) -> float:
    """Row-passes of one image, forward and backward, that everything tries in vain.

    n: of surrogates. n_classes: fewer than ten leave fewer to aim at. Lines for rows of which
    gradients say nothing (gate 0) are not counted.

    >>> passes_of(MSASettings(eps=0.1, norm="Linf", version="quick"), 0)
    600.0
    >>> [passes_of(MSASettings(eps=0.1, norm="Linf", version="autoattack"), 0, k) for k in (10, 2)]
    [9778.0, 5714.0]
    """
    most = max(1, n_classes - 1)
    if settings.is_sequence:
        on_surrogates, on_target = SEQUENCES[settings.version]
        steps = 40 if settings.version == "paper" else 100
        each = sum(_passes(_line(name, steps), most) for name in on_surrogates)
        return n * each + sum(_passes(_line(name, steps), most) for name in on_target)
    models = {"each": n + 1, "surrogates": n, "best": min(n + 1, 2)}
    lines = [line for line in settings.lines if line.gate]
    return sum((models.get(line.on, 1) * _passes(line, most) for line in lines), 0.0)


def _line(name: str, steps: int) -> AttackSpec:
    if name == "square":
        return AttackSpec("square", steps=5000)
    if name in _FOLLOWED:
        return AttackSpec("apgd", steps=steps)
    return AttackSpec("apgd-t" if name == "apgd-t" else "fab-t", steps=steps)


def _passes(line: AttackSpec, most: int) -> float:
    """One line on one model, at `most` so many targets; a step of FAB-T asks twice forward, one of
    FAB for ten gradients.
    """
    targets = min(line.targets, most)
    each = {
        "noise": line.steps,
        "square": line.steps + 2,
        "fab": 12 * line.steps + 4,
        "fab-t": targets * (3 * line.steps + 4),
        "apgd-t": targets * (2 * line.steps + 4),
        "malt": 20 + targets * (2 * line.steps + 2),
        "smooth": line.steps * (2 * line.copies + 1) + 1,
    }
    return float(each.get(line.kind, line.restarts * (2 * line.steps + 4)))
