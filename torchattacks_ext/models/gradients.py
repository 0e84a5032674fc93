"""What gradient does a model give to its images, and what is said where it gives none?

Everything that differentiates a model asks here: which models must not be differentiated at all,
how compiled ones are (uncompiled), what an exception of a backward pass means, and how a run of
gradients goes on where the gradient of the images is None or absent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BackendError, TorchattacksExtError

PASSED_ON = (TorchattacksExtError, torch.cuda.OutOfMemoryError, MemoryError)
"""What a backward pass may raise and the caller must see as it is."""
_PLACES = ("autograd/__init__.py", "autograd/graph.py")
_FSDP1 = "FullyShardedDataParallel"
_HINTS = (
    (
        "use_reentrant",
        "a checkpoint inside the model is reentrant, which allows no gradient of the images: call "
        "torch.utils.checkpoint.checkpoint(..., use_reentrant=False)",
    ),
    (
        "donated buffers",
        "the model is compiled for a single backward pass: give the uncompiled module "
        "(compiled._orig_mod)",
    ),
    (
        "does not require grad",
        "the images are detached inside the model: let the gradient through, or use a method that "
        'needs scores only (FIMScore(method="blackbox"), Square)',
    ),
    (
        "backward through the graph a second time",
        "does it train itself in its forward, by a backward pass of its own? Rows would depend on "
        "their order: give a frozen copy",
    ),
    (
        "modified by an inplace operation",
        "a layer writes on what its backward pass needs: let it work on a copy",
    ),
    (
        "nference tensor",
        "tensors were made under torch.inference_mode(): make them outside of it",
    ),
)


class NoGradient(BackendError):
    """The model gives no gradient of its scores to the images; the message says why."""


def refuse_untouched(model: object) -> None:
    """Raises NoGradient for a model that a gradient of its images would break; no forward pass.

    >>> refuse_untouched(nn.Linear(2, 2))
    """
    if not isinstance(model, nn.Module):
        return
    for module in model.modules():
        if any(kind.__name__ == _FSDP1 for kind in type(module).__mro__):
            raise NoGradient(
                "the model is sharded by FullyShardedDataParallel (FSDP version 1), which a "
                "gradient of the images breaks: shard it by fully_shard (version 2), give the "
                "unsharded module, or use a method that needs scores only"
            )


def scores_only(model: object) -> bool:
    """Whether a part of the model says that no gradient passes it, by an attribute `scores_only`.

    >>> scores_only(nn.Linear(2, 2))
    False
    """
    parts = model.modules() if isinstance(model, nn.Module) else (model,)
    return any(getattr(part, "scores_only", False) is True for part in parts)


def inference_tensors(model: object) -> tuple[str, ...]:
    """Names of the parameters and buffers that were made under torch.inference_mode().

    >>> inference_tensors(nn.Linear(2, 2))
    ()
    """
    if not isinstance(model, nn.Module):
        return ()
    named = [*model.named_parameters(), *model.named_buffers()]
    return tuple(name for name, tensor in named if tensor.is_inference())


def uncompiled() -> AbstractContextManager[Any]:
    """Inside, compiled modules and functions run as they were written; about 50 us, no passes.

    A compiled graph gives its memory back in its first backward pass and has no second derivative,
    so that a kept graph is one of the plain module. Nothing happens where nothing is compiled.
    """
    stance = getattr(torch.compiler, "set_stance", None)
    if stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    found: AbstractContextManager[Any] = stance("force_eager")
    return found


def backward_raised(error: Exception) -> NoGradient:
    """What is said of an exception of the model's backward pass; raise it from the error.

    >>> "use_reentrant=False" in str(backward_raised(RuntimeError("use_reentrant=True is ...")))
    True
    """
    words = " ".join(str(error).split())
    hint = next((hint for known, hint in _HINTS if known in words), "")
    said = f"the model's backward pass raised {type(error).__name__}: {words[:160]}"
    return NoGradient(f"{said}; {hint}" if hint else said)


def from_backward(error: BaseException) -> bool:
    """Whether an exception came out of a backward pass: torch's engine is on its way.

    >>> try:
    ...     _ = torch.autograd.grad(torch.ones(()), torch.ones(()))
    ... except RuntimeError as error:
    ...     from_backward(error), from_backward(ValueError())
    (True, False)
    """
    if isinstance(error, PASSED_ON):
        return False
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename.replace("\\", "/")
        if "torch/" in name and name.endswith(_PLACES):
            return True
        trace = trace.tb_next
    return False


@contextmanager
def backward_explained() -> Iterator[None]:
    """Exceptions of a backward pass inside become NoGradient, with the original as the cause."""
    try:
        yield
    except Exception as error:
        if not from_backward(error):
            raise
        raise backward_raised(error) from error


def gated(images: Tensor, seen: Callable[[bool], None]) -> tuple[Tensor, Tensor]:
    """(images, token): the same images, whose gradient is never None once the token is joined.

    seen: told at each backward pass whether a gradient arrived from the model.
    """
    found: tuple[Tensor, Tensor] = _Gate.apply(images, seen)
    return found


def joined(logits: Tensor, token: Tensor) -> Tensor:
    """The logits, from which a backward pass always reaches the images of the token.

    >>> images, said = torch.zeros(1, 2, requires_grad=True), []
    >>> shown, token = gated(images, said.append)
    >>> torch.autograd.grad(joined(shown.detach(), token).sum(), images)[0].tolist(), said
    ([[0.0, 0.0]], [False])
    """
    found: Tensor = _Join.apply(logits, token)
    return found


class _Gate(torch.autograd.Function):
    """The identity; its gradient is contiguous, and zero where none arrives."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, seen: Any) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.seen, ctx.like = seen, (images.shape, images.dtype, images.device)
        return images.view_as(images), images.new_zeros(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0]
        ctx.seen(gradient is not None)
        if gradient is None:
            shape, dtype, device = ctx.like
            return torch.zeros(shape, dtype=dtype, device=device), None
        # AutoAttack takes a .view of gradients; channels-last models give others
        return gradient.contiguous(), None


class _Join(torch.autograd.Function):
    """The identity of its first argument; the second gets a zero."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, token: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.like = token.dtype, token.device
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        dtype, device = ctx.like
        return gradients[0], torch.zeros(1, dtype=dtype, device=device)
