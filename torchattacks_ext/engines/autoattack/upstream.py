"""Which parts of AutoAttack are used, and with what settings? The only door to its packages.

pyautoattack (package index) or autoattack (GitHub), whichever is installed: the same components.
They are built here, for one model each, and never run by themselves.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..._typing import Norm
from ...errors import MissingExtra
from ...models.gradients import uncompiled
from ...numerics.losses import is_scored, margins, target_margins
from ...numerics.streams import uniform

PACKAGES = ("pyautoattack", "autoattack")
_quiet = logging.getLogger("torchattacks_ext.autoattack")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@lru_cache(maxsize=1)
def package() -> str:
    """The installed package. Raises MissingExtra where neither is.

    >>> package() in PACKAGES
    True
    """
    for name in PACKAGES:
        if importlib.util.find_spec(name) is not None:
            return name
    raise MissingExtra(
        "AutoAttack is not installed; pip install pyautoattack (or the GitHub package autoattack)"
    )


def _part(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"{package()}.{module}"), name)


def n_targets(wanted: int, n_classes: int) -> int:
    """Targets of a targeted attack: never more than there are other classes.

    >>> n_targets(9, 10), n_targets(9, 3)
    (9, 2)
    """
    return max(1, min(wanted, n_classes - 1))


def make_apgd(
    model: nn.Module,
    eps: float | Tensor,
    norm: Norm,
    steps: int,
    loss: str,
    device: torch.device,
    *,
    targeted: bool = False,
    eot_iter: int = 1,
) -> Any:
    """APGD with `loss` "ce", "dlr" or "margin"; targeted: its targeted DLR, or cross-entropy.

    loss "margin" is the difference of the label's logit and the next one, without DLR's scale:
    what is left for two classes, and for models whose three best logits are close.
    """
    name = "APGDAttack_targeted" if targeted else "APGDAttack"
    attack = _part("autopgd_base", name)(
        model,
        n_iter=steps,
        norm=norm,
        n_restarts=1,
        eps=eps,
        seed=0,
        eot_iter=eot_iter,
        rho=0.75,
        verbose=False,
        device=device,
        logger=_quiet,
    )
    if targeted:
        attack.loss = "ce-targeted" if loss == "ce" else "dlr-targeted"
    else:
        attack.loss = "dlr" if loss == "margin" else loss
        if loss == "margin":
            attack.dlr_loss = target_margins
    return attack


def make_fab(
    model: nn.Module, eps: float | Tensor, norm: Norm, steps: int, device: torch.device
) -> Any:
    """FAB with `steps` iterations; the caller sets the target."""
    return _quiet_fab()(
        model,
        n_restarts=1,
        n_iter=steps,
        eps=eps,
        seed=0,
        norm=norm,
        verbose=False,
        device=device,
    )


@lru_cache(maxsize=1)
def _quiet_fab() -> Any:
    """A subclass of FABAttack_PT: the same numbers; no .grad is filled, double logits work."""
    base: Any = _part("fab_pt", "FABAttack_PT")

    class QuietFAB(base):  # type: ignore[misc]
        """FAB that asks for the gradient of the images alone."""

        ranks: Any = None

        def rank_by(self, ranks: Any) -> None:
            """Choose targets by these scores of images; the answers stay the model's."""
            self.ranks = ranks

        def _predict_fn(self, x: Tensor) -> Any:
            return self.predict(x) if self.ranks is None else self.ranks(x)

        def _get_predicted_label(self, x: Tensor) -> Any:
            if self.ranks is None:
                return super()._get_predicted_label(x)
            with torch.no_grad():
                return self.predict(x).argmax(1)

        def get_diff_logits_grads_batch(self, imgs: Tensor, la: Tensor) -> Any:
            """Logits and gradients of all classes, less those of the label."""
            images, rows = imgs.clone().requires_grad_(), torch.arange(len(imgs))
            with torch.enable_grad(), uncompiled():  # the graph is kept
                logits = self.predict(images)
                sums = [one.sum() for one in logits.unbind(1)]
            parts = [
                torch.autograd.grad(one, images, retain_graph=True)[0] for one in sums
            ]
            gradients, logits = torch.stack(parts, 1), logits.detach().to(imgs.dtype)
            far = logits - logits[rows, la].unsqueeze(1)
            far[rows, la] = 1e10
            return far, gradients - gradients[rows, la].unsqueeze(1)

        def get_diff_logits_grads_batch_targeted(
            self, imgs: Tensor, la: Tensor, la_target: Tensor
        ) -> Any:
            """The target's logit less the label's, and its gradient."""
            images, rows = imgs.clone().requires_grad_(), torch.arange(len(imgs))
            with torch.enable_grad():
                logits = self.predict(images)
                far = -(logits[rows, la] - logits[rows, la_target])
                total = far.sum()
            gradient = torch.autograd.grad(total, images)[0]
            return far.detach().to(imgs.dtype).unsqueeze(1), gradient.unsqueeze(1)

    return QuietFAB


