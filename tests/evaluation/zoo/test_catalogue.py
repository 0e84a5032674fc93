"""Is an attack built with the right radius, norm, seed and classes, or refused with a remedy?"""

from __future__ import annotations

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext.engines.zoo.attack import run_attack
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.zoo.catalogue import (
    attack_info,
    attack_names,
    ball_of,
    create_attack,
    reach,
)

pytestmark = pytest.mark.usefixtures("generators_as_before")

NAMES = attack_names()


@pytest.mark.parametrize("name", ["APGD", "APGDT", "Square", "AutoAttack"])
def test_seed_reaches_the_self_seeded_ones(name, setting, bare):
    model, images, labels = setting(3, 8, 8)
    more = {"eps": 0.3} | ({"n_queries": 20} if name == "Square" else {})
    found = [bare(name, model, images, labels, seed=s, **more) for s in (3, 2**40 + 3)]
    assert not torch.equal(*found)
    assert create_attack("AutoAttack", model, n_classes=10, seed=5).seed == 5


@pytest.mark.parametrize("n_classes", [2, 3, 4, 13])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_classes_works_or_is_refused_at_once(
    name, n_classes, setting, fast
):
    model, images, _ = setting(3, 8, 8, n_classes=n_classes)
    labels = torch.arange(4) % n_classes
    labels[0] = n_classes - 1

    def factory(victim: nn.Module):
        more = {} if name == "AutoAttack" else fast.get(name, {})
        return create_attack(name, victim, eps=0.002, n_classes=n_classes, **more)

    if n_classes < attack_info(name).min_classes:
        with pytest.raises(ConfigError, match="needs at least 4 classes"):
            factory(model)
        with pytest.raises(IndexError):  # and the class itself indeed fails
            attack = getattr(torchattacks, name)(model, eps=1e-6, n_classes=n_classes)
            attack(images, model(images).argmax(1))
        return
    if name == "AutoAttack":
        labels = labels * 0 + model(images).argmin(1)  # wrong at once: no long Square
    assert run_attack(factory, model, images, labels, 5).shape == images.shape


def test_n_classes_defaults_would_break_small_models(setting):
    model, images, labels = setting(3, 8, 8, n_classes=4)
    with pytest.raises(IndexError):
        torchattacks.APGDT(model, eps=1e-4)(images, labels)
    with pytest.raises(IndexError):
        torchattacks.JSMA(model)(images, torch.full((4,), 3))
    for name in ("APGDT", "AutoAttack", "FAB"):
        with pytest.raises(ConfigError, match="give n_classes"):
            create_attack(name, model, eps=0.1)


def test_jsma_aims_at_the_next_class_of_k(setting):
    model, images, _ = setting(3, 8, 8, n_classes=5)
    attack = create_attack("jsma", model, n_classes=5)
    aims = attack.get_target_label(images, torch.tensor([0, 1, 3, 4]))
    assert aims.tolist() == [1, 2, 4, 0]


@pytest.mark.parametrize("name", ["APGD", "APGDT", "FAB", "AutoAttack", "Square"])
def test_norm_is_passed_on_and_l1_refused(name, smooth_net):
    model = smooth_net(12)
    assert create_attack(name, model, norm="L2", eps=0.5, n_classes=10).norm == "L2"
    with pytest.raises(ConfigError, match="can do Linf, L2"):
        create_attack(name, model, norm="L1", eps=0.5, n_classes=10)


def test_foreign_balls_are_flagged_and_not_refused(smooth_net):
    assert create_attack("CW", smooth_net(12), eps=0.1, norm="Linf").c == 1
    flags = {
        n: [ball_of(attack_info(n), m) for m in ("Linf", "L2", "L1")] for n in NAMES
    }
    assert flags["PGD"] == ["native", "foreign", "foreign"]
    assert flags["PGDL2"] == ["foreign", "native", "foreign"]
    assert flags["Square"] == ["native", "native", "foreign"]
    assert flags["EADL1"] == ["foreign", "foreign", "native"]
    assert flags["OnePixel"] == flags["GN"] == ["foreign"] * 3


