"""Which stages make a first look, a usual evaluation, and everything? Profiles of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from ..._typing import Norm
from ...errors import ConfigError
from ...numerics.arguments import parse_number
from ..zoo.catalogue import attack_info, attack_names, check_attack
from ..zoo.table import parameters_of
from .words import did_you_mean

Profile = Literal["fast", "standard", "full"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

SLOW = ("JSMA", "SparseFool", "OnePixel", "Pixle")
"""Attacks of torchattacks that take minutes for a few images; in "full" alone."""
REACH = 4
"""Steps of alpha from the centre of the ball to its boundary."""
ASKS = {
    "clean": "accuracy on unchanged images",
    "FGSM": "one step along the sign of the gradient",
    "PGD": "gradient steps from a random start",
    "PGDL2": "the same in L2",
    "msa": "the worst that several attacks find, and what each of them adds",
    "fast": "the worst that a cascade of attacks finds, cheap ones first",
    "autoattack": "the real AutoAttack",
    "prtest": "how often random noise in the ball changes the answer",
    "fim": "how sensitive the scores are; no attack",
    "diagnostics": "may the gradients be believed that the attacks follow?",
    "stress": "noise, blur, weather",
    "sweep": "how accuracy falls with the radius",
}
"""What a stage asks, by its name or label, for the comments of a template."""


def profile_stages(name: str, eps: Any, norm: Norm) -> list[dict[str, Any]]:
    """The stages of a profile for one ball.

    "fast": a first look in minutes on a CPU. "standard": every usual stage, and every attack of
    torchattacks but for :data:`SLOW`, with steps that cross the ball where the class has them.
    "full": these too, the slow ones, more steps, and `sweep`. Attacks that cannot work in the norm
    are left out, also stages that need more than a model and data (`certified`, `smoothed`,
    `shift`), and those about all images together (`ood`, `data-audit`), which no shard can have.

    Raises ConfigError for an unknown name or a radius that is none.

    >>> [stage["name"] for stage in profile_stages("fast", "8/255", "Linf")][:4]
    ['clean', 'FGSM', 'PGD', 'msa']
    """
    if name not in PROFILES:
        raise ConfigError(
            f"profile={name!r} is not one of {PROFILES}{did_you_mean(str(name), PROFILES)}"
        )
    radius = parse_number(eps, "eps")
    if name == "fast":
        return list(_fast(radius, norm))
    return list(_whole(radius, norm, full=name == "full"))


def _fast(eps: float, norm: Norm) -> Iterator[dict[str, Any]]:
    yield {"name": "clean"}
    yield {"name": "FGSM"}
    strong = "PGDL2" if norm == "L2" else "PGD"
    yield {"name": strong, "steps": 20, **_step(strong, eps)}
    if norm == "Linf":
        yield {"name": "msa", "label": "fast", "version": "fast", "engine": "own"}
    else:
        yield {"name": "msa", "version": "quick"}
    yield {"name": "prtest", "tolerance": 0.05, "significance": 0.01}
    yield {"name": "fim"}
    yield {"name": "stress", "severities": [1, 3, 5]}


def _whole(eps: float, norm: Norm, full: bool) -> Iterator[dict[str, Any]]:
    yield {"name": "clean"}
    for name in attack_names():
        if name != "AutoAttack" and (full or name not in SLOW):
            stage = _attack(name, eps, norm, full)
            if stage is not None:
                yield stage
    if norm == "Linf":
        yield {"name": "msa", "engine": "own"}
    yield {"name": "autoattack"}
    yield {"name": "diagnostics"}
    yield {"name": "prtest"}
    yield {"name": "fim"}
    yield {"name": "stress"}
    if full and eps:
        yield {"name": "sweep", "attack": "msa"}


def _attack(name: str, eps: float, norm: Norm, full: bool) -> dict[str, Any] | None:
    """An attack of torchattacks at the ball; None where it cannot be built for it."""
    chosen = _step(name, eps)
    many = attack_info(name).family in ("gradient", "minimum-norm") and full
    if many and "steps" in parameters_of(name):
        chosen["steps"] = 100 if name in ("APGD", "APGDT", "FAB") else 50
    if name == "Square" and not full:
        chosen["n_queries"] = 1000
    if name in ("EADL1", "EADEN") and not full:  # nine searches of a hundred steps
        chosen |= {"max_iterations": 20, "binary_search_steps": 3}
    try:
        check_attack(name, eps=eps, norm=norm, **chosen)
    except ConfigError:
        return None
    return {"name": name, **chosen}


def _step(name: str, eps: float) -> dict[str, Any]:
    """The length of a step, where the default is one for a ball of 8/255."""
    known = parameters_of(name)
    if "alpha" not in known or not eps:
        return {}
    return {"alpha": eps / REACH if "steps" in known else 1.25 * eps}  # FFGSM's paper
