"""Who looks for another answer near an image? Attacks of torchattacks, MSA, and random points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torchattacks
from torch import Tensor, nn

from ..._typing import Norm
from ...attacks.msa.msa import MSA
from ...engines.zoo.attack import run_attack
from ...errors import BackendError, ConfigError
from ...numerics.norms import norm_of
from ...numerics.streams import uniform
from ...samplers.choose import choose_sampler

Build = Callable[[nn.Module, float], Callable[[Tensor, Tensor], Tensor]]
"""Makes an attack on a model, at a radius; the attack maps (images, labels) to images."""


@dataclass(frozen=True)
class Attacker:
    """An attack of the audit. ranged: it takes a radius; else it looks for the nearest change."""

    name: str
    build: Build
    ranged: bool = True


def _deepfool(model: nn.Module, eps: float) -> Any:
    return torchattacks.DeepFool(model, steps=50)


def _cw(model: nn.Module, eps: float) -> Any:
    return torchattacks.CW(model, c=1.0, steps=150, lr=0.02)


def _pgdl2(model: nn.Module, eps: float) -> Any:
    return torchattacks.PGDL2(model, eps=eps, alpha=eps / 8, steps=40)


def _pgd(model: nn.Module, eps: float) -> Any:
    return torchattacks.PGD(model, eps=eps, alpha=eps / 8, steps=40)


def _msa(norm: Norm) -> Build:
    def build(model: nn.Module, eps: float) -> Any:
        return MSA(model, eps=eps, norm=norm, version="quick")

    return build


_L2 = (
    Attacker("DeepFool", _deepfool, ranged=False),
    Attacker("CW", _cw, ranged=False),
    Attacker("PGDL2", _pgdl2),
    Attacker("MSA", _msa("L2")),
)
_LINF = (Attacker("PGD", _pgd), Attacker("MSA", _msa("Linf")))
ATTACKERS: Mapping[str, tuple[Attacker, ...]] = {"L2": _L2, "Linf": _LINF}
"""By norm; those that an audit runs where it is not told others."""


def attackers_of(given: Any, norm: Norm) -> tuple[Attacker, ...]:
    """Attackers by name, or as a dict name -> (model, eps) -> attack; None gives those of the norm.

    Raises ConfigError for a name that the norm does not have, and for attacks in place of names.

    >>> [one.name for one in attackers_of(["PGDL2"], "L2")]
    ['PGDL2']
    """
    known = {one.name: one for one in ATTACKERS.get(norm, ())}
    if given is None:
        if not known:
            raise ConfigError(
                f"an audit in {norm} needs attacks=: a dict of name -> f(model, eps)"
            )
        return tuple(known.values())
    if isinstance(given, Mapping):
        return tuple(Attacker(str(name), build) for name, build in given.items())
    if isinstance(given, str):
        raise ConfigError(f"attacks={given!r} is one name; give a list: [{given!r}]")
    wrong = [type(one).__name__ for one in given if not isinstance(one, str)]
    if wrong:
        raise ConfigError(
            f"attacks has {', '.join(wrong)} in place of names; an attack that is made already is "
            "of one model and radius: give a dict of name -> f(model, eps) -> attack"
        )
    odd = [name for name in given if name not in known]
    if odd:
        raise ConfigError(
            f"attacks {odd} are not among {sorted(known)} of {norm}; give others as a dict of name "
            "-> f(model, eps)"
        )
    return tuple(known[name] for name in given)


def candidates(
    attacker: Attacker,
    target: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    seed: int,
) -> Tensor:
    """What the attack returns for images (N, ...), in [0, 1]; pixels that are NaN stay clean."""
    if attacker.name == "MSA" or not images.numel():
        attack: Any = attacker.build(target, eps)
        found = attack(images, labels) if images.numel() else images
    else:
        try:
            found = run_attack(
                lambda model: attacker.build(model, eps), target, images, labels, seed
            )
        except BackendError as error:
            raise BackendError(f"attack {attacker.name!r}: {error}") from error
    found = found.detach().to(images)
    return torch.where(found.isfinite(), found, images).clamp(0, 1)


def sampled(
    images: Tensor, ids: Tensor, radius: Tensor, norm: Norm, seed: int, draw: int
) -> Tensor:
    """One random point of each image's own ball, uniform in it before it is clipped to [0, 1]."""
    law = choose_sampler(None, 1.0, norm, None)

    def u(size: int, purpose: str = "") -> Tensor:
        return uniform(seed, ids, f"audit/{purpose}", draw, size)

    step = law.sample(torch.zeros_like(images), u)
    shape = (-1, *[1] * (images.dim() - 1))
    return (images + step * radius.to(images).reshape(shape)).clamp(0, 1)


def along(
    images: Tensor, found: Tensor, share: Tensor, norm: Norm
) -> tuple[Tensor, Tensor]:
    """Points at `share` (N,) of the way to candidates, in [0, 1], and their lengths, float64.

    >>> start, end = torch.zeros(1, 2), torch.tensor([[0.6, 0.8]])
    >>> there, length = along(start, end, torch.tensor([0.5]), "L2")
    >>> round(length.item(), 6), along(start, end, torch.tensor([2.0]), "L2")[0].tolist()
    (0.5, [[1.0, 1.0]])
    """
    shape = (-1, *[1] * (images.dim() - 1))
    step = found.double() - images.double()
    there = images.double() + step * share.double().reshape(shape)
    moved = there.clamp(0, 1).to(images.dtype)
    return moved, norm_of(moved.double() - images.double(), norm).double()
