"""Are randomised and batch-dependent models found, and honest ones left in peace?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models import LogitsView, ModelTraits, inspect_model, session
from torchattacks_ext.models.checks import look_cost, parameter_version
from torchattacks_ext.testing import small_net

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def look(model: Any, images: Tensor = IMAGES, outputs: Any = "logits") -> ModelTraits:
    with session(model):
        return inspect_model(model, LogitsView(model, outputs), images, (outputs, None))


class Around(nn.Module):
    """A net with something behind it."""

    def __init__(self, after: Callable[[Tensor], Tensor], net: Any = None) -> None:
        super().__init__()
        self.net = small_net() if net is None else net
        self.after = after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.net(images))


def convolutional(depth: int = 6) -> nn.Module:
    layers: list[nn.Module] = []
    width = 1
    for _ in range(depth):
        layers += [nn.Conv2d(width, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        width = 16
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(*layers, *head)


# ---------------------------------------------------------------------- honest models
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_deterministic_net_has_no_traits(dtype: torch.dtype) -> None:
    for net in (small_net(), convolutional()):
        traits = look(net.to(dtype).train())
        classes = (
            3 if isinstance(net[-1], nn.Linear) and net[-1].out_features == 3 else 10
        )
        assert traits == ModelTraits(classes, False, False, False)
        assert traits.flags() == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_net_has_no_traits(dtype: torch.dtype) -> None:
    assert look(small_net().to(dtype)).flags() == ()
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 512), nn.Linear(512, 10))
    assert look(wide.to(dtype)).flags() == ()


def test_rounding_of_a_bf16_model_is_no_coupling() -> None:
    """Other kernels for other batch sizes: answers a unit of rounding apart."""

    def rounded(logits: Tensor) -> Tensor:
        unit = torch.finfo(torch.bfloat16).eps
        return logits * (1 + unit * (len(logits) == 1))

    short = Around(rounded, small_net().to(torch.bfloat16))
    assert not look(short).batch_dependent
    assert look(Around(rounded)).batch_dependent


def test_a_near_tie_does_not_raise_a_false_alarm() -> None:
    """Two classes 1e-6 apart: rounding of another batch size may swap them."""

    def tied(logits: Tensor) -> Tensor:
        swap = 1e-6 if len(logits) % 2 else -1e-6
        two = torch.stack([logits[:, 0], logits[:, 0] + swap * logits[:, 0].abs()], 1)
        return torch.cat([two, logits[:, 1:] - 100], 1)

    model = Around(tied)
    with session(model), torch.no_grad():
        all_at_once, alone = model(IMAGES), torch.cat([model(x[None]) for x in IMAGES])
    assert bool((all_at_once.argmax(1) != alone.argmax(1)).any())
    assert look(model).flags() == ()


def test_constant_logits_have_no_traits() -> None:
    assert look(Around(lambda z: 0 * z)).flags() == ()
    assert look(Around(lambda z: torch.full_like(z, 0.25))).flags() == ()


def test_nan_logits_are_no_trait() -> None:
    assert look(Around(lambda z: z * float("nan"))).flags() == ()


# ---------------------------------------------------------------------- randomised
def test_active_dropout_is_found() -> None:
    model = Around(lambda z: nn.functional.dropout(z, 0.5, training=True))
    traits = look(model)
    assert traits.randomised and not traits.batch_dependent
    assert [flag.code for flag in traits.flags()] == ["randomised_model"]


@pytest.mark.parametrize("sigma", [1e-2, 1.0])
def test_gaussian_noise_is_found(sigma: float) -> None:
    noisy = Around(lambda z: z + sigma * torch.randn_like(z))
    assert look(noisy).randomised


def test_looking_draws_exactly_what_the_model_draws() -> None:
    calls: list[int] = []

    def noise(logits: Tensor) -> Tensor:
        calls.append(len(logits))
        return logits + torch.randn_like(logits)

    state = torch.get_rng_state()
    look(Around(lambda z: z))
    assert torch.equal(torch.get_rng_state(), state)
    look(Around(noise))
    torch.set_rng_state(state)
    for n in calls:
        torch.randn(n, 3)
    expected = torch.get_rng_state()
    calls.clear()
    torch.set_rng_state(state)
    look(Around(noise))
    assert torch.equal(torch.get_rng_state(), expected)
    torch.set_rng_state(state)


# ---------------------------------------------------------------------- batch-dependent
COUPLED: dict[str, Callable[[], Any]] = {
    "minus the batch mean": lambda: Around(lambda z: z - z.mean(0)),
    "sorted along the batch": lambda: Around(lambda z: z.sort(0).values),
    "over the batch's largest": lambda: Around(lambda z: z / z.abs().max()),
    "first row is special": lambda: Around(
        lambda z: torch.cat([z[:1] + 1, z[1:]]) if len(z) > 1 else z
    ),
}


@pytest.mark.parametrize("name", COUPLED)
def test_models_that_mix_rows_are_found(name: str) -> None:
    traits = look(COUPLED[name]())
    assert traits.batch_dependent and not traits.randomised
    assert [flag.code for flag in traits.flags()] == ["batch_dependent_model"]


ASCENDING = torch.linspace(0, 1, 8)[:, None, None, None] * torch.ones(8, 1, 8, 8)
ASLEEP: dict[str, Callable[[Tensor], Tensor]] = {
    "of rising rows only": lambda z: z.cummax(0).values,
    "in odd company only": lambda z: (
        z - 0.1 * z.mean(0) if len(z) > 1 and len(z) % 2 else z
    ),
    "at least the first row": lambda z: torch.maximum(z, z[:1]),
    "at most the last row": lambda z: torch.minimum(z, z[-1:]),
}


@pytest.mark.parametrize("name", ASLEEP)
def test_coupling_that_sleeps_as_given_and_alone_is_found(name: str) -> None:
    """Rows in their order, and each by itself, say nothing; another order and a row more do."""

    def model(images: Tensor) -> Tensor:
        return ASLEEP[name](images.flatten(1)[:, :3] + 1)

    as_given = model(ASCENDING)
    assert torch.equal(as_given, ASCENDING.flatten(1)[:, :3] + 1)
    assert torch.equal(as_given, torch.cat([model(x[None]) for x in ASCENDING]))
    assert look(model, ASCENDING).batch_dependent


class ForcedNorm(nn.Module):
    """BatchNorm that ignores eval()."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.flat, self.norm = flat, nn.BatchNorm1d(64) if flat else nn.BatchNorm2d(1)
        self.head = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.norm.train()
        images = self.norm(images.flatten(1) if self.flat else images)
        out: Tensor = self.head(images.flatten(1))
        return out


