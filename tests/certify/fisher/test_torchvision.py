"""Are the four networks of the paper covered as torchvision builds them, and is the bound one?

Images of 32 pixels and 10 classes, for the time; 224 pixels and 1,000 classes are in
benchmarks/fisher_bounds.py.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchattacks_ext import FIMScore
from torchattacks_ext.certify.fisher import fim_upper_bound, paper_bounds

SHAPE = (3, 32, 32)


def built(name: str) -> nn.Module:
    from torchvision import models

    options = {"image_size": 32} if name == "vit_b_16" else {}
    if name == "vgg16":  # of its 500 MB, the norm of the widest layer takes two minutes
        with torch.device("meta"):
            net = models.vgg16(num_classes=10, init_weights=False)
        net.features = models.vgg.make_layers(models.vgg.cfgs["D"])
        net.classifier[0] = nn.Linear(25088, 64)
        net.classifier[3] = nn.Linear(64, 64)
        net.classifier[6] = nn.Linear(64, 10)
    else:
        net = models.get_model(name, num_classes=10, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in net.parameters():  # He's normal; vectors keep what they have
            if tensor.dim() > 1:
                size = (2 / tensor[0].numel()) ** 0.5
                tensor.copy_(size * torch.randn(tensor.shape, generator=generator))
    return net.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, n_terms",
    [("vgg16", 16), ("resnet18", 11), ("densenet121", 59), ("vit_b_16", 12)],
)
def test_the_four_networks_of_the_paper(name: str, n_terms: int) -> None:
    net = built(name)
    images = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    point = images if name == "vit_b_16" else None
    found = fim_upper_bound(net, SHAPE, point=point)
    truth = FIMScore(net, method="gram", kl=False).measure(images, ids=[0])
    assert truth.log_lam.item() <= found.log_value < 1000
    assert found.scope == ("global" if point is None else "point")
    assert found.n_classes == 10
    named = {layer.name.partition("+")[0] for layer in found.layers}
    weighted = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)
    for path, module in net.named_modules():
        if isinstance(module, weighted) and not path.endswith("out_proj"):
            assert path in named, "a layer has no line"
    assert len(paper_bounds(net).terms) == n_terms
