"""What will a stage cost? Row-passes expected of it, before anything is run.

Two shares decide: of images that are right when clean, since only these are attacked, and of those
among them that withstand a strong attack, since only they go through all of it. Neither is known
beforehand; :data:`USUAL` is a guess, which a look at a few images replaces. The factors are those
of the code of torchattacks 3.5.1, checked against counts of two models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...numerics.populations.planning import sample_size
from ...numerics.populations.spending import SpendSettings
from ..stages import AttackStage, BudgetedStage, MSAStage, RowStage
from ..stages.diagnostics import DiagnosticsStage
from ..stages.fim import FIMStage
from ..stages.prtest import PRTestStage
from ..zoo.foreign import is_foreign
from ..zoo.table import AttackInfo, parameters_of


@dataclass(frozen=True)
class Shares:
    """What is known or guessed of a model. right: of the images. left: of the right ones, after a
    strong attack. n_classes: K.
    """

    right: float = 0.8
    left: float = 0.6
    n_classes: int = 10


USUAL = Shares()
"""Where nobody looked."""
EARLY = 0.15
"""Part of a score attack's queries that an image takes that does not withstand them."""


NEAR = 1.25
"""Draws of PRTest beside those of an image that never fails: some lie near the limit."""
JVP = 1.2
"""Passes of the exact Fisher score beside those of a net whose Jacobian products come for one."""
TEN = 10
"""Classes for which a stage says what an image costs."""


def expected_passes(stage: RowStage, n: int, seen: Shares = USUAL) -> float | None:
    """Row-passes, forward and backward, of a stage on n images; None where nobody can say.

    >>> from torchattacks_ext.evaluation.plan import check_plan
    >>> from torchattacks_ext.evaluation.stages import build_stages
    >>> _, pgd = build_stages(check_plan({"eps": 0.1, "stages": [{"name": "PGD", "steps": 20}]}))
    >>> expected_passes(pgd, 100, Shares(right=1.0))
    4100.0
    """
    if isinstance(stage, BudgetedStage):
        return _budgeted(stage, n, seen)
    each = _each(stage, seen)
    return None if each is None else n * each


def passes_per_image(stage: RowStage) -> float | None:
    """The same of one image of many, under :data:`USUAL`; None for what needs their number."""
    return None if isinstance(stage, BudgetedStage) else expected_passes(stage, 1)


def _each(stage: RowStage, seen: Shares) -> float | None:
    """Of one image, right or wrong."""
    if isinstance(stage, AttackStage):
        passes = _attack(stage.info, stage.arguments, seen)
        return None if passes is None else seen.right * passes
    if isinstance(stage, MSAStage):
        return _msa(stage, seen)
    whole = stage.cost_per_image
    if whole is None:
        return None
    if isinstance(stage, PRTestStage):
        return seen.right * NEAR * whole
    if isinstance(stage, DiagnosticsStage):
        return seen.right * whole * (0.2 + 0.8 * seen.left)
    if isinstance(stage, FIMStage):
        return JVP * whole * min(seen.n_classes, TEN) / TEN
    return whole


def _step(a: Mapping[str, Any], s: Shares) -> float:
    """A forward and a backward pass a step, and one to be judged."""
    return 2.0 * int(a["steps"]) + 1


def _early(a: Mapping[str, Any], s: Shares) -> float:
    """One query a step, for most of them only where the image withstands them."""
    return (int(a["n_queries"]) + 2) * (s.left + (1 - s.left) * EARLY)


