"""Is J v right for every kind of model, and is the back end that is wrong passed over?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import (
    BackendError,
    ConfigError,
    InputError,
    ModelContractError,
)
from torchattacks_ext.models import LogitsView, session
from torchattacks_ext.models.jvp import BACKENDS, model_action
from torchattacks_ext.numerics.fisher.spectral import gaussians
from torchattacks_ext.numerics.fisher.top import top_fisher

NAMES = tuple(BACKENDS)


class Residual(nn.Module):
    """A block with an in-place addition and an in-place ReLU, as most residual nets have."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(4 * 36, 20)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        out = self.norm(self.two(torch.tanh(x)))
        out += x
        out = nn.functional.relu(out, inplace=True)
        logits: Tensor = self.last(out.flatten(1))
        return logits


class Attention(nn.Module):
    """A pixel row is a token; nn.TransformerEncoderLayer has a fused path in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 20)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.embed(x.squeeze(1))).mean(1))
        return logits


def made(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind().eval()


def images(n: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 6, 6, generator=source).to(dtype)


def jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """Row by row in float64, from first derivatives only: (N, K, D)."""
    double = made(type(net)).double()
    double.load_state_dict(net.state_dict())
    rows = []
    for row in x.double():
        found: Any = torch.autograd.functional.jacobian(double, row.unsqueeze(0))
        rows.append(found.reshape(found.shape[1], -1))
    return torch.stack(rows)


def directions(n: int = 5) -> Tensor:
    return gaussians(torch.zeros(n, 36), "jvp test", 0, torch.arange(n))


@pytest.mark.parametrize("kind", [Residual, Attention])
@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_back_end_is_right(
    kind: type[nn.Module], backend: str, dtype: torch.dtype
) -> None:
    net = made(kind).to(dtype)
    x, v = images(dtype=dtype), directions().to(dtype)
    right = jacobian(net, x)
    with session(net):
        action = model_action(LogitsView(net), x, backend)
        change = action.jvp(v)
        twice = action.jvp(2 * v)
        w = gaussians(action.logits, "w", 0, torch.arange(5))
        pulled = action.vjp(w)
    assert action.backend == backend
    exact = backend != "finite_differences"
    tolerance = 2e-2 if not exact else 1e-4 if dtype == torch.float32 else 1e-9
    truth = torch.einsum("nkd,nd->nk", right, v.double())
    scale = float(truth.abs().max())
    assert float((change - truth).abs().max()) <= tolerance * scale
    assert float((twice - 2 * truth).abs().max()) <= 2 * tolerance * scale
    back = torch.einsum("nkd,nk->nd", right, w.double())
    torch.testing.assert_close(pulled.double(), back, rtol=1e-3, atol=1e-4)
    assert action.logits.dtype == pulled.dtype == change.dtype == dtype
    assert not change.requires_grad and not pulled.requires_grad


@pytest.mark.parametrize("kind", [Residual, Attention])
def test_automatic_choice_and_its_price(kind: type[nn.Module]) -> None:
    net = made(kind)
    view = LogitsView(net)
    with session(net):
        action = model_action(view, images())
        assert action.backend == ""
        action.jvp(torch.zeros(5, 36))  # says nothing about any back end
        assert action.backend == ""
        action.jvp(directions())
        assert action.backend == "forward_mode"
        part = action.take(torch.tensor([3, 1])) if action.take else None
        assert part is not None and part.backend == "forward_mode"
        change = part.jvp(directions()[[3, 1]])
    torch.testing.assert_close(change, action.jvp(directions())[[3, 1]])
    passes = action.passes
    assert (passes.forward, passes.vjp) == (7, 5)  # one vjp to check, on five rows
    assert passes.jvp == 5 + 5 + 2 + 5


class NoForwardMode(torch.autograd.Function):
    """x^2 with a derivative for backward passes only, itself differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class OnceOnly(NoForwardMode):
    """The same without second derivatives."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Lying(NoForwardMode):
    """A derivative that is not its own: 3 for 2."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x * gradient


@pytest.mark.parametrize(
    ("function", "backend"),
    [(NoForwardMode, "double_backward"), (OnceOnly, "finite_differences")],
)
def test_the_next_back_end_takes_over(
    function: type[torch.autograd.Function], backend: str
) -> None:
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    action = model_action(function.apply, x)
    v = directions(4)[:, :3]
    torch.testing.assert_close(action.jvp(v), 2 * x * v, rtol=1e-3, atol=1e-3)
    assert action.backend == backend


def test_a_gradient_that_is_not_its_own_is_refused() -> None:
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    action = model_action(Lying.apply, x)
    with pytest.raises(BackendError, match="forward_mode.*double_backward.*finite_d"):
        action.jvp(torch.ones(4, 3))
    # vjps, and so the Gram matrix, are the model's own affair
    assert bool(top_fisher(action, "gram").log_lam.isfinite().all())


def test_a_random_forward_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 4)).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        action = model_action(net, images(), "forward_mode")
        with pytest.raises(BackendError, match="deterministic"):
            action.jvp(directions())


def test_a_model_without_gradient_has_zero_products() -> None:
    for model in (
        lambda x: x.detach().flatten(1)[:, :3],
        lambda x: torch.zeros(len(x), 3, requires_grad=True) * 1,
        lambda x: torch.sign(x).flatten(1)[:, :3],
    ):
        action = model_action(model, images())
        assert bool((action.vjp(torch.ones(5, 3)) == 0).all())
        assert bool((action.jvp(directions()) == 0).all())
        assert top_fisher(action).status.tolist() == [2] * 5
        assert top_fisher(action, "lanczos").status.tolist() == [2] * 5


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode(mode: Any) -> None:
    net = made(Residual)
    with session(net):
        right = model_action(LogitsView(net), images()).jvp(directions())
        with mode():
            action = model_action(LogitsView(net), images() + 0, "double_backward")
            found = action.jvp(directions() + 0)
            assert action.vjp(action.logits).shape == (5, 36)
    torch.testing.assert_close(found, right)
    assert not found.is_inference()


@pytest.mark.parametrize("kind", [Residual, Attention])
def test_lanczos_on_a_net_against_its_gram_matrix(kind: type[nn.Module]) -> None:
    net = made(kind)
    view = LogitsView(net)
    with session(net):
        exact = top_fisher(model_action(view, images()), "gram").log_lam
        for backend in ("auto", *NAMES):
            action = model_action(view, images(), backend)
            found = top_fisher(action, "lanczos")
            torch.testing.assert_close(found.log_lam, exact, rtol=0, atol=1e-3)
            assert found.status.tolist() == [0] * 5


def test_nothing_of_the_callers_is_touched() -> None:
    net, x = made(Residual).train(), images()
    x.requires_grad_()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    before = torch.get_rng_state()
    with session(net), warnings.catch_warnings():
        warnings.simplefilter("error")
        top_fisher(model_action(LogitsView(net), x))
    assert x.grad is None and net.training
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())
    assert torch.equal(before, torch.get_rng_state())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="backend='linearize' is not one of"):
        model_action(lambda x: x, torch.zeros(1, 2), "linearize")
    with pytest.raises(InputError, match="score embeddings"):
        model_action(lambda x: x, torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(ModelContractError, match=r"returned shape \(2,\) for 2"):
        model_action(lambda x: x.sum(1), torch.zeros(2, 3))
