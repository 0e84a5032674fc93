"""Are estimates from samples what they say, below the truth, and barred from certificates?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext.certify.bounds import LipschitzBound, only_bounds
from torchattacks_ext.certify.estimates import clever, sampled_gradients
from torchattacks_ext.errors import (
    ConfigError,
    InputError,
    ModelContractError,
    StatusError,
)


def encoder() -> nn.Module:
    """2-D images to 3 latents, in float64, weights of a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)
        return nn.Sequential(*layers).double().eval()


IMAGES = torch.linspace(0, 1, 32, dtype=torch.float64).reshape(2, 1, 4, 4)


def test_at_the_images_the_largest_jacobian_is_given() -> None:
    net, found = encoder(), sampled_gradients(encoder(), IMAGES)
    rows = (torch.autograd.functional.jacobian(net, image[None]) for image in IMAGES)
    truth = max(float(torch.linalg.matrix_norm(row.reshape(3, 16), 2)) for row in rows)
    assert found.value == pytest.approx(truth, rel=1e-9)
    assert found.source == "largest of 2 sampled gradients, L2 radius 0"


def test_of_a_linear_encoder_both_give_the_norm_and_do_not_fit_a_law_to_it() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).double().eval()
    truth = float(torch.linalg.matrix_norm(net[1].weight.detach(), 2))
    assert sampled_gradients(net, IMAGES, 0.3, n_samples=5).value == pytest.approx(
        truth
    )
    assert clever(net, IMAGES, 0.3, n_batches=4, n_samples=3).value == pytest.approx(
        truth
    )


def test_estimates_grow_with_samples_and_stay_below_the_bound() -> None:
    net = encoder()
    few = sampled_gradients(net, IMAGES, 1.0, n_samples=4)
    many = sampled_gradients(net, IMAGES, 1.0, n_samples=64)
    law = clever(net, IMAGES, 1.0, n_batches=8, n_samples=8)
    bound = LipschitzBound.of(net, (1, 4, 4)).value
    assert few.value <= many.value < bound
    assert law.value >= many.value, "the end of the law is not below what was met"
    assert law.source == "CLEVER, 8 batches of 8 gradients, L2 radius 1"


def test_numbers_come_from_the_seed_alone_whatever_the_batches() -> None:
    net, settings = encoder(), {"n_batches": 4, "n_samples": 4}
    one = clever(net, IMAGES, 0.5, **settings)
    state = torch.get_rng_state()
    assert clever(net, IMAGES, 0.5, batch_size=7, **settings).value == pytest.approx(
        one.value
    )
    assert clever(net, IMAGES, 0.5, seed=1, **settings).value != one.value
    assert torch.equal(state, torch.get_rng_state())


def test_points_lie_in_the_ball() -> None:
    seen = []

    class Watch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.detach())
            return x.flatten(1)[:, :1]

    sampled_gradients(Watch().eval(), IMAGES.float(), 0.25, n_samples=50)
    steps = (
        (torch.cat(seen) - IMAGES.float().repeat_interleave(50, 0))
        .flatten(1)
        .norm(dim=1)
    )
    assert 0.2 < float(steps.median()) and float(steps.max()) <= 0.25 * (1 + 1e-5)


def test_none_enters_a_certificate() -> None:
    for found in (sampled_gradients(encoder(), IMAGES), clever(encoder(), IMAGES, 0.1)):
        with pytest.raises(StatusError, match="not an upper bound"):
            only_bounds(found)


@pytest.mark.parametrize(
    ("net", "error"),
    [
        (nn.Linear(4, 2), ModelContractError),
        (nn.Linear(4, 2).half().eval(), ModelContractError),
        (nn.Linear(4, 2).bfloat16().eval(), ModelContractError),
    ],
)
def test_training_mode_and_half_precision_are_refused(
    net: nn.Module, error: Any
) -> None:
    with pytest.raises(error):
        clever(net, torch.zeros(2, 4), 0.1)


@pytest.mark.parametrize(
    "given",
    [
        {"radius": -1.0},
        {"n_batches": 1},
        {"n_samples": 0},
        {"batch_size": 0},
        {"radius": "a"},
    ],
)
def test_settings_outside_their_domain_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        clever(encoder(), IMAGES, **{"radius": 0.1, **given})


def test_images_without_rows_are_refused() -> None:
    with pytest.raises(InputError):
        sampled_gradients(encoder(), torch.zeros(0, 1, 4, 4))
