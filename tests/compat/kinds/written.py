"""Which models write where others do not, or have no gradient to give? Callables and buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .case import Case, digits, digits_net, kind, on_digits


class Shifted(nn.Module):
    """Normalises out of place, then asks the net; what the in-place twins must equal."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        found: Tensor = self.net(((images - 0.1) / 0.9).relu())
        return found


class InPlace(Shifted):
    """Writes the normalised pixels on its input."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        found: Tensor = self.net(images.sub_(0.1).div_(0.9).relu_())
        return found


class LeadingActivation(nn.Module):
    """Only its first activation works in place, and changes values below .3 alone."""

    def __init__(self, net: nn.Module, inplace: bool) -> None:
        super().__init__()
        self.first, self.net = nn.Threshold(0.3, 0.0, inplace=inplace), net

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        found: Tensor = self.net(self.first(images))
        return found


class Counting(nn.Module):
    """Counts its calls and keeps the range of its input in buffers, in eval mode as well."""

    calls: Tensor
    largest: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        self.calls += 1
        self.largest.copy_(torch.maximum(self.largest, images.detach().amax()))
        found: Tensor = self.net(images)
        return found


@kind("in-place normalisation of the input")
def in_place() -> Case:
    """x.sub_().div_() on the caller's tensor."""
    return on_digits(InPlace(digits_net()), Shifted(digits_net()))


@kind("in-place activation before the first layer")
def leading_activation() -> Case:
    """nn.Threshold(inplace=True) on the input itself."""
    plain = LeadingActivation(digits_net(), inplace=False)
    return on_digits(LeadingActivation(digits_net(), inplace=True), plain)


@kind("write on the input through NumPy")
def numpy_write() -> Case:
    """No version counter of torch moves."""
    net, plain = digits_net(), Shifted(digits_net())

    def scores(images: Tensor) -> Tensor:
        pixels = images.detach().numpy()
        pixels -= 0.1
        pixels /= 0.9
        with torch.no_grad():
            found: Tensor = net(images.relu())
        return found

    return on_digits(scores, plain, scores=True)


@kind("one static output buffer")
def static_buffer() -> Case:
    """As TensorRT, IO bindings and CUDA graphs answer: every answer is the same memory."""
    net, out = digits_net(), torch.zeros(4096, 10)

    def scores(images: Tensor) -> Tensor:
        with torch.no_grad():
            out[: len(images)] = net(images)
        return out[: len(images)]

    return on_digits(scores, scores=True)


@kind("plain callable with a gradient")
def callable_with_gradient() -> Case:
    """A closure over a net in eval mode."""
    net = digits_net()
    return on_digits(lambda images: net(images))


@kind("plain callable under no_grad")
def callable_without_gradient() -> Case:
    """A prediction function as servers have it."""
    net = digits_net()

    @torch.no_grad()
    def scores(images: Tensor) -> Tensor:
        found: Tensor = net(images)
        return found

    return on_digits(scores, scores=True)


@kind("callable that computes in NumPy")
def numpy_callable() -> Case:
    """float64 arrays inside, an answer from torch.from_numpy."""
    layers = [layer for layer in digits_net()[4:] if isinstance(layer, nn.Linear)]
    stem = digits_net()[:5]
    arrays = [
        (p.weight.detach().double().numpy(), p.bias.detach().double().numpy())
        for p in layers
    ]

    def scores(images: Tensor) -> Tensor:
        with torch.no_grad():
            z = stem(images).double().numpy()
        z = (z @ arrays[0][0].T + arrays[0][1]).clip(min=0)
        return torch.from_numpy(z @ arrays[1][0].T + arrays[1][1]).float()

    return on_digits(scores, scores=True)


@kind("buffers that change in every forward")
def counting() -> Case:
    """Observers and counters; they are given back."""
    return on_digits(Counting(digits_net()))


@kind("forward hooks of the owner's")
def hooked() -> Case:
    """A hook that changes what a layer gives; it stays on."""
    model, images = digits_net(), digits()[0]
    assert len(images)
    model[-1].register_forward_hook(lambda layer, given, found: found / 2)
    plain = nn.Sequential(digits_net(), Halved())
    return on_digits(model, plain)


class Halved(nn.Module):
    """Half the logits."""

    def forward(self, logits: Tensor) -> Tensor:
        """(N, K) to (N, K)."""
        return logits / 2
