"""Does the unit test of attacks let through what finds the planted class, and nothing else?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import MSA, ConfigError, InputError, ModelContractError
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.testing import (
    AttackUnitTest,
    Binarised,
    GradientKiller,
    attack_unit_test,
    small_net,
)
from torchattacks_ext.testing.binarised import (
    RIDGE,
    discriminants,
    edge_point,
    inner_point,
    plant,
)

EPS = 0.1
NET = small_net(n_classes=5).eval()
TRUNK = nn.Sequential(*list(NET)[:-1])


def images_of(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def one_step(sign: float) -> Any:
    """FGSM, or the same the wrong way."""

    def make(model: nn.Module) -> Any:
        def attack(images: Tensor, labels: Tensor) -> Tensor:
            moved = images.clone().requires_grad_()
            loss = nn.functional.cross_entropy(model(moved), labels)
            (way,) = torch.autograd.grad(loss, moved)
            return (images + sign * EPS * way.sign()).clamp(0, 1)

        return attack

    return make


def msa(model: nn.Module) -> MSA:
    return MSA(model, eps=EPS, version="quick")


# ---------------------------------------------------------------------- the test
def test_msa_passes_and_broken_attacks_fail() -> None:
    images = images_of(40)
    good = attack_unit_test(msa, NET, images, EPS)
    assert good.passed and good.n == 40 and good.share >= 0.95
    assert good.features == "what '7' takes" and good.by_chance < 10
    wrong_way = attack_unit_test(one_step(-1), NET, images, EPS)
    assert wrong_way.verdict == "failed" and wrong_way.found == 0
    nothing = attack_unit_test(lambda model: lambda x, y: x, NET, images, EPS)
    assert nothing.found == 0 and not nothing.passed

    def too_far(
        model: nn.Module,
    ) -> Any:  # judged in the ball: a jump out of it is none
        return lambda x, y: torch.full_like(x, 7.0)

    assert attack_unit_test(too_far, NET, images, EPS).found < 10


def test_a_masked_trunk_fails_gradients_and_a_surrogate_passes() -> None:
    images, masked = images_of(16), GradientKiller(TRUNK)
    lines = [{"kind": "apgd", "loss": "margin", "steps": 20}]

    def alone(model: Binarised) -> MSA:
        return MSA(model, eps=EPS, version="custom", plan=lines)

    def mixed(model: Binarised) -> MSA:
        return MSA(model, [model.on(TRUNK)], eps=EPS, version="custom", plan=lines)

    first, second = (
        attack_unit_test(make, masked, images, EPS, cut=False)
        for make in (alone, mixed)
    )
    assert first.found == 0 and second.found == second.n == first.n == 16
    assert first.features == "outputs"


@pytest.mark.slow
def test_digits() -> None:
    from torchattacks_ext.data.digits import load_digits
    from torchattacks_ext.evaluation.demo import train_demo

    images = load_digits("test")[0][:100]
    for kind in ("standard", "adversarial"):
        net = train_demo(kind, *load_digits("train"))
        for norm, eps in (("Linf", EPS), ("L2", 0.5), ("L1", 2.0)):

            def make(model: nn.Module) -> MSA:
                return MSA(model, eps=eps, norm=norm, version="quick")

            found = attack_unit_test(make, net, images, eps, norm)
            assert found.passed and found.n > 90 and found.by_chance < 10
        # a single step is not enough: the test is none that every attack passes
        assert not attack_unit_test(one_step(1), net, images, EPS).passed


# ---------------------------------------------------------------------- what is planted
@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_the_other_class_is_in_the_ball_and_not_well_inside(norm: Any) -> None:
    images, eps = images_of(12), {"Linf": EPS, "L2": 0.6, "L1": 3.0}[norm]
    with torch.no_grad():
        built = plant(TRUNK, images, eps, norm)
        assert int(built.usable.sum()) > 9
        rows = built.usable
        model, points = built.model, built.points[rows]
        size = norm_of(points - images[rows], norm)
        assert bool((size <= eps * (1 + 1e-6)).all() & (size > 0.9 * eps).all())
        assert bool((points >= 0).all() & (points <= 1).all())
        assert model(points).argmax(1).tolist() == [1] * len(points)
        clean = model(images[rows])
        assert torch.allclose(clean, torch.tensor([1.0, -1.0]), atol=1e-3)
        ids = torch.arange(12)
        inner = torch.cat(
            [inner_point(images, ids, 0.95 * eps, norm, 5, k) for k in range(9)]
        )
        assert float((model(inner).argmax(1) == 0).float().mean()) > 0.95
        far = norm_of(inner - images.repeat(9, 1, 1, 1), norm)
        assert bool((far <= 0.95 * eps * (1 + 1e-6)).all())


def test_rows_keep_their_heads_in_any_order() -> None:
    images = images_of(10)
    with torch.no_grad():
        built = plant(TRUNK, images, EPS, "Linf")
        near = edge_point(images, torch.arange(10), EPS, "Linf", 1, 0)
        whole, order = built.model(near), torch.tensor([7, 2, 2, 9])
        assert torch.equal(built.model.nearest(near), torch.arange(10))
        assert torch.allclose(built.model(near[order]), whole[order], atol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(12, 5), (5, 12)])
def test_discriminants_are_ridge_regressions(n: int, d: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inner = torch.randn(3, n, d, generator=generator, dtype=torch.float64)
    far = torch.randn(3, 2, d, generator=generator, dtype=torch.float64)
    found = discriminants(inner, far)
    for i in range(3):
        a = inner[i] - inner[i].mean(0)
        s = a.T @ a + RIDGE * a.square().mean() * n * torch.eye(d).double()
        literal = (far[i] - inner[i].mean(0)) @ torch.linalg.inv(s)
        assert torch.allclose(found[i], literal)


def test_images_that_are_too_near_are_asked_apart() -> None:
    images = images_of(6)
    twins = torch.cat([images, images, (images + EPS).clamp(0, 1)])
    sizes: list[int] = []

    def make(model: nn.Module) -> Any:
        def attack(x: Tensor, y: Tensor) -> Tensor:
            sizes.append(len(x))
            return x

        return attack

    assert attack_unit_test(make, NET, twins, EPS).n == sum(sizes) > 12
    assert len(sizes) == 3 and max(sizes) <= 6


# ---------------------------------------------------------------------- around it
def test_the_model_and_the_result() -> None:
    net = small_net(n_classes=3)
    state = torch.get_rng_state()
    found = attack_unit_test(one_step(1), net, images_of(8), EPS)
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert torch.equal(state, torch.get_rng_state())
    again = AttackUnitTest.from_json(found.to_json())
    assert again == found and again.to_json() == found.to_json()
    low, high = found.interval()
    assert low <= found.share <= high and found.summary()["n"] == found.n
    assert str(found).startswith(f"{found.verdict}: found {found.found} of {found.n}")
    data = {**found.to_dict(), "later": 1}
    assert AttackUnitTest.from_dict(data).to_dict() == data
    other = attack_unit_test(one_step(1), net, images_of(8), EPS, seed=1)
    assert other.seed == 1 and other.n > 0


def test_modes_that_an_attack_leaves_behind_do_not_count() -> None:
    net, images = small_net(n_classes=5), images_of(8)

    def make(model: nn.Module) -> Any:
        zoo = torchattacks.FGSM(model, eps=EPS)
        return lambda x, y: (model.train(), zoo(x, y))[1]

    def plain(model: nn.Module) -> Any:
        return torchattacks.FGSM(model, eps=EPS)

    one, other = (attack_unit_test(m, net, images, EPS) for m in (make, plain))
    assert one == other


class Blind(nn.Module):
    """The same features whatever it is shown."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.ones(len(images), 4)


