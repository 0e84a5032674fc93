r"""What do the formulas of the paper give for a model? A reproduction, not a bound.

Table 2 of arXiv 2606.04767 writes down |J|_2, the Jacobian of the logits, from spectral norms:

    VGG          prod |W_i| prod |U_j|                                   convolutions, linear layers
    ResNet       1/2 |W_cov| prod_l (1 + |W_l1| |W_l2|) |U|              stem, blocks, classifier
    DenseNet     |W_L| prod_{k<L} (1 + |W_k|)                            classifier, dense layers
    Transformer  prod_l (1 + sqrt(h) max_i |W_i^V| |W^O| + |W_l1| |W_l2|)

and its Theorem 3 makes max_k p_k (1 - p_k) |J|^2 <= |J|^2 / 4 of it. None of this bounds the truth:
the norm of a convolution is not that of its reshaped kernel (up to its k^2 times larger square),
BatchNorm, LayerNorm, max pooling and shortcuts that are convolutions are left out, attention lacks
its queries and keys, and the 1/4 should be 1/2. For bounds: :func:`.bound.fim_upper_bound`.

Read as: a block of three convolutions has all three in its product, a DenseNet's layer is W_k = the
product of its two, as the paper counts L = 59 of them and the classifier in DenseNet121.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...errors import ModelContractError
from ...numerics.certificates.matrices import spectral_norm

Terms = Iterator[tuple[str, float]]
LABEL = "reproduction, not a bound"


@dataclass(frozen=True)
class PaperBounds:
    """What Table 2 and Theorem 3 of the paper say of one model; natural logarithms.

    Arguments:
        architecture (str): "VGG", "ResNet", "DenseNet" or "Transformer".
        terms (tuple): (name, factor) in the order of the product whose logarithms add up.
        label (str): always "reproduction, not a bound".
    """

    architecture: str
    terms: tuple[tuple[str, float], ...]
    label: str = LABEL

    @property
    def log_jacobian(self) -> float:
        """log of the table's |J|_2; -inf where a factor is 0."""
        return math.fsum(_log(factor) for _, factor in self.terms)

    @property
    def log_lambda(self) -> float:
        """log of Theorem 3's bound of lambda_max(F) for any p: log(|J|^2 / 4)."""
        return 2 * self.log_jacobian + math.log(0.25)


def _log(factor: float) -> float:
    return math.log(factor) if factor > 0 else -math.inf


def paper_bounds(model: nn.Module) -> PaperBounds:
    """The formulas of the paper for a VGG, ResNet, DenseNet or ViT of torchvision.

    The first such network among the model's modules is taken, what lies around it (normalisation)
    left out, as in the paper. Raises ModelContractError where there is none. Cost: the spectral
    norms of the weights, no forward pass.

    >>> from torchvision.models import DenseNet
    >>> net = DenseNet(growth_rate=2, block_config=(2,), num_init_features=4, num_classes=3)
    >>> found = paper_bounds(net)
    >>> found.architecture, found.label, len(found.terms)
    ('DenseNet', 'reproduction, not a bound', 3)
    """
    for module in model.modules():
        for kind in type(module).__mro__:
            known = _KINDS.get(f"{kind.__module__}.{kind.__qualname__}")
            if known is not None:
                return PaperBounds(known[0], tuple(known[1](module)))
    raise ModelContractError(
        f"{type(model).__name__} contains no VGG, ResNet, DenseNet or VisionTransformer of "
        "torchvision, for which the paper has formulas; fim_upper_bound takes any network"
    )


def _norm(weight: Tensor) -> float:
    """|W|_2 of a weight as a matrix (out, everything else)."""
    return spectral_norm(weight.flatten(1))


def _weights(module: nn.Module) -> Iterator[tuple[str, float]]:
    for name, inner in module.named_modules():
        if isinstance(inner, (nn.Conv2d, nn.Linear)):
            yield name, _norm(inner.weight)


def _vgg(net: nn.Module) -> Terms:
    yield from _weights(net)


def _resnet(net: Any) -> Terms:
    yield "1/2", 0.5
    yield "conv1", _norm(net.conv1.weight)
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for name, block in getattr(net, stage).named_children():
            inner = (norm for key, norm in _weights(block) if key.startswith("conv"))
            yield f"{stage}.{name}", 1 + math.prod(inner)
    yield "fc", _norm(net.fc.weight)


def _densenet(net: Any) -> Terms:
    for name, module in net.features.named_modules():
        if "denselayer" in name.rpartition(".")[2]:
            yield f"features.{name}", 1 + math.prod(
                norm for _, norm in _weights(module)
            )
    yield "classifier", _norm(net.classifier.weight)


def _transformer(net: Any) -> Terms:
    for name, block in net.encoder.layers.named_children():
        attention = block.self_attention
        width, heads = attention.embed_dim, attention.num_heads
        values = attention.in_proj_weight[2 * width :].unflatten(0, (heads, -1))
        most = max(_norm(value) for value in values)
        mixed = math.sqrt(heads) * most * _norm(attention.out_proj.weight)
        mlp = math.prod(norm for _, norm in _weights(block.mlp))
        yield f"encoder.layers.{name}", 1 + mixed + mlp


_HOME = "torchvision.models"
_KINDS: dict[str, tuple[str, Callable[[Any], Terms]]] = {
    f"{_HOME}.vgg.VGG": ("VGG", _vgg),
    f"{_HOME}.resnet.ResNet": ("ResNet", _resnet),
    f"{_HOME}.densenet.DenseNet": ("DenseNet", _densenet),
    f"{_HOME}.vision_transformer.VisionTransformer": ("Transformer", _transformer),
}
"""By the full name of the class, so that torchvision need not be imported here."""
