"""Do the paper's formulas come out as they are written, and only for the nets they are for?"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import NormalizedModel
from torchattacks_ext.certify.fisher import paper_bounds
from torchattacks_ext.errors import ModelContractError

Make = Callable[[str], tuple[nn.Module, tuple[int, ...]]]


def norm(module: nn.Module) -> float:
    """|W|_2 of a weight as a matrix (out, rest)."""
    weight = module.get_parameter("weight").detach().flatten(1).double()
    return float(torch.linalg.matrix_norm(weight, 2))


def by_hand(name: str, net: nn.Module) -> float:
    """Table 2 of the paper, written out for the small nets of these tests."""
    at = net.get_submodule
    if name == "vgg":
        layers = ("features.0", "features.3", "classifier.0", "classifier.3")
        return math.prod(norm(at(layer)) for layer in layers)
    if name == "resnet":
        blocks = (
            1 + norm(at(f"{block}.conv1")) * norm(at(f"{block}.conv2"))
            for block in ("layer1.0", "layer2.0")
        )
        return 0.5 * norm(at("conv1")) * math.prod(blocks) * norm(at("fc"))
    if name == "densenet":
        places = [
            f"features.denseblock{i}.denselayer{j}" for i in (1, 2) for j in (1, 2)
        ]
        layers = (1 + norm(at(f"{p}.conv1")) * norm(at(f"{p}.conv2")) for p in places)
        return math.prod(layers) * norm(at("classifier"))
    return math.prod(
        transformer_block(at(f"encoder.layers.encoder_layer_{i}")) for i in (0, 1)
    )


def transformer_block(block: nn.Module) -> float:
    """Two heads of width 4."""
    values: Tensor = block.get_parameter("self_attention.in_proj_weight").detach()[16:]
    heads = (values[:4].double(), values[4:].double())
    most = max(float(torch.linalg.matrix_norm(head, 2)) for head in heads)
    mixed = math.sqrt(2) * most * norm(block.get_submodule("self_attention.out_proj"))
    mlp = norm(block.get_submodule("mlp.0")) * norm(block.get_submodule("mlp.3"))
    return 1 + mixed + mlp


@pytest.mark.parametrize(
    "name, architecture",
    [
        ("vgg", "VGG"),
        ("resnet", "ResNet"),
        ("densenet", "DenseNet"),
        ("vit", "Transformer"),
    ],
)
def test_the_formulas_of_table_2(make_net: Make, name: str, architecture: str) -> None:
    net, _ = make_net(name)
    found = paper_bounds(NormalizedModel(net, [0.5], [0.5]))
    assert found.architecture == architecture
    assert found.label == "reproduction, not a bound"
    log_jacobian = math.log(by_hand(name, net))
    assert found.log_jacobian == pytest.approx(log_jacobian, abs=1e-5)
    # Theorem 3 with max p (1 - p) <= 1/4
    assert found.log_lambda == pytest.approx(2 * log_jacobian - math.log(4), abs=1e-5)


def test_a_weight_of_zero_gives_nothing(make_net: Make) -> None:
    net, _ = make_net("vgg")
    nn.init.zeros_(net.get_parameter("classifier.3.weight"))
    assert paper_bounds(net).log_lambda == -math.inf


def test_the_papers_jacobian_norm_is_no_bound(make_net: Make) -> None:
    """A VGG of one convolution of ones: its norm is 3 |W|_2 for images that are large enough."""
    net, _ = make_net("vgg")
    net.features = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    net.avgpool, net.classifier = nn.Identity(), nn.Identity()
    nn.init.ones_(net.get_parameter("features.0.weight"))
    image = torch.zeros(1, 1, 12, 12)
    jacobian = torch.autograd.functional.jacobian(net, image).reshape(144, 144)
    truth = float(torch.linalg.matrix_norm(jacobian, 2))
    assert truth > 2.8 * math.exp(paper_bounds(net).log_jacobian)


@pytest.mark.parametrize("net", [nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 1, 1))])
def test_other_nets_have_no_formula(net: nn.Module) -> None:
    with pytest.raises(ModelContractError, match="contains no VGG, ResNet"):
        paper_bounds(net)
