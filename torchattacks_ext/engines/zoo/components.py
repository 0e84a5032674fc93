"""How are torchattacks' own components built, so that they run at AutoAttack's settings?

torchattacks' defaults are others: 10 steps, a stretched schedule of Square, every class a target
(999 on ImageNet, an IndexError below ten classes). Here each component is built for one model and
one batch. The loops are torchattacks' own. Mended is what crashes or leaves traces: FAB fills no
.grad, a model's output is not written to, images need not be pictures, losses exist for any K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torchattacks
from torch import Tensor, nn
from torch.nn import functional

from ..._typing import Norm
from ...errors import ConfigError
from ...models.gradients import uncompiled
from ...numerics.losses import target_margins
from ..autoattack import upstream as aa
from .attack import quiet

STEPS, TARGETS, QUERIES = 100, 9, 5000
"""AutoAttack's: iterations of APGD and FAB, classes tried by targeted attacks, Square's queries."""
NORMS = ("Linf", "L2")
_APGD_OPTIONS = {"eot_iter": 1, "rho": 0.75}


def check_norm(norm: str) -> None:
    """Raises ConfigError for a norm that torchattacks' APGD and Square do not know.

    >>> check_norm("L2")
    """
    if norm not in NORMS:
        raise ConfigError(
            f'engine="torchattacks" has no norm={norm!r}, only {NORMS}: say engine="autoattack"'
        )


def as_pictures(images: Tensor) -> Tensor:
    """Images (N, ...) in four dimensions, which torchattacks' APGD takes for granted.

    >>> as_pictures(torch.zeros(2, 7)).shape, as_pictures(torch.zeros(2, 3, 4, 4)).shape
    (torch.Size([2, 1, 1, 7]), torch.Size([2, 3, 4, 4]))
    """
    return images if images.dim() == 4 else images.reshape(len(images), 1, 1, -1)


class _Part:
    """What all components share: the model sees images of its own shape, its output is copied."""

    model: Any
    shape: tuple[int, ...]

    def get_logits(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N, K) that the component may write to (Square does)."""
        seen = inputs.reshape(len(inputs), *self.shape)
        logits: Tensor = self.model(seen).clone()
        return logits


class _APGD(_Part, torchattacks.APGD):  # type: ignore[misc]
    """torchattacks' APGD."""


class _MarginAPGD(_APGD):
    """APGD on the best other logit less the label's: DLR without its scale, for any K."""

    def dlr_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss (N,) of logits (N, K) and labels (N,)."""
        return target_margins(x, y)


class _APGDT(_Part, torchattacks.APGDT):  # type: ignore[misc]
    """torchattacks' targeted APGD, with a target for every row.

    A model that is wrong on a clean image may have the label at the rank of the target: the loss
    would be zero, so the best other class stands in.
    """

    def dlr_loss_targeted(self, x: Tensor, y: Tensor, y_target: Tensor) -> Tensor:
        """Loss (N,) of logits (N, K), labels (N,) and targets (N,)."""
        loss: Tensor = super().dlr_loss_targeted(x, y, _instead(x, y, y_target))
        return loss


def _instead(logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    """The target, or where it is the label the best other class."""
    other = logits.detach().scatter(1, labels[:, None], float("-inf")).argmax(1)
    return torch.where(target == labels, other, target)


class _FewAPGDT(_APGDT):
    """Targeted APGD for two and three classes, where the targeted DLR does not exist."""

    def dlr_loss_targeted(self, x: Tensor, y: Tensor, y_target: Tensor) -> Tensor:
        """Loss (N,): the target's log-probability."""
        return -functional.cross_entropy(x, _instead(x, y, y_target), reduction="none")


