"""Where does a short attack move the features? Ascent that takes all of its steps on every row.

An attack that stops at the first error says how little was needed, not how far it can get; what is
compared here is how far. It judges nothing: for a worst case there is MSA.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchattacks
from torch import Tensor, nn

from ..._typing import Norm
from ...data.door import check_images
from ...engines.fork import ForkedRng
from ...errors import ConfigError, InputError
from ...numerics.ids import content_hashes
from ...numerics.losses import margins
from ...numerics.norms import per_row, project
from ...numerics.streams import uniform

Attack = Callable[[nn.Module], Callable[[Tensor, Tensor], Tensor]]
"""From the model that is attacked to what changes (images, labels)."""
STEPS = 20


def ascend(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm,
    seed: int = 0,
    steps: int = STEPS,
) -> Tensor:
    """Images (N, ...) in [0, 1] of the smallest margin on the way of `steps` steps of eps / 4.

    Steps go down the margin of the label, by signs (Linf) or by the unit gradient (L2), from a
    random point of the ball that the content of each image names. steps + 1 forward and `steps`
    backward row-passes an image.
    """
    ids = content_hashes(images, labels, (0.0, 1.0)).to(images.device)
    u = uniform(seed, ids, "sensitivity/start", 0, images[0].numel())
    start = (2 * u.to(images).reshape(images.shape) - 1) * eps
    if norm == "L2":
        start = start / images[0].numel() ** 0.5
    moved = project(images, images + start, eps, norm)
    best, least = moved, torch.full((len(images),), torch.inf, device=images.device)
    for step in range(steps + 1):
        moved = moved.detach().requires_grad_()
        with torch.enable_grad():
            margin = margins(model(moved), labels)
            total = margin.sum()
        better = margin.detach() < least
        best = torch.where(per_row(better, images), moved.detach(), best)
        least = torch.minimum(least, margin.detach())
        if step < steps:
            (way,) = torch.autograd.grad(total, moved)
            way = way.sign() if norm == "Linf" else _unit(way)
            moved = project(images, moved.detach() - eps / 4 * way, eps, norm)
    return best


def _unit(way: Tensor) -> Tensor:
    tiny = torch.finfo(way.dtype).tiny
    return way / per_row(way.flatten(1).norm(dim=1).clamp_min(tiny), way)


def changed_images(
    attack: Tensor | torchattacks.Attack | Attack | None,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm,
    seed: int,
) -> Tensor:
    """What the attack makes of the images (N, ...), on the ball and in [0, 1].

    None: :func:`ascend`. A tensor is taken as it is; an attack of torchattacks is called, whatever
    its model; anything else is asked for an attack on `model`. Raises InputError where no images
    like those given come back, ConfigError for L1 without an attack.
    """
    if attack is None:
        if norm == "L1":
            raise ConfigError('norm="L1" has no attack of its own here: give attack=')
        return ascend(model, images, labels, eps, norm, seed)
    if not isinstance(attack, Tensor) and not callable(attack):
        raise ConfigError(
            f"attack={attack!r:.80} is none: give images, an attack of torchattacks, or a function "
            "from a model to an attack"
        )
    found: object = attack
    if not isinstance(attack, Tensor):
        with torch.enable_grad(), ForkedRng(seed):
            if isinstance(attack, torchattacks.attack.Attack):
                found = attack(images, labels)
            else:
                found = attack(model)(images, labels)
    return project(images, given_images(found, images), eps, norm)


def given_images(found: object, images: Tensor) -> Tensor:
    """`found` as pixels like the images (N, ...). Raises InputError for what is not like them."""
    if not isinstance(found, Tensor) or found.shape != images.shape:
        raise InputError(
            f"the attack gave {tuple(getattr(found, 'shape', ()))} {type(found).__name__}, "
            f"expected images {tuple(images.shape)}"
        )
    return check_images(found, None, images.dtype).to(images.device)


def words_of(attack: object, steps: int = STEPS) -> str:
    """The attack in words, for the record.

    >>> words_of(None), words_of(torch.zeros(1))
    ('margin ascent, 20 steps, on each head', 'images that were given, the same for all heads')
    """
    if attack is None:
        return f"margin ascent, {steps} steps, on each head"
    if isinstance(attack, Tensor):
        return "images that were given, the same for all heads"
    if isinstance(attack, torchattacks.attack.Attack):
        return f"{type(attack).__name__}, the same for all heads"
    return f"{getattr(attack, '__name__', type(attack).__name__)}, on each head"