def test_refusals() -> None:
    images = images_of(4)
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (nn.Flatten(), {}, ConfigError, "or say cut=False for a trunk"),
        (Blind(), {"cut": False}, InputError, "on none of 4 images"),
        (NET, {"eps": 0.0}, ConfigError, "must be > 0"),
        (NET, {"asked": 1.5}, ConfigError, "asked=1.5"),
        (NET, {"norm": "linf"}, ConfigError, "did you mean"),
        (NET, {"inner": 1}, ConfigError, "inner=1"),
    ]
    for model, settings, kind, words in wrong:
        with pytest.raises(kind, match=words):
            attack_unit_test(one_step(1), model, images, **settings)
    with pytest.raises(InputError, match="no images"):
        attack_unit_test(one_step(1), NET, images[:0])
    with pytest.raises(InputError, match="expected images"):
        attack_unit_test(lambda model: lambda x, y: x[:1], NET, images, EPS)


def noisy(model: Any) -> Any:
    return lambda images, labels: images + 0.1 * (2 * torch.rand_like(images) - 1)


def test_an_attack_that_draws_is_repeated_by_its_seed_and_moves_no_generator() -> None:
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = []

    def spy(model: Any) -> Any:
        def attack(images: Tensor, labels: Tensor) -> Tensor:
            seen.append(noisy(model)(images, labels))
            return seen[-1]

        return attack

    before = torch.get_rng_state()
    for _ in range(2):
        attack_unit_test(spy, small_net(), images, 0.1)
    assert torch.equal(seen[0], seen[1]) and torch.equal(before, torch.get_rng_state())


def test_inference_mode_and_double_nets_do_not_stop_an_attack_of_gradients() -> None:
    def pgd(model: Any) -> Any:
        return torchattacks.PGD(model, eps=0.1, alpha=0.02, steps=10)

    with torch.inference_mode():
        images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        assert attack_unit_test(pgd, small_net(), images, 0.1).passed
    assert attack_unit_test(pgd, small_net().double(), images, 0.1).passed


@pytest.mark.parametrize(
    "make, net, error, words",
    [
        (lambda _: None, small_net(), InputError, "make_attack gave NoneType"),
        (noisy, torch.flatten, ConfigError, "no last layer to take off"),
        (noisy, small_net().half(), ModelContractError, "give model.float()"),
    ],
)
def test_what_cannot_be_tested_is_named(
    make: Any, net: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        attack_unit_test(make, net, torch.rand(2, 1, 8, 8), 0.1)
