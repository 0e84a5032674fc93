"""Which networks are bounded?

The four of the paper as torchvision builds them, and small siblings of the same classes that learn
scikit-learn's digits in seconds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import (
    VGG,
    DenseNet,
    ResNet,
    VisionTransformer,
    get_model,
)
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers

from torchattacks_ext.data.digits import load_digits

LARGE = ("vgg16", "resnet18", "densenet121", "vit_b_16")
SMALL = ("vgg", "resnet", "densenet", "vit")
EPOCHS, BATCH = 40, 64


def large(name: str) -> nn.Module:
    """Random weights as torchvision draws them; a ViT's head is zero there, and drawn here."""
    torch.manual_seed(0)
    net = get_model(name)
    if name.startswith("vit"):
        nn.init.trunc_normal_(net.heads.head.weight, std=0.02)
    return net.eval()


def _vgg() -> nn.Module:
    with torch.device("meta"):  # its own classifier has 120 million weights
        net = VGG(nn.Sequential(), init_weights=False)
    net.features = make_layers([16, 16, "M", 32, 32, "M"])
    net.features[0] = nn.Conv2d(1, 16, 3, padding=1)
    net.avgpool = nn.Identity()
    hidden = nn.Linear(128, 64), nn.ReLU(), nn.Dropout()
    net.classifier = nn.Sequential(*hidden, nn.Linear(64, 10))
    return net


def _resnet() -> nn.Module:
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    net.conv1, net.bn1 = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
    net.maxpool = nn.Identity()
    down = nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), nn.BatchNorm2d(32))
    net.layer1 = nn.Sequential(BasicBlock(16, 16), BasicBlock(16, 16))
    net.layer2 = nn.Sequential(BasicBlock(16, 32, 2, down), BasicBlock(32, 32))
    net.layer3 = net.layer4 = nn.Sequential()
    net.fc = nn.Linear(32, 10)
    return net


def _densenet() -> nn.Module:
    net = DenseNet(8, (3, 3), num_init_features=16, num_classes=10)
    net.features.conv0 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
    net.features.pool0 = nn.Identity()
    return net


def _vit() -> nn.Module:
    net = VisionTransformer(
        image_size=8,
        patch_size=2,
        num_layers=2,
        num_heads=4,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=10,
    )
    net.conv_proj = nn.Conv2d(1, 32, 2, 2)
    nn.init.trunc_normal_(net.heads.head.weight, std=0.02)
    return net


_MAKERS = {"vgg": _vgg, "resnet": _resnet, "densenet": _densenet, "vit": _vit}


def small(name: str, trained: bool = True) -> tuple[nn.Module, float]:
    """A small sibling, trained on 1,352 digits of 8 x 8 pixels or not; with its test accuracy."""
    torch.manual_seed(0)
    net = _MAKERS[name]()
    if trained:
        _train(net)
    net.eval()
    images, labels = load_digits("test")
    with torch.no_grad():
        return net, float((net(images).argmax(1) == labels).float().mean())


def _train(net: nn.Module) -> None:
    images, labels = load_digits("train")
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    net.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=generator).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
