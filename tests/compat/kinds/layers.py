"""Which layers behave otherwise in training, merge their weights, or have rules of their own?"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .case import Case, digits, digits_net, kind, on_digits, radii


class Merging(nn.Module):
    """W + A merged by eval() and taken apart by train(), as adapters do."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.merged = False
        self.weight = nn.Parameter(linear.weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(linear.bias.detach().clone(), requires_grad=False)
        self.adapter = nn.Parameter(
            0.02 * torch.randn(linear.weight.shape, generator=generator)
        )

    def train(self, mode: bool = True) -> Merging:
        """Merged in evaluation."""
        super().train(mode)
        if mode == self.merged:
            self.weight.data += -self.adapter.data if mode else self.adapter.data
            self.merged = not mode
        return self

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) to (N, K)."""
        weight = self.weight if self.merged else self.weight + self.adapter
        return nn.functional.linear(z, weight, self.bias)


def _with_norm(seed: int = 0) -> nn.Sequential:
    """The digits net with a BatchNorm that has seen other digits, behind its first layer."""
    net = digits_net()
    norm = nn.BatchNorm2d(16)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        norm.running_mean.copy_(0.1 * torch.randn(16, generator=generator))
        norm.running_var.copy_(0.5 + torch.rand(16, generator=generator))
    return nn.Sequential(net[0], norm, *net[1:])


def _folded(model: nn.Sequential) -> nn.Sequential:
    """The same numbers without a BatchNorm: its scale and shift are in the convolution."""
    plain, norm = copy.deepcopy(model).eval(), model[1]
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    first = plain[0]
    with torch.no_grad():
        first.weight.mul_(scale[:, None, None, None])
        first.bias.copy_((first.bias - norm.running_mean) * scale + norm.bias)
    return nn.Sequential(first, *plain[2:])


@kind("BatchNorm with running statistics, left in training mode")
def batch_norm() -> Case:
    """Measured in evaluation mode, given back in training mode."""
    model = _with_norm()
    return on_digits(model.train(), _folded(model))


@kind("BatchNorm frozen beside layers in training mode")
def frozen_batch_norm() -> Case:
    """The usual way of fine-tuning."""
    model = _with_norm().train()
    model[1].eval()
    return on_digits(model, _folded(model))


@kind("dropout, left in training mode")
def dropout() -> Case:
    """No noise of its own while it is measured."""
    net = digits_net()
    model = nn.Sequential(*net[:-1], nn.Dropout(0.5), net[-1])
    return on_digits(model.train())


@kind("adapter merged by eval()")
def merging() -> Case:
    """Parameters change with the mode."""
    net, plain = digits_net(), digits_net()
    net[-1] = Merging(net[-1])
    with torch.no_grad():
        plain[-1].weight += net[-1].adapter
    return on_digits(net.train(), plain)


@kind("activation checkpoints (not reentrant)")
def checkpointed() -> Case:
    """Layers are computed again in the backward pass."""
    return on_digits(Checkpointed())


class Checkpointed(nn.Module):
    """The convolutions are a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.net = digits_net()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        from torch.utils.checkpoint import checkpoint

        z = checkpoint(self.net[:5], images, use_reentrant=False)
        found: Tensor = self.net[5:](z)
        return found


@kind("weight_norm by parametrisation")
def weight_norm() -> Case:
    """Weights are computed at each forward."""
    net = digits_net()
    nn.utils.parametrizations.weight_norm(net[-1])
    return on_digits(net)


@kind("pruned weights")
def pruned() -> Case:
    """Masks of torch.nn.utils.prune, applied by a hook."""
    from torch.nn.utils import prune

    net, plain = digits_net(), digits_net()
    prune.l1_unstructured(net[5], "weight", amount=0.3)
    with torch.no_grad():
        plain[5].weight.mul_(net[5].weight_mask)
    return on_digits(net, plain)


@kind("averaged weights (swa_utils)")
def averaged() -> Case:
    """AveragedModel around two nets."""
    from torch.optim.swa_utils import AveragedModel

    one, two = digits_net(), digits_net()
    with torch.no_grad():
        for parameter in two.parameters():
            parameter.mul_(0.9)
    model = AveragedModel(one)
    for net in (one, two):
        model.update_parameters(net)
    plain = digits_net()
    with torch.no_grad():
        for mine, other in zip(plain.parameters(), two.parameters()):
            mine.add_(other).div_(2)
    return on_digits(model, plain)


@kind("ensemble by torch.func.vmap")
def vmapped() -> Case:
    """Three nets in one call, their logits averaged."""
    nets = [digits_net() for _ in range(3)]
    with torch.no_grad():
        for scale, net in zip((0.9, 1.0, 1.1), nets):
            for parameter in net.parameters():
                parameter.mul_(scale)
    return on_digits(Ensemble(nets), Looped(nets))


class Ensemble(nn.Module):
    """Mean logits by vmap over stacked parameters."""

    def __init__(self, nets: list[nn.Sequential]) -> None:
        super().__init__()
        self.base = copy.deepcopy(nets[0]).to("meta")
        stacked, _ = torch.func.stack_module_state(nets)  # type: ignore[arg-type]
        self.names = list(stacked)
        self.stacked = nn.ParameterList(
            nn.Parameter(value.detach()) for value in stacked.values()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""

        def one(weights: dict[str, Tensor]) -> Tensor:
            found: Tensor = torch.func.functional_call(self.base, weights, (images,))
            return found

        weights = dict(zip(self.names, self.stacked))
        found: Tensor = torch.vmap(one, randomness="error")(weights).mean(0)
        return found


class Looped(nn.Module):
    """Mean logits by a loop."""

    def __init__(self, nets: list[nn.Sequential]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(copy.deepcopy(nets))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        return torch.stack([net(images) for net in self.nets]).mean(0)


class Attention(nn.Module):
    """Two encoder layers on rows of pixels; `slow` keeps torch off its fused path."""

    def __init__(self, slow: bool) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(64, 10)
        self.slow = slow

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 1, 8, 8)."""
        tokens = images[:, 0]
        if self.slow:
            for layer in self.encoder.layers:
                tokens = self._layer(layer, tokens)
        else:
            tokens = self.encoder(tokens)
        found: Tensor = self.head(tokens.flatten(1))
        return found

    @staticmethod
    def _layer(layer: nn.Module, tokens: Tensor) -> Tensor:
        """Attention written out in products."""
        attend = layer.self_attn
        q, k, v = nn.functional.linear(
            tokens, attend.in_proj_weight, attend.in_proj_bias
        ).chunk(3, 2)
        heads = [part.unflatten(2, (2, 4)).transpose(1, 2) for part in (q, k, v)]
        weights = (heads[0] @ heads[1].transpose(2, 3) / 2).softmax(3)
        mixed = (weights @ heads[2]).transpose(1, 2).flatten(2)
        tokens = layer.norm1(tokens + attend.out_proj(mixed))
        inner = layer.linear2(layer.linear1(tokens).relu())
        found: Tensor = layer.norm2(tokens + inner)
        return found


@kind("nn.TransformerEncoder with its fused path")
def transformer() -> Case:
    """Inference without a gradient takes another kernel than with one."""
    images = digits()[0]
    model, plain = Attention(slow=False), Attention(slow=True)
    labels = plain.eval()(images).argmax(1)
    noise, attack = radii(plain, images, labels)
    return Case(model.train(), plain, images, labels, noise=noise, attack=attack)
