"""Are the bounds of LayerNorm, attention and whole encoder blocks above their dense Jacobians?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models.lipschitz import bound_net


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(net: nn.Module, seed: int, scale: float) -> nn.Module:
    """In float64, all weights normal."""
    generator = generator_of(seed)
    for parameter in net.double().parameters():
        normal = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = scale * normal
    return net.eval()


def dense_norm(net: nn.Module, x: Tensor) -> float:
    """The norm of the Jacobian at one image (1, ...), by a vjp an output."""
    jacobian = torch.autograd.functional.jacobian(net, x)
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, x.numel()), 2))


class Attention(nn.Module):
    """Self-attention on images (n, D), in either order of nn.MultiheadAttention."""

    def __init__(self, width: int, heads: int, **options: Any) -> None:
        super().__init__()
        self.first = options.get("batch_first", False)
        self.inner = nn.MultiheadAttention(width, heads, **options)

    def forward(self, x: Tensor) -> Tensor:
        if not self.first:
            x = x.transpose(0, 1)
        y: Tensor = self.inner(x, x, x, need_weights=False)[0]
        return y if self.first else y.transpose(0, 1)


def attention_case(number: int) -> tuple[nn.Module, Tensor]:
    generator = generator_of(number)
    n, d, h = (1 + int(torch.randint(m, (), generator=generator)) for m in (6, 4, 3))
    net = Attention(h * d, h, bias=number % 3 > 0, batch_first=number % 2 == 0)
    x = torch.randn(1, n, h * d, generator=generator, dtype=torch.float64)
    return (
        drawn(net, number, (0.2, 0.5, 1.0)[number % 3]),
        (0.3, 1.0, 3.0)[number % 3] * x,
    )


@pytest.mark.parametrize("number", range(20))
def test_attention_at_a_point(number: int) -> None:
    net, x = attention_case(number)
    found = bound_net(net, x.shape[1:], point=x)
    assert found.scope == "point"
    assert dense_norm(net, x) <= found.value


@pytest.mark.slow
def test_attention_at_200_points() -> None:
    for number in range(20, 220):
        net, x = attention_case(number)
        assert dense_norm(net, x) <= bound_net(net, x.shape[1:], point=x).value, number


@pytest.mark.parametrize("number", range(10))
def test_an_encoder_block_at_a_point(number: int) -> None:
    """torchvision's: no rule of its own, torch.fx goes through it."""
    from torchvision.models.vision_transformer import EncoderBlock

    block = drawn(EncoderBlock(2, 6, 9, 0.1, 0.1), number, (0.2, 0.7)[number % 2])
    x = torch.randn(1, 4, 6, generator=generator_of(number), dtype=torch.float64)
    found = bound_net(block, (4, 6), point=x)
    kinds = [layer.kind for layer in found.layers]
    assert kinds.count("LayerNorm") == 2 and kinds.count("MultiheadAttention") == 1
    assert dense_norm(block, x) <= found.value


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dims", [1, 2])
def test_layer_norm_at_a_point(dims: int, affine: bool) -> None:
    shape = (4, 7)
    for number in range(5):
        layer = nn.LayerNorm(shape[-dims:], elementwise_affine=affine)
        net = drawn(layer, number, 1.0)
        # a net without parameters is asked in float32
        x = torch.randn(1, *shape, generator=generator_of(number)).double()
        found = bound_net(net, shape, point=x)
        assert dense_norm(net, x) <= found.value and found.scope == "point"


@pytest.mark.parametrize(
    "net", [nn.LayerNorm(4), Attention(4, 2)], ids=["LayerNorm", "attention"]
)
def test_without_a_point_there_is_no_bound(net: nn.Module) -> None:
    with pytest.raises(ModelContractError, match="no useful global bound.*give point="):
        bound_net(net.eval(), (3, 4))


class Called(nn.Module):
    """Attention that is called in some other way."""

    def __init__(self, how: str, **options: Any) -> None:
        super().__init__()
        self.how = how
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True, **options)
        self.query = nn.Parameter(torch.ones(1, 3, 4))
        self.mask = nn.Parameter(torch.zeros(3, 3), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "weights":
            return self.inner(x, x, x)[1]
        if self.how == "mask":
            return self.inner(x, x, x, need_weights=False, attn_mask=self.mask)[0]
        if self.how == "positional mask":
            return self.inner(x, x, x, None, False, self.mask)[0]
        if self.how == "cross":
            return self.inner(x, 2 * x, 2 * x, need_weights=False)[0]
        if self.how == "constant query":
            return self.inner(self.query, x, x, need_weights=False)[0]
        return self.inner(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize(
    "how", ["weights", "mask", "positional mask", "cross", "constant query"]
)
def test_other_calls_of_attention_are_refused(how: str) -> None:
    """Their Jacobians are others: a bound of self-attention would be false there."""
    x = torch.rand(1, 3, 4, generator=generator_of(0))
    with pytest.raises(ModelContractError, match="self-attention without masks"):
        bound_net(Called(how).eval(), (3, 4), point=x)


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_extra_keys_are_refused(option: str) -> None:
    x = torch.rand(1, 3, 4, generator=generator_of(0))
    net = Called("plain", **{option: True}).eval()
    with pytest.raises(ModelContractError, match="extra keys"):
        bound_net(net, (3, 4), point=x)


def test_windows_that_stand_in_the_batch_are_all_looked_at() -> None:
    """As in Swin: an image is cut into windows, each with attention of its own."""

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            windows = x.reshape(2, 3, 4)
            return self.inner(windows, windows, windows, need_weights=False)[0].reshape(
                1, 6, 4
            )

    net = drawn(Windows(), 0, 0.7)
    for order in ((0.1, 3.0), (3.0, 0.1)):
        parts = torch.randn(2, 3, 4, generator=generator_of(1)).double()
        x = (parts * torch.tensor(order).double().reshape(2, 1, 1)).reshape(1, 6, 4)
        assert dense_norm(net, x) <= bound_net(net, (6, 4), point=x).value
