"""Is everything as before? Models, the caller's tensors, the process; and what moved."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
Facts = dict[str, Any]


def unsettle(dice: random.Random, module: nn.Module, modes: bool) -> None:
    """Modes (where they may be asked for), requires_grad and gradients as in a training loop."""
    if modes:
        whole = dice.choice(("eval", "eval", "train", "mixed"))
        module.train(whole != "eval")
        if whole == "mixed":
            for part in list(module.modules())[1::2]:
                if type(part).train is nn.Module.train and not _scripted(part):
                    part.training = dice.random() < 0.5
    for parameter in module.parameters():
        if parameter.is_inference() or not parameter.dtype.is_floating_point:
            continue
        if not parameter.is_leaf:
            continue
        parameter.requires_grad_(dice.random() < 0.6)
        filled = dice.random() < 0.5
        parameter.grad = torch.full_like(parameter, 0.25) if filled else None


def _scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def snapshot(modules: Iterable[nn.Module], tensors: Iterable[Tensor]) -> Facts:
    """Everything that must be the same afterwards."""
    found: Facts = {"process": _process()}
    for number, module in enumerate(modules):
        found |= {f"module {number} {key}": value for key, value in _of(module).items()}
    for number, tensor in enumerate(tensors):
        found[f"tensor {number}"] = _bits(tensor), tensor.requires_grad
        found[f"tensor {number} grad"] = None if tensor.grad is None else 1
    return found


def moved(before: Facts, after: Facts) -> list[str]:
    """The names of what is not as before."""
    keys = dict.fromkeys([*before, *after])
    return [key for key in keys if before.get(key) != after.get(key)]


def _process() -> Facts:
    numpy_state = np.random.get_state()
    return {
        "torch generator": torch.get_rng_state().numpy().tobytes(),
        "numpy generator": (numpy_state[1].tobytes(), numpy_state[2]),
        "python generator": hash(random.getstate()),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "matmul": torch.get_float32_matmul_precision(),
        "fast attention": torch.backends.mha.get_fastpath_enabled(),
        "threads": torch.get_num_threads(),
    }


def _of(module: nn.Module) -> Facts:
    found: Facts = {}
    for path, part in module.named_modules(remove_duplicate=False):
        mode = getattr(part, "training", None)
        found[f"mode {path}"] = mode
        for name in HOOKS:
            found[f"hooks {path} {name}"] = len(vars(part).get(name) or ())
        if hasattr(part, "merged"):
            found[f"merged {path}"] = part.merged
    for path, tensor in module.named_parameters():
        found[f"parameter {path}"] = id(tensor), _bits(tensor), tensor.requires_grad
        if tensor.is_leaf and not tensor.is_inference():
            grad = tensor.grad
            found[f"grad {path}"] = None if grad is None else (id(grad), _bits(grad))
    for path, tensor in module.named_buffers():
        found[f"buffer {path}"] = _bits(tensor), tuple(tensor.shape)
    return found


def _bits(tensor: Tensor) -> bytes:
    flat = tensor.detach().clone().contiguous().reshape(-1)
    if flat.dtype == torch.bfloat16:
        flat = flat.view(torch.int16)
    return flat.numpy().tobytes()
