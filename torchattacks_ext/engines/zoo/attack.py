"""How is one torchattacks attack run on one batch without its side effects?

The attack proposes, somebody else judges: what comes back are candidates, neither clipped nor
projected nor checked for success. What the attack would leave behind is undone: global random
numbers (see :mod:`~torchattacks_ext.engines.fork`), text on stdout, train/eval modes, dependence on
the memory layout.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

import torch
from torch import Tensor, nn

from ...errors import BackendError, InputError, TorchattacksExtError
from ...models.gradients import backward_raised, from_backward, uncompiled
from ...models.modes import modes_of
from ..fork import ForkedRng
from .sealed import Sealed

_log = logging.getLogger("torchattacks_ext")

AttackFactory = Callable[[nn.Module], Callable[[Tensor, Tensor], Tensor]]
"""Builds an attack on the model that it is given; the attack maps (images, labels) to images."""

_PASSED_ON = (TorchattacksExtError, torch.cuda.OutOfMemoryError, MemoryError)
"""What the caller must see as it is: a spent budget, a broken model, too large a batch."""
_KEEPS_GRAPHS = {"FAB", "JSMA", "DeepFool", "SparseFool", "AutoAttack"}
"""Attacks that take several backward passes of one forward."""


def run_attack(
    factory: AttackFactory, victim: nn.Module, images: Tensor, labels: Tensor, seed: int
) -> Tensor:
    """Run one attack on one batch and return its candidates, of the images' shape, dtype, device.

    `factory` gets the victim (wrapped once more) and returns the attack, built for this batch only.
    `images` (N, ...) in [0, 1] and `labels` (N,), integers, are copied in the default memory
    layout: the order in which an attack draws, and whether it runs at all, would else depend on
    it. `seed` in [0, 2**63) decides all that the attack draws; the victim's draws are its own.
    Works inside ``torch.no_grad()`` and ``torch.inference_mode()``; the result is detached.

    The victim's ``requires_grad`` flags are not touched, and no weight gathers a ``grad``, wherever
    it is (see :mod:`.sealed`). While it runs, torchattacks holds every sub-module in eval mode;
    afterwards each has its own mode again. Candidates are not judged: clip, project, predict again.

    ``InputError`` for labels that do not fit; ``BackendError`` with the cause chained when the
    attack raises or returns something else than images; errors of this package and lack of memory
    pass through. Costs what the attack costs, and about a millisecond.

    >>> import torch, torchattacks
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).requires_grad_(False)
    >>> images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 2])
    >>> found = run_attack(lambda m: torchattacks.PGD(m, eps=0.1), model, images, labels, seed=3)
    >>> found.shape, bool((found - images).abs().max() <= 0.1 + 1e-6)
    (torch.Size([2, 1, 2, 2]), True)
    """
    if not isinstance(victim, nn.Module):
        raise InputError(
            f"victim is a {type(victim).__name__}; wrap it in a torch.nn.Module"
        )
    if (
        labels.shape != images.shape[:1]
        or labels.is_floating_point()
        or labels.is_complex()
    ):
        raise InputError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}; "
            f"{len(images)} images need ({len(images)},) class indices"
        )
    with torch.inference_mode(False), torch.enable_grad():
        # A canonical copy: contiguous() would keep the odd strides of an axis of length one.
        own_images = images.detach().clone(memory_format=torch.contiguous_format)
        own_labels = labels.detach().to(images.device, torch.long, copy=True)
        if not len(images):
            return own_images
        with _modes_kept(victim), quiet(), ForkedRng(seed) as fork:
            sealed = Sealed(fork.victim(victim))
            candidates, name = _call(factory, sealed, own_images, own_labels)
        return _checked(candidates, images, name)


@contextmanager
def quiet() -> Iterator[None]:
    """Send torchattacks' prints to the log (level DEBUG) and drop the warnings of its own code.

    >>> with quiet():
    ...     print("Attack mode is changed to 'default.'")
    """
    words = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(words):
            warnings.filterwarnings("ignore", module=r"torchattacks\.")
            yield
    finally:
        if words.getvalue():
            _log.debug("torchattacks: %s", words.getvalue().rstrip())


def _call(
    factory: AttackFactory, sealed: Sealed, images: Tensor, labels: Tensor
) -> tuple[object, str]:
    """Build and call the attack: (what it returned, its name)."""
    name = getattr(factory, "__name__", type(factory).__name__)
    try:
        attack = factory(sealed)
        name = str(getattr(attack, "attack", type(attack).__name__))
        # torchattacks finds no device for a model without parameters.
        if getattr(attack, "device", images.device) is None:
            attack.set_device(images.device)  # type: ignore[attr-defined]
        sealed.keeps = name in _KEEPS_GRAPHS or getattr(attack, "keeps_graphs", False)
        with uncompiled() if sealed.keeps else nullcontext():
            return attack(images, labels), name
    except _PASSED_ON:
        raise
    except Exception as error:
        words = f"attack {name} raised {type(error).__name__}: {error}"
        if from_backward(error):
            words = f"attack {name}: {backward_raised(error)}"
        raise BackendError(words) from error


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    """Give every sub-module its own train/eval flag back: torchattacks sets one for all."""
    before = modes_of(model)  # of those that have one
    try:
        yield
    finally:
        for module, flag in before:
            module.training = flag


def _checked(candidates: object, images: Tensor, name: str) -> Tensor:
    """The candidates as plain images, or BackendError."""
    if not isinstance(candidates, Tensor):
        raise BackendError(
            f"attack {name} returned {type(candidates).__name__} instead of a tensor"
        )
    if candidates.shape != images.shape or not candidates.is_floating_point():
        raise BackendError(
            f"attack {name} returned {candidates.dtype} of shape {tuple(candidates.shape)}; "
            f"the images are {images.dtype} of shape {tuple(images.shape)}"
        )
    return candidates.detach().to(images.device, images.dtype).contiguous()
