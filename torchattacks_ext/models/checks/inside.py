"""Does a model differentiate while it answers? Defences that optimise at inference do.

What such a model gives depends on an inner loop that attacks see only in part; public leaderboards
leave it out, and ask for an attack of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..._typing import LogitsFn

ASKS = ("grad", "backward")
"""Names of what asks for derivatives: torch.autograd.grad and backward, a tensor's backward."""


class _Listener(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
    """Notes whether something inside asked autograd for derivatives; changes nothing.

    A mode belongs to the thread, so other models at work are not heard, and no function of torch is
    replaced as by a patch or a tracer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard = False

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # the property `tensor.grad` comes by as "__get__"
        self.heard = self.heard or getattr(function, "__name__", "") in ASKS
        return function(*args, **(kwargs or {}))


def differentiates(view: LogitsFn, images: Tensor) -> bool:
    """Whether `view` asks for derivatives while it answers images (N, ...); N forward row-passes.

    Not seen: compiled graphs, and derivatives by torch.func.

    >>> def tuned(x):
    ...     with torch.enable_grad():
    ...         z = x.detach().requires_grad_()
    ...         z.square().sum().backward()
    ...     return x - 0.1 * z.grad
    >>> differentiates(tuned, torch.ones(2, 3)), differentiates(torch.tanh, torch.ones(2, 3))
    (True, False)
    """
    with torch.no_grad(), _Listener() as listener:
        view(images)
    return bool(listener.heard)
