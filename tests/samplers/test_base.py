"""What does every law share? The caller's own law, normal numbers, and arguments checked."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import (
    CallableSampler,
    Gaussian,
    LinfUniform,
    Sampler,
    Uniforms,
)
from torchattacks_ext.samplers.base import add_noise, check_real, widened


def numbers(n: int, draw: int = 0) -> Uniforms:
    """Uniforms of n samples with ids 0..n-1, as an engine hands them out."""

    def u(size: int, purpose: str = "") -> Tensor:
        return uniform(0, torch.arange(n), f"test {purpose}", draw, size)

    return u


def darker(images: Tensor, u: Uniforms) -> Tensor:
    return images * u(1).view(-1, 1, 1)


def fresh_noise(images: Tensor, u: Uniforms) -> Tensor:
    return images + torch.rand_like(images)


def in_place(images: Tensor, u: Uniforms) -> Tensor:
    return images.mul_(u(1).view(-1, 1, 1))


class Shift:
    """A law that is an object, not a function."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, images: Tensor, u: Uniforms) -> Tensor:
        return images + self.by


def test_a_function_becomes_a_law() -> None:
    images, law = torch.rand(4, 2, 3), CallableSampler(darker, norm="L2", eps=3.0)
    assert isinstance(law, Sampler)
    assert (law.name, law.norm, law.eps) == ("darker", "L2", 3.0)
    drawn = law.sample(images, numbers(4))
    assert torch.equal(
        drawn, images * uniform(0, torch.arange(4), "test ", 0, 1).view(4, 1, 1)
    )
    assert not torch.equal(drawn, law.sample(images, numbers(4, draw=1)))


def test_replayable_is_measured_not_believed() -> None:
    images = torch.rand(4, 2, 3)
    before = images.clone()
    law = CallableSampler(darker)
    assert law.replayable is False
    assert law.check_replayable(images, numbers(4)) is True and law.replayable is True
    law = CallableSampler(fresh_noise)
    assert law.check_replayable(images, numbers(4)) is False and law.replayable is False
    nans = CallableSampler(lambda images, u: images * float("nan"))
    assert nans.check_replayable(images, numbers(4)) is True
    same = CallableSampler(lambda images, u: images)
    assert same.check_replayable(images, numbers(4)) is True
    assert torch.equal(images, before)


def test_a_law_that_writes_into_its_input_is_refused() -> None:
    images = torch.rand(4, 2, 3)
    before = images.clone()
    with pytest.raises(InputError, match="'in_place' writes into the images.*clone"):
        CallableSampler(in_place).check_replayable(images, numbers(4))
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            lambda images, u: images.numpy(),
            "returned ndarray, expected a tensor like the images",
        ),
        (
            lambda images, u: images[:1],
            r"returned \(1, 2, 3\) torch.float32.*\(4, 2, 3\)",
        ),
        (
            lambda images, u: images.double(),
            "returned .* torch.float64 .*torch.float32",
        ),
        (lambda images, u: images.to("meta"), "on meta, expected .* on cpu"),
    ],
)
def test_other_outputs_are_refused(wrong: Callable[..., Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CallableSampler(wrong).sample(torch.rand(4, 2, 3), numbers(4))


def test_settings_are_json_and_name_the_function() -> None:
    law = CallableSampler(darker, norm="Linf", eps=0.1)
    settings = json.loads(json.dumps(law.settings()))
    assert settings == law.settings()
    assert settings["name"] == "darker" and settings["function"].endswith(".darker")
    assert repr(law).startswith("CallableSampler(norm='Linf', eps=0.1, function=")


def test_objects_and_partials_have_names_too() -> None:
    images = torch.rand(4, 2, 3)
    law = CallableSampler(Shift(0.5))
    assert law.name == "Shift" and law.settings()["function"].endswith(".Shift")
    assert torch.equal(law.sample(images, numbers(4)), images + 0.5)
    bound = CallableSampler(functools.partial(darker))
    assert bound.name == "partial" and isinstance(bound.settings()["function"], str)


def test_the_claimed_norm_is_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'L2'"):
        CallableSampler(darker, norm="l2")  # type: ignore[arg-type]


def test_the_base_cannot_be_used_as_it_is() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Sampler()  # type: ignore[abstract]


def test_a_law_without_normal_numbers_says_so() -> None:
    law = CallableSampler(darker)
    assert not law.has_latent and law.latent_size((2, 3)) == 6
    with pytest.raises(ConfigError, match="sampler 'darker' has no from_latent.*write"):
        law.from_latent(torch.zeros(4, 6), torch.zeros(4, 2, 3))
    assert LinfUniform(0.1).has_latent and LinfUniform(0.1).latent_size((2, 3)) == 6


@pytest.mark.parametrize("shape", [(4, 5), (3, 6), (4, 6, 1), (4,)])
def test_the_shape_of_normal_numbers_is_checked(shape: tuple[int, ...]) -> None:
    for law in (LinfUniform(0.1), Gaussian(0.1)):
        with pytest.raises(
            InputError, match=r"expected \(4, 6\).*takes 6 normal numbers"
        ):
            law.from_latent(torch.zeros(shape), torch.zeros(4, 2, 3))


def test_any_law_can_be_asked_whether_it_repeats() -> None:
    class Fresh(LinfUniform):
        def sample(self, images: Tensor, u: Uniforms) -> Tensor:
            return fresh_noise(images, u)

    images = torch.rand(4, 3)
    law = Fresh(0.1)
    assert law.replayable and not law.check_replayable(images, numbers(4))
    assert not law.replayable
    assert LinfUniform(0.1).check_replayable(images, numbers(4))


def test_noise_is_added_in_float32_or_float64_and_rounded_once() -> None:
    assert [
        widened(torch.zeros(1, dtype=d)).dtype for d in (torch.half, torch.double)
    ] == [
        torch.float32,
        torch.float64,
    ]
    images, noise = torch.full((1, 1), 0.7, dtype=torch.half), torch.tensor([[2e-4]])
    both = add_noise(images, noise, None)
    assert both.dtype == torch.half
    assert torch.equal(both, (images.float() + noise).half())
    wide = add_noise(images.double(), noise, (0.0, 0.5))
    assert wide.dtype == torch.float64 and float(wide) == 0.5


@pytest.mark.parametrize(
    "value", [-0.1, 1.1, float("nan"), float("inf"), "one", True, None]
)
def test_numbers_outside_their_domain_are_named(value: Any) -> None:
    with pytest.raises(
        ConfigError, match="share=.* must be a number >= 0 and <= 1; so"
    ):
        check_real("share", value, 0, 1, "so")
    assert check_real("share", torch.tensor(0.5), 0, 1, "so") == 0.5
    assert check_real("share", "1/2", 0, 1, "so") == 0.5
    with pytest.raises(ConfigError, match="must be a positive number and <= 1"):
        check_real("share", 0, 0, 1, "so", above=True)
    with pytest.raises(ConfigError, match="must be a number > 1 and <= 2"):
        check_real("factor", 1, 1, 2, "so", above=True)
