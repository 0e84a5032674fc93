"""Does the view make logits of whatever comes out, and count every row that went through?"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, ModelContractError
from torchattacks_ext.models import LogitsView, Meter
from torchattacks_ext.models.logits import class_name, to_logits, working_dtype
from torchattacks_ext.testing import small_net


def compiled(net: nn.Module) -> nn.Module:
    """The wrapper of torch.compile; nothing is compiled before the first call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of older torch, at import
        return torch.compile(net)  # type: ignore[return-value]


SCORES = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class ModelOutput(OrderedDict[str, Any]):
    """As of transformers: a dict whose entries are attributes too; the loss comes first."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


Inception = namedtuple("Inception", ["logits", "aux_logits"])


# ---------------------------------------------------------------------- forms of output
@pytest.mark.parametrize(
    "raw",
    [
        SCORES,
        (SCORES, torch.zeros(2, 7, 7)),
        (SCORES, torch.zeros(2, 7, dtype=torch.int64)),
        [SCORES],
        ("name", SCORES),
        {"logits": SCORES},
        {"loss": torch.tensor(0.1), "logits": SCORES},
        {"out": SCORES, "same": SCORES},
        SCORES[:, :, None, None],
        SCORES[:, None],
        UserDict({"logits": SCORES}),
        ModelOutput(loss=torch.tensor(0.1), logits=SCORES, hidden_states=(SCORES,)),
        SimpleNamespace(logits=SCORES, loss=None),
        Inception(SCORES, torch.zeros(2, 3)),
    ],
)
def test_scores_are_found(raw: Any) -> None:
    assert torch.equal(to_logits(raw, 2), SCORES)


@pytest.mark.parametrize(
    "raw",
    [None, "scores", 3.0, {}, (), {"logits": None}, SimpleNamespace(logits=1), [1]],
)
def test_an_output_without_scores_is_refused(raw: Any) -> None:
    with pytest.raises(ModelContractError, match="without scores.*wrap the model"):
        to_logits(raw, 2)


@pytest.mark.parametrize(
    "shape", [(3,), (3, 2), (2, 3, 4, 4), (2, 0), (1, 3), (0,), (2, 2, 3)]
)
def test_scores_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelContractError, match=r"for 2 images, expected \(2, K\)"):
        to_logits(torch.zeros(shape), 2)


@pytest.mark.parametrize("shape", [(2, 1), (2,)])
def test_one_logit_becomes_two_with_the_same_sigmoid(shape: tuple[int, ...]) -> None:
    single = torch.tensor([1.5, -0.5])
    logits = to_logits(single.reshape(shape), 2)
    assert logits.shape == (2, 2) and torch.equal(logits[:, 0], torch.zeros(2))
    assert torch.allclose(logits.softmax(1)[:, 1], single.sigmoid())
    assert logits.argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(1, 1), (1,), ()])
def test_one_logit_of_one_image_may_be_squeezed(shape: tuple[int, ...]) -> None:
    logits = to_logits(torch.full(shape, 1.5), 1)
    assert logits.tolist() == [[0.0, 1.5]]


def test_probabilities_become_logits_with_the_same_softmax() -> None:
    probs = SCORES.softmax(1)
    logits = to_logits(probs, 2, "probs")
    assert torch.allclose(logits.softmax(1), probs)
    assert torch.allclose(logits - logits.mean(1, True), SCORES - SCORES.mean(1, True))


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_one_probability_becomes_two(shape: tuple[int, ...]) -> None:
    single = torch.tensor([0.9, 0.1, 0.5])
    logits = to_logits(single.reshape(shape), 3, "probs")
    assert torch.allclose(logits.softmax(1), torch.stack([1 - single, single], 1))


def test_probabilities_of_zero_and_one_stay_finite() -> None:
    for probs in (torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0]])):
        logits = to_logits(probs, 1, "probs")
        assert bool(logits.isfinite().all()) and logits.argmax(1).item() == 1


def test_half_probabilities_keep_what_they_know() -> None:
    # below the smallest normal half, 6.1e-5; its logarithm in half has three digits
    probs = torch.tensor([[1 - 2.0**-11, 2.0**-20]], dtype=torch.float16)
    logits = to_logits(probs, 1, "probs")
    expected = probs.double().log().float()
    assert logits.dtype == torch.float32 and torch.allclose(logits, expected)


def test_nan_scores_pass_through() -> None:
    for outputs in ("logits", "probs"):
        assert to_logits(torch.full((2, 3), float("nan")), 2, outputs).isnan().all()


def test_outputs_of_another_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="'softmax'.*logits.*probs"):
        LogitsView(small_net(), "softmax")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- dtypes
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_models_get_half_images_and_give_float32(dtype: torch.dtype) -> None:
    net = small_net().eval().to(dtype)
    view = LogitsView(net)
    with torch.no_grad():
        logits = view(IMAGES)
        assert torch.equal(logits, net(IMAGES.to(dtype)).float())
    assert logits.dtype == torch.float32 == working_dtype(net)
    images = IMAGES.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(view(images).sum(), images)
    assert grad.dtype == torch.float32 and bool(grad.abs().sum() > 0)


def test_a_double_model_keeps_float64_throughout() -> None:
    net = small_net().eval().double()
    logits = LogitsView(net)(IMAGES)
    assert logits.dtype == torch.float64 == working_dtype(net)
    assert torch.equal(logits, net(IMAGES.double()))


def test_a_callable_without_parameters_gets_float32() -> None:
    seen: list[torch.dtype] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.dtype)
        return images.flatten(1)[:, :3].double()

    logits = LogitsView(model)(IMAGES.double())
    assert seen == [torch.float32] and logits.dtype == torch.float64
    assert working_dtype(model) == torch.float32


def test_hard_votes_become_floats() -> None:
    assert LogitsView(lambda x: torch.eye(3, dtype=torch.int64))(IMAGES[:3]).dtype == (
        torch.float32
    )


# ---------------------------------------------------------------------- the meter
def test_forward_passes_are_counted_in_rows() -> None:
    meter = Meter()
    view = LogitsView(small_net().eval(), meter=meter)
    for n in (1, 4, 0, 5):
        view(IMAGES[:n])
    assert (meter.forward, meter.backward) == (10, 0)
    with torch.no_grad():
        view(IMAGES)
    with torch.inference_mode():
        view(IMAGES)
    assert (meter.forward, meter.backward) == (20, 0)


def test_backward_passes_are_counted_when_gradients_arrive() -> None:
    meter = Meter()
    view = LogitsView(small_net().eval(), meter=meter)
    images = IMAGES.clone().requires_grad_(True)
    logits = view(images)
    assert meter.backward == 0
    torch.autograd.grad(logits[:, 0].sum(), images, retain_graph=True)
    assert meter.backward == 5
    torch.autograd.grad(logits.square().sum() + logits.sum(), images, retain_graph=True)
    assert meter.backward == 10  # two uses, one pass
    torch.autograd.grad(logits[:2].sum(), images, create_graph=True)
    assert meter.backward == 15  # all rows go through, also those of gradient zero
    view(images[:3]).sum().backward()
    assert (meter.forward, meter.backward) == (8, 18)


def test_a_view_of_a_frozen_model_counts_only_the_images_gradient() -> None:
    net = small_net().eval().requires_grad_(False)
    meter = Meter()
    view = LogitsView(net, meter=meter)
    assert not view(IMAGES).requires_grad
    images = IMAGES.clone().requires_grad_(True)
    view(images).sum().backward()
    assert (meter.forward, meter.backward) == (10, 5)


@pytest.mark.parametrize("model", [nn.Identity(), nn.Flatten(), nn.Softmax(dim=1)])
def test_a_model_that_returns_its_input_leaves_no_hook_on_it(model: nn.Module) -> None:
    meter = Meter()
    view = LogitsView(model, meter=meter)
    points = torch.rand(4, 3, requires_grad=True)
    for _ in range(3):
        torch.autograd.grad(view(points).sum(), points)
    assert (meter.forward, meter.backward) == (12, 12)
    points.sum().backward()
    assert meter.backward == 12


@pytest.mark.parametrize("outputs", ["logits", "probs"])
def test_every_form_is_counted_once(outputs: Any) -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Sigmoid())
    meter = Meter()
    view = LogitsView(lambda x: (head(x),), outputs, meter)
    images = IMAGES.clone().requires_grad_(True)
    torch.autograd.grad(view(images).sum(), images)
    assert (meter.forward, meter.backward) == (5, 5)


# ---------------------------------------------------------------------- names
def test_the_class_name_is_that_of_the_model_inside() -> None:
    class Net(nn.Linear):
        pass

    net = Net(2, 2)
    parallel = nn.DataParallel(net)
    for wrapped in (net, parallel, compiled(net), compiled(parallel)):
        assert class_name(wrapped) == "Net"
    assert class_name(nn.DataParallel(compiled(net))) == "Net"


def test_the_name_of_a_callable() -> None:
    class Callable_:
        def __call__(self, images: Tensor) -> Tensor:
            return images

    def plain(images: Tensor) -> Tensor:
        return images

    cases: dict[str, Callable[..., Any]] = {
        "plain": plain,
        "<lambda>": lambda x: x,
        "Callable_": Callable_(),
        "partial": functools.partial(plain),
    }
    for name, model in cases.items():
        assert class_name(model) == name