@pytest.mark.parametrize("name", NAMES)
def test_eps_reaches_its_argument_and_none_keeps_the_default(
    name, smooth_net, parameters
):
    info = attack_info(name)
    attack = create_attack(name.swapcase(), smooth_net(12), eps=0.125, n_classes=10)
    plain = create_attack(name, smooth_net(12), n_classes=10)
    assert attack.attack == name
    if info.eps_argument is not None:
        assert getattr(attack, info.eps_argument) == 0.125
        default = parameters(name)[info.eps_argument].default
        assert getattr(plain, info.eps_argument) == default


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("PGDD", {}, "'PGDD' is unknown; did you mean 'PGD'.*known: VANILA, GN, FGSM"),
        ("sqare", {}, "did you mean 'Square'"),
        ("", {}, "is unknown; known"),
        ("LGV", {}, "give them as surrogates"),
        ("multiattack", {}, "each is judged"),
        ("PGD", {"step": 3}, "no argument 'step'; did you mean 'steps'.*random_start"),
        ("VANILA", {"steps": 3}, "no argument 'steps'; known: none"),
        ("PGD", {"eps": 8}, r"8/255, not 8"),
        ("PGD", {"eps": -0.1}, "eps=-0.1"),
        ("PGD", {"eps": float("nan")}, "eps=nan"),
        ("PGD", {"eps": "8/255"}, "eps='8/255'"),
        ("PGD", {"norm": "L3"}, "can do Linf, L2, L1"),
        ("PIFGSM", {"eps": 0.1, "max_epsilon": 0.1}, "give the radius once"),
        ("PGD", {"steps": 0}, "steps=0: PGD needs an integer >= 1"),
        ("PGD", {"steps": 2.5}, "steps=2.5"),
        ("EADL1", {"max_iterations": 9}, "needs an integer >= 10"),
        ("APGD", {"loss": "dlr", "n_classes": 2}, "at least 3 classes"),
        ("UPGD", {"loss": "dlr", "n_classes": 2}, "at least 3 classes"),
        ("AutoAttack", {"version": "rand", "n_classes": 2}, "at least 3 classes"),
        ("AutoAttack", {"version": "fast", "n_classes": 9}, "Not valid version"),
        ("TIFGSM", {"kernel_name": "round"}, "TIFGSM refuses"),
        ("Pixle", {"restarts": -1}, "restarts must be"),
        ("APGD", {"seed": -1}, "seed=-1"),
        ("APGD", {"seed": None}, "seed=None"),
    ],
)
def test_wrong_settings_are_refused_with_a_remedy(name, arguments, message, smooth_net):
    with pytest.raises(ConfigError, match=message):
        create_attack(name, smooth_net(12), **arguments)


def test_settings_at_the_edge_are_accepted(smooth_net):
    assert create_attack("BIM", smooth_net(12), eps=8 / 255, steps=0).steps == 10
    assert create_attack("PGDL2", smooth_net(12), eps=8, norm="L2").eps == 8
    assert create_attack("PIFGSM", smooth_net(12), max_epsilon=0.2).max_epsilon == 0.2
    create_attack("AutoAttack", smooth_net(12, 3), version="rand", n_classes=3)


def test_reach(setting, bare):
    assert reach("PGD", eps=8 / 255) == pytest.approx(2.5)
    assert reach("PGD", eps=0.3, alpha=0.03, steps=20) == pytest.approx(2)
    assert reach("FFGSM", eps=20 / 255) == pytest.approx(0.5)
    assert reach("APGD", eps=0.3) is reach("CW", eps=0.3) is reach("BIM", eps=0) is None
    model, images, labels = setting(3, 8, 8)
    moved = bare("BIM", model, images, labels, eps=0.3) - images
    assert moved.abs().max() <= 0.3 * reach("BIM", eps=0.3) + 1e-6


def test_caveats_of_spsa_and_pifgsmpp_targets_are_the_given_labels(setting, fast):
    def never(images: Tensor, labels: Tensor) -> Tensor:
        raise AssertionError("the target function was asked")

    model, images, labels = setting(3, 8, 8)
    for name in NAMES:
        if not attack_info(name).targeted:
            continue
        attack = create_attack(name, model, n_classes=10, **fast.get(name, {}))
        attack.set_mode_targeted_by_function(never, quiet=True)
        deaf = "in every targeted mode" in attack_info(name).caveat
        assert deaf == (name in ("SPSA", "PIFGSMPP"))
        if deaf:
            attack(images, labels)
        else:
            with pytest.raises(AssertionError, match="was asked"):
                attack(images, labels)


def test_caveats_of_cw(smooth_net, setting, bare):
    model, images, labels = setting(3, 8, 8)
    extreme = (images > 0.5).float()
    aim = model(extreme).argmax(1)
    assert torch.equal(bare("CW", model, extreme, aim, c=100.0), extreme)

    class Shifted(smooth_net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) - 20

    moved = bare("CW", model, images, labels, c=100.0)
    shifted = bare("CW", Shifted(192), images, labels, c=100.0)
    broken = [(model(x).argmax(1) != labels).sum() for x in (moved, shifted)]
    assert broken[0] > broken[1]
