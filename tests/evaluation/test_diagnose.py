"""Does a diagnosis name what hides a gradient, whatever the batches, and only that?"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext.data.digits import load_digits
from torchattacks_ext.evaluation.demo import train_demo
from torchattacks_ext.models import HardLabel
from torchattacks_ext.testing import (
    GradientKiller,
    NaNGradient,
    Quantised,
    RandomisedInput,
    SaturatedLogits,
    TiedLogits,
)

CHEAP: dict[str, Any] = {
    "eps": 0.1,
    "steps": 20,
    "queries": 12,
    "draws": 2,
    "sweep_steps": 1,
    "n_noise": 1,
}
IMAGES, LABELS = (side[:24] for side in load_digits("test"))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.set_num_threads(1)
    return train_demo("standard", *load_digits("train"), epochs=2)


class Together(nn.Module):
    """Answers that depend on the batch: its mean image is taken away."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.net(images - 0.1 * images.mean(0))
        return found


class Purified(nn.Module):
    """Takes one step down a loss of its own before it answers."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            shown = images.detach().requires_grad_()
            (way,) = torch.autograd.grad(self.net(shown).logsumexp(1).sum(), shown)
        found: Tensor = self.net((images - 0.01 * way.sign()).clamp(0, 1))
        return found


class Unlocked(nn.Module):
    """Pixel i counts once pixel i - 1 has moved: as many steps are needed as pixels."""

    need = 30

    def forward(self, images: Tensor) -> Tensor:
        moved = ((images.flatten(1) - 0.5) / 0.1).clamp(-1, 1)
        gates = ((moved - 0.5) * 2).clamp(0, 1).cumprod(1)
        before = torch.cat([torch.ones_like(gates[:, :1]), gates[:, :-1]], 1)
        gain = (before * (moved + 1) / 2).sum(1)
        return torch.stack([self.need - gain, torch.zeros_like(gain)], 1)


def causes(model: Any, **changes: Any) -> tuple[str, ...]:
    found = tax.diagnose(model, IMAGES[:16], LABELS[:16], **(CHEAP | changes))
    assert found.masked == bool(found.causes)
    return found.causes


def test_an_honest_net_is_not_called_masked(net: nn.Module) -> None:
    found = tax.diagnose(net, IMAGES, LABELS, **CHEAP)
    assert not found.masked, found.text()
    assert found.cost.backward > 0 and not net.training


@pytest.mark.parametrize(
    ("mask", "cause"),
    [
        (GradientKiller, "gradient_killed"),
        (lambda net: SaturatedLogits(net, 1e4), "saturated_loss"),
        (lambda net: TiedLogits(net, 0.5), "rounded_logits"),
        (lambda net: Quantised(net, 8), "quantised_input"),
        (NaNGradient, "non_finite_gradient"),
        (HardLabel, "hard_labels"),
        (RandomisedInput, "randomised"),
        (Together, "batch_dependent"),
        (lambda net: nn.Sequential(net, nn.Softmax(1)), "probabilities_as_logits"),
        (Purified, "optimises_inside"),
    ],
    ids="killer saturated tied quantised nan hard random together probs inner".split(),
)
def test_masks_are_named(net: nn.Module, mask: Any, cause: str) -> None:
    # of two causes the plainer one comes first
    assert causes(mask(net))[0] == cause


def test_models_that_vary_are_named_and_not_attacked(net: nn.Module) -> None:
    found = tax.diagnose(RandomisedInput(net), IMAGES, LABELS, **CHEAP)
    assert found.causes == ("randomised",)
    assert not found["black_box_beats_gradient"].asked
    assert bool((found.one_step == -1).all()) and bool((found.ce_zero_clean >= 0).any())


def test_an_attack_that_needs_more_steps_is_called_unfinished() -> None:
    images = torch.full((12, 1, 8, 8), 0.5)
    images += 1e-3 * torch.rand(
        images.shape, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.zeros(12, dtype=torch.int64)
    found = tax.diagnose(Unlocked(), images, labels, **CHEAP)
    assert "unfinished_optimisation" in found.causes, found.text()
    assert found["still_moving"].value > 0.9


@pytest.mark.parametrize("mask", [lambda net: net, RandomisedInput])
def test_batches_and_order_do_not_matter(net: nn.Module, mask: Any) -> None:
    turn = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    whole = tax.diagnose(mask(net), IMAGES, LABELS, **CHEAP)
    turned = tax.diagnose(mask(net), IMAGES[turn], LABELS[turn], batch_size=7, **CHEAP)
    assert turned.causes == whole.causes
    if whole.masked:  # by its randomness: no attack was run
        return
    same = turned.select(whole.ids)
    for name in ("ce_zero_start", "margin_full", "black_box", "broken_x2", "flat"):
        assert torch.equal(getattr(same, name), getattr(whole, name)), name


def test_half_precision_is_not_taken_for_a_mask(net: nn.Module) -> None:
    half = copy.deepcopy(net).bfloat16()
    found = tax.diagnose(half, IMAGES, LABELS, **CHEAP)
    asked = [found[name].asked for name in ("flat_steps", "rounded_outputs")]
    assert asked == [False, False] and "quantised_input" not in found.causes


def test_a_surrogate_that_knows_more_is_heard(net: nn.Module) -> None:
    found = tax.diagnose(
        GradientKiller(net), IMAGES, LABELS, surrogates={"plain": net}, **CHEAP
    )
    assert "transfer_beats_gradient" in found.causes
    assert found["surrogates_disagree"].value == 1.0
    assert found["inconsistent_loss"].value > 0.9
    assert found.settings["surrogates"] == ["plain"]


def test_another_range_of_pixels_is_understood(net: nn.Module) -> None:
    grey = nn.Sequential(Scaled(1 / 255), net)
    settings = CHEAP | {"eps": 25.5}
    found = tax.diagnose(grey, IMAGES * 255, LABELS, bounds=(0, 255), **settings)
    assert not found.masked and found["flat_steps"].value == 0


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factor


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"steps": 7}, "steps"), ({"eps": 0.0}, "eps"), ({"surrogates": 3}, "surrogates")],
    ids=str,
)
def test_wrong_settings_are_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(tax.ConfigError, match=word):
        causes(nn.Flatten(), **changes)


def test_a_model_that_raises_is_an_error(net: nn.Module) -> None:
    def broken(images: Tensor) -> Tensor:
        raise RuntimeError("no such layer")

    with pytest.raises(tax.ModelContractError, match="no such layer"):
        causes(broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dataset", "eps", "cause"),
    [
        ("cifar10_cnna_adv", "cifar10", 2 / 255, ""),
        ("mnist_mlp_point", "mnist", 0.1, "saturated_loss"),
        ("mnist_wide_kw", "mnist", 0.2, "black_box_beats_gradient"),
    ],
)
def test_real_nets(real: Any, name: str, dataset: str, eps: float, cause: str) -> None:
    images, labels = real.test_images(dataset, 100)
    found = tax.diagnose(real.model(name), images, labels, eps)
    assert found.masked == bool(cause), found.text()
    assert not cause or cause in found.causes


def test_one_picture_many_times_is_no_mark_of_rounded_scores(net: nn.Module) -> None:
    images = torch.cat([IMAGES[:1].repeat(6, 1, 1, 1), IMAGES[1:3]])
    labels = net(images).argmax(1)
    found = tax.diagnose(net, images, labels, **CHEAP)
    assert not found["rounded_outputs"].flag
    assert found.repeated.isnan().sum() == 5
