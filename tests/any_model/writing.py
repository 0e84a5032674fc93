"""Which models write? On their input, their output, their buffers, and in train() and eval()."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .kind import Before, Made, Shape, fresh, kind, plain


@kind(weight=6)
def module(shape: Shape) -> Made:
    return Made(fresh(shape), plain(shape))


# ---------------------------------------------------------------------- the input
class _Normalises(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.sub_(0.1).div_(0.8))


@kind()
def normalises_in_place(shape: Shape) -> Made:
    twin = Before(lambda images: (images - 0.1) / 0.8, plain(shape))
    return Made(_Normalises(fresh(shape)), twin.eval())


@kind()
def leading_in_place_activation(shape: Shape) -> Made:
    model = nn.Sequential(nn.Hardtanh(0.2, 0.8, inplace=True), fresh(shape))
    return Made(model, nn.Sequential(nn.Hardtanh(0.2, 0.8), plain(shape)).eval())


@kind()
def in_place_in_a_callable(shape: Shape) -> Made:
    net, twin = fresh(shape), Before(lambda images: images * 0.9, plain(shape))
    return Made(lambda images: net(images.mul_(0.9)), twin.eval(), owned=(net,))


def _halved(images: Tensor) -> Tensor:
    """Half the images, with the gradient of the images themselves: writes that torch misses."""
    return images + (images / 2 - images).detach()


class _WritesData(_Normalises):
    def forward(self, images: Tensor) -> Tensor:
        images.data.mul_(0.5)
        return self.net(images)


class _WritesNumpy(_Normalises):
    def forward(self, images: Tensor) -> Tensor:
        images.detach().numpy()[:] *= 0.5
        return self.net(images)


@kind()
def writes_through_data(shape: Shape) -> Made:
    return Made(_WritesData(fresh(shape)), Before(_halved, plain(shape)).eval())


@kind()
def writes_through_numpy(shape: Shape) -> Made:
    return Made(_WritesNumpy(fresh(shape)), Before(_halved, plain(shape)).eval())


# ---------------------------------------------------------------------- the output
class _Static(nn.Module):
    """Answers in one piece of memory, as a captured graph does; with a gradient."""

    def __init__(self, net: nn.Module, detached: bool) -> None:
        super().__init__()
        self.net, self.memory, self.detached = net, torch.zeros(512, 4), detached

    def forward(self, images: Tensor) -> Tensor:
        found = self.net(images)
        answer = self.memory[: len(found)]
        if self.detached or not found.requires_grad:
            return answer.copy_(found.detach())
        return answer.detach().clone().copy_(found)


@kind()
def static_output(shape: Shape) -> Made:
    return Made(_Static(fresh(shape), False), plain(shape))


@kind(gradient=False)
def static_output_without_gradient(shape: Shape) -> Made:
    return Made(_Static(fresh(shape), True), plain(shape))


# ---------------------------------------------------------------------- buffers
class _Observes(nn.Module):
    """Least and most pixel, a mean that moves and a count, in every mode, all of them buffers."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("least", torch.tensor(0.5))
        self.register_buffer("mean", torch.tensor(0.5))
        self.register_buffer("calls", torch.tensor(0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        self.least = torch.minimum(self.least, images.detach().min())
        self.mean.mul_(0.9).add_(0.1 * images.detach().mean())
        self.calls += 1
        return self.net(images)


class _CountsThroughData(_Observes):
    def forward(self, images: Tensor) -> Tensor:
        self.calls.data.add_(1)
        self.mean.numpy()[...] = float(images.detach().mean())
        return self.net(images)


@kind()
def observes(shape: Shape) -> Made:
    return Made(_Observes(fresh(shape)), plain(shape))


@kind()
def counts_through_data(shape: Shape) -> Made:
    return Made(_CountsThroughData(fresh(shape)), plain(shape))


@kind()
def observers_of_int8(shape: Shape) -> Made:
    from torch.ao.quantization import MinMaxObserver

    net = nn.Sequential(
        OrderedDict(seen=MinMaxObserver(), net=fresh(shape), out=MinMaxObserver())
    )
    return Made(net, plain(shape))


# ---------------------------------------------------------------------- modes
class _Merges(nn.Module):
    """As loralib.Linear: the adapter is merged by eval() and taken out again by train()."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        last = net[-1]
        self.body, self.merged = net[:-1], True
        self.weight = nn.Parameter(last.weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(last.bias.detach().clone())
        grid = torch.arange(self.weight.numel()).reshape(self.weight.shape)
        self.delta = nn.Parameter((grid % 5 - 2.0) / 8)
        self.weight.data += self.delta.data

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += -self.delta.data if mode else self.delta.data
            self.merged = not mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight if self.merged else self.weight + self.delta
        return nn.functional.linear(self.body(images), weight, self.bias)


@kind()
def merges_in_eval(shape: Shape) -> Made:
    return Made(_Merges(fresh(shape)), _Merges(fresh(shape)).eval())


@kind()
def merges_inside_another(shape: Shape) -> Made:
    model = nn.Sequential(nn.Identity(), _Merges(fresh(shape)))
    return Made(model, _Merges(fresh(shape)).eval())


@kind()
def hooked(shape: Shape) -> Made:
    net = fresh(shape)
    net[0].register_forward_hook(lambda module, given, out: out * 1.25)
    net.register_forward_pre_hook(lambda module, given: (given[0] * 0.75,))
    twin = fresh(shape)
    twin[0] = nn.Sequential(twin[0], _Scaled(1.25))
    return Made(net, nn.Sequential(_Scaled(0.75), twin).eval())


class _Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factor


@kind()
def parametrised(shape: Shape) -> Made:
    from torch.nn.utils import prune
    from torch.nn.utils.parametrizations import spectral_norm, weight_norm

    net = fresh(shape)
    weight_norm(net[0])
    spectral_norm(net[-1])
    prune.l1_unstructured(net[4], "weight", amount=0.25)
    twin = fresh(shape)
    net.eval()
    with torch.no_grad():
        for place in (0, 4, -1):
            twin[place].weight.copy_(net[place].weight)
    return Made(net, twin)


@kind()
def averaged(shape: Shape) -> Made:
    from torch.optim.swa_utils import AveragedModel

    return Made(AveragedModel(fresh(shape)), plain(shape))


@kind()
def tied_and_parallel(shape: Shape) -> Made:
    net = fresh(shape)
    two = nn.ModuleList([net, net])
    model = nn.DataParallel(_Mean(two))
    return Made(model, plain(shape))


class _Mean(nn.Module):
    def __init__(self, members: nn.ModuleList) -> None:
        super().__init__()
        self.members = members

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images) for member in self.members]).mean(0)


@kind()
def closure(shape: Shape) -> Made:
    net = fresh(shape)
    return Made(lambda images: net(images), plain(shape), owned=(net,))


@kind()
def bound_method(shape: Shape) -> Made:
    class Holder:
        def __init__(self) -> None:
            self.net = fresh(shape)

        def predict(self, images: Tensor) -> Tensor:
            return self.net(images)

    holder = Holder()
    return Made(holder.predict, plain(shape), owned=(holder.net,))
