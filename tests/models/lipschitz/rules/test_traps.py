"""Where promise and truth differ, is the truth measured? Layers that are not what they say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models.lipschitz import Bound, bound_net
from torchattacks_ext.numerics.certificates.operators import dense


def seeded(make: Any, seed: int = 0) -> nn.Module:
    """A module whose weights are drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: nn.Module = make()
    return module.double().eval()


def norm_of(module: nn.Module, shape: tuple[int, ...]) -> float:
    """The exact norm of an affine layer."""
    return float(torch.linalg.matrix_norm(dense(module, shape), 2))


def test_spectral_norm_after_one_step_is_not_one() -> None:
    layer = seeded(lambda: parametrizations.spectral_norm(nn.Linear(256, 256)))
    found = bound_net(layer, (256,)).value
    assert norm_of(layer, (256,)) <= found * (1 + 1e-12)
    assert 1.005 < found < 1.1


def test_spectral_norm_of_a_convolution_is_not_one() -> None:
    layer = seeded(
        lambda: parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, padding=1))
    )
    found = bound_net(layer, (3, 8, 8)).value
    assert found >= norm_of(layer, (3, 8, 8)) > 1.2


def test_an_orthogonal_convolution_is_far_from_one() -> None:
    layer = seeded(lambda: parametrizations.orthogonal(nn.Conv2d(8, 8, 3, padding=1)))
    found = bound_net(layer, (8, 7, 7)).value
    assert found >= norm_of(layer, (8, 7, 7)) > 2


def test_a_kernel_of_norm_one_with_padding_exceeds_one() -> None:
    """Orthonormal rows of the reshaped kernel: non-expansive where windows do not overlap only."""
    layer = seeded(lambda: nn.Conv2d(1, 4, 2, stride=1, padding=1, bias=False))
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4).reshape(4, 1, 2, 2))  # type: ignore[operator, union-attr]
    assert bound_net(layer, (1, 6, 6)).value == pytest.approx(2, rel=1e-9)
    assert norm_of(layer, (1, 6, 6)) == pytest.approx(2)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_that_copies_pixels_is_counted(mode: str) -> None:
    layer = seeded(lambda: nn.Conv2d(4, 8, 3, padding=2, padding_mode=mode, bias=False))
    shape = (4, 9, 9)
    found = bound_net(layer, shape)
    assert found.value >= norm_of(layer, shape)
    assert mode in found.layers[0].how


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_old_hooks_are_measured_after_they_have_written() -> None:
    layer = seeded(lambda: torch.nn.utils.weight_norm(nn.Linear(5, 4)))
    before = bound_net(layer, (5,)).value
    with torch.no_grad():
        layer.weight_g.mul_(3)  # type: ignore[operator, union-attr]
    assert bound_net(layer, (5,)).value == pytest.approx(3 * before, rel=1e-9)


def test_a_pruned_weight_is_measured_as_it_is_used() -> None:
    layer = seeded(lambda: prune.l1_unstructured(nn.Linear(5, 4), "weight", 0.5))
    assert bound_net(layer, (5,)).value == pytest.approx(norm_of(layer, (5,)), rel=1e-9)


@pytest.mark.parametrize(
    ("pool", "shape", "norm"),
    [
        (nn.AvgPool2d(2), (1, 4, 4), 0.5),
        (nn.AvgPool2d(2, ceil_mode=True), (1, 5, 5), 1.0),
        (nn.AvgPool2d(2, padding=1), (1, 4, 4), 0.5),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), (1, 4, 4), 1.0),
        (nn.AvgPool2d(2, divisor_override=1), (1, 4, 4), 2.0),
        (nn.MaxPool2d(2), (1, 4, 4), 1.0),
        (nn.MaxPool2d(3, 2, 1), (1, 8, 8), 2.0),
        (nn.MaxPool2d(2, 2, dilation=2), (1, 8, 8), 2.0),
        (nn.MaxPool2d(3, 2, ceil_mode=True), (1, 6, 6), 2.0),
        (nn.AdaptiveAvgPool2d(1), (3, 4, 4), 0.25),
        (nn.LPPool2d(2, 2), (1, 4, 4), 1.0),
        (nn.LPPool2d(2, 2, ceil_mode=True), (1, 5, 5), 2.0),
        (nn.Upsample((224, 224)), (1, 32, 32), 7.0),
        (nn.Upsample((224, 224), mode="bicubic"), (1, 32, 32), 7.21),
    ],
)
def test_windows_have_the_norms_of_the_textbook_and_of_the_edge(
    pool: nn.Module, shape: tuple[int, ...], norm: float
) -> None:
    assert bound_net(pool.eval(), shape).value == pytest.approx(norm, rel=1e-3)