def square_misfit(images: Tensor, norm: Norm) -> str:
    """Why Square cannot run on such images; empty where it can.

    >>> square_misfit(torch.zeros(2, 3, 12, 12), "L2")
    'square in L2 and L1 has no first pattern for images of 12 x 12 pixels'
    """
    if images.dim() != 4:
        return "square needs images (N, C, H, W)"
    height, width = images.shape[2:]
    side = height // 5
    over = [
        (height - 5 * side) // 2 + n // max(side, 1) * side - n for n in (height, width)
    ]
    fits = min(height, width) >= 5 and (side == 1 or max(over) <= 0)
    if norm == "Linf" or fits:
        return ""
    return f"square in L2 and L1 has no first pattern for images of {height} x {width} pixels"


def make_square(
    model: nn.Module,
    eps: float,
    norm: Norm,
    steps: int,
    device: torch.device,
    *,
    seed: int,
    ids: Tensor | None = None,
) -> Any:
    """Square with `steps` queries.

    With ids (B,) its random numbers follow the samples: the first stripes are those of (seed, id),
    the squares those of (seed, query), so that results do not depend on how batches are cut; and a
    tie between the label and another class that argmax still decides for the label is no success.
    Without ids it is AutoAttack's own.
    """
    kind = _part("square", "SquareAttack") if ids is None else _keyed_square()
    attack = kind(
        model,
        p_init=0.8,
        n_queries=steps,
        eps=eps,
        norm=norm,
        n_restarts=1,
        seed=seed,
        verbose=False,
        device=device,
        resc_schedule=False,
    )
    if ids is not None:
        attack.start(seed, ids)
    return attack


@lru_cache(maxsize=1)
def _keyed_square() -> Any:
    """A subclass of SquareAttack, made when its package is first needed."""
    base: Any = _part("square", "SquareAttack")

    class KeyedSquare(base):  # type: ignore[misc]
        """Square whose numbers are functions of seed, sample and query."""

        def start(self, seed: int, ids: Tensor) -> None:
            self.own_seed, self.ids = seed, ids
            self.calls, self.started = 0, False
            self.whole = (
                False  # True: rows that are wrong are asked on, beside the others
            )

        def _numbers(self, ids: Tensor, what: str, size: int) -> Tensor:
            self.calls += 1
            return uniform(self.own_seed, ids, f"square/{what}", self.calls, size)

        def random_choice(self, shape: Any) -> Tensor:
            """Signs: of each sample in the beginning, then the same for all of them."""
            rest = [int(side) for side in shape]
            if not self.started:
                numbers = self._numbers(self.ids, "first", math.prod(rest[1:]))
                return torch.sign(2 * numbers.reshape(rest) - 1 + 2.0**-24)
            tail = rest[1:] if len(rest) == 4 else rest
            shared = self._numbers(self.ids[:1] * 0, "sign", math.prod(tail))
            signs = torch.sign(2 * shared.reshape(tail) - 1 + 2.0**-24)
            return signs.expand(rest).clone()

        def random_int(self, low: int = 0, high: int = 1, shape: Any = (1,)) -> Tensor:
            """An integer that all samples share."""
            numbers = self._numbers(self.ids[:1] * 0, "place", math.prod(shape))
            return (low + (high - low) * numbers.reshape(tuple(shape))).long()

        def margin_and_loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            """Margin and loss; the sign of the margin is what argmax says, also for a tie."""
            self.started = True
            logits = self.predict(x)
            odd = ~is_scored(logits, y)
            loss = torch.where(odd, -1.0, margins(logits, y))
            tiny = torch.finfo(loss.dtype).tiny
            right = (logits.argmax(1) == y) & ~odd
            if self.whole:
                return loss.clamp_min(tiny), loss
            margin = torch.where(right, loss.clamp_min(tiny), loss.clamp_max(-tiny))
            return margin, loss

    return KeyedSquare


def l1_projection(images: Tensor, change: Tensor, eps: float) -> Tensor:
    """AutoAttack's projection of images + change on the L1 ball and the box, as an added change."""
    found: Tensor = _part("autopgd_base", "L1_projection")(images, change, eps)
    return found
