"""Is the bound of a net above its steepest Jacobian, whatever stands between the layers?

Nets and points are drawn from fixed seeds: a failure is a wrong rule, not bad luck.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, InputError, ModelContractError
from torchattacks_ext.models.lipschitz import ClippedNorm, GroupSort, bound_net
from torchattacks_ext.models.normalised import NormalizedModel

SHAPE = (3, 6, 6)


class Block(nn.Module):
    """A residual block with a stride and a shortcut, as in ResNet."""

    def __init__(self, n: int, m: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(n, m, 3, stride, 1, bias=False)
        self.norm, self.two = nn.BatchNorm2d(m), nn.Conv2d(m, m, 3, 1, 1)
        self.relu = nn.ReLU(inplace=True)
        self.short = nn.Conv2d(n, m, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """relu(g(x) + shortcut(x))."""
        inner = self.two(self.relu(self.norm(self.one(x))))
        inner += self.short(x)
        return self.relu(inner)


class Dense(nn.Module):
    """Every layer reads what came before it, as in DenseNet."""

    def __init__(self, n: int, growth: int = 3) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(n + i * growth) for i in range(3)])
        widths = (n, n + growth, n + 2 * growth)
        self.layers = nn.ModuleList(
            [nn.Conv2d(w, growth, 3, padding=1) for w in widths]
        )

    def forward(self, x: Tensor) -> Tensor:
        """All features, joined."""
        found = [x]
        for norm, layer in zip(self.norms, self.layers):
            found.append(layer(F.relu(norm(torch.cat(found, 1)))))
        return torch.cat(found, dim=1)


class Mixed(nn.Module):
    """Constants, broadcasting, halves, means, maxima: what stands between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4, 1, 1))
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(8, 5)
        self.mix = nn.Parameter(torch.randn(8, 8))
        self.register_buffer("kernel", torch.randn(4, 1, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Many steps."""
        n, channels = x.shape[0], x.size(1)
        x = self.conv((x - 0.5) / 0.25 if channels == 3 else x)
        x = self.scale * x + x.mean((2, 3), keepdim=True)
        x = F.conv2d(x, self.kernel, stride=2, groups=4)
        low, high = x.chunk(2, dim=1)
        x = torch.cat([torch.maximum(low, high), torch.minimum(low, high)], dim=1)
        x = F.max_pool2d(F.pad(x, (1, 1, 0, 0), mode="reflect"), 3, 2, 1)
        x = F.adaptive_avg_pool2d(F.interpolate(x, scale_factor=2.0), (1, 2))
        x = (
            torch.stack([x.flatten(1), -0.5 * x.view(n, -1)], dim=1)
            .sum(1, keepdim=False)
            .abs()
        )
        x = x - torch.tanh(x) @ self.mix + x.amax(1, keepdim=True).expand(-1, 8)
        return F.log_softmax(self.head(F.gelu(x)[:, :]).sort(dim=1)[0], dim=1)


NETS: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: nn.Sequential(
        Block(3, 4, 2),
        Block(4, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ),
    "dense": lambda: nn.Sequential(
        Dense(3), nn.BatchNorm2d(12), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(108, 5)
    ),
    "pooled": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        GroupSort(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(36, 6),
        nn.SiLU(),
        ClippedNorm(0.5),
        nn.Linear(6, 4),
    ),
    "mixed": Mixed,
    "normalised": lambda: NormalizedModel(
        nn.Sequential(
            nn.Flatten(), nn.Linear(108, 9), nn.LeakyReLU(0.2), nn.Linear(9, 4)
        ),
        mean=[0.4, 0.5, 0.6],
        std=[0.2, 0.25, 0.3],
    ),
}


def seeded(name: str, seed: int) -> nn.Module:
    """A net in float64 whose weights and statistics are drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = NETS[name]()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean, module.running_var = torch.randn(
                    2, module.num_features
                )
                module.running_var = module.running_var.abs() + 0.3
                module.weight.data.normal_()
    return net.double().eval()


def steepest(cases: ModuleType, net: nn.Module, seed: int, n: int) -> float:
    """The largest norm of the Jacobian at n random points."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 1, *SHAPE, generator=generator, dtype=torch.float64)
    # in-place steps and vmap do not go together: one row at a time
    rows = (torch.autograd.functional.jacobian(net, point) for point in points)
    return max(cases.norm(torch.as_tensor(row).reshape(-1, 108)) for row in rows)


@pytest.mark.parametrize("name", NETS)
def test_no_net_is_steeper_than_its_bound(cases: ModuleType, name: str) -> None:
    for seed in range(2):
        net = seeded(name, seed)
        found = bound_net(net, SHAPE)
        assert found.value >= steepest(cases, net, seed, 3) > 0
        assert found.scope == "global" and found.layers[-1].total <= found.value


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_no_net_of_many_is_steeper_than_its_bound(cases: ModuleType, name: str) -> None:
    for seed in range(100, 115):
        net = seeded(name, seed)
        assert bound_net(net, SHAPE).value >= steepest(cases, net, seed, 5)


def test_an_affine_chain_of_one_layer_is_exact(cases: ModuleType) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, 7)).double().eval()
    truth = cases.norm(net[1].weight.detach())
    assert truth <= bound_net(net, SHAPE).value * (1 + 1e-12) <= truth * (1 + 1e-9)


def test_the_lines_of_the_table_multiply_to_the_whole() -> None:
    found = bound_net(seeded("pooled", 0), SHAPE)
    names = [line.name for line in found.layers]
    assert names == ["0+1", "2", "3", "4", "5", "6", "7", "8", "9"]
    product = 1.0
    for line in found.layers:
        product *= line.value
        assert line.total == pytest.approx(product, rel=1e-9)
    assert found.value == found.layers[-1].total


def test_a_residual_adds_and_a_join_takes_the_root() -> None:
    class Joined(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, 2 * x, x + 3 * x], dim=1)

    assert bound_net(Joined().eval(), (2,)).value == pytest.approx((1 + 4 + 16) ** 0.5)


def test_the_last_layer_comes_apart_and_is_centred(cases: ModuleType) -> None:
    net = seeded("pooled", 1)
    plain, found = bound_net(net, SHAPE), bound_net(net, SHAPE, centre_last=True)
    weight, last = net[-1].weight.detach(), found.last
    assert last is not None and last.name == "9"
    assert last.norm == pytest.approx(cases.norm(weight), rel=1e-9)
    assert last.centred == pytest.approx(cases.norm(weight - weight.mean(0)), rel=1e-9)
    spread = max(float((a - b).norm()) for a in weight for b in weight)
    assert last.spread == pytest.approx(spread, rel=1e-9) and last.spread >= spread
    assert plain.value == pytest.approx(last.body * last.norm, rel=1e-9)
    assert found.value == pytest.approx(last.body * last.centred, rel=1e-9)


def test_a_net_without_a_last_linear_layer_has_none_to_centre() -> None:
    with pytest.raises(ModelContractError, match="nn.Linear"):
        bound_net(seeded("mixed", 0), SHAPE, centre_last=True)


@pytest.mark.parametrize("shape", [(), (3, 0), (3, -1), ("a",)])
def test_a_shape_that_is_none_is_refused(shape: tuple[object, ...]) -> None:
    with pytest.raises(ConfigError, match="input_shape"):
        bound_net(nn.Flatten().eval(), shape)  # type: ignore[arg-type]


def test_a_point_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="point has shape"):
        bound_net(nn.Flatten().eval(), (2, 2), point=torch.zeros(3))


def test_a_shape_that_the_model_does_not_take_is_a_clear_error() -> None:
    with pytest.raises(ModelContractError, match="does not take images of shape"):
        bound_net(nn.Linear(3, 2).eval(), (4,))
