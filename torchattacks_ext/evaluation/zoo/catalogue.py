"""Which attacks of torchattacks can be run by name, and how is one built for a ball and a model?"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal

import torchattacks
from torch import Tensor, nn
from torchattacks.attack import Attack

from ..._typing import NORMS, Norm
from ...engines.fork import fold_seed
from ...engines.zoo.attack import quiet
from ...errors import ConfigError
from ...numerics.unit import Unit
from .table import EXCLUDED as EXCLUDED
from .table import TABLE
from .table import AttackInfo as AttackInfo
from .table import parameters_of

LENGTHS = frozenset(("alpha", "noise_sd", "delta", "theta"))
LENGTHS_OF = {"GN": frozenset(("std",)), "SPSA": frozenset(("lr",))}
"""Arguments that are lengths in pixels: of any class, and of some."""

_REGISTRY = {info.name.lower(): info for info in TABLE}


def attack_names() -> tuple[str, ...]:
    """Names of the registered attacks, in the order in which torchattacks exports them.

    >>> len(attack_names()), attack_names()[-1]
    (37, 'Square')
    """
    return tuple(info.name for info in TABLE)


def attack_info(name: str) -> AttackInfo:
    """The entry of `name`, in any mixture of cases; ConfigError for an unknown or excluded one.

    >>> attack_info("pifgsm").eps_argument
    'max_epsilon'
    """
    key = str(name).lower()
    for excluded, reason in EXCLUDED.items():
        if key == excluded.lower():
            raise ConfigError(f"attack {excluded!r} cannot be run by name: {reason}")
    if key not in _REGISTRY:
        known = {info.name.lower(): info.name for info in TABLE}
        raise ConfigError(f"attack {name!r} is unknown{_hint(key, known)}")
    return _REGISTRY[key]


def ball_of(info: AttackInfo, norm: Norm) -> Literal["native", "foreign"]:
    """Whether the attack works in the norm of the ball that will judge it.

    A foreign attack runs all the same and is projected into the ball, but says less about it.

    >>> ball_of(attack_info("CW"), "Linf"), ball_of(attack_info("APGD"), "L2")
    ('foreign', 'native')
    """
    return "native" if norm == info.norm or norm in info.norms else "foreign"


def reach(name: str, *, eps: float, **arguments: Any) -> float | None:
    """How far the steps carry, in units of `eps`: alpha * steps / eps; None without such steps.

    Below 1 the attack cannot get from the centre to the boundary of the ball: with the default
    alpha of 2/255 and 10 steps, PGD explores a quarter of a ball of radius 0.3.

    >>> round(reach("PGD", eps=0.3), 2), reach("FGSM", eps=0.3)
    (0.26, None)
    """
    info = attack_info(name)
    values = {key: p.default for key, p in parameters_of(info.name).items()} | arguments
    steps = values.get("steps", 1)
    if "alpha" not in values or not steps or eps <= 0:
        return None
    return float(values["alpha"]) * int(steps) / eps


def create_attack(
    name: str,
    model: nn.Module,
    *,
    eps: float | None = None,
    norm: Norm = "Linf",
    n_classes: int | None = None,
    seed: int = 0,
    **arguments: Any,
) -> Attack:
    """Build an attack of torchattacks for one ball, one model and one seed.

    `eps` goes to the argument of the radius (None: the class's default; ignored by minimum-norm
    attacks), `norm` and `seed` to classes that have such an argument, `n_classes` (the model's K)
    to those that need it; JSMA then aims at (label + 1) mod K instead of mod 10. Everything else is
    passed on. A norm of which the class knows nothing is not refused, see :func:`ball_of`.
    ConfigError, with a hint, for unknown names, arguments and values, or too few classes.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> create_attack("pifgsm", model, eps=0.1).max_epsilon
    0.1
    """
    info = check_attack(name, eps=eps, norm=norm, **arguments)
    _check_classes(info, n_classes, arguments)
    chosen = dict(arguments)
    if eps is not None and info.eps_argument is not None:
        chosen[info.eps_argument] = eps
    if info.norms:
        chosen["norm"] = norm
    if info.seeding == "self-seeded":
        chosen["seed"] = fold_seed(seed)
    if info.classes is not None:
        chosen[info.classes] = n_classes
    try:
        with quiet():
            attack: Attack = getattr(torchattacks, info.name)(model, **chosen)
    except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
        raise ConfigError(f"{info.name} refuses {chosen}: {error}") from error
    if info.name == "JSMA" and n_classes is not None:
        aim = partial(_next_class, n_classes)
        attack.set_mode_targeted_by_function(aim, quiet=True)
    return attack


def check_attack(
    name: str, *, eps: float | None, norm: Norm, **arguments: Any
) -> AttackInfo:
    """The entry of `name` if it can be built with these settings for some model.

    ConfigError, with a hint, for unknown names and arguments, and values out of their domain.

    >>> check_attack("pgd", eps=0.1, norm="Linf", steps=5).name
    'PGD'
    """
    info = attack_info(name)
    _check_names(info, arguments, eps)
    _check_ball(info, eps, norm)
    _check_steps(info, arguments)
    return info


def on_unit(name: str, arguments: Mapping[str, Any], unit: Unit) -> dict[str, Any]:
    """The arguments of `name` for images on [0, 1]: those that are lengths of pixels, scaled.

    >>> on_unit("PGD", {"alpha": 2.0, "steps": 5}, Unit((0.0, 255.0)))["alpha"] == 2 / 255
    True
    """
    lengths = LENGTHS | LENGTHS_OF.get(attack_info(name).name, frozenset())
    return {
        key: unit.radius(float(value)) if key in lengths and not unit.plain else value
        for key, value in arguments.items()
    }


def _check_names(
    info: AttackInfo, arguments: Mapping[str, Any], eps: float | None
) -> None:
    """Refuse arguments that the class does not have, and a radius given twice."""
    known = set(parameters_of(info.name)) - {"norm", "seed", "n_classes"}
    for key in arguments:
        if key not in known:
            hint = _hint(key, sorted(known))
            raise ConfigError(f"{info.name} takes no argument {key!r}{hint}")
        if key == info.eps_argument and eps is not None:
            raise ConfigError(f"{info.name}: give the radius once, as eps or as {key}")


def _check_ball(info: AttackInfo, eps: float | None, norm: Norm) -> None:
    """Refuse a radius that cannot be one in [0, 1], and a norm that the class cannot do."""
    if eps is not None:
        number = isinstance(eps, (int, float)) and math.isfinite(eps) and eps >= 0
        if not number or (norm == "Linf" and eps > 1):
            raise ConfigError(
                f"eps={eps!r} is no radius in pixel units of [0, 1] (8/255, not 8)"
            )
    allowed = info.norms or NORMS
    if norm not in allowed:
        raise ConfigError(f"norm={norm!r}: {info.name} can do {', '.join(allowed)}")


def _check_steps(info: AttackInfo, arguments: Mapping[str, Any]) -> None:
    """Refuse a number of steps with which the class fails or does nothing."""
    steps = arguments.get(info.steps_argument or "")
    if steps is None or (isinstance(steps, int) and steps >= info.min_steps):
        return
    raise ConfigError(
        f"{info.steps_argument}={steps!r}: {info.name} needs an integer >= {info.min_steps}"
    )


def unfit(
    info: AttackInfo,
    arguments: Mapping[str, Any],
    n_classes: int,
    shape: tuple[int, ...] | None = None,
) -> str | None:
    """Why the class cannot attack a model of K classes or images of this shape; None where it can.

    shape: of one image; None asks for the classes only. Known beforehand, from :data:`.TABLE`.

    >>> unfit(attack_info("TIFGSM"), {}, 10, (1, 28, 28))[:47]
    'TIFGSM needs images (N, 3, H, W), these are (N,'
    """
    least = info.min_classes
    if arguments.get("loss") == "dlr" or arguments.get("version") == "rand":
        least = 3  # the DLR loss divides by z_(1) - z_(3)
    if n_classes < least:
        return (
            f"n_classes={n_classes}: {info.name} needs at least {least} classes (its loss looks at "
            f"the {least} largest logits); use APGD with loss='ce', PGD, FAB or Square"
        )
    channels = "C" if info.channels is None else info.channels
    if shape is None or not info.spatial:
        return None
    if len(shape) == 3 and channels in ("C", shape[0]):
        return None
    return (
        f"{info.name} needs images (N, {channels}, H, W), these are (N, "
        f"{', '.join(map(str, shape))}); FGSM, PGD and FAB take any shape"
    )


def _check_classes(
    info: AttackInfo, n_classes: int | None, arguments: Mapping[str, Any]
) -> None:
    """Refuse too few classes for the loss, or none given where they are needed."""
    if n_classes is None:
        if info.classes is not None:
            raise ConfigError(
                f"{info.name} must know the number of classes; give n_classes"
            )
        return
    reason = unfit(info, arguments, n_classes)
    if reason is not None:
        raise ConfigError(reason)


def _hint(key: str, known: Iterable[str] | Mapping[str, str]) -> str:
    """'; did you mean ...? known: ...' (a mapping gives the spelling to show)."""
    shown = known if isinstance(known, Mapping) else {name: name for name in known}
    near = difflib.get_close_matches(key, shown, n=1)
    guess = f"; did you mean {shown[near[0]]!r}?" if near else ""
    return f"{guess}; known: {', '.join(shown.values()) or 'none'}"


def _next_class(n_classes: int, images: Tensor, labels: Tensor) -> Tensor:
    """JSMA's default target, for any number of classes."""
    return (labels + 1) % n_classes
