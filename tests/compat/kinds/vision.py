"""Which classifiers come from model libraries? Small configurations with random weights.

The plain module is the same network, and nothing but its tensor of logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .case import Case, kind, radii
from .verbs import hushed

N_IMAGES = 6


class Logits(nn.Module):
    """A network of a library as a map from images to a tensor."""

    def __init__(self, net: nn.Module, read: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.read = net, read

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.read(self.net, images)


def smooth_images(size: int, n_channels: int = 3) -> Tensor:
    """(6, C, size, size) in [0, 1], blurred noise: random nets tell them apart."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.rand(N_IMAGES, n_channels, 4, 4, generator=generator)
    fine = nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    return fine.clamp(0, 1)


def seeded(make: Callable[[], nn.Module], gain: float = 20.0) -> nn.Module:
    """A network with random weights; the last layer is made larger, or all answers are one."""
    with hushed(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = make().eval()
    last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(gain)
        last.bias.zero_()
    return net


def _case(
    net: nn.Module,
    size: int,
    read: Callable[[nn.Module, Tensor], Tensor] = lambda net, images: net(images),
    model: Any = None,
) -> Case:
    images, plain = smooth_images(size), Logits(net, read)
    with torch.no_grad():
        labels = plain(images).argmax(1)
    noise, attack = radii(plain, images, labels)
    return Case(net if model is None else model, plain, images, labels, noise=noise, attack=attack)


def _hugging_face(make: Callable[[Any], nn.Module], size: int = 32) -> Case:
    import transformers

    net = seeded(lambda: make(transformers))
    return _case(net, size, lambda net, images: net(pixel_values=images).logits)


@kind("transformers ViTForImageClassification", "transformers")
def vit() -> Case:
    """An ImageClassifierOutput."""

    def make(hf: Any) -> nn.Module:
        config = hf.ViTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            image_size=32, patch_size=8, num_labels=10,
        )  # fmt: skip
        return hf.ViTForImageClassification(config)

    return _hugging_face(make)


@kind("transformers ConvNextForImageClassification", "transformers")
def convnext() -> Case:
    """Depthwise convolutions and layer norms."""

    def make(hf: Any) -> nn.Module:
        config = hf.ConvNextConfig(
            num_stages=2, hidden_sizes=[16, 32], depths=[1, 1], image_size=32, num_labels=10
        )
        return hf.ConvNextForImageClassification(config)

    return _hugging_face(make)


@kind("transformers BeitForImageClassification", "transformers")
def beit() -> Case:
    """Relative positions, stochastic depth."""

    def make(hf: Any) -> nn.Module:
        config = hf.BeitConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            image_size=32, patch_size=8, num_labels=10, use_relative_position_bias=True,
        )  # fmt: skip
        return hf.BeitForImageClassification(config)

    return _hugging_face(make)


@kind("transformers ViT with all hidden states", "transformers")
def vit_with_states() -> Case:
    """output_hidden_states and output_attentions: many floating tensors beside the logits."""

    def make(hf: Any) -> nn.Module:
        config = hf.ViTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            image_size=32, patch_size=8, num_labels=10, output_hidden_states=True,
        )  # fmt: skip
        return hf.ViTForImageClassification(config)

    return _hugging_face(make)


def _timm(name: str, size: int, **options: Any) -> Case:
    import timm

    net = seeded(lambda: timm.create_model(name, pretrained=False, **options))
    return _case(net, size)


@kind("timm vit_tiny_patch16_224, K = 1,000", "timm")
def timm_vit() -> Case:
    """At 32 x 32 pixels."""
    return _timm("vit_tiny_patch16_224", 32, img_size=32)


@kind("timm mixer_s32_224, K = 1,000", "timm")
def timm_mixer() -> Case:
    """At 64 x 64 pixels."""
    return _timm("mixer_s32_224", 64, img_size=64)


@kind("timm mobilenetv3_small_100, K = 1,000", "timm")
def timm_mobilenet() -> Case:
    """At 32 x 32 pixels; BatchNorm at its initial statistics."""
    return _timm("mobilenetv3_small_100", 32)


@kind("torchvision resnet18, K = 1,000", "torchvision")
def resnet18() -> Case:
    """At 32 x 32 pixels; its activations work in place."""
    import torchvision

    return _case(seeded(lambda: torchvision.models.resnet18(weights=None), gain=1.0), 32)


@kind("torchvision googlenet, auxiliary heads, K = 1,000", "torchvision")
def googlenet() -> Case:
    """In training mode it returns a tuple of three; measured in evaluation mode."""
    import torchvision

    make = lambda: torchvision.models.googlenet(weights=None, init_weights=False)  # noqa: E731
    case = _case(seeded(make, gain=1.0), 32)
    case.model.train()
    return case