class _FAB(_Part, torchattacks.FAB):  # type: ignore[misc]
    """torchattacks' FAB, asking for the gradient of the images alone; double logits work."""

    def get_diff_logits_grads_batch(
        self, imgs: Tensor, la: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and gradients (N, K, ...) of all classes, less those of the label."""
        images, rows = imgs.clone().requires_grad_(), torch.arange(len(imgs))
        with torch.enable_grad(), uncompiled():  # the graph is kept
            logits = self.get_logits(images)
            sums = [one.sum() for one in logits.unbind(1)]
        parts = [torch.autograd.grad(one, images, retain_graph=True)[0] for one in sums]
        gradients = torch.stack(parts, 1).contiguous()  # FAB takes a .view of it
        logits = logits.detach().to(imgs.dtype)
        far = logits - logits[rows, la].unsqueeze(1)
        far[rows, la] = 1e10
        return far, gradients - gradients[rows, la].unsqueeze(1)

    def get_diff_logits_grads_batch_targeted(
        self, imgs: Tensor, la: Tensor, la_target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The target's logit less the label's (N, 1), and its gradient (N, 1, ...)."""
        images, rows = imgs.clone().requires_grad_(), torch.arange(len(imgs))
        with torch.enable_grad():
            logits = self.get_logits(images)
            far = -(logits[rows, la] - logits[rows, la_target])
            total = far.sum()
        gradient = torch.autograd.grad(total, images)[0].contiguous()
        return far.detach().to(imgs.dtype).unsqueeze(1), gradient.unsqueeze(1)


class _Square(_Part, torchattacks.Square):  # type: ignore[misc]
    """torchattacks' Square."""


@dataclass(frozen=True, eq=False)
class Components:
    """Builds torchattacks' components for one model, one batch, one ball.

    Arguments:
        model (Module): pixels to logits (N, K).
        like (Tensor): images (N, ...) of the shape and on the device of those that are attacked.
        eps (float): radius.
        norm (str): "Linf" or "L2"; ConfigError for another.
        n_classes (int): K >= 2. (Default: 10)
        seed (int): of `perturb`, which seeds the global generator. (Default: 0)

    >>> from torchattacks_ext.testing import small_net
    >>> build = Components(small_net(), torch.zeros(1, 1, 8, 8), 0.1, "Linf", n_classes=3)
    >>> build.apgd().steps, build.apgd_targeted().n_target_classes
    (100, 2)
    """

    model: nn.Module
    like: Tensor
    eps: float
    norm: Norm
    n_classes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_norm(self.norm)

    def apgd(self, steps: int = STEPS, loss: str = "ce") -> Any:
        """APGD with `loss` "ce", "dlr" or "margin"; in two classes "dlr" is "margin".

        Hand it :func:`as_pictures` of the images, contiguous, in [0, 1]. `attack_single_run` draws
        from the global generator as it stands. A run costs steps + 1 forward and backward
        row-passes a row.

        >>> from torchattacks_ext.testing import small_net
        >>> images, labels = torch.full((2, 1, 8, 8), 0.5), torch.tensor([0, 1])
        >>> attack = Components(small_net().eval(), images, 0.1, "Linf").apgd(3)
        >>> best, robust, loss, adversarial = attack.attack_single_run(images, labels)
        >>> best.shape, bool((best - images).abs().max() <= 0.1 + 1e-6)
        (torch.Size([2, 1, 8, 8]), True)
        """
        kind = _APGD
        if loss == "margin" or (loss == "dlr" and self.n_classes < 3):
            loss, kind = "dlr", _MarginAPGD
        return self._built(kind, steps=steps, loss=loss, **_APGD_OPTIONS)

    def apgd_targeted(self, steps: int = STEPS, targets: int = TARGETS) -> Any:
        """APGD on its targeted DLR for min(targets, K - 1) classes; cross-entropy for K < 4.

        As :meth:`apgd`. `perturb` tries the classes in order of their logits; before
        `attack_single_run` set `target_class` to 2 (the second largest logit), 3, and so on. A run
        costs steps + 2 forward and steps + 1 backward row-passes a row. In L2 torchattacks moves
        all rows of a batch by the step size of its first row: halved when that row oscillates.
        """
        kind = _APGDT if self.n_classes >= 4 else _FewAPGDT
        classes = self._classes(targets)
        return self._built(kind, steps=steps, n_classes=classes, **_APGD_OPTIONS)

    def fab(self, steps: int = STEPS, targets: int = TARGETS) -> Any:
        """FAB for min(targets, K - 1) classes in turn; images of any shape.

        One class: `attack_single_run_targeted` with `target_class` 2, 3, ...; none:
        `attack_single_run`. A targeted run costs 2 steps + 2 forward and `steps` backward
        row-passes a row, an untargeted one K times as many backward. Candidates may lie outside
        the ball.

        >>> from torchattacks_ext.testing import small_net
        >>> build = Components(small_net(), torch.zeros(1, 1, 8, 8), 0.1, "Linf", n_classes=1000)
        >>> build.fab().n_target_classes, build.fab().multi_targeted
        (9, True)
        """
        classes = self._classes(targets)
        return self._built(_FAB, steps=steps, n_classes=classes, multi_targeted=True)

    def square(self, queries: int = QUERIES) -> Any:
        """Square with the schedule of 10,000 queries whatever `queries` is, as AutoAttack runs it.

        Images (N, C, H, W), see :func:`square_misfit`. Call `init_hyperparam(images)` before
        `attack_single_run`. A row that withstands costs `queries` + 1 forward row-passes. A row
        whose label shares the largest logit with another class counts as done, whatever argmax
        says.

        >>> from torchattacks_ext.testing import small_net
        >>> attack = Components(small_net(), torch.zeros(1, 1, 8, 8), 0.1, "Linf").square()
        >>> attack.n_queries, attack.rescale_schedule
        (5000, False)
        """
        options = {"resc_schedule": False, "p_init": 0.8, "loss": "margin"}
        return self._built(_Square, n_queries=queries, **options)

    def _classes(self, targets: int) -> int:
        """What torchattacks takes for K so that it tries so many targets."""
        return aa.n_targets(targets, self.n_classes) + 1

    def _built(self, kind: Any, **options: Any) -> Any:
        """A component without its words; its device is that of the images, for any model."""
        options |= {"eps": self.eps, "norm": self.norm, "seed": self.seed}
        with quiet():
            part = kind(self.model, n_restarts=1, verbose=False, **options)
        part.shape = tuple(self.like.shape[1:])
        part.set_device(self.like.device)
        return part


def square_misfit(images: Tensor, norm: Norm) -> str:
    """Why torchattacks' Square cannot run on such images; empty where it can.

    >>> square_misfit(torch.zeros(2, 3, 6, 10), "L2")
    'square in L2 has no window that fits into images of 6 x 10 pixels'
    """
    why = aa.square_misfit(images, norm)
    if why or norm == "Linf":
        return why
    height, width = images.shape[2:]
    side = max(round(math.sqrt(0.8 * height * width)), 3) | 1  # the first and largest
    if side <= min(height, width):
        return ""
    return (
        f"square in L2 has no window that fits into images of {height} x {width} pixels"
    )
