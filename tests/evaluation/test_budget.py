"""Is a sample of a full attack told as what it is, and right? Victims whose answers are known."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torchattacks
from scipy.stats import binom
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext import (
    BackendError,
    BudgetedAccuracy,
    ConfigError,
    InputError,
    budgeted_accuracy,
)

N, EPS = 600, 0.05


class Halves(nn.Module):
    """Class 1 above the threshold: a pixel at distance d from it is broken by eps >= d."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        side = x.flatten(1)[:, 0] - 0.5 + self.bias
        return torch.stack([-side, side], 1)


def push(share: float) -> Any:
    """An attack that goes this share of EPS towards the other class."""

    def attack(images: Tensor, labels: Tensor) -> Tensor:
        return images + share * EPS * (1 - 2 * labels.float())[:, None]

    return attack


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(N, 2, generator=generator)
    labels = (images[:, 0] > 0.5).long()
    labels[:9] = 1 - labels[:9]  # wrong on the clean image
    return images, labels


def truth(images: Tensor, labels: Tensor) -> tuple[int, int, int]:
    """Wrong, broken by 80 % of the radius, broken by all of it."""
    right = (images[:, 0] > 0.5).long() == labels
    distance = (images[:, 0] - 0.5).abs()[right]
    cheap = int((distance < 0.8 * EPS).sum())
    return int((~right).sum()), cheap, int((distance < EPS).sum()) - cheap


def measure(data: tuple[Tensor, Tensor], **options: Any) -> BudgetedAccuracy:
    options = {"half_width": 0.05, "eps": EPS} | options
    return budgeted_accuracy(Halves(), *data, push(0.8), push(1), **options)


def test_counts_of_phase_1_are_exact_and_the_interval_holds_the_full_run(
    data: tuple[Tensor, Tensor],
) -> None:
    found = measure(data)
    wrong, cheap, more = truth(*data)
    assert (found.n, found.wrong, found.broken_cheap) == (N, wrong, cheap)
    assert found.lower <= (N - wrong - cheap - more) / N <= found.upper
    assert 0 < found.attacked < found.survivors and not found.full_run
    assert f"{found.attacked} of {found.survivors} survivors" in found.sentence
    assert found.sentence.endswith("not a full run")
    assert len(found.attacked_rows) == found.attacked
    assert set(found.broken_rows) <= set(found.attacked_rows)
    assert found.cost.forward >= 2 * N - wrong + found.attacked
    assert found.half_width <= 0.055


@pytest.mark.parametrize("how", [{"exhaustive": 1}, {"method": "anytime"}])
def test_all_of_it_is_the_full_run(data: tuple[Tensor, Tensor], how: Any) -> None:
    found = measure(data, half_width=1e-6, batch_size=37, **how)
    assert found.full_run and found.lower == found.upper == found.estimate
    assert found.lower == (N - sum(truth(*data))) / N
    assert len(found.broken_rows) == truth(*data)[2]
    assert "every one of" in found.sentence and "interval" not in found.sentence


def test_a_margin_orders_the_survivors_and_own_scores_join_in(
    data: tuple[Tensor, Tensor],
) -> None:
    """The lowest margins are exactly what the full attack breaks more than the cheap one."""
    more = truth(*data)[2]
    found = measure(data, exhaustive=0.05)
    assert found.strata[0].broken == more == len(found.broken_rows)
    against = measure(data, exhaustive=0.05, scores=-(data[0][:, 0] - 0.5).abs())
    assert against.attacked_rows != found.attacked_rows


def test_attacks_only_propose(data: tuple[Tensor, Tensor]) -> None:
    """Far outside the ball, NaN, or the image itself: judged inside it, by the model."""
    wild = budgeted_accuracy(
        Halves(), *data, push(0.8), push(50), eps=EPS, exhaustive=1
    )
    assert len(wild.broken_rows) == truth(*data)[2]
    empty = budgeted_accuracy(
        Halves(), *data, push(0.8), lambda x, y: x * float("nan"), eps=EPS
    )
    assert empty.broken_rows == ()


def test_the_model_is_given_back(data: tuple[Tensor, Tensor]) -> None:
    net = Halves().train()
    budgeted_accuracy(net, *data, push(0.8), push(1), eps=EPS, half_width=0.1)
    assert net.training and net.bias.requires_grad and net.bias.grad is None


