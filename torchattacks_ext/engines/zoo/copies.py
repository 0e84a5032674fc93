"""What does an attack of somebody else do to the model that it is given? A copy, looked at twice.

Its own copy, so that nothing it does touches another number: weights, modes, hooks and the input
gradient of a few images are compared before and after.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import BackendError, ConfigError, ModelContractError
from ...models.loans import hooks_of
from ...models.modes import modes_of
from ...results.base.facts import Flag

PROBE = 2
"""Images whose gradient is asked before and after."""
CLOSE = 1e-3
"""Share of the largest entry of a gradient by which two of one model may differ."""
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)


def copied(model: Any, attack: str) -> Any:
    """A deep copy of the model. Raises ConfigError where there is none: a plain function has none.

    >>> copied(nn.Linear(2, 2), "mine:PGD").weight.shape
    torch.Size([2, 2])
    """
    remedy = "an attack that is not of torchattacks works on a copy of its own"
    if isinstance(model, _FUNCTIONS):
        raise ConfigError(
            f"{attack} cannot attack a plain function ({model.__name__}): {remedy}, and what a "
            "function holds cannot be copied; give a Module, or an object with __call__"
        )
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ConfigError(
            f"{attack} cannot attack {type(model).__name__}: {remedy}, and copy.deepcopy raises "
            f"{type(error).__name__}: {error}"
        ) from error


class Lookalike(nn.Module):
    """A victim (images to logits) that also shows the attributes of the model behind it.

    Attacks on features name layers of the model ("layer3.0"): they find them here.

    >>> net = nn.Sequential(nn.Linear(2, 3))
    >>> Lookalike(nn.Identity(), net).get_submodule("0").out_features
    3
    """

    def __init__(self, victim: nn.Module, model: Any) -> None:
        super().__init__()
        self.victim = victim
        self._behind = (model,)  # no child: it is one already, further down

    def __getattr__(self, name: str) -> Any:
        """The victim's own, else the model's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            behind = self.__dict__.get("_behind")
            if behind is None or name.startswith("__"):
                raise
            return getattr(behind[0], name)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the victim."""
        logits: Tensor = self.victim(images)
        return logits


@dataclass(frozen=True, eq=False)
class Looks:
    """hooks: how many there are. modes: of every module. gradient: of a few images, or None."""

    hooks: int
    modes: tuple[bool, ...]
    gradient: Tensor | None


def look(
    model: Any, ask: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> Looks:
    """How the model looks now. ask: images (N, ...) to logits. The gradient is that of the labels'
    logits; None where the model gives none. Cost: PROBE row-passes forward and backward.
    """
    hooks, modes = 0, tuple[bool, ...]()
    if isinstance(model, nn.Module):
        tables = hooks_of(model).values()
        hooks = sum(len(keys) for table in tables for keys in table.values())
        modes = tuple(mode for _, mode in modes_of(model))
    return Looks(hooks, modes, _gradient(ask, images[:PROBE], labels[:PROBE]))


def _gradient(
    ask: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> Tensor | None:
    if not len(images):
        return None
    try:
        with torch.inference_mode(False), torch.enable_grad():
            shown = images.detach().clone().requires_grad_()
            aimed = ask(shown).gather(1, labels.long()[:, None]).sum()
            found: Tensor = torch.autograd.grad(aimed, shown)[0]
            return found
    except (BackendError, ModelContractError, RuntimeError):
        return None


def harm(
    original: Any, own: Any, before: Looks, after: Looks, stage: str, count: int
) -> Iterator[Flag]:
    """A flag for each kind of trace that the attack left on its copy `own` of `original`.

    before, after: how the copy looked. stage: label of the stage. count: images that were attacked.
    """
    said: Mapping[str, str] = {
        "attack_left_hooks": _hooks(before, after),
        "attack_changed_model": _changes(original, own, before, after),
        "attack_changed_gradient": _moved(before.gradient, after.gradient),
    }
    for code, what in said.items():
        if what:
            text = (
                f"{stage} {what} its copy of the model, which was thrown away; on a model that is "
                "used further it would spoil what comes after"
            )
            yield Flag(code, text, count, {"stage": stage})


def _hooks(before: Looks, after: Looks) -> str:
    left = after.hooks - before.hooks
    return f"left {left} hook{'s' * (left != 1)} on" if left > 0 else ""


def _changes(original: Any, own: Any, before: Looks, after: Looks) -> str:
    """Weights, float buffers and modes that are not as they were."""
    names = []
    if isinstance(original, nn.Module) and isinstance(own, nn.Module):
        was = {**dict(original.named_parameters()), **dict(original.named_buffers())}
        now = {**dict(own.named_parameters()), **dict(own.named_buffers())}
        names = [name for name in was if not _same(was[name], now.get(name))]
        names += sorted(set(now) - set(was))
    if names:
        return f"changed {', '.join(names[:3])}{', ...' * (len(names) > 3)} of"
    return "changed train/eval modes of" if before.modes != after.modes else ""


def _same(was: Tensor, now: Tensor | None) -> bool:
    if now is None or was.shape != now.shape:
        return False
    if not was.is_floating_point():
        return True  # counters move in any forward
    return bool(((was == now) | (was.isnan() & now.isnan())).all())


def _moved(before: Tensor | None, after: Tensor | None) -> str:
    if before is None or after is None:
        return "took the gradient from" if before is not None else ""
    if not float((before - after).abs().max()) > CLOSE * float(before.abs().max()):
        return ""
    return "changed the input gradient of"
