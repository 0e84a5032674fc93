"""Does the killer keep every value and destroy every gradient?"""

from __future__ import annotations

import pytest
import torch
import torchattacks
from torch import Tensor

from torchattacks_ext.models import BPDA
from torchattacks_ext.testing import GradientKiller, HalfSpace, small_net

IMAGES = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def gradient(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Of the first logit."""
    x = images.clone().requires_grad_()
    return torch.autograd.grad(model(x)[:, 0].sum(), x)[0]


@pytest.mark.parametrize("noise", [True, False])
def test_values_are_the_models(noise: bool) -> None:
    net = small_net().eval()
    assert torch.equal(GradientKiller(net, noise)(IMAGES), net(IMAGES))


def test_the_gradient_is_zero() -> None:
    found = gradient(GradientKiller(small_net().eval()), IMAGES)
    assert torch.equal(found, torch.zeros_like(IMAGES))


def test_noise_is_signs_that_know_nothing_of_the_model() -> None:
    net = small_net().eval()
    found = gradient(GradientKiller(net, noise=True), IMAGES)
    assert torch.equal(found.abs(), torch.ones_like(found))
    # 4096 fair coins against the true signs: |mean| > 6 / 64 once in 5e8
    agreement = found * gradient(net, IMAGES).sign()
    assert abs(float(agreement.mean())) < 6 / 64 and abs(float(found.mean())) < 6 / 64


def test_noise_depends_on_seed_and_content_alone() -> None:
    net = small_net().eval()
    killer = GradientKiller(net, noise=True, seed=1)
    before = torch.get_rng_state()
    whole = gradient(killer, IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(gradient(killer, IMAGES[5:7]), whole[5:7])
    assert not torch.equal(whole[0], whole[1])
    other = gradient(GradientKiller(net, noise=True, seed=2), IMAGES)
    assert not torch.equal(other, whole)


@pytest.mark.parametrize("noise", [True, False])
def test_it_fools_a_gradient_attack_and_not_bpda(noise: bool) -> None:
    """All rows of a half-space lie within reach; 10 signed steps know the way or do not."""
    weight = torch.linspace(-1, 1, 64)
    images = torch.rand(32, 64, generator=torch.Generator().manual_seed(1)) / 2 + 0.25
    victim = HalfSpace(weight, 0.0).requires_grad_(False)
    labels, radius = victim.labels(images), victim.radius(images)
    reach = radius < 0.1
    killer = GradientKiller(victim, noise)

    def broken(model: torch.nn.Module) -> Tensor:
        attack = torchattacks.PGD(model, 0.1, 0.02, 10, random_start=False)
        return victim.labels(attack(images, labels)) != labels

    assert torch.equal(broken(victim), reach) and int(reach.sum()) > 20
    assert int(broken(killer).sum()) < int(reach.sum()) / 2
    assert torch.equal(broken(BPDA(killer, victim)), reach)


def test_no_gradient_no_rows_and_no_parameters() -> None:
    net = small_net().eval()
    killer = GradientKiller(net, noise=True)
    with torch.no_grad():
        assert not killer(IMAGES).requires_grad
    assert gradient(killer, IMAGES[:0]).shape == (0, 1, 8, 8)
    x = IMAGES.clone().requires_grad_()
    killer(x).sum().backward()
    assert all(p.grad is None for p in net.parameters())
