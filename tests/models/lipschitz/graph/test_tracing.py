"""Is what was traced the model, is it refused where it is not, and is the model given back?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models.lipschitz import bound_net
from torchattacks_ext.models.normalised import NormalizedModel


class Written(nn.Module):
    """A function of the image and a layer."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.linear = nn.Linear(4, 4)
        self.register_buffer("memory", torch.zeros(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        """The function."""
        return self.function(self, x)


def net_of(function: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    """A net in eval mode whose layer doubles."""
    net = Written(function).eval()
    net.linear.weight.data.copy_(2 * torch.eye(4))
    return net


def relu_in_place(self: Any, x: Tensor) -> Tensor:
    """The old name is read again: its bound is not larger."""
    y = self.linear(x)
    F.relu(y, inplace=True)
    return y + x


def iadd_then_read(self: Any, x: Tensor) -> Tensor:
    """y is 2 x + x when it is read again."""
    y = self.linear(x)
    z = y
    z += x
    return y + x


def view_then_write(self: Any, x: Tensor) -> Tensor:
    """The base changes with its view."""
    y = self.linear(x)
    y.view(2, 2).mul_(10)
    return y


def silu_in_place(self: Any, x: Tensor) -> Tensor:
    """SiLU is steeper than the identity."""
    y = self.linear(x)
    F.silu(y, inplace=True)
    return y


def through_a_buffer(self: Any, x: Tensor) -> Tensor:
    """The image leaves by a buffer."""
    self.memory.copy_(3 * x)
    return self.linear(x) + self.memory


def test_writing_what_is_not_steeper_is_allowed() -> None:
    assert bound_net(net_of(relu_in_place), (4,)).value == pytest.approx(3)


@pytest.mark.parametrize(
    "function", [iadd_then_read, view_then_write, silu_in_place, through_a_buffer]
)
def test_what_is_overwritten_and_read_again_is_refused(function: Any) -> None:
    with pytest.raises(
        ModelContractError, match="writes on|no Lipschitz rule|not the model"
    ):
        bound_net(net_of(function), (4,))


def test_what_is_not_read_again_may_be_overwritten() -> None:
    net = nn.Sequential(
        nn.Linear(4, 4), nn.SiLU(inplace=True), nn.ELU(1.5, inplace=True)
    ).eval()
    assert bound_net(net, (4,)).value > 0


class Choosy(nn.Module):
    """Asks for sizes and types as careful forwards do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Refuses other shapes."""
        if x.dim() != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ValueError(f"{x.shape} is not (N, 3, H, W)")
        n, *_, h, w = x.size()
        assert len(x.shape) == x.ndim and x.numel() == n * 3 * h * w
        x = self.conv(x.to(x.device, x.dtype))
        return x.reshape(n, -1) if min(h, w) > 2 else x.flatten(1)


def test_questions_about_sizes_are_answered() -> None:
    net = Choosy().eval()
    alone = bound_net(net.conv, (3, 5, 5)).value
    assert bound_net(net, (3, 5, 5)).value == pytest.approx(alone)
    with pytest.raises(ModelContractError, match="does not take images"):
        bound_net(net, (1, 5, 5))


def test_a_choice_by_kind_of_tensor_does_not_fool_the_trace() -> None:
    def sly(self: Any, x: Tensor) -> Tensor:
        return 100 * self.linear(x) if type(x) is Tensor else self.linear(x)

    with pytest.raises(ModelContractError, match="not the model"):
        bound_net(net_of(sly), (4,))


def test_noise_in_eval_mode_is_refused() -> None:
    for draw in (lambda s, x: x + torch.randn(4), lambda s, x: x * torch.rand(1)):
        with pytest.raises(ModelContractError, match="random|not the model"):
            bound_net(net_of(draw), (4,))


@pytest.mark.parametrize("where", [(), (1,)])
def test_training_mode_is_refused_with_the_remedy(where: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval()
    (net[where[0]] if where else net).training = True
    with pytest.raises(ModelContractError, match=r"training mode.*eval\(\)"):
        bound_net(net, (4,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ModelContractError, match="call model.float"):
        bound_net(nn.Linear(4, 4).to(dtype).eval(), (4,))


def test_what_is_no_module_or_has_no_weights_is_refused() -> None:
    with pytest.raises(ModelContractError, match="nn.Module"):
        bound_net(torch.relu, (4,))  # type: ignore[arg-type]
    with pytest.raises(ModelContractError, match="meta"):
        bound_net(nn.Linear(4, 4, device="meta").eval(), (4,))


def test_the_innermost_module_that_cannot_be_traced_is_named() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool(x.sum() > 0) else -x

    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), Branch())).eval()
    with pytest.raises(ModelContractError, match=r"'1\.1' \(Branch\).*register_rule"):
        bound_net(net, (4,))


def test_a_normalised_view_is_a_step_wherever_it_stands() -> None:
    inner = NormalizedModel(nn.Flatten(), mean=[0.5], std=[0.25])
    nets = {
        inner: 4,
        nn.Sequential(nn.Identity(), inner): 4,
        NormalizedModel(inner, mean=0.5, std=0.5): 8,
    }
    for net, wanted in nets.items():
        assert bound_net(net.eval(), (1, 2, 2)).value == pytest.approx(wanted)


def test_the_model_is_given_back_as_it_was() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)
    ).eval()
    net(torch.rand(2, 1, 5, 5)).sum().backward()
    net[0].bias.requires_grad_(False)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    needs = [p.requires_grad for p in net.parameters()]
    keys = set(vars(net))
    bound_net(net, (1, 5, 5))
    assert all(
        torch.equal(value, state[name]) for name, value in net.state_dict().items()
    )
    assert needs == [p.requires_grad for p in net.parameters()]
    for parameter, grad in zip(net.parameters(), grads):
        assert (parameter.grad is None) == (grad is None)
        assert grad is None or torch.equal(parameter.grad, grad)
    assert set(vars(net)) == keys and not net.training
    assert (
        nn.Module.__call__ is type(net).__call__
        and net(torch.rand(1, 1, 5, 5)).shape[1] == 2
    )


