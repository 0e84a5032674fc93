"""Which model is this? A hash of its weights, so that a run is never resumed with another one."""

from __future__ import annotations

import hashlib
import weakref
from typing import Any

import torch

from .checks import parameter_version
from .logits import class_name

_cache: weakref.WeakKeyDictionary[Any, tuple[Any, str]] = weakref.WeakKeyDictionary()


def model_sha256(model: object) -> str | None:
    """SHA-256 in hex over class name, sorted state_dict names (without wrappers' prefixes), dtypes, bytes.

    None for a callable without a state_dict: give such a model a tag of your own. Cached per parameter
    version. Cost: one pass over the weights, no forward pass.
    """
    if not isinstance(model, torch.nn.Module):
        return None
    version = parameter_version(model)
    known = _cache.get(model)
    if known is not None and version is not None and known[0] == version:
        return known[1]
    total = hashlib.sha256(class_name(model).encode())
    state = {_bare(name): value for name, value in model.state_dict().items()}
    for name in sorted(state):
        value = state[name]
        if not isinstance(value, torch.Tensor):
            continue
        total.update(f"|{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        flat = value.detach().cpu().contiguous().flatten()
        total.update(flat.view(torch.uint8).numpy().tobytes() if len(flat) else b"")
    digest = total.hexdigest()
    _cache[model] = (version, digest)
    return digest


def _bare(name: str) -> str:
    parts = [part for part in name.split(".") if part not in ("_orig_mod", "module")]
    return ".".join(parts)


def describe_model(model: object) -> dict[str, Any]:
    """Class name, weight hash and number of parameters, for the provenance of a result."""
    count = None
    if isinstance(model, torch.nn.Module):
        count = sum(parameter.numel() for parameter in model.parameters())
    return {
        "class": class_name(model),
        "sha256": model_sha256(model),
        "parameters": count,
    }
