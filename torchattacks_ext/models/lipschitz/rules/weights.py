"""Which weight does a layer use in eval mode? It is measured, whatever a parametrisation promises.

A parametrised weight is computed at every access and read as it is. Hooks of the older kind
(torch.nn.utils.spectral_norm, weight_norm) write the weight in the forward: the net is run once
before its weights are read. deel-torchlip keeps a copy of the weight of the last training forward;
where it is no longer that of its parameters, the layer is refused.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import ModelContractError

_CACHE = "_BjorckNorm"
"""Class name of the parametrisation of deel-torchlip that answers from memory in eval mode."""
STALE = 1e-4
"""Largest difference, in parts of the largest entry, that rounding may make between the two."""


def weight_of(module: nn.Module, name: str = "weight") -> Tensor:
    """The weight that the next forward in eval mode uses, in float64 on the CPU.

    Raises ModelContractError for a weight with NaN or infinite entries, and for a copy that is
    older than its parameters.

    >>> weight_of(nn.Linear(3, 2)).shape, weight_of(nn.Linear(3, 2)).dtype
    (torch.Size([2, 3]), torch.float64)
    """
    with torch.no_grad():
        weight: Tensor = getattr(module, name).detach()
    lists = getattr(module, "parametrizations", None)
    if isinstance(lists, nn.ModuleDict) and name in lists:
        _refuse_stale(module, lists[name], weight)
    return finite(weight.to("cpu", torch.float64), module)


def finite(weight: Tensor, module: nn.Module) -> Tensor:
    """The tensor itself; ModelContractError, naming the module, where it is not finite."""
    if bool(weight.isfinite().all()):
        return weight
    raise ModelContractError(
        f"a weight of {type(module).__name__} has NaN or infinite entries: it has no bound; load "
        "or train its weights again"
    )


def _refuse_stale(module: nn.Module, chain: Any, weight: Tensor) -> None:
    kinds = [type(one).__name__ for one in chain]
    if _CACHE not in kinds:
        return
    fresh = copy.deepcopy(chain)
    for one in fresh:
        one.training = type(one).__name__ == _CACHE
    with torch.no_grad():
        wanted = fresh()
    apart = float((wanted - weight).abs().max())
    if not apart <= STALE * float(weight.abs().max()):
        raise ModelContractError(
            f"the weight that {type(module).__name__} uses in eval mode is a copy from its last "
            f"training forward and differs from its parameters (by {apart:.2g}): run one forward "
            "in training mode and call .eval() again, or export it (vanilla_export)"
        )