def test_an_error_inside_leaves_torch_as_it_was() -> None:
    call, get = nn.Module.__call__, nn.Module.__getattr__

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[3] if type(x) is not Tensor else x

    with pytest.raises(ModelContractError):
        bound_net(Broken().eval(), (4,))
    assert nn.Module.__call__ is call and nn.Module.__getattr__ is get


def test_one_module_in_two_places_counts_twice() -> None:
    layer = nn.Linear(4, 4)
    layer.weight.data.copy_(2 * torch.eye(4))
    assert bound_net(nn.Sequential(layer, layer).eval(), (4,)).value == pytest.approx(4)


def test_what_a_forward_leaves_on_its_model_is_a_tensor() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.seen: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.layer(x)
            return self.seen if self.layer.bias is not None else x

    class Fails(Keeps):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = super().forward(x)
            return self.seen if bool(self.seen.sum() > -1e9) else x

    net = Keeps().eval()
    bound_net(net, (4,))
    assert type(net.seen) is Tensor
    broken = Fails().eval()
    with pytest.raises(ModelContractError, match="cannot trace"):
        bound_net(broken, (4,))
    assert type(broken.seen) is Tensor


def test_wrapped_models_are_looked_into_or_refused_in_words() -> None:
    layer = nn.Linear(4, 4).eval()
    alone = bound_net(layer, (4,)).value
    for wrapped in (nn.DataParallel(layer).eval(), torch.compile(layer)):
        assert bound_net(wrapped, (4,)).value == pytest.approx(alone)
    with pytest.raises(ModelContractError):
        bound_net(torch.jit.script(layer), (4,))
