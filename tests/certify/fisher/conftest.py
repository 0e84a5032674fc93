"""Small siblings of four architectures, with weights and statistics from a seed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

Net = tuple[nn.Module, tuple[int, ...]]


def drawn(net: nn.Module, seed: int = 0, gain: float = 1.0) -> nn.Module:
    """Weights N(0, gain / fan-in), statistics and scales of BatchNorm and LayerNorm around 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        for name, tensor in (*net.named_parameters(), *net.named_buffers()):
            if name.endswith("running_var"):
                tensor.copy_((0.3 * normal(tensor)).exp())
            elif tensor.dim() == 1:
                one = 1.0 if "norm" in name or "bn" in name or "ln" in name else 0.0
                one = one if name.endswith("weight") else 0.0
                tensor.copy_(one + 0.2 * normal(tensor))
            elif tensor.is_floating_point() and tensor.dim():
                fan_in = tensor.shape[1:].numel()
                tensor.copy_(normal(tensor) * (gain / fan_in) ** 0.5)
    return net.eval()


def conv() -> Net:
    """Two convolutions on images of digits' size."""
    layers = nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    more = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten()
    return nn.Sequential(*layers, *more, nn.Linear(32, 10)), (1, 8, 8)


def vgg() -> Net:
    """torchvision's VGG with two stages and a small classifier."""
    from torchvision.models.vgg import VGG, make_layers

    with torch.device("meta"):  # its own classifier has 120 million weights
        net = VGG(nn.Sequential(), init_weights=False)
    net.features = make_layers([4, "M", 8, "M"])
    net.avgpool = nn.AdaptiveAvgPool2d(2)
    net.classifier = nn.Sequential(
        nn.Linear(32, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10)
    )
    return net, (3, 12, 12)


def resnet() -> Net:
    """torchvision's ResNet with two stages, the second with a shortcut that is a convolution."""
    from torchvision.models.resnet import BasicBlock, ResNet

    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    net.inplanes = 4
    net.conv1, net.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
    down = nn.Sequential(nn.Conv2d(4, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
    net.layer1 = nn.Sequential(BasicBlock(4, 4))
    net.layer2 = nn.Sequential(BasicBlock(4, 8, 2, down))
    net.layer3 = net.layer4 = nn.Sequential()
    net.fc = nn.Linear(8, 10)
    return net, (3, 12, 12)


def densenet() -> Net:
    """torchvision's DenseNet with two blocks of two layers and a transition."""
    from torchvision.models import DenseNet

    net = DenseNet(3, (2, 2), num_init_features=4, bn_size=2, num_classes=10)
    return net, (3, 16, 16)


def vit() -> Net:
    """torchvision's VisionTransformer with two blocks of two heads; its head is not zero."""
    from torchvision.models import VisionTransformer

    net = VisionTransformer(
        image_size=8,
        patch_size=4,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=12,
        num_classes=10,
    )
    return net, (3, 8, 8)


MAKERS: dict[str, Callable[[], Net]] = {
    "conv": conv,
    "vgg": vgg,
    "resnet": resnet,
    "densenet": densenet,
    "vit": vit,
}


@pytest.fixture(params=MAKERS)
def small_net(request: pytest.FixtureRequest) -> Net:
    """A small net in eval mode and the shape of its images, one of each architecture."""
    net, shape = MAKERS[request.param]()
    return drawn(net), shape


@pytest.fixture
def make_net() -> Callable[[str], Net]:
    """By name: conv, vgg, resnet, densenet, vit."""

    def make(name: str) -> Net:
        net, shape = MAKERS[name]()
        return drawn(net), shape

    return make