@pytest.mark.slow  # torchvision takes seconds to import
def test_torchvisions_normalisation_is_a_layer() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    layer = transforms.Normalize([0.5, 0.4, 0.3], [0.2471, 0.2435, 0.2616])
    truth = norm_of(layer, (3, 2, 2))
    assert truth <= bound_net(layer.eval(), (3, 2, 2)).value <= truth * (1 + 1e-6)


def test_bilinear_resizing_to_seven_times_is_seven() -> None:
    layer = nn.Upsample((224, 224), mode="bilinear").eval()
    assert bound_net(layer, (3, 32, 32)).value == pytest.approx(7, rel=1e-3)


@pytest.mark.parametrize(
    ("module", "word"),
    [
        (nn.Softplus(threshold=1), "jumps"),
        (nn.Hardshrink(), "jumps"),
        (nn.Threshold(0.1, 0.0), "jumps"),
        (nn.CELU(-1.0), "alpha"),
        (nn.LPPool2d(3, 2), "norm_type"),
        (nn.GroupNorm(1, 4), "divides by the spread"),
        (nn.InstanceNorm2d(4), "statistics"),
        (nn.BatchNorm2d(4, track_running_stats=False), "statistics"),
        (nn.GLU(dim=1), "multiplies"),
        (nn.RNN(4, 4), "no Lipschitz rule"),
    ],
)
def test_what_has_no_bound_is_refused_and_named(module: nn.Module, word: str) -> None:
    shape = (3, 4) if isinstance(module, nn.RNN) else (4, 4, 4)
    with pytest.raises(ModelContractError, match=word) as caught:
        bound_net(module.eval(), shape)
    assert type(module).__name__ in str(caught.value)


class Doubled(nn.Linear):
    """A linear layer with a forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Twice as much."""
        return 2 * F.linear(x, self.weight, self.bias)


class OwnConvolution(nn.Conv2d):
    """A convolution whose inner step is another one, with torch's forward."""

    def _conv_forward(
        self, x: torch.Tensor, weight: torch.Tensor, bias: Any
    ) -> torch.Tensor:
        return super()._conv_forward(x, 3 * weight, bias)


def test_a_subclass_with_its_own_forward_is_looked_into() -> None:
    layer = seeded(lambda: Doubled(4, 3))
    assert bound_net(layer, (4,)).value == pytest.approx(norm_of(layer, (4,)), rel=1e-9)


def test_an_own_inner_step_of_a_convolution_is_not_taken_for_torchs() -> None:
    layer = seeded(lambda: OwnConvolution(1, 2, 3))
    try:
        assert bound_net(layer, (1, 5, 5)).value >= norm_of(layer, (1, 5, 5))
    except ModelContractError as error:
        assert "OwnConvolution" in str(error) or "register_rule" in str(error)


def test_a_forward_that_was_put_on_the_object_is_refused() -> None:
    net = nn.Sequential(nn.Linear(3, 3)).eval()
    net[0].forward = lambda x: 5 * x  # type: ignore[method-assign]
    with pytest.raises(ModelContractError, match="replaced"):
        bound_net(net, (3,))


@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_that_may_change_values_is_refused(kind: str) -> None:
    net = nn.Sequential(nn.Linear(3, 3)).eval()
    getattr(net[0], kind)(lambda *given: None)
    with pytest.raises(ModelContractError, match="hook"):
        bound_net(net, (3,))


def test_weights_that_are_not_finite_are_refused() -> None:
    net = nn.Sequential(nn.Linear(3, 3)).eval()
    net[0].weight.data[0, 0] = math.nan
    with pytest.raises(ModelContractError, match="0: a weight of Linear"):
        bound_net(net, (3,))


def test_a_batch_normalisation_of_tokens_is_not_multiplied_into_features() -> None:
    """BatchNorm1d on (N, T, D) has factors for T, a Linear before it rows for D."""
    net = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    net[1].running_var = torch.tensor([1.0, 4.0, 9.0, 0.1]).double()  # type: ignore[index]
    found = bound_net(net, (4, 3))
    assert [line.name for line in found.layers] == ["0", "1"]
    assert found.value >= norm_of(net, (4, 3))


def test_a_bound_must_be_a_number_with_a_known_scope() -> None:
    for given in (
        {"value": -1.0},
        {"value": math.nan},
        {"value": 1.0, "scope": "here"},
    ):
        with pytest.raises(ValueError):
            Bound(**given)  # type: ignore[arg-type]
