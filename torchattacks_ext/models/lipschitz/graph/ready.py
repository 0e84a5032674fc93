"""Is a model such that its modules say what it computes? Modes, precision, hooks, weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ....errors import ModelContractError
from ...modes import in_training
from ...normalised import NormalizedModel
from ...skeletons import is_skeleton

WEIGHT_HOOKS = ("SpectralNorm", "WeightNorm", "BasePruningMethod")
"""Hooks of torch.nn.utils that write a weight before the forward, which is measured after it."""


def inner_of(model: Any) -> Any:
    """The model itself, below DataParallel, DistributedDataParallel and torch.compile.

    >>> inner_of(nn.DataParallel(nn.ReLU()))
    ReLU()
    """
    while True:
        compiled = getattr(model, "_orig_mod", None)
        if isinstance(compiled, nn.Module):
            model = compiled
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def refuse_unready(model: object) -> None:
    """ModelContractError, with the remedy, unless the modules of the model tell what it computes.

    >>> refuse_unready(nn.Linear(2, 2).eval())
    """
    if not isinstance(model, nn.Module):
        raise ModelContractError(
            f"bounds are read from the modules of a model; {type(model).__name__} is no nn.Module"
        )
    if is_skeleton(model):
        raise ModelContractError(
            "the model's weights are on the meta device and have no values"
        )
    # a view that normalises is the same function in both modes, and new ones are in training mode
    training = [one for one in in_training(model) if type(one) is not NormalizedModel]
    if training:
        raise ModelContractError(
            f"{type(training[0]).__name__} is in training mode, where it is another function: call "
            "model.eval() first"
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        refuse_half(name, tensor)
    for name, module in model.named_modules():
        _refuse_changed(name or type(module).__name__, module)


def refuse_half(name: str, value: Any) -> None:
    """ModelContractError for real numbers of less than float32."""
    for one in tree_leaves(value):
        if (
            isinstance(one, Tensor)
            and one.is_floating_point()
            and one.element_size() < 4
        ):
            raise ModelContractError(
                f"{name} is {one.dtype}: what such a model computes is far from the function that "
                "a bound speaks of; call model.float() or model.double()"
            )


def _refuse_changed(name: str, module: nn.Module) -> None:
    for table in ("_forward_hooks", "_forward_pre_hooks"):
        for hook in (vars(module).get(table) or {}).values():
            kinds = [kind.__name__ for kind in type(hook).__mro__]
            if not any(kind in WEIGHT_HOOKS for kind in kinds):
                raise ModelContractError(
                    f"{name} has a forward hook ({hook!r}), which may change values unseen: take "
                    "it off, or write it into the forward"
                )
    if "forward" in vars(module):
        raise ModelContractError(
            f"the forward of {name} was replaced on the object: make a subclass, and "
            "register_rule for it"
        )