def test_json_brings_it_back(data: tuple[Tensor, Tensor]) -> None:
    found = measure(data, strata=2)
    facts = json.loads(found.to_json()) | {"newer": 1}
    again = BudgetedAccuracy.from_dict(facts)
    assert again.to_dict() == facts and again.sentence == found.sentence
    assert "not a full run" in facts["sentence"]
    facts["strata"][0]["size"] += 1
    with pytest.raises(InputError, match="damaged"):
        BudgetedAccuracy.from_dict(facts)
    assert "full_run=False" in repr(found)


def test_torchattacks_and_msa_take_part(data: tuple[Tensor, Tensor]) -> None:
    images, labels, net = data[0][:120].view(-1, 2, 1, 1), data[1][:120], Halves()
    line = {"kind": "apgd", "on": "target", "steps": 5}
    full = tax.MSA(net, eps=EPS, version="custom", plan=[line])
    cheap = torchattacks.FGSM(net, eps=0.8 * EPS)
    options = {"eps": EPS, "half_width": 0.1, "pilot": 5, "exhaustive": 0.1}
    found = budgeted_accuracy(net, images, labels, cheap, full, **options)
    assert found.settings["cheap"] == "FGSM" and found.settings["full"] == "MSA"
    assert found.settings["unit"] == "row"
    assert 0 < found.attacked < found.survivors and len(found.broken_rows) >= 1


def test_an_attack_that_raises_is_named(data: tuple[Tensor, Tensor]) -> None:
    def broken(images: Tensor, labels: Tensor) -> Tensor:
        raise ValueError("no")

    with pytest.raises(BackendError, match="no"):
        budgeted_accuracy(Halves(), *data, push(0.8), broken, eps=EPS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"halfwidth": 0.1}, "halfwidth.*known are half_width"),
        ({"norm": "L3"}, "norm='L3'"),
        ({"eps": -1}, "eps=-1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"method": "guess"}, "method='guess'"),
    ],
)
def test_settings_are_checked_before_any_pass(
    data: tuple[Tensor, Tensor], options: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        measure(data, **options)


@pytest.mark.parametrize(
    ("images", "labels", "more", "words"),
    [
        (torch.rand(3, 2) + 3, torch.zeros(3), {}, "bounds"),
        (torch.rand(3, 2), torch.zeros(4), {}, "labels have shape"),
        (torch.rand(0, 2), torch.zeros(0), {}, "no images"),
        (torch.rand(3, 2), torch.zeros(3), {"ids": [1, 2]}, "3 images but 2 ids"),
        (torch.rand(3, 2), torch.zeros(3), {"scores": torch.zeros(2)}, "scores are"),
    ],
)
def test_bad_data_are_refused(
    images: Tensor, labels: Tensor, more: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        budgeted_accuracy(Halves(), images, labels, push(1), push(1), eps=EPS, **more)


@pytest.mark.slow
def test_samples_hold_what_a_full_run_of_pgd_says_of_a_real_net(real: Any) -> None:
    """Fails by luck once in 1e6."""
    net, eps = real.model("cifar10_resnet2b_at2"), 8 / 255
    images, labels = real.test_images("cifar10", 300)
    cheap = torchattacks.FGSM(net, eps=eps)
    full = torchattacks.PGD(net, eps=eps, alpha=eps / 4, steps=10, random_start=False)
    options = {"eps": "8/255", "half_width": 0.03, "pilot": 20}
    whole = budgeted_accuracy(net, images, labels, cheap, full, eps=eps, exhaustive=1)
    assert whole.full_run
    held, replays = 0, 30
    for seed in range(replays):
        found = budgeted_accuracy(
            net, images, labels, cheap, full, seed=seed, **options
        )
        held += found.lower <= whole.upper <= found.upper
        assert set(found.broken_rows) <= set(whole.broken_rows)
        assert found.attacked < found.survivors == whole.survivors
    assert held >= binom.ppf(1e-6, replays, 0.95)


def test_a_label_beyond_the_classes_is_named(data: tuple[Tensor, Tensor]) -> None:
    images, labels = data
    with pytest.raises(InputError, match="labels run from 5 to 6, but the model has 2"):
        budgeted_accuracy(Halves(), images, labels + 5, push(0), push(1), eps=EPS)


class Noisy(Halves):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.05 * torch.randn_like(x))


class Coupled(Halves):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - super().forward(x).mean(0)


@pytest.mark.parametrize(
    "net, how", [(Noisy(), "at random"), (Coupled(), "by the batch")]
)
def test_a_model_without_one_answer_gets_no_interval(
    data: tuple[Tensor, Tensor], net: nn.Module, how: str
) -> None:
    with pytest.raises(tax.ModelContractError, match=f"the model answers {how}"):
        budgeted_accuracy(net, *data, push(0.5), push(1), eps=EPS)