@pytest.mark.parametrize("flat", [False, True])
def test_batch_statistics_in_forced_train_mode_are_found(flat: bool) -> None:
    """Flat: torch refuses one row ("more than 1 value per channel"); so do we, with a cure."""
    if flat:
        with pytest.raises(ModelContractError, match="refuse single rows.*FrozenBatch"):
            look(ForcedNorm(flat))
    else:
        assert look(ForcedNorm(flat)).batch_dependent


def test_one_row_cannot_show_coupling_and_a_second_one_does() -> None:
    model = COUPLED["minus the batch mean"]()
    assert not look(model, IMAGES[:1]).batch_dependent
    assert look(model, IMAGES[:2]).batch_dependent
    assert not look(model, IMAGES[:1]).batch_dependent


def test_other_errors_of_the_model_pass_through() -> None:
    def fail(logits: Tensor) -> Tensor:
        if len(logits) == 1:
            raise ValueError("needs a partner")
        return logits

    with pytest.raises(
        ModelContractError, match=r"ValueError.*\(1, .*needs a partner"
    ) as e:
        look(Around(fail))
    assert isinstance(e.value.__cause__, ValueError)
    with pytest.raises(ModelContractError):
        look(Around(lambda z: z.sum()))


# ---------------------------------------------------------------------- probabilities
def test_softmax_outputs_look_like_probs() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        traits = look(Around(lambda z: z.softmax(1), small_net().to(dtype)))
        assert [flag.code for flag in traits.flags()] == ["looks_like_probs"]
    assert look(Around(lambda z: z.softmax(1)), outputs="probs").flags() == ()
    assert look(Around(lambda z: z.sigmoid())).flags() == ()


# ---------------------------------------------------------------------- the cache
def counted() -> tuple[nn.Module, list[int]]:
    calls: list[int] = []

    def count(logits: Tensor) -> Tensor:
        calls.append(len(logits))
        return logits

    return Around(count), calls


@pytest.mark.parametrize("n", [1, 2, 8, 12])
def test_a_look_costs_what_it_says(n: int) -> None:
    model, calls = counted()
    look(model, IMAGES[:n])
    assert sum(calls) == look_cost(n) <= 57


