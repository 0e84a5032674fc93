"""What do the stages share that run a probe? Its settings from the plan, refusals, its origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError
from ...models.fingerprint import describe_model
from ...results.base.facts import versions
from ..plan import Plan, did_you_mean
from .base import Shared


def refuse_unknown(
    name: str, settings: Iterable[str], takes: tuple[str, ...], more: str = ""
) -> None:
    """Raises ConfigError for an argument that the stage does not take; more: a further remedy.

    >>> refuse_unknown("fim", ["tol"], ("method", "tol"))
    """
    for given in settings:
        if given not in takes:
            hint = did_you_mean(given, takes)
            raise ConfigError(
                f"stage {name!r} has no argument {given!r}{hint}; it takes "
                f"{', '.join(takes)}{more}"
            )


def common_settings(plan: Plan) -> dict[str, Any]:
    """The settings of any probe that the plan decides."""
    return {
        "eps": plan.eps,
        "norm": plan.norm,
        "seed": plan.seed,
        "batch_size": plan.batch_size,
        "bounds": plan.bounds,
        "outputs": plan.outputs,
        "output_key": plan.output_key,
    }


def stand_in(images: Tensor) -> Tensor:
    """In the place of the model before it is known, so that wrong settings fail before any pass.

    >>> stand_in(torch.zeros(3, 1, 2, 2)).shape
    torch.Size([3, 2])
    """
    return images.flatten(1)[:, :2]


def origin_of(shared: Shared, device: torch.device, plan: Plan) -> Mapping[str, Any]:
    """The provenance that a result of `measure` would have: model, device, versions."""
    model = shared.model
    return {
        "model": describe_model(shared.view.model) if model is None else model,
        "device": str(device),
        "batch_size": plan.batch_size,
        "normalised_input": False,
        "versions": versions(),
    }
