"""Which features does a model give of an image? What goes into its last Linear, or its logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ModelContractError
from ...models.gradients import uncompiled
from ...models.logits import LogitsView

LOGITS, PENULTIMATE = "logits", "penultimate"


def find_place(view: LogitsView, images: Tensor, wanted: str) -> str:
    """ "logits", or "penultimate:NAME" of the last Linear that ran and gave K numbers a row.

    wanted: "auto" takes the logits where there is no such layer. images: a few; one forward
    row-pass each. Raises ConfigError where "penultimate" was wanted and there is none.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> find_place(LogitsView(net), torch.rand(2, 1, 2, 2), "auto")
    'penultimate:3'
    """
    if wanted == LOGITS:
        return LOGITS
    calls: list[tuple[str, Tensor, Tensor]] = []
    with _heard(view.model, calls), torch.no_grad(), uncompiled():
        logits = view(images)
    for name, given, out in reversed(calls):
        if given.dim() == 2 and len(given) == len(images):
            if out.shape[-1] in {logits.shape[1], 1 if logits.shape[1] == 2 else -1}:
                return f"{PENULTIMATE}:{name}"
            break
    if wanted == PENULTIMATE:
        raise ConfigError(
            "features='penultimate', but no Linear at the end of the model takes one row of "
            "numbers an image; give features='logits'"
        )
    return LOGITS


def features_and_logits(
    view: LogitsView, images: Tensor, place: str
) -> tuple[Tensor, Tensor]:
    """(B, d) float32 and (B, K) on the CPU, without gradients; one forward row-pass a row.

    Raises ModelContractError where the layer of the place is not there or did not run.
    """
    name = place.partition(":")[2]
    calls: list[tuple[str, Tensor, Tensor]] = []
    with torch.no_grad():
        if not place.startswith(PENULTIMATE):
            logits = view(images).cpu()
            return logits.float(), logits
        with _heard(view.model, calls, name), uncompiled():
            logits = view(images)
    taken = [given for _, given, _ in calls if len(given) == len(images)]
    if not taken or taken[-1].dim() != 2:
        raise ModelContractError(
            f"the layer {name!r}, whose input the features are, did not run on these images; fit "
            "with features='logits'"
        )
    return taken[-1].float().cpu(), logits.cpu()


@contextmanager
def _heard(
    model: Any, calls: list[tuple[str, Tensor, Tensor]], only: str | None = None
) -> Iterator[None]:
    """Every Linear that runs inside notes its name, its input and its output."""
    hooks = []
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    for place, module in modules.items():
        name = _bare(place)
        if not isinstance(module, nn.Linear) or only not in (None, name):
            continue

        def note(_: nn.Module, args: Any, out: Any, name: str = name) -> None:
            given = args[0] if isinstance(args, tuple) and args else None
            if isinstance(given, Tensor) and isinstance(out, Tensor):
                # a layer after it may write on what it is given
                calls.append((name, given.detach().clone(), out.detach()))

        hooks.append(module.register_forward_hook(note))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _bare(name: str) -> str:
    """Without the prefixes of torch.compile and DataParallel: the same model inside and outside."""
    parts = [part for part in name.split(".") if part not in ("_orig_mod", "module")]
    return ".".join(parts)
