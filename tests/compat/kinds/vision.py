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


class Logits(nn.Module):
    """A network of a library as a map from images to a tensor."""

    def __init__(
        self, net: nn.Module, read: Callable[[nn.Module, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.net, self.read = net, read

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.read(self.net, images)


PLACES = (-0.3, -0.05, -0.004, 0.004, 0.05, 0.3)
"""Where the images lie on the line between two images of different answers, from the boundary."""


def last_layer(net: nn.Module) -> nn.Linear:
    """The head."""
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]


def planted_images(plain: nn.Module, size: int) -> Tensor:
    """(6, 3, size, size) in [0, 1]: blurred noise, near to and far from a decision boundary.

    The head's bias is set so that no class has more than others: random nets else answer one.
    """
    generator = torch.Generator().manual_seed(11)
    coarse = torch.rand(32, 3, 4, 4, generator=generator)
    some = nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        head = last_layer(plain)
        head.bias.sub_(plain(some).mean(0))
        answers = plain(some).argmax(1)
        other = int((answers != answers[0]).nonzero()[0, 0])
        low, high = 0.0, 1.0
        for _ in range(16):
            middle = (low + high) / 2
            same = (
                plain(some[:1].lerp(some[other : other + 1], middle)).argmax(1)
                == answers[0]
            )
            low, high = (middle, high) if bool(same) else (low, middle)
    places = torch.tensor([min(1.0, max(0.0, low + place)) for place in PLACES])
    return some[:1].lerp(some[other : other + 1], places[:, None, None, None])


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with random weights, those of the last layer large (some libraries begin at 0)."""
    with hushed(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = make().eval()
        last = last_layer(net)
        with torch.no_grad():
            last.weight.normal_(0, 4 / last.in_features**0.5)
            last.bias.zero_()
    return net


def _case(
    net: nn.Module,
    size: int,
    read: Callable[[nn.Module, Tensor], Tensor] = lambda net, images: net(images),
    model: Any = None,
) -> Case:
    plain = Logits(net, read)
    images = planted_images(plain, size)
    with torch.no_grad():
        labels = plain(images).argmax(1)
    noise, attack = radii(plain, images, labels)
    return Case(
        net if model is None else model,
        plain,
        images,
        labels,
        noise=noise,
        attack=attack,
    )


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
            num_stages=2,
            hidden_sizes=[16, 32],
            depths=[1, 1],
            image_size=32,
            num_labels=10,
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
    """At 32 x 32 pixels, 3 blocks."""
    return _timm("vit_tiny_patch16_224", 32, img_size=32, depth=3)


@kind("timm MlpMixer, K = 1,000", "timm")
def timm_mixer() -> Case:
    """At 64 x 64 pixels, 2 blocks."""
    from timm.models import mlp_mixer

    def make() -> nn.Module:
        net: nn.Module = mlp_mixer.MlpMixer(
            img_size=64, patch_size=16, num_blocks=2, embed_dim=128, num_classes=1000
        )
        return net

    return _case(seeded(make), 64)


@kind("timm mobilenetv3_small_100, K = 1,000", "timm")
def timm_mobilenet() -> Case:
    """At 32 x 32 pixels; BatchNorm at its initial statistics."""
    return _timm("mobilenetv3_small_100", 32)


@kind("torchvision resnet18, K = 1,000", "torchvision")
def resnet18() -> Case:
    """At 32 x 32 pixels; its activations work in place."""
    import torchvision

    return _case(seeded(lambda: torchvision.models.resnet18(weights=None)), 32)


@kind("torchvision googlenet, auxiliary heads, K = 1,000", "torchvision")
def googlenet() -> Case:
    """In training mode it returns a tuple of three; measured in evaluation mode."""
    import torchvision

    def make() -> nn.Module:
        return torchvision.models.googlenet(weights=None, init_weights=False)

    case = _case(seeded(make), 32)
    case.model.train()
    return case