def test_a_second_look_costs_no_forward_pass() -> None:
    model, calls = counted()
    first = look(model)
    before = len(calls)
    model.train()  # the caller's mode is not the session's
    assert look(model, IMAGES.flip(0)) is first and look(model, IMAGES[:3]) is first
    assert len(calls) == before


def _write(model: Any) -> None:
    with torch.no_grad():
        model.net[0].weight.add_(1e-3)


def _step(model: Any) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(IMAGES).sum().backward()
    optimiser.step()


def _replace(model: Any) -> None:
    model.net[0].weight = nn.Parameter(model.net[0].weight.detach().clone())


CHANGES: dict[str, Callable[[Any], object]] = {
    "in-place write": _write,
    "optimiser step": _step,
    "load_state_dict": lambda m: m.load_state_dict(m.state_dict()),
    "new parameter": _replace,
    "buffer write": lambda m: m.net[1].running_mean.add_(1),
    "another dtype": lambda m: m.double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_parameter_is_looked_at_again(change: str) -> None:
    model, calls = counted()
    look(model)
    CHANGES[change](model)
    calls.clear()
    look(model)
    assert sum(calls) == 57


def test_another_kind_of_output_or_image_is_looked_at_again() -> None:
    model = Around(
        lambda z: z.softmax(1), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    )
    assert look(model).looks_like_probs
    assert not look(model, outputs="probs").looks_like_probs
    assert look(model, IMAGES.reshape(12, 64)).looks_like_probs


def test_two_models_do_not_share_what_was_seen() -> None:
    honest, noisy = Around(lambda z: z), Around(lambda z: z + torch.randn_like(z))
    assert not look(honest).randomised and look(noisy).randomised
    assert not look(honest).randomised


def test_versions_know_every_mode() -> None:
    model = nn.Sequential(*(nn.Identity() for _ in range(130)))
    seen = {parameter_version(model)}
    for number in range(130):
        model[number].training = False
        seen.add(parameter_version(model))
        model[number].training = True
    assert len(seen) == 131
    assert parameter_version(len) is None


# ---------------------------------------------------------------------- callables
class Holder:
    """A callable object with a state that nobody can count."""

    def __init__(self) -> None:
        self.net, self.noise = small_net().eval(), 0.0

    def __call__(self, images: Tensor, shift: float = 0) -> Tensor:
        out: Tensor = self.net(images) + shift
        return out + self.noise * torch.randn(len(images), 3)


class Unhashable(Holder):
    __hash__ = None  # type: ignore[assignment]


class Slotted:
    __slots__ = ("net",)

    def __init__(self) -> None:
        self.net = small_net().eval()

    def __call__(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


def test_functions_partials_and_objects_are_looked_at() -> None:
    holder = Holder()

    def plain(images: Tensor) -> Tensor:
        return holder(images)

    models: list[Any] = [
        plain,
        functools.partial(holder, shift=1),
        holder,
        Unhashable(),
    ]
    models += [Slotted(), holder.__call__, lambda x: holder(x)]
    for model in models:
        assert look(model) == ModelTraits(3, False, False, False)


def test_a_callable_that_changes_is_not_remembered() -> None:
    """What a closure holds may be in train mode tomorrow: no version says so."""
    holder = Holder()

    def plain(images: Tensor) -> Tensor:
        return holder(images)

    assert not look(plain).randomised and not look(holder).randomised
    holder.noise = 1.0
    assert look(plain).randomised and look(holder).randomised


# ---------------------------------------------------------------------- harm
class Remembering(nn.Module):
    """Computes a table at the first call and keeps it, as rotary embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.table = nn.Linear(64, 3), None

    def forward(self, images: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, 64).sin()
        out: Tensor = self.head(images.flatten(1) * self.table)
        return out


def test_what_a_model_keeps_from_the_look_still_allows_gradients() -> None:
    model = Remembering()
    look(model)
    images = IMAGES.clone().requires_grad_(True)
    model(images).sum().backward()  # fails where the table is an inference tensor
    assert images.grad is not None


def test_a_model_that_differentiates_inside_can_be_looked_at() -> None:
    def purify(images: Tensor) -> Tensor:
        with torch.enable_grad():
            moved = images.detach().requires_grad_(True)
            (step,) = torch.autograd.grad(moved.square().sum(), moved)
        return (images - 0.1 * step).flatten(1)[:, :3]

    assert look(purify).flags() == ()