_Count = Callable[[Mapping[str, Any], Shares], float]
_COUNTS: Mapping[str, _Count] = {
    "VANILA": lambda a, s: 1.0,
    "GN": lambda a, s: 2.0,
    "FGSM": lambda a, s: 3.0,
    "FFGSM": lambda a, s: 3.0,
    "TPGD": lambda a, s: _step(a, s) + 1,
    "EOTPGD": lambda a, s: 2.0 * a["steps"] * a["eot_iter"] + 1,
    "UPGD": lambda a, s: 2.0 * a["steps"] * a["eot_iter"] + 1,
    "PGDRS": lambda a, s: 2.0 * a["steps"] * a["noise_batch_size"] + 1,
    "PGDRSL2": lambda a, s: 2.0 * a["steps"] * a["noise_batch_size"] + 1,
    "SINIFGSM": lambda a, s: 2.0 * a["steps"] * a["m"] + 1,
    "VMIFGSM": lambda a, s: 2.0 * a["steps"] * (a["N"] + 1) + 1,
    "VNIFGSM": lambda a, s: 2.0 * a["steps"] * (a["N"] + 1) + 1,
    "APGD": lambda a, s: a["n_restarts"] * (2.0 * a["steps"] + 4),
    "APGDT": lambda a, s: (2.0 * a["steps"] + 4)
    * (1 + s.left * (_targets(s) * a["n_restarts"] - 1)),
    "SPSA": lambda a, s: 2.0 * a["nb_iter"] * a["nb_sample"] + 1,
    "PIFGSM": lambda a, s: 2.0 * a["num_iter_set"] + 1,
    "PIFGSMPP": lambda a, s: 2.0 * a["num_iter_set"] + 1,
    "EADL1": lambda a, s: 0.9 * a["binary_search_steps"] * a["max_iterations"],
    "EADEN": lambda a, s: 0.9 * a["binary_search_steps"] * a["max_iterations"],
    "DeepFool": lambda a, s: (s.n_classes + 2.0) * min(a["steps"], 7),
    "FAB": lambda a, s: a["n_restarts"] * ((s.n_classes + 2.0) * a["steps"] + 4),
    "Square": _early,
}
"""Row-passes of one right image, by class; others take a forward and a backward pass a step."""


def _targets(s: Shares) -> int:
    return max(min(9, s.n_classes - 1), 1)


def _attack(
    info: AttackInfo, arguments: Mapping[str, Any], seen: Shares
) -> float | None:
    """Of one right image; None for a class of others, of which only a run can tell."""
    if is_foreign(info.name):
        return None
    values = {key: p.default for key, p in parameters_of(info.name).items()} | dict(
        arguments
    )
    count = _COUNTS.get(info.name)
    if count is not None:
        return float(count(values, seen))
    known = info.family in ("gradient", "transfer", "optimisation")
    return _step(values, seen) if known and values.get("steps") else None


GATED: Mapping[str, float] = {"fast": 0.165, "standard": 0.13}
"""Part of the own engine's plan that a right image goes through, since its gates stop most."""
FIRST = 0.03
"""Part of a plan that breaks what it breaks."""


def _msa(stage: MSAStage, seen: Shares) -> float | None:
    """Of one image, right or wrong."""
    whole = stage.cost_of(seen.n_classes)
    if whole is None:
        return None
    version = str(stage.settings.get("version"))
    if stage.settings.get("engine") == "own" and version in GATED:
        return seen.right * GATED[version] * whole
    return seen.right * whole * (FIRST + (1 - FIRST) * seen.left)


def _budgeted(stage: BudgetedStage, n: int, seen: Shares) -> float | None:
    """The cheap attack on all images, the full one on as many survivors as the interval needs.

    As if it broke one in fifty of them.
    """
    left = Shares(seen.right * seen.left, 1.0, seen.n_classes)
    cheap = [
        expected_passes(one, n, left if number else seen)
        for number, one in enumerate(stage.cheap)
    ]
    survivors = round(n * left.right)
    each = _each(stage.full, Shares(1.0, 1.0, seen.n_classes))
    if each is None or None in cheap:
        return None
    runs = expected_runs(survivors, n, stage.spending)
    return sum(one for one in cheap if one is not None) + each * runs


def expected_runs(survivors: int, n: int, spending: SpendSettings) -> int:
    """How many survivors of the cheap attack the full one will be run on, if it breaks 2 %.

    >>> expected_runs(567, 1017, SpendSettings())
    233
    """
    room = spending.half_width * n
    known = math.ceil(spending.exhaustive * survivors)
    left = survivors - known
    if left <= 2 * room:
        return known
    pilot = min(spending.pilot, left)
    more = sample_size(left - pilot, 0.02, room, 1 - spending.confidence)
    return known + pilot + more
