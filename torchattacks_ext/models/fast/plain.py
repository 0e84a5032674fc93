"""Is a module what its class says? Not compiled, wrapped or hooked, and its weights are plain."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
FROZEN = "torchvision.ops.misc.FrozenBatchNorm2d"
HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")


def not_readable(model: nn.Module) -> str | None:
    """Why the modules of a model do not tell what it computes; None where they may.

    >>> not_readable(nn.Sequential(nn.ReLU())) is None
    True
    >>> not_readable(nn.DataParallel(nn.ReLU()))
    'the model is wrapped by DataParallel: give what is inside (model.module)'
    """
    for path, module in model.named_modules():
        where = f"module '{path}'" if path else "the model"
        kind = type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            return f"{where} is a script ({kind}): give the module that it was made of"
        compiled = vars(module).get("_compiled_call_impl") is not None
        if compiled or isinstance(getattr(module, "_orig_mod", None), nn.Module):
            return f"{where} is compiled: give the plain one, and say compile=True here"
        if kind in WRAPPERS:
            return f"{where} is wrapped by {kind}: give what is inside (model.module)"
        if "quantized" in type(module).__module__:
            return f"{where} is quantised ({kind})"
    return None


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a batch normalisation, of torch or of a class made from it.

    >>> is_norm(nn.BatchNorm1d(2)), is_norm(nn.LayerNorm(2))
    (True, False)
    """
    return any("BatchNorm" in kind.__name__ for kind in type(module).__mro__)


def touched(module: Any) -> bool:
    """Whether a module has hooks, a forward on the object itself, or weights that are not plain.

    Plain are parameters of float32 or float64 with values of their own, no subclass of tensors.

    >>> layer = nn.Linear(2, 2)
    >>> touched(layer), touched(layer.half())
    (False, True)
    """
    if any(vars(module).get(name) for name in HOOKS) or "forward" in vars(module):
        return True
    numbers = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return any(
        type(one) not in (nn.Parameter, torch.Tensor)
        or one.is_meta
        or one.is_floating_point()
        and one.element_size() < 4
        for one in numbers
    )


def refusal_of_norm(norm: Any) -> str | None:
    """Why a batch normalisation is no fixed factor and constant a channel; None where it is.

    >>> refusal_of_norm(nn.BatchNorm1d(2))
    'it is in training mode, where it takes the statistics of the batch: call model.eval() first'
    """
    kind = type(norm)
    frozen = f"{kind.__module__}.{kind.__qualname__}" == FROZEN
    if kind not in NORMS and not frozen:
        return f"{kind.__name__} is a class of its own"
    if not frozen and norm.training:
        return (
            "it is in training mode, where it takes the statistics of the batch: call model.eval() "
            "first"
        )
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no running statistics"
    if touched(norm):
        return "it has a hook, a forward of its own, or weights of half precision"
    return None
