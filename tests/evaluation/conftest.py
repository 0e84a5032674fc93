"""What do tests of the evaluation share? Two nets, a half-space, and short ways to run them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import AttackResult, EvaluationReport, evaluate
from torchattacks_ext.engines.zoo.attack import quiet
from torchattacks_ext.evaluation.zoo.catalogue import create_attack
from torchattacks_ext.testing import HalfSpace
from torchattacks_ext.testing.props import example_images


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def generators_as_before() -> Iterator[None]:
    """The global generators are given back after a test that seeds them."""
    state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
    yield
    torch.set_rng_state(state)
    np.random.set_state(numpy_state)


# ---------------------------------------------------------------- a net with many answers
class Waves(nn.Module):
    """A linear net on images of 64 numbers; its answers are many, its logits not near a tie."""

    def __init__(self, n_classes: int = 5) -> None:
        super().__init__()
        place, klass = torch.arange(1, 65), torch.arange(n_classes)[:, None]
        self.weight = nn.Parameter((place * (1.37 * klass + 2.1)).sin())

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ self.weight.T


def _wrong_at(model: nn.Module, images: Tensor, every: int = 7) -> Tensor:
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[::every] = (labels[::every] + 1) % 3
    return labels


@pytest.fixture(scope="session")
def waves() -> type[nn.Module]:
    """The class of the net with many answers, to be built or to be changed."""
    return Waves


@pytest.fixture(scope="session")
def wrong_at() -> Callable[..., Tensor]:
    """f(model, images, every=7): the model's answers, each `every`-th moved to the next class."""
    return _wrong_at


@pytest.fixture(scope="module")
def wave_net() -> nn.Module:
    return Waves()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """30 images for `wave_net`; never written to."""
    return example_images(30)


@pytest.fixture(scope="module")
def labels(wave_net: nn.Module, images: Tensor) -> Tensor:
    """The labels of `images`, every seventh wrong."""
    return _wrong_at(wave_net, images)


@pytest.fixture(scope="session")
def numbers() -> Callable[[EvaluationReport], list[Any]]:
    """f(report): what must not depend on the form of the data."""

    def numbers(report: EvaluationReport) -> list[Any]:
        assert not report.failed
        digests = [stage.result.digest() for stage in report.stages if stage.result]
        return [*digests, report.data, report.worst_case()]

    return numbers


# ---------------------------------------------------------------- a net solved on paper
@pytest.fixture(scope="session")
def half_space() -> Callable[..., tuple[HalfSpace, Tensor, Tensor]]:
    """f(n=12, side=1): model, images (n, 1, 4, 4) in the middle of the box, labels.

    The Linf radii are .01, .02, ..., on `side`.
    """

    def half_space(n: int = 12, side: int = 1) -> tuple[HalfSpace, Tensor, Tensor]:
        weight = torch.tensor([1.0, -1.0]).repeat(8)
        radii = torch.arange(1, n + 1) / 100
        images = 0.5 + side * radii[:, None] * weight[None]
        model = HalfSpace(weight, 1e-6)  # no tie at a multiple of 1/255
        images = images.reshape(n, 1, 4, 4)
        return model, images, model.labels(images)

    return half_space


@pytest.fixture(scope="session")
def run() -> Callable[..., EvaluationReport]:
    """f(model, data, *stages, eps=0.055, **plan): the report of these stages."""

    def run(model: Any, data: Any, *stages: Any, eps: Any = 0.055, **plan: Any) -> Any:
        return evaluate(model, data, {"eps": eps, "stages": list(stages)} | plan)

    return run


@pytest.fixture(scope="session")
def attacked() -> Callable[[EvaluationReport, str], AttackResult]:
    """f(report, name): the result of an attack that did not fail."""

    def attacked(report: EvaluationReport, name: str) -> AttackResult:
        result = report[name].result
        assert isinstance(result, AttackResult), report[name].error
        return result

    return attacked


# ---------------------------------------------------------------- the zoo
class SmoothNet(nn.Module):
    """A fixed smooth net on inputs of any shape; K classes; no draws."""

    def __init__(self, n_inputs: int, n_classes: int = 10) -> None:
        super().__init__()
        place = torch.arange(n_inputs, dtype=torch.float64)
        klass = torch.arange(n_classes, dtype=torch.float64)
        weight = ((place[None] + 1) * (1.37 * klass[:, None] + 2.1)).sin()
        weight = weight.float() / n_inputs**0.5
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.calls: list[torch.Size] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(x.shape)
        flat = x.flatten(1)[:, : self.weight.shape[1]]
        return (flat @ self.weight[:, : flat.shape[1]].T).tanh()


@pytest.fixture(scope="session")
def smooth_net() -> type[SmoothNet]:
    """The class of the net that the zoo is run on."""
    return SmoothNet


@pytest.fixture(scope="session")
def setting() -> Callable[..., tuple[SmoothNet, Tensor, Tensor]]:
    """f(*shape, n_classes=10): a new net, four images and the net's answers."""

    def setting(*shape: int, n_classes: int = 10) -> tuple[SmoothNet, Tensor, Tensor]:
        pixels = torch.arange(4 * int(np.prod(shape)), dtype=torch.float64)
        images = (0.5 + 0.4 * (pixels * 12.9898).sin()).float().reshape(4, *shape)
        model = SmoothNet(images[0].numel(), n_classes)
        labels = model(images).argmax(1)
        model.calls.clear()
        return model, images, labels

    return setting


@pytest.fixture(scope="session")
def bare() -> Callable[..., Tensor]:
    """f(name, model, images, labels, **more): the class itself, without a fork around it."""

    def bare(name: str, model: Any, images: Tensor, labels: Tensor, **more: Any) -> Any:
        attack = create_attack(name, model, **({"n_classes": 10, "eps": 0.1} | more))
        with quiet():
            return attack(images, labels).detach()

    return bare


@pytest.fixture(scope="session")
def parameters() -> Callable[[str], dict[str, inspect.Parameter]]:
    """f(name): the parameters of the attack's class."""
    return lambda name: dict(inspect.signature(getattr(torchattacks, name)).parameters)


@pytest.fixture(scope="session")
def fast() -> dict[str, dict[str, Any]]:
    """Settings under which slow attacks are quick and still do something."""
    elastic = {"max_iterations": 10, "initial_const": 100.0, "binary_search_steps": 2}
    return {
        "EADEN": elastic,
        "EADL1": elastic,
        "CW": {"steps": 10, "c": 100.0},
        "JSMA": {"gamma": 0.05},
        "OnePixel": {"steps": 2},
        "Pixle": {"restarts": 1, "max_iterations": 3},
        "SPSA": {"nb_sample": 8, "max_batch_size": 8},
        "Square": {"n_queries": 20},
        "DeepFool": {"steps": 5},
        "SparseFool": {"steps": 3},
    }
