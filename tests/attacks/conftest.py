"""What do tests of the attacks share? Small nets, their answers, and a probe that is quick."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ProbRobustness, PRTest, evaluate
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

SHAPE = (3, 8, 8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def quick() -> Callable[..., Any]:
    """f(model, kind=PRTest, **options): a probe with a small budget."""

    def quick(model: Any, kind: type[PRTest] = PRTest, **options: Any) -> PRTest:
        settings = dict(eps=0.1, n_max=60, significance=0.1, tolerance=0.1) | options
        return kind(model, **settings)

    return quick


# ---------------------------------------------------------------- grey images (1, 8, 8)
@pytest.fixture(scope="module")
def net() -> nn.Module:
    """small_net in eval mode, one for a whole file."""
    return small_net().eval()


@pytest.fixture(scope="session")
def labels_of() -> Callable[..., Tensor]:
    """f(net, images=six grey ones): the answers of the net, which is in eval mode then."""
    six = example_images(6)

    def labels_of(net: nn.Module, images: Tensor = six) -> Tensor:
        with torch.no_grad():
            return net.eval()(images).argmax(1)

    return labels_of


class Wrapped(nn.Module):
    """small_net behind another form of output."""

    def __init__(
        self, form: Callable[[Tensor], Any], shape: tuple[int, ...] = (1, 8, 8)
    ) -> None:
        super().__init__()
        self.net, self.form = small_net(shape).eval(), form

    def forward(self, images: Tensor) -> Any:
        return self.form(self.net(images))


@pytest.fixture(scope="session")
def wrapped() -> type[Wrapped]:
    """The class of a net whose output has another form."""
    return Wrapped


@pytest.fixture(scope="session")
def measurements_agree() -> Callable[..., None]:
    """f(one, other, atol=1e-5): asserts that what is no decision is the same but for rounding."""

    def agree(one: ProbRobustness, other: ProbRobustness, atol: float = 1e-5) -> None:
        one, other = one.sort(), other.sort()
        for spec in one.columns():
            if spec.kind == "measurement":
                torch.testing.assert_close(
                    getattr(one, spec.name),
                    getattr(other, spec.name),
                    rtol=1e-4,
                    atol=atol,
                    equal_nan=True,
                )

    return agree


# ---------------------------------------------------------------- colour images (3, 8, 8)
def _make_net(n_classes: int = 3, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    return small_net(shape, n_classes).eval()


FOUR = example_images(4, SHAPE)


def _answers(model: nn.Module, images: Tensor = FOUR) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images).argmax(1)


@pytest.fixture(scope="session")
def make_net() -> Callable[..., nn.Module]:
    """f(n_classes=3, shape=(3, 8, 8)): a small net in eval mode."""
    return _make_net


@pytest.fixture(scope="session")
def answers() -> Callable[..., Tensor]:
    """f(model, images=four): what the model answers in eval mode; its own mode is not touched."""
    return _answers


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    """f(model, *stages, images=four, eps=0.1): a report; the model is right on every image."""

    def run(model: Any, *stages: Any, images: Tensor = FOUR, eps: float = 0.1) -> Any:
        data = images, _answers(model, images)
        return evaluate(model, data, {"eps": eps, "stages": list(stages)})

    return run


@pytest.fixture(scope="session")
def silenced() -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """f(): a context in which nothing that is printed is seen."""
    return lambda: contextlib.redirect_stdout(io.StringIO())
