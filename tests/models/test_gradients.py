"""Do gradients come out right, or in words, whatever a team's model is made of?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattacks_ext as tax
from torchattacks_ext.errors import BackendError, ConfigError
from torchattacks_ext.models.gradients import NoGradient, refuse_untouched
from torchattacks_ext.models.jvp import model_action
from torchattacks_ext.models.precision import coarsest


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def net(n_classes: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, n_classes)
    return nn.Sequential(*layers).eval()


def images(n: int = 4) -> Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------- compiled
def as_module() -> Any:
    return torch.compile(net(), backend="aot_eager")


def in_place() -> Any:
    found = net()
    found.compile(backend="aot_eager")
    return found


def its_forward() -> Any:
    found = net()
    found.forward = torch.compile(found.forward, backend="aot_eager")  # type: ignore
    return found


def an_inner_layer() -> Any:
    found = net()
    found[1] = torch.compile(found[1], backend="aot_eager")  # type: ignore
    return found


def a_callable() -> Any:
    compiled = as_module()
    return lambda pixels: compiled(pixels)


@pytest.mark.parametrize(
    "build", [as_module, in_place, its_forward, an_inner_layer, a_callable]
)
def test_a_compiled_model_gives_the_eager_score(build: Callable[[], Any]) -> None:
    model, x = build(), images()
    model(x.clone().requires_grad_()).sum().backward()  # a compiled graph is there
    want = tax.FIMScore(net(), method="lanczos").measure(x).log_lam
    got = tax.FIMScore(model, method="lanczos").measure(x).log_lam
    assert torch.allclose(got, want, atol=1e-4)


def test_attacks_that_keep_a_graph_break_a_compiled_model_as_the_plain_one() -> None:
    x, plan = images(), {
        "eps": 0.3,
        "stages": [{"name": "FAB", "steps": 3}, "DeepFool"],
    }
    labels = net()(x).argmax(1)
    reports = [tax.evaluate(model, (x, labels), plan) for model in (net(), as_module())]
    for plain, compiled in zip(reports[0].stages, reports[1].stages):
        assert compiled.error is None and plain.result is not None
        assert compiled.result is not None
        assert compiled.result.digest() == plain.result.digest()


# ---------------------------------------------------------------- none, absent, raising
class Reentrant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = net()[:3], net()[3]

    def forward(self, pixels: Tensor) -> Any:
        return self.head(checkpoint(self.body, pixels, use_reentrant=True))


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, pixels: Tensor) -> Any:
        return self.inner(pixels.detach())


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return net()


def with_numpy(pixels: Tensor) -> Tensor:
    flat = pixels.numpy().reshape(len(pixels), -1)
    return torch.from_numpy(flat[:, :5].copy())


def absent() -> Any:
    inner = net()  # its weights need gradients, which do not reach the images
    return lambda pixels: inner(pixels.detach())


def int8() -> Any:
    quantize: Any = torch.ao.quantization.quantize_dynamic
    return quantize(net(), {nn.Linear}, dtype=torch.qint8)


WITHOUT = {
    "reentrant": (Reentrant, "use_reentrant=False"),
    "detached": (Detached, "no gradient"),
    "detached in a callable": (absent, "no gradient"),
    "numpy": (lambda: with_numpy, "NumPy"),
    "inference weights": (made_in_inference_mode, "1.weight"),
    "inference weights in a callable": (
        lambda: made_in_inference_mode().forward,
        "inference_mode",
    ),
    "dynamic int8": (int8, "no gradient"),
}


@pytest.mark.parametrize("first", ["apgd", "fab"])
@pytest.mark.parametrize("name", WITHOUT)
def test_msa_leaves_gradients_out_and_says_so(name: str, first: str) -> None:
    build, words = WITHOUT[name]
    model, x = build(), images(6)
    with torch.no_grad():
        labels = model(x).argmax(1)
    plan = [{"kind": first, "steps": 4}, {"kind": "square", "steps": 20}]
    result = tax.MSA(model, eps=0.3, version="custom", plan=plan).measure(x, labels)
    left_out = [str(f) for f in result.flags if f.code == "left_out"]
    assert len(left_out) == 1 and words in left_out[0], result.flags
    books = result.provenance["breakdown"]
    assert books["target/square-20"]["tried"] > 0


@pytest.mark.parametrize("name", ["reentrant", "inference weights", "numpy"])
def test_fimscore_refuses_with_the_remedy(name: str) -> None:
    build, words = WITHOUT[name]
    with pytest.raises(tax.TorchattacksExtError, match=words):
        tax.FIMScore(build()).measure(images())


class FullyShardedDataParallel(nn.Sequential):
    """Of the name by which version 1 is known."""


def test_fsdp_1_is_refused_before_it_is_asked_for_a_gradient() -> None:
    model = nn.Sequential(FullyShardedDataParallel(*net()))
    with pytest.raises(NoGradient, match="fully_shard"):
        tax.FIMScore(model).measure(images())
    with pytest.raises(NoGradient, match="version 2"):
        refuse_untouched(model)
    tax.PRTest(model, eps=0.01).measure(images(), torch.zeros(4, dtype=torch.long))


# ---------------------------------------------------------------- J v in few digits
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_few_digits_are_no_failure(dtype: torch.dtype) -> None:
    low = net(20).to(dtype)
    want = tax.FIMScore(net(20), method="lanczos").measure(images())
    got = tax.FIMScore(low, method="lanczos").measure(images())
    assert float((got.log_lam - want.log_lam).abs().max()) < 0.1
    assert not got.log_linf.isnan().any()


def test_autocast_inside_is_seen_in_the_graph() -> None:
    inner = net(20)

    def model(pixels: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = inner(pixels)
        return found.float()

    x = images().requires_grad_()
    assert coarsest(model(x)) == torch.bfloat16 and coarsest(inner(x)) == torch.float32
    got = tax.FIMScore(model, method="lanczos").measure(images())
    assert not got.log_lam.isnan().any()


class WrongForward(torch.autograd.Function):
    """The identity; its forward derivative is NaN."""

    @staticmethod
    def forward(values: Any) -> Any:
        return values * 1.0

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return tangents[0] * float("nan")


def test_nan_of_one_back_end_is_not_believed() -> None:
    inner = net()
    action = model_action(lambda x: inner(WrongForward.apply(x)), images())
    assert action.jvp(torch.ones(4, 16)).isfinite().all()
    assert action.backend == "double_backward"


def test_no_linf_value_without_a_word() -> None:
    inner = net()

    def model(pixels: Tensor) -> Any:
        return inner(WrongForward.apply(pixels))

    result = tax.FIMScore(model, method="gram", jvp="forward_mode").measure(images())
    assert result.log_linf.isnan().all()
    assert "linf_missing" in [flag.code for flag in result.flags]


def test_no_message_blames_logits_that_are_finite() -> None:
    inner = net()

    def root(pixels: Tensor) -> Any:
        return inner((pixels - pixels.round() * (pixels > 0.9)).sqrt())

    x = images()
    x[1] = 0.0  # the root of 0 has no finite derivative
    result = tax.FIMScore(root).measure(x)
    said = {flag.code: flag for flag in result.flags}
    assert said["non_finite_gradient"].count == 1
    assert "or gradients" in str(said["non_finite"])
    with pytest.raises(tax.TorchattacksExtError, match="logits, or gradients that are"):
        tax.FIMScore(root).measure(torch.zeros(2, 1, 4, 4))


# ---------------------------------------------------------------- dtype=float64
@pytest.mark.parametrize("build", [lambda: net().forward, int8, nn.Flatten])
def test_float64_is_done_or_refused(build: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match="dtype=torch.float64 needs a Module"):
        tax.FIMScore(build(), dtype=torch.float64).measure(images())


def test_a_backward_of_another_fault_is_a_backend_error() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: Any) -> Any:
            return values * 1.0

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            raise ValueError("no derivative here")

    inner = net()
    model = lambda x: inner(Broken.apply(x))  # noqa: E731
    with pytest.raises(BackendError, match="ValueError: no derivative here"):
        tax.FIMScore(model).measure(images())
