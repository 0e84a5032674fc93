"""Does smoothing average F over the noise it says, and does the short form leave lambda alone?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, FIMScore
from torchattacks_ext.attacks.fimscore.smooth import noisy_copies
from torchattacks_ext.testing import check_probe
from torchattacks_ext.testing.props import balanced_net, example_images

IMAGES = 0.2 + 0.6 * example_images(7)


def naive(net: nn.Module, points: Tensor) -> float:
    """lambda_max of the mean of F over the points, in float64, by whole Jacobians."""
    total = torch.zeros(points[0].numel(), points[0].numel(), dtype=torch.float64)
    for x in points.double():
        jacobian: Any = torch.autograd.functional.jacobian(
            lambda x: net.double()(x[None])[0], x  # type: ignore[arg-type]
        )
        j = jacobian.flatten(1)
        p = net.double()(x[None])[0].detach().softmax(0)
        total += j.T @ (p.diag() - p[:, None] * p) @ j / len(points)
    net.float()
    return float(torch.linalg.eigvalsh(total)[-1])


def test_the_score_is_that_of_the_mean_of_dense_matrices() -> None:
    net = balanced_net(5)
    found = FIMScore(net, smooth=(0.1, 4), tol=1e-4).measure(IMAGES, ids=range(7))
    points = noisy_copies(IMAGES, torch.arange(7), 0.1, 4, seed=0)
    right = torch.tensor([naive(net, part) for part in points.split(4)])
    assert torch.allclose(found.lam, right.double(), rtol=1e-4)
    assert (found.log_lam <= found.log_trace + 1.0).all()
    assert (found.log_linf <= found.log_linf_upper + 1e-6).all()
    assert (found.log_linf >= found.log_lam - 1e-6).all()  # sign(u1) is longer than u1
    assert found.settings["smooth"] == [0.1, 4]


def test_noise_has_the_size_it_says_and_depends_on_seed_id_and_number() -> None:
    images, ids = torch.full((3, 1, 40, 40), 0.5), torch.tensor([5, 6, 7])
    copies = noisy_copies(images, ids, 0.2, 3, seed=1).view(3, 3, -1) - 0.5
    # 1600 numbers: the sd of their sd is 1.8 %, of their mean .005
    assert (copies.std(2) / 0.2 - 1).abs().max() < 0.1
    assert copies.mean(2).abs().max() < 0.03
    flat = copies.flatten(0, 1)
    apart = torch.corrcoef(flat) - torch.eye(9)
    assert apart.abs().max() < 0.15  # sd .025
    alone = noisy_copies(images[1:2], ids[1:2], 0.2, 3, seed=1).view(3, -1) - 0.5
    assert torch.equal(alone, copies[1])
    assert not torch.equal(noisy_copies(images, ids, 0.2, 3, seed=2) - 0.5, copies)


def test_a_jump_of_lambda_at_a_kink_is_averaged() -> None:
    class Kink(nn.Module):
        """Logits (0, 4 |x - .5|-like): slope 1 on the left of the kink and 4 on the right."""

        def forward(self, x: Tensor) -> Tensor:
            s = x.flatten(1).sum(1) - 0.5
            z = torch.where(s > 0, 4 * s, s)
            return torch.stack([torch.zeros_like(z), z], 1)

    left, right = (torch.tensor([[0.5 + s]]) for s in (-1e-4, 1e-4))
    plain = [FIMScore(Kink()).measure(x, ids=[0]).lam.item() for x in (left, right)]
    assert plain == pytest.approx([0.25, 4.0], rel=1e-2)
    smooth = FIMScore(Kink(), smooth=(0.01, 400), batch_size=64)
    two = [smooth.measure(x, ids=[0]).lam.item() for x in (left, right)]
    # half of 400 points on each side: 2.125, binomial sd of the share .025, of the mean .094
    assert two == pytest.approx([2.125, 2.125], abs=0.5)
    assert abs(two[0] - two[1]) < 0.1


def test_batches_do_not_change_a_smoothed_score() -> None:
    net = balanced_net(5)
    one = FIMScore(net, smooth=(0.05, 3)).measure(IMAGES, ids=range(7))
    two = FIMScore(net, smooth=(0.05, 3), batch_size=4).measure(IMAGES, ids=range(7))
    for name in ("log_lam", "log_trace", "log_linf", "spread", "margin_radius"):
        a, b = getattr(one, name), getattr(two, name)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize(
    "options",
    [{"kl": False}, pytest.param({"smooth": (0.05, 2)}, marks=pytest.mark.slow)],
)
def test_the_contract_holds_with_these_options(options: dict[str, Any]) -> None:
    check_probe(lambda net: FIMScore(net, eps=0.1, **options))


def test_without_kl_the_score_is_the_same_and_no_jvp_is_made() -> None:
    net = balanced_net(5)
    full = FIMScore(net).measure(IMAGES, ids=range(7))
    lean = FIMScore(net, kl=False)
    short = lean.measure(IMAGES, ids=range(7))
    for name in ("log_lam", "log_trace", "margin_radius", "log_rest"):
        torch.testing.assert_close(getattr(full, name), getattr(short, name))
    assert short.log_linf.isnan().all() and short.spread.isnan().all()
    assert short.cost.forward == 7 < full.cost.forward
    assert lean.facts()["jvp"] == [] and short.settings["kl"] is False
    assert "kl" not in full.settings
    step = FIMScore(net, eps=0.1, kl=False)(IMAGES, net(IMAGES).argmax(1)) - IMAGES
    u1 = lean.directions(IMAGES)
    assert torch.allclose(step.abs(), 0.1 * u1.sign().abs(), atol=1e-6)
    smooth = FIMScore(net, kl=False, smooth=(0.05, 2)).measure(IMAGES)
    assert smooth.log_linf.isnan().all() and smooth.log_lam.isfinite().all()


@pytest.mark.parametrize(
    "smooth",
    [0.1, (0.0, 4), (0.1, 1), (0.1, 2.5), (0.1, 4, 5), "no", (float("nan"), 4)],
)
def test_a_wrong_noise_is_named(smooth: Any) -> None:
    with pytest.raises(ConfigError, match="smooth="):
        FIMScore(balanced_net(5), smooth=smooth)


@pytest.mark.parametrize("method", ["gram", "blackbox", "power"])
def test_methods_that_cannot_be_smoothed_say_so(method: Any) -> None:
    with pytest.raises(ConfigError, match="smooth goes with"):
        FIMScore(balanced_net(5), method=method, smooth=(0.1, 4))
