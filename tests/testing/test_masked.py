"""Does every masked victim mask in the way it says, and in no other?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.models import BPDA, EOT, LogitsView, inspect_model
from torchattacks_ext.testing import (
    NaNGradient,
    Quantised,
    RandomisedInput,
    SaturatedLogits,
    TiedLogits,
    small_net,
)

IMAGES = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
NET = small_net().eval().requires_grad_(False)


def gradient(model: nn.Module, loss: str = "sum") -> Tensor:
    """At IMAGES: of the sum of logits, or of cross-entropy or margin at the model's answers."""
    x = IMAGES.clone().requires_grad_()
    logits = model(x)
    labels = NET(IMAGES).argmax(1)
    if loss == "ce":
        value = F.cross_entropy(logits, labels, reduction="sum")
    else:
        value = logits.gather(1, labels[:, None]).sum()
    return torch.autograd.grad(value, x)[0]


def test_quantised_rounds_and_has_no_gradient() -> None:
    model = Quantised(NET, levels=5)
    rounded = (IMAGES * 4).round() / 4
    assert torch.equal(model(IMAGES), NET(rounded)) and len(rounded.unique()) == 5
    assert torch.equal(gradient(model), torch.zeros_like(IMAGES))
    assert torch.equal(gradient(BPDA(model, NET)), gradient(NET))


def test_quantised_does_not_feel_short_steps() -> None:
    model, middle = Quantised(NET, levels=5), (IMAGES * 4).round() / 4
    assert torch.equal(model(middle + 0.1), model(middle))


def test_saturated_logits_silence_cross_entropy_alone() -> None:
    margin = NET(IMAGES).topk(2, 1).values.diff(dim=1).abs().min()
    model = SaturatedLogits(NET, scale=120 / float(margin))
    assert torch.equal(model(IMAGES).argmax(1), NET(IMAGES).argmax(1))
    assert torch.equal(gradient(model, "ce"), torch.zeros_like(IMAGES))
    assert bool(gradient(model, "margin").abs().sum() > 0)
    assert bool(gradient(SaturatedLogits(NET, scale=1.0), "ce").abs().sum() > 0)


@pytest.mark.parametrize(("margin", "silent"), [(103.0, False), (105.0, True)])
def test_where_float32_falls_silent(margin: float, silent: bool) -> None:
    x = torch.tensor([[margin, 0.0]], requires_grad=True)
    loss = F.cross_entropy(SaturatedLogits(nn.Identity(), 1.0)(x), torch.tensor([0]))
    (found,) = torch.autograd.grad(loss, x)
    assert bool((found[0, 1] == 0).all()) is silent


def test_nan_gradient_keeps_the_values() -> None:
    model = NaNGradient(NET)
    assert torch.equal(model(IMAGES), NET(IMAGES))
    assert bool(gradient(model).isnan().all())


def test_tied_logits_have_ties_and_no_gradient() -> None:
    model = TiedLogits(NET, step=2.0)
    logits = model(IMAGES)
    assert torch.equal(logits, (NET(IMAGES) / 2).round() * 2)
    top = logits.topk(2, 1).values
    assert bool((top[:, 0] == top[:, 1]).any())
    assert bool(((logits - NET(IMAGES)).abs() <= 1.0 + 1e-6).all())
    assert torch.equal(gradient(model), torch.zeros_like(IMAGES))


def test_randomised_input_draws_from_the_global_generator() -> None:
    model = RandomisedInput(NET, sigma=0.3)
    torch.manual_seed(4)
    found, again = model(IMAGES), model(IMAGES)
    torch.manual_seed(4)
    assert torch.equal(found, NET(IMAGES + 0.3 * torch.randn_like(IMAGES)))
    assert not torch.equal(found, again)
    assert inspect_model(model, LogitsView(model), IMAGES).randomised


def test_the_mean_of_a_noisy_linear_model_is_the_model() -> None:
    """x + s e has mean x; a coordinate is off by 6 deviations once in 5e8."""
    model = RandomisedInput(nn.Flatten(), sigma=0.3)
    off = EOT(model, 100)(IMAGES) - IMAGES.flatten(1)
    assert float(off.abs().max()) < 6 * 0.3 / 10


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Quantised(NET, levels=1), "levels=1 must be an integer >= 2"),
        (lambda: Quantised(NET, levels=2.5), "levels=2.5 must"),
        (
            lambda: SaturatedLogits(NET, scale=0),
            r"scale=0 must be a number in \(0, inf",
        ),
        (lambda: TiedLogits(NET, step=-1.0), "step=-1.0 must"),
        (lambda: RandomisedInput(NET, sigma=float("nan")), "sigma=nan must"),
    ],
)
def test_settings_outside_their_domain(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
