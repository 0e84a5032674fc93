"""How does every backend of torch compute in full precision, with kernels that have derivatives?

Three things spoil a Jacobian without a word: TF32 (10 bits of mantissa; on by default in cuDNN's
convolutions), autocast (the same or worse), and fused attention kernels, which have no second
derivative and no forward-mode one. All three are switches of the process or the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def _owners() -> list[Any]:
    """Whatever has a `fp32_precision` in this torch; empty before torch 2.9."""
    backends = torch.backends
    owners = [backends.cuda.matmul] + [
        getattr(owner, name, None)
        for owner in (backends.cudnn, backends.mkldnn)
        for name in ("matmul", "conv", "rnn")
    ]
    return [owner for owner in owners if hasattr(owner, "fp32_precision")]


def _enter_ieee() -> Callable[[], None]:
    """Products and convolutions of float32 in float32; returns what undoes it.

    torch has two sets of switches for one thing and raises when the old ones are read in a state
    that they cannot express. Where they can be read both are set, so that a model that reads the
    old ones inside does not fail.
    """
    before = [(owner, owner.fp32_precision) for owner in _owners()]
    undo_old = _enter_ieee_by_old_switches()
    for owner, _ in before:
        owner.fp32_precision = "ieee"

    def undo() -> None:
        undo_old()
        for owner, value in before:
            owner.fp32_precision = value

    return undo


def _enter_ieee_by_old_switches() -> Callable[[], None]:
    try:
        matmul = torch.get_float32_matmul_precision()
        conv = torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return lambda: None
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False

    def undo() -> None:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = conv

    return undo


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32, no autocast, no fused attention inside; on exit, also after an error, all as before.

    Switches off TF32 and bfloat16 for float32 products and convolutions (CUDA, cuDNN, oneDNN),
    autocast of this thread on the CPU and on CUDA, the fast path of nn.MultiheadAttention and every
    scaled_dot_product_attention but the plain one (SDPBackend.MATH). The float32 and fast-path
    switches belong to the process: another thread's work is slower meanwhile. A model that turns
    autocast on by itself keeps doing so. Nests. No passes, about 50 us.

    >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision():
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    undo = _enter_ieee()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            for device in ("cpu", "cuda"):
                stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        undo()


def coarsest(outputs: Tensor) -> torch.dtype:
    """The dtype of fewest digits on the way to `outputs`, in their graph; theirs without a graph.

    So autocast inside a forward is seen, whatever dtype goes in and comes out. No passes.

    >>> x = torch.ones(1, requires_grad=True)
    >>> coarsest(x.half().float() * 2), coarsest(x * 2)
    (torch.float16, torch.float32)
    """
    found, seen, open_ = outputs.dtype, set(), [outputs.grad_fn]
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        # what torch knows of the results of a step; it has no public name
        for about in getattr(node, "_input_metadata", ()):
            dtype = about.dtype
            if dtype.is_floating_point and _eps(dtype) > _eps(found):
                found = dtype
        open_ += [later for later, _ in node.next_functions]
    return found


def _eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps
