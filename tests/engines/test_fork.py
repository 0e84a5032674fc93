"""Does an attack leave the global generators where the victim's own draws put them?"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn
from torch.nn.functional import dropout

from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.errors import ConfigError, StateError

IMAGES = torch.linspace(0.1, 0.9, 4 * 64).reshape(4, 1, 8, 8)
State = tuple[Tensor, object, tuple[object, ...]]


class Linear(nn.Module):
    """A deterministic victim."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.linspace(-1, 1, 5 * 64).cos().reshape(5, 64)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


class Noisy(Linear):
    """A randomised victim; keeps what it drew and the shapes that it was given."""

    def __init__(self, draw: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.draw = draw
        self.noise: list[Tensor] = []
        self.shapes: list[torch.Size] = []

    def forward(self, x: Tensor) -> Tensor:
        noise = self.draw(x)
        self.noise.append(noise.detach().clone())
        self.shapes.append(x.shape)
        return super().forward(x) + 0.01 * noise


def by_torch(x: Tensor) -> Tensor:
    return dropout(torch.ones(len(x), 5), 0.3, training=True)


def by_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(np.random.randn(len(x), 5)).float()  # odd: a cached normal


def by_python(x: Tensor) -> Tensor:
    return torch.tensor([[random.random()] * 5 for _ in x])


apgd = partial(torchattacks.APGD, eps=0.3, steps=4, seed=0)
square = partial(torchattacks.Square, eps=0.02, n_queries=8, seed=0)
pixle = partial(torchattacks.Pixle, restarts=2, max_iterations=3)
gaussian = partial(torchattacks.GN, std=0.1)
ATTACKS = [apgd, square, pixle, gaussian]
DRAWS = [by_torch, by_numpy, by_python]


def state() -> State:
    return torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()


def put(saved: State) -> None:
    torch.set_rng_state(saved[0])
    np.random.set_state(saved[1])
    random.setstate(saved[2])


def equal(a: State, b: State) -> bool:
    return torch.equal(a[0], b[0]) and pickle.dumps(a[1:]) == pickle.dumps(b[1:])


@pytest.fixture(autouse=True)
def _leave_generators_alone():
    saved = state()
    yield
    put(saved)


def attacked(make: Callable, model: nn.Module, seed: int = 5) -> Tensor:
    with ForkedRng(seed) as fork:
        return make(fork.victim(model))(IMAGES, Linear()(IMAGES).argmax(1)).detach()


@pytest.mark.parametrize("make", ATTACKS)
def test_deterministic_victim_leaves_every_state_equal(make):
    before = state()
    attacked(make, Linear())
    assert equal(before, state())


def test_the_bare_attacks_do_touch_the_states():
    """Otherwise the test above would pass without a fork."""
    for make in ATTACKS:
        before = state()
        make(Linear())(IMAGES, Linear()(IMAGES).argmax(1))
        assert not equal(before, state()), make.func


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("make", [apgd, square, pixle])
def test_randomised_victim_advances_the_states_by_its_own_draws(make, draw):
    model, start = Noisy(draw), state()
    attacked(make, model)
    after = state()
    put(start)
    by_hand = Noisy(draw)
    for shape in model.shapes:
        by_hand(torch.zeros(shape))
    assert len(model.shapes) > 3
    assert equal(after, state()) and not equal(after, start)
    for seen, expected in zip(model.noise, by_hand.noise, strict=True):
        assert torch.equal(seen, expected)


@pytest.mark.parametrize("make", [gaussian, pixle])
def test_attack_depends_on_the_seed_and_on_nothing_else(make):
    first = attacked(make, Linear(), seed=2**62 + 11)
    torch.rand(3), np.random.rand(3), random.random()
    assert torch.equal(first, attacked(make, Linear(), seed=2**62 + 11))
    assert not torch.equal(first, attacked(make, Linear(), seed=11))


def test_seeds_that_share_32_bits_give_other_numbers():
    """torch's CPU generator ignores the upper half of a seed."""
    pair = [attacked(gaussian, Linear(), seed) for seed in (2**40 + 5, 2**41 + 5)]
    assert not torch.equal(*pair)
    noise = torch.manual_seed(5) and 0.1 * torch.randn_like(IMAGES)
    assert torch.equal(attacked(gaussian, Linear(), 5), (IMAGES + noise).clamp(0, 1))


def test_attack_does_not_see_the_victims_draws():
    """GN asks the model nothing: draws of another forward pass must not move its noise."""

    class Ask(torchattacks.GN):
        def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
            self.get_logits(images)
            return super().forward(images, labels)

    assert torch.equal(attacked(Ask, Noisy(by_torch)), attacked(gaussian, Linear()))


def test_states_are_restored_after_an_exception_in_the_victim():
    def fail(x: Tensor) -> Tensor:
        torch.rand(2), np.random.rand(2), random.random()
        raise OSError("cable")

    start = state()
    with pytest.raises(OSError, match="cable"):
        attacked(apgd, Noisy(fail))
    after = state()
    put(start)
    torch.rand(2), np.random.rand(2), random.random()
    assert equal(after, state())


def test_states_are_restored_after_an_exception_of_the_attack():
    before = state()
    with pytest.raises(KeyboardInterrupt), ForkedRng(1):
        torch.manual_seed(0), random.random()
        raise KeyboardInterrupt
    assert equal(before, state())


def test_models_that_begin_to_draw_late_are_found():
    calls = []

    def late(x: Tensor) -> Tensor:
        calls.append(np.random.rand() if len(calls) >= 200 else 0.0)
        return torch.zeros(len(x), 5)

    start = state()
    with ForkedRng(3) as fork:
        victim = fork.victim(Noisy(late))
        for _ in range(300):
            victim(IMAGES)
    put(start)
    assert calls[256:] == list(
        np.random.rand(len(calls) - 256)
    )  # from the second look on


def test_nested_forks_keep_their_streams_apart():
    model, start = Noisy(by_torch), state()
    with ForkedRng(1) as outer:
        plain = torch.rand(2)
        with ForkedRng(2) as inner:
            inner.victim(outer.victim(model))(IMAGES)
            torch.manual_seed(0)
        more = torch.rand(2)
    after = state()
    with ForkedRng(1):
        assert torch.equal(torch.cat([plain, more]), torch.rand(4))
    put(start)
    assert torch.equal(model.noise[0], by_torch(IMAGES)) and equal(after, state())


def test_a_victim_that_calls_itself_is_exchanged_once():
    start = state()
    with ForkedRng(1) as fork:
        inner = fork.victim(Noisy(by_torch))
        outer = fork.victim(nn.Sequential(inner, nn.Dropout(0.5)))
        outer(IMAGES)
    after = state()
    put(start)
    dropout(by_torch(IMAGES), 0.5)
    assert equal(after, state())


def test_wrapper_shows_modes_and_parameters_of_the_model():
    model = nn.Sequential(Linear(), nn.Dropout(0.5)).eval()
    victim = ForkedRng(0).victim(model)
    assert not victim.training  # True would make torchattacks end in train()
    victim.train()
    assert model.training and model[1].training
    victim.eval()
    assert not model[1].training
    assert next(victim.parameters()) is model[0].weight


def test_wrapper_outside_its_context_is_transparent():
    model = Noisy(by_torch)
    victim = ForkedRng(0).victim(model)
    before = torch.get_rng_state()
    victim(IMAGES)
    torch.set_rng_state(before)
    assert torch.equal(model.noise[0], by_torch(IMAGES))


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, None, "7"])
def test_seed_outside_its_range_is_refused(seed):
    with pytest.raises(ConfigError, match="seed="):
        ForkedRng(seed)


