"""Which graphs do PyTorch's own tools make of a net? Export, scripts, compilers, int8."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .case import COMPILER, Case, dense_digits_net, digits, digits_net, kind, on_digits
from .verbs import hushed

STAIRCASE = "step_(noise|curvature)"
"""What the black box says of answers that change in steps."""


def exported(net: nn.Module, images: Tensor) -> nn.Module:
    """torch.export with a batch of any size."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    return torch.export.export(net, (images,), dynamic_shapes=({0: batch},)).module()


class Inside(nn.Module):
    """A graph inside a module of the user's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        found: Tensor = self.inner(images)
        return found


@kind("torch.export module")
def export() -> Case:
    """It refuses eval() and train()."""
    return on_digits(exported(digits_net(), digits()[0]))


@kind("torch.export module inside a wrapper")
def export_inside() -> Case:
    """The wrapper's eval() reaches it."""
    return on_digits(Inside(exported(digits_net(), digits()[0])))


@kind("torch.fx trace")
def fx() -> Case:
    """symbolic_trace."""
    return on_digits(torch.fx.symbolic_trace(digits_net()))


@kind("torch.func.functional_call in a closure")
def functional() -> Case:
    """Weights in a dict, a module without any."""
    net = digits_net()
    weights = {name: p.detach() for name, p in net.named_parameters()}
    empty = copy.deepcopy(net).to("meta")
    return on_digits(
        lambda images: torch.func.functional_call(empty, weights, (images,))
    )


def _script(make: Callable[[nn.Module], nn.Module]) -> Case:
    with hushed():
        return on_digits(make(digits_net()))


@kind("torch.jit.script")
def script() -> Case:
    """A scripted net."""
    return _script(torch.jit.script)


@kind("torch.jit.trace")
def trace() -> Case:
    """A traced net."""
    return _script(lambda net: torch.jit.trace(net, digits()[0]))


@kind("torch.jit.freeze")
def freeze() -> Case:
    """Neither parameters nor modes."""
    return _script(lambda net: torch.jit.freeze(torch.jit.script(net)))


@kind("torch.jit.optimize_for_inference")
def optimised() -> Case:
    """Weights in a layout of the machine's own, whose operations have no gradient."""
    case = _script(lambda net: torch.jit.optimize_for_inference(torch.jit.script(net)))
    return replace(case, scores=True)


def _compiled(change: Callable[[nn.Module], Any]) -> Case:
    """A dense net, as graphs of convolutions are compiled again for every range of batch sizes."""
    torch.compiler.reset()
    net = dense_digits_net()
    model = change(net)
    return on_digits(net if model is None else model, close=torch.compiler.reset)


@kind("torch.compile, aot_eager")
def aot_eager() -> Case:
    """A graph for a forward and one backward pass."""
    return _compiled(lambda net: torch.compile(net, backend="aot_eager", dynamic=True))


@kind("net.compile(), aot_eager")
def compiled_in_place() -> Case:
    """The module's own call is compiled."""
    return _compiled(lambda net: net.compile(backend="aot_eager", dynamic=True))


@kind("compiled forward, aot_eager")
def compiled_forward() -> Case:
    """net.forward = torch.compile(net.forward)."""

    def change(net: nn.Module) -> None:
        net.forward = torch.compile(net.forward, backend="aot_eager", dynamic=True)

    return _compiled(change)


@kind("torch.compile, inductor", COMPILER)
def inductor() -> Case:
    """C++ kernels; the gradients are those of the plain module."""
    return _compiled(lambda net: torch.compile(net, dynamic=True))


@kind("torch.ao dynamic int8")
def dynamic_int8() -> Case:
    """int8 linear layers, activations quantised by the range of the whole batch.

    The plain net has the rounded weights in float32.
    """
    with hushed():
        int8 = torch.ao.quantization.quantize_dynamic(
            digits_net(), {nn.Linear}, dtype=torch.qint8
        )
    plain = digits_net()
    for layer, rounded in zip(plain, int8):
        if isinstance(layer, nn.Linear):
            with torch.no_grad():
                layer.weight.copy_(rounded.weight().dequantize())
    told = {"PRTest": frozenset({"batch_dependent_model", "low_power"})}
    # one scale a batch: MSA attacks whole batches as well, and breaks no fewer
    doubted = {"FIMScore": STAIRCASE, "MSA": "batch_protocols"}
    return on_digits(int8, plain, scores=True, told=told, doubted=doubted)


@kind("torch.ao static int8 (fx)")
def static_int8() -> Case:
    """Fixed scales from calibration; the plain net rounds in float32 (its reference)."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import (
        convert_fx,
        convert_to_reference_fx,
        prepare_fx,
    )

    images = digits()[0]
    with hushed(), torch.no_grad():
        torch.backends.quantized.engine = "fbgemm"
        prepared = prepare_fx(
            digits_net(), get_default_qconfig_mapping("fbgemm"), (images,)
        )
        prepared(images)
        int8 = convert_fx(copy.deepcopy(prepared))
        plain = convert_to_reference_fx(prepared)
    return on_digits(int8, plain, scores=True, doubted={"FIMScore": STAIRCASE})
