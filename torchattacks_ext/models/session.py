"""How is a model borrowed and given back? Modes, gradients, the right to run; also after errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain
from typing import Any

import torch
from torch import nn

from ..errors import StateError
from .loans import loaned
from .modes import change, give_back_modes, modes_of
from .skeletons import looked_over

ROUNDINGS = 4
"""Units of rounding of a half or bf16 model below which no change is believed."""

_guard = threading.Lock()
_owners: dict[int, tuple[int, int]] = {}


def _acquire(model: object) -> bool:
    """Lock the model for this thread; True where no session of it was open."""
    me, key = threading.get_ident(), id(model)
    with _guard:
        owner, depth = _owners.get(key, (me, 0))
        if owner != me:
            raise StateError(
                f"{type(model).__name__} is being measured in another thread; one session a model "
                "runs at a time: wait for it, or give each thread its own copy of the model"
            )
        _owners[key] = (me, depth + 1)
    return depth == 0


def _release(model: object) -> None:
    with _guard:
        owner, depth = _owners[id(model)]
        if depth == 1:
            del _owners[id(model)]
        else:
            _owners[id(model)] = (owner, depth - 1)


def _keeps_statistics(module: nn.Module) -> bool:
    """True for layers that mix the rows of a batch or write running statistics in training mode."""
    named = "BatchNorm" in type(module).__name__
    return named or bool(getattr(module, "track_running_stats", False))


def _set_modes(model: nn.Module, training: bool, dropout: bool) -> None:
    if not training and type(model).eval is not nn.Module.eval:
        with suppress(NotImplementedError):
            model.eval()
    change(model, training)
    if not training:
        return
    for module, _ in modes_of(model):
        frozen = "Dropout" in type(module).__name__ and not dropout
        if frozen or _keeps_statistics(module):
            module.training = False


@contextmanager
def session(
    model: Callable[..., Any], *, training: bool = False, dropout: bool = False
) -> Iterator[None]:
    """Borrow `model`: eval mode (or `training` without batch statistics), parameters frozen.

    On exit, also after an exception, every module has its own mode again (by its own `train` where
    it has one), every parameter its requires_grad and its grad, every buffer its values (see
    :func:`.loans.lost_buffers`), and hooks that were put on are taken off. The same thread may nest
    sessions; another thread gets a StateError. A callable that is no Module is only locked. No
    forward passes.

    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    >>> with session(net):
    ...     (net.training, net[0].weight.requires_grad)
    (False, False)
    >>> (net.training, net[0].weight.requires_grad)
    (True, True)
    """
    outermost = _acquire(model)
    try:
        if not isinstance(model, nn.Module):
            yield
            return
        with _first_loan(model) if outermost else nullcontext(), _settled(model):
            _set_modes(model, training, dropout)
            yield
    finally:
        _release(model)


@contextmanager
def _first_loan(model: nn.Module) -> Iterator[None]:
    """What is done once, however deep sessions nest."""
    with loaned(model), looked_over(model):
        yield


@contextmanager
def _settled(model: nn.Module) -> Iterator[None]:
    """Parameters frozen and without grad inside; modes, flags and grads are given back."""
    modes = modes_of(model)
    # inference tensors can never need a gradient, and refuse to be told so
    owned = [p for p in model.parameters() if not p.is_inference()]
    loans = [(p, p.requires_grad, p.grad) for p in owned]
    try:
        for parameter, needs, _ in loans:
            parameter.grad = None
            if needs:
                parameter.requires_grad_(False)
        yield
    finally:
        give_back_modes(modes)
        for parameter, needs, grad in loans:
            if parameter.requires_grad != needs:
                parameter.requires_grad_(needs)
            parameter.grad = grad


def first_tensor(model: object) -> torch.Tensor | None:
    """The first floating-point parameter, else buffer, of a model; it says device and dtype.

    Those in which something can be computed come before those that only store (float8); tensors
    on the meta device, skeletons without values, are passed over.
    """
    if not isinstance(model, nn.Module):
        return None
    stores = None
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.is_meta:
            continue
        if tensor.dtype.is_floating_point and tensor.element_size() > 1:
            return tensor
        if stores is None and tensor.dtype.is_floating_point:
            stores = tensor
    return stores


def on_device_of(model: object, images: torch.Tensor) -> torch.Tensor:
    """The images where the model's first tensor lies; as they are where it has none.

    >>> on_device_of(nn.Flatten(), torch.zeros(1, 2)).device.type
    'cpu'
    """
    sample = first_tensor(model)
    return images if sample is None else images.to(sample.device)


def in_dtype_of(model: object, images: torch.Tensor) -> torch.Tensor:
    """Images (N, ...) as a part of a model computes, for those that are called past every view.

    >>> in_dtype_of(nn.Linear(2, 2).half(), torch.zeros(1, 2)).dtype
    torch.float16
    """
    sample = first_tensor(model)
    if sample is None or sample.element_size() < 2 or not images.is_floating_point():
        return images
    return images.to(sample.dtype)


def rounding_of(model: object) -> float:
    """What rounding alone may move: 0 for float32 and float64, some units of a shorter dtype.

    >>> rounding_of(nn.Linear(2, 2)), rounding_of(nn.Linear(2, 2).half())
    (0.0, 0.00390625)
    """
    sample = first_tensor(model)
    if sample is None or sample.element_size() >= 4:
        return 0.0
    return ROUNDINGS * torch.finfo(sample.dtype).eps