def test_entering_twice_is_refused_but_again_is_fine():
    fork = ForkedRng(np.int64(4))
    with fork:
        first = torch.rand(1)
        with pytest.raises(StateError, match="entered already"), fork:
            pass
    with fork:
        assert torch.equal(first, torch.rand(1))


def test_other_bit_generators_of_numpy_survive():
    legacy = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        before = np.random.get_state(legacy=False)
        attacked(pixle, Noisy(by_torch))
        assert np.random.get_state(legacy=False) == before
    finally:
        np.random.set_bit_generator(legacy)


def test_seeds_that_wait_for_cuda_are_the_callers():
    """torch.manual_seed before CUDA's first use is queued; APGD's must not replace it."""
    if torch.cuda.is_initialized():
        pytest.skip("CUDA is in use: nothing is queued")
    tracker = torch.cuda._lazy_seed_tracker
    torch.manual_seed(41)
    before = dict(vars(tracker))
    attacked(apgd, Linear())
    assert vars(tracker) == before
    apgd(Linear())(IMAGES, torch.tensor([0, 1, 2, 3]))
    assert vars(tracker) != before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_generators_follow_the_victim_only():
    def on_device(x: Tensor) -> Tensor:
        return torch.rand(len(x), 5, device=x.device)

    images = IMAGES.cuda()
    model = Noisy(on_device).cuda()
    labels = Linear().cuda()(images).argmax(1)
    start = torch.cuda.get_rng_state()
    with ForkedRng(3) as fork:
        apgd(fork.victim(model))(images, labels)
    after = torch.cuda.get_rng_state()
    torch.cuda.set_rng_state(start)
    reference = Noisy(on_device).cuda()
    for shape in model.shapes:
        reference(torch.zeros(shape, device="cuda"))
    assert torch.equal(torch.cuda.get_rng_state(), after)
