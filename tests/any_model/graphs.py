"""Which models are graphs, or compute in another precision? Exported, scripted, compiled, int8."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .kind import Before, Made, Shape, fresh, kind, plain, same


def _example(shape: Shape, n: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, *shape, generator=generator)


# ---------------------------------------------------------------------- exported
def _exported(shape: Shape, net: nn.Module | None = None) -> nn.Module:
    rows = {0: torch.export.Dim("rows", min=1, max=4096)}
    program = torch.export.export(
        fresh(shape) if net is None else net, (_example(shape),), dynamic_shapes=(rows,)
    )
    return program.module()


@kind(modal=False, dear=True)
def exported(shape: Shape) -> Made:
    return Made(_exported(shape), plain(shape))


@kind(modal=False, dear=True)
def exported_inside_another(shape: Shape) -> Made:
    twin = Before(lambda images: images * 0.5, plain(shape)).eval()
    return Made(Before(lambda images: images * 0.5, _exported(shape)), twin)


@kind(modal=False, dear=True)
def exported_in_a_callable(shape: Shape) -> Made:
    graph = _exported(shape)
    return Made(lambda images: graph(images), plain(shape), owned=(graph,))


# ---------------------------------------------------------------------- scripted, traced
@kind()
def scripted(shape: Shape) -> Made:
    return Made(torch.jit.script(fresh(shape)), plain(shape))


@kind()
def traced(shape: Shape) -> Made:
    made = torch.jit.trace(fresh(shape), _example(shape))
    return Made(made, plain(shape))


@kind(modal=False)
def frozen_script(shape: Shape) -> Made:
    made = torch.jit.freeze(torch.jit.script(fresh(shape)))
    return Made(made, plain(shape))


@kind(modal=False, gradient=False, dear=True, weight=2)
def optimised_script(shape: Shape) -> Made:
    made = torch.jit.optimize_for_inference(torch.jit.script(fresh(shape)))
    return Made(made, plain(shape))


@kind()
def symbolic_trace(shape: Shape) -> Made:
    return Made(torch.fx.symbolic_trace(fresh(shape)), plain(shape))


class _Normed(nn.Module):
    """Batch statistics in every mode, as in a graph that was traced in training mode."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.full((1,), 0.5))
        self.register_buffer("var", torch.full((1,), 0.1))

    def forward(self, images: Tensor) -> Tensor:
        flat = images.reshape(1, 1, -1)
        flat = nn.functional.batch_norm(flat, self.mean, self.var, training=True)
        return self.net(flat.reshape(images.shape))


COUPLED = frozenset({"batch_dependent_model"})
_ALSO = frozenset({"batch_protocols", "left_out", "not_as_deployed", "duplicates"})


@kind(flags=COUPLED, doubtful=_ALSO, weight=1)
def traced_in_training_mode(shape: Shape) -> Made:
    made = torch.jit.trace(_Normed(fresh(shape)), _example(shape))
    return Made(made)


@kind(flags=COUPLED, doubtful=_ALSO, modal=False, dear=True, weight=1)
def exported_in_training_mode(shape: Shape) -> Made:
    return Made(_exported(shape, _Normed(fresh(shape))))


# ---------------------------------------------------------------------- compiled
@kind(weight=1, modal=False, still=True, dear=True)
def compiled(shape: Shape) -> Made:
    model = torch.compile(fresh(shape), backend="aot_eager", dynamic=True)
    return Made(model, plain(shape))


@kind(weight=1, modal=False, still=True, dear=True)
def compiled_in_place(shape: Shape) -> Made:
    net = fresh(shape)
    net.compile(backend="aot_eager", dynamic=True)
    return Made(net, plain(shape))


@kind(weight=1, modal=False, still=True, dear=True)
def compiled_inside(shape: Shape) -> Made:
    net = torch.compile(fresh(shape), backend="aot_eager", dynamic=True)
    return Made(Before(same, net), plain(shape))


# ---------------------------------------------------------------------- precision
def _in(shape: Shape, dtype: torch.dtype) -> Made:
    twin = fresh(shape).to(dtype)
    cast = Before(lambda images: images.to(dtype), twin, lambda scores: scores.float())
    for parameter in cast.parameters():
        parameter.requires_grad_(False)
    # a callable: our own cast to the dtype of the weights is what is compared
    return Made(fresh(shape).to(dtype), lambda images: cast(images))


@kind(doubtful=frozenset({"many_close_draws", "tied_margins", "not_converged"}))
def half(shape: Shape) -> Made:
    return _in(shape, torch.float16)


@kind(doubtful=frozenset({"many_close_draws", "tied_margins", "not_converged"}))
def bfloat16(shape: Shape) -> Made:
    return _in(shape, torch.bfloat16)


@kind()
def double(shape: Shape) -> Made:
    return Made(fresh(shape).double(), copy.deepcopy(plain(shape)).double())


class _Autocast(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(images)


@kind(dear=True)
def autocast_inside(shape: Shape) -> Made:
    twin = _Autocast(plain(shape)).eval()
    return Made(_Autocast(fresh(shape)), lambda images: twin(images))


@kind()
def channels_last_weights(shape: Shape) -> Made:
    return Made(fresh(shape).to(memory_format=torch.channels_last), plain(shape))


# ---------------------------------------------------------------------- int8
@kind(gradient=False, weight=2)
def dynamic_int8(shape: Shape) -> Made:
    def make() -> nn.Module:
        return torch.ao.quantization.quantize_dynamic(
            fresh(shape), {nn.Linear}, dtype=torch.qint8
        )

    twin = make()
    return Made(make(), lambda images: twin(images.detach()).detach())


@kind(gradient=False, dear=True, weight=2)
def static_int8(shape: Shape) -> Made:
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    def make() -> nn.Module:
        mapping, example = get_default_qconfig_mapping("fbgemm"), _example(shape, 32)
        prepared = prepare_fx(fresh(shape), mapping, (example,))
        prepared(example)
        return convert_fx(prepared)

    twin = make()
    return Made(make(), lambda images: twin(images.detach()).detach())
