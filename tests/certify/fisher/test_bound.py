"""Is the bound above lambda, always, and equal to it where it can be?"""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import FIMScore
from torchattacks_ext.certify.bounds import only_bounds
from torchattacks_ext.certify.fisher import FisherBound, fim_upper_bound
from torchattacks_ext.errors import (
    ConfigError,
    InputError,
    ModelContractError,
    ReliabilityWarning,
    StatusError,
)
from torchattacks_ext.models.lipschitz import Bound, register_rule

Net = tuple[nn.Module, tuple[int, ...]]


def images_of(shape: tuple[int, ...], n: int, seed: int = 1) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def log_lambda(net: nn.Module, images: Tensor) -> Tensor:
    """FIMScore's exact log lambda_max(F), in double precision."""
    ids = list(range(len(images)))
    probe = FIMScore(net, method="gram", dtype=torch.float64, kl=False)
    return probe.measure(images, ids=ids).log_lam


def linear(k: int, d: int = 6, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(d, k, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = drawn + 3  # a common row, which the softmax does not see
    return layer.eval()


# ---------------------------------------------------------------- one linear layer
@pytest.mark.parametrize("k", range(2, 11))
def test_one_linear_layer_is_half_its_squared_norm(k: int) -> None:
    """The plain form; the bound itself is the smaller form of pairs of rows."""
    layer = linear(k)
    found = fim_upper_bound(layer, (6,))
    weight = layer.weight.detach()
    half = torch.linalg.matrix_norm(weight, 2).item() ** 2 / 2
    assert math.exp(found.form("plain")) == pytest.approx(half, rel=1e-6)
    pairs = torch.cdist(weight, weight).max().item() ** 2 / 4
    assert found.value == pytest.approx(pairs, rel=1e-6)
    assert pairs <= half and (found.scope, found.n_classes) == ("global", k)


def test_one_linear_layer_with_opposite_rows_has_one_bound() -> None:
    layer = linear(2)
    layer.weight.data[1] = -layer.weight.data[0]
    found = fim_upper_bound(layer, (6,))
    half = torch.linalg.matrix_norm(layer.weight.detach(), 2).item() ** 2 / 2
    assert found.value == pytest.approx(half, rel=1e-9)
    assert found.form("plain") == pytest.approx(found.log_value, abs=1e-9)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_the_bound_of_a_linear_layer_is_attained(k: int) -> None:
    """Where p is (1/2, 1/2) on the two rows that are farthest apart."""
    layer = linear(k)
    weight = layer.weight.detach()
    apart = torch.cdist(weight, weight)
    i, j = divmod(int(apart.argmax()), k)
    layer.bias.data = torch.full((k,), -40.0, dtype=torch.float64)
    layer.bias.data[[i, j]] = 0.0
    at = torch.zeros(1, 6, dtype=torch.float64)
    found = fim_upper_bound(layer, (6,)).log_value
    truth = FIMScore(layer, method="gram", bounds=None, kl=False).measure(at, ids=[0])
    assert 0 <= found - truth.log_lam.item() < 1e-9


def test_at_a_point_of_a_linear_layer_the_bound_is_lambda() -> None:
    layer = linear(7)
    for x in images_of((6,), 5).double():
        found = fim_upper_bound(layer, (6,), point=x)
        truth = FIMScore(layer, method="gram", kl=False).measure(x[None], ids=[0])
        assert found.scope == "point"
        assert 0 <= found.log_value - truth.log_lam.item() < 1e-8
        forms = [found.form(name) for name in ("head", "softmax", "plain")]
        assert forms == sorted(forms) and found.log_value == forms[0]


def test_told_probabilities_are_as_those_of_a_point() -> None:
    layer, x = linear(4), torch.full((6,), 0.3, dtype=torch.float64)
    at_x = fim_upper_bound(layer, (6,), point=x)
    told = fim_upper_bound(layer, (6,), probs=layer(x).softmax(0).detach())
    assert told.log_value == pytest.approx(at_x.log_value, abs=1e-9)
    assert told.scope == "point"
    for wrong in ([0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [1.5, -0.5, 0.0, 0.0]):
        with pytest.raises(ConfigError, match="sum to 1"):
            fim_upper_bound(layer, (6,), probs=wrong)


def test_a_saturated_point_keeps_its_logarithm() -> None:
    layer = linear(5)
    layer.bias.data = torch.tensor([900.0, 0, 0, 0, 0], dtype=torch.float64)
    x = torch.zeros(1, 6, dtype=torch.float64)
    found = fim_upper_bound(layer, (6,), point=x)
    truth = FIMScore(layer, method="gram", kl=False)
    with pytest.warns(UserWarning, match="saturated"):
        exact = truth.measure(x, ids=[0]).log_lam.item()
    assert found.log_value < -850 and found.value == 0
    assert 0 <= found.log_value - exact < 1e-8


def test_a_single_logit_counts_as_two() -> None:
    """lambda = p (1 - p) |w|^2 <= |w|^2 / 4; centring its only row would say 0."""
    layer = linear(1)
    layer.bias.data.zero_()
    quarter = layer.weight.detach().square().sum().item() / 4
    found = fim_upper_bound(layer, (6,))
    assert found.value == pytest.approx(quarter, rel=1e-9) and found.n_classes == 2
    at = fim_upper_bound(layer, (6,), point=torch.zeros(6))  # p = 1/2
    assert at.value == pytest.approx(quarter, rel=1e-8)


# ---------------------------------------------------------------- nets
def test_the_bound_is_above_lambda(small_net: Net) -> None:
    """Every form, at random points; attention and LayerNorm at the point alone."""
    net, shape = small_net
    images = images_of(shape, 5)
    truth = log_lambda(net, images)
    if not any(isinstance(m, nn.LayerNorm) for m in net.modules()):
        found = fim_upper_bound(net, shape)
        assert found.scope == "global" and found.log_value >= truth.max()
        assert found.status == "certified up to rounding"
    for image, exact in zip(images[:2], truth):
        at = fim_upper_bound(net, shape, point=image)
        assert at.scope == "point" and at.status.endswith("not a certificate")
        assert min(form.log_value for form in at.forms) == at.log_value >= exact


@pytest.mark.slow
@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_the_bound_is_above_lambda_at_many_points(
    small_net: Net, sharpness: float
) -> None:
    """The forms for every p at 200 images, those of a point at 8; sharp logits saturate."""
    net, shape = small_net
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.data *= sharpness
    images = images_of(shape, 200, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        truth = log_lambda(net, images)
    found = [fim_upper_bound(net, shape, point=image) for image in images[:8]]
    values = torch.tensor([one.log_value for one in found], dtype=torch.float64)
    assert (values >= truth[:8]).all()
    for form in found[0].forms:
        assert form.scope == "point" or form.log_value >= truth.max()


def test_normalisation_inside_makes_the_bound_one_in_pixels() -> None:
    from torchattacks_ext import NormalizedModel

    layer = nn.Sequential(nn.Flatten(), linear(3, 4).float()).eval()
    inner = fim_upper_bound(layer, (1, 2, 2))
    outer = fim_upper_bound(NormalizedModel(layer, [0.5], [0.25]).eval(), (1, 2, 2))
    assert outer.log_value - inner.log_value == pytest.approx(math.log(16), abs=1e-9)


def test_a_net_without_a_last_linear_layer_has_the_plain_form() -> None:
    net = nn.Sequential(nn.Flatten(), linear(3, 4), nn.Tanh()).eval()
    found = fim_upper_bound(net, (1, 2, 2))
    assert [form.name for form in found.forms] == ["plain"]
    image = torch.full((1, 1, 2, 2), 0.1, dtype=torch.float64)
    at = fim_upper_bound(net, (1, 2, 2), point=image)
    truth = FIMScore(net, method="gram", kl=False).measure(image, ids=[0])
    assert [form.name for form in at.forms] == ["plain", "softmax"]
    assert truth.log_lam.item() <= at.log_value <= found.log_value


def test_a_linear_layer_on_tokens_is_no_last_layer_of_scores() -> None:
    """One row of weights on 3 tokens gives 3 scores: their distances are not those of rows."""
    layer = linear(1, 4)
    net = nn.Sequential(layer, nn.Flatten()).eval()
    x = torch.zeros(1, 3, 4, dtype=torch.float64)
    layer.bias.data.zero_()
    for found in (fim_upper_bound(net, (3, 4)), fim_upper_bound(net, (3, 4), point=x)):
        assert {form.name for form in found.forms} <= {"plain", "softmax"}
        truth = layer.weight.detach().square().sum().item() / 3  # S / 3 at equal p
        assert found.n_classes == 3 and found.value >= truth


# ---------------------------------------------------------------- what it says
def test_the_table_has_a_line_a_layer(make_net: Any) -> None:
    net, shape = make_net("conv")
    found = fim_upper_bound(net, shape)
    kinds = [layer.kind for layer in found.layers]
    assert kinds == [type(module).__name__ for module in net]
    lines = str(found).splitlines()
    assert "certified up to rounding" in lines[0] and lines[1].startswith("plain 10^")
    assert len(lines) == 3 + len(kinds) and lines[-1].split()[:2] == ["6", "Linear"]


def test_huge_bounds_stay_finite_as_logarithms() -> None:
    layers = [linear(6) for _ in range(3)]
    for layer in layers:
        layer.weight.data *= 1e60
    found = fim_upper_bound(nn.Sequential(*layers).eval(), (6,))
    assert found.value == math.inf and 350 < found.log10 < 400


def test_a_constant_net_has_the_bound_0() -> None:
    layer = linear(3)
    layer.weight.data.zero_()
    found = fim_upper_bound(layer, (6,))
    assert (found.value, found.log_value) == (0.0, -math.inf)


def test_no_bound_of_the_fisher_score_enters_a_certificate() -> None:
    layer = linear(3)
    for found in (
        fim_upper_bound(layer, (6,)),
        fim_upper_bound(layer, (6,), point=torch.zeros(6)),
    ):
        assert isinstance(found, FisherBound)
        with pytest.raises(StatusError, match="no LipschitzBound"):
            only_bounds(found)


class Local(nn.Identity):
    """Bounded by a rule of the caller's that holds at a point."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.0 * x


def test_a_rule_of_scope_point_takes_the_certificate_away() -> None:
    register_rule(Local, lambda module, place: Bound(1.0, "point"))
    net = nn.Sequential(linear(3), Local(), linear(2, 3)).eval()
    found = fim_upper_bound(net, (6,))
    assert found.scope == "point" and found.status.endswith("not a certificate")
    assert {form.scope for form in found.forms} == {"point"}


def test_what_has_no_bound_is_refused_and_named(make_net: Any) -> None:
    net, shape = make_net("vit")
    with pytest.raises(ModelContractError, match=r"ln_1.*give point="):
        fim_upper_bound(net, shape)
    net, shape = make_net("resnet")
    with pytest.raises(ModelContractError, match="training mode"):
        fim_upper_bound(net.train(), shape)
    with pytest.raises(InputError, match="point has shape"):
        fim_upper_bound(linear(2), (6,), point=torch.zeros(5))
    with pytest.raises(ConfigError, match="input_shape"):
        fim_upper_bound(linear(2), ())
