"""Does PRTest give the exact numbers, and one answer for any batching?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    LinfUniform,
    NormalizedModel,
    ProbRobustness,
    PRTest,
    ReliabilityWarning,
    Verdict,
)
from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.testing import RateVictim, small_net
from torchattacks_ext.testing.props import example_images

GREY = torch.full((1, 1, 4, 4), 0.5)
ZERO = torch.zeros(1, dtype=torch.long)


class Scripted(nn.Module):
    """Fails exactly at the given draws of one image with one id."""

    def __init__(self, draws: list[int], sample_id: int = 1, seed: int = 0) -> None:
        super().__init__()
        ids = torch.full((len(draws),), sample_id)
        noise = keyed(seed, ids, torch.tensor(draws), "linf")
        drawn = LinfUniform(0.1).sample(GREY.expand(len(draws), 1, 4, 4), noise)
        self.register_buffer("marks", drawn.flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        hit = (images.flatten(1)[:, None] == self.marks[None]).all(2).any(1)
        sign = 1 - 2 * hit.to(images.dtype)
        return torch.stack([sign, -sign], 1)


# ---------------------------------------------------------------- exact numbers
def test_an_image_that_never_fails_costs_505_samples() -> None:
    result = PRTest(RateVictim(0.0), eps=0.1, significance=0.01).measure(GREY, ZERO)
    assert result.n_samples.tolist() == [505] and result.n_failures.tolist() == [0]
    assert result.verdict.tolist() == [int(Verdict.ROBUST)]
    assert f"{float(result.p_fail_upper):.5f}" == "0.01000"
    assert float(result.p_value_robust) <= 0.01 < float(result.p_value_not_robust)
    model_checks = 15  # one image and a draw of it: five times, turned, alone
    assert result.cost.forward == 505 + 1 + model_checks


def test_the_default_costs_744_samples_at_significance_one_in_a_thousand() -> None:
    result = PRTest(RateVictim(0.0), eps=0.1).measure(GREY, ZERO)
    assert result.n_samples.tolist() == [744]


def test_a_failure_every_time_is_refuted_at_the_first_look() -> None:
    result = PRTest(RateVictim(1.0), eps=0.1, significance=0.01).measure(GREY, ZERO)
    assert result.verdict.tolist() == [int(Verdict.NOT_ROBUST)]
    assert result.n_samples.tolist() == [8] == result.n_failures.tolist()


def test_scripted_failures_resume_to_what_one_run_says() -> None:
    """A cap that is no look would have refuted at 33 what one long run certifies at 1,551."""
    victim = Scripted([9, 19, 29, 32])  # draws are counted from 0
    options: dict[str, Any] = dict(eps=0.1, significance=0.01)
    with pytest.warns(ReliabilityWarning, match="can certify no image"):
        short = PRTest(victim, n_max=33, **options)
    with pytest.warns(ReliabilityWarning, match="cannot_certify"):
        first = short.measure(GREY, ZERO, ids=[1])
    assert first.settings["n_max"] == int(first.n_samples) < 33
    assert first.verdict.tolist() == [int(Verdict.UNDECIDED)]
    long = PRTest(victim, **options)
    resumed = long.measure(GREY, ZERO, ids=[1], resume=first)
    whole = long.measure(GREY, ZERO, ids=[1])
    assert whole.n_samples.tolist() == [1551] and whole.n_failures.tolist() == [4]
    assert whole.verdict.tolist() == [int(Verdict.ROBUST)]
    assert resumed.digest() == whole.digest()
    assert resumed.to_dict()["columns"] == whole.to_dict()["columns"]
    assert whole.settings["n_max"] == 16932


@pytest.mark.parametrize("n_max", [7, 0, -3, 2.5])
def test_a_cap_below_the_first_look_is_refused(n_max: Any) -> None:
    with pytest.raises(ConfigError, match="n_max"):
        PRTest(RateVictim(0.0), eps=0.1, n_max=n_max)


def test_a_plan_that_cannot_certify_warns_with_the_needed_number() -> None:
    with pytest.warns(ReliabilityWarning, match="n_max >= 744"):
        test = PRTest(RateVictim(0.0), eps=0.1, n_max=700)
    with pytest.warns(ReliabilityWarning, match="cannot_certify"):
        result = test.measure(GREY, ZERO)
    assert result.count(Verdict.UNDECIDED) == 1


# ---------------------------------------------------------------- one answer
def variants(test: Any, images: Tensor, labels: Tensor) -> dict[str, ProbRobustness]:
    """The same measurement in every way that must not matter."""
    n = len(images)
    order = torch.from_numpy(np.random.default_rng(0).permutation(n))
    found = {
        f"batch {size}": test(size).measure(images, labels) for size in (1, 7, 128)
    }
    found["shuffled"] = test(64).measure(images[order], labels[order])
    halves = [slice(None, n // 2), slice(n // 2, None)]
    found["halves"] = ProbRobustness.concat(
        [test(16).measure(images[half], labels[half]) for half in halves]
    )
    return found


def check_one_answer(
    test: Any, images: Tensor, labels: Tensor, cap: int, agree: Any
) -> None:
    whole = test(256).measure(images, labels)
    for name, other in variants(test, images, labels).items():
        assert other.digest() == whole.digest(), name
        agree(whole, other)
    short = test(32, n_max=cap).measure(images, labels)
    assert short.digest() != whole.digest()
    resumed = test(64).measure(images, labels, resume=short)
    assert resumed.digest() == whole.digest()
    agree(whole, resumed)


def test_rate_victims_give_one_answer(measurements_agree: Any) -> None:
    shades = torch.linspace(0.41, 0.59, 20).reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3)

    class Shaded(nn.Module):
        """Fails more the darker the second pixel of the clean image would be."""

        def forward(self, images: Tensor) -> Tensor:
            score = images.flatten(1)[:, 0] - 0.42
            return torch.stack([score, torch.zeros_like(score)], 1)

    def test(batch_size: int, n_max: int = 800) -> PRTest:
        return PRTest(
            Shaded(), eps=0.1, tolerance=0.05, n_max=n_max, batch_size=batch_size
        )

    labels = (shades[:, 0, 0, 0] < 0.42).long()
    check_one_answer(test, shades.contiguous(), labels, 200, measurements_agree)


def test_normalised_and_plain_wrapping_give_one_digest(measurements_agree: Any) -> None:
    net = small_net((3, 8, 8)).eval()
    images = example_images(12, (3, 8, 8))
    mean, std = [0.48, 0.45, 0.4], [0.22, 0.24, 0.26]
    wrapped = NormalizedModel(net, mean, std).eval()
    labels = wrapped(images).argmax(1)
    options: dict[str, Any] = dict(eps=0.2, tolerance=0.1, n_max=400)
    inside = PRTest(wrapped, **options).measure(images, labels)
    outside = PRTest(net, **options)
    outside.set_normalization_used(mean, std)
    shape = (1, 3, 1, 1)
    scaled = (images - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(
        shape
    )
    found = outside.measure(scaled, labels)
    assert found.digest() == inside.digest()
    measurements_agree(found, inside)


def test_a_close_draw_is_decided_at_batch_one() -> None:
    """A model whose answer beside the boundary depends on the batch size, as float noise does."""

    def jumpy(images: Tensor) -> Tensor:
        score = images.flatten(1)[:, 0] - 0.45
        noise = 2e-4 * (1 if len(images) > 1 else -1)
        return torch.stack([score + noise, torch.zeros_like(score)], 1) + 9.0

    images = torch.linspace(0.46, 0.54, 9).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    results = [
        PRTest(jumpy, eps=0.1, tolerance=0.3, n_max=160, batch_size=size).measure(
            images, torch.zeros(9)
        )
        for size in (1, 64)
    ]
    assert int(results[1].n_close.sum()) > 0
    assert results[0].n_failures.tolist() == results[1].n_failures.tolist()
