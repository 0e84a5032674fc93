"""Is what the table says about each attack true of the class, read and run?"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext.engines.zoo.attack import run_attack
from torchattacks_ext.errors import BackendError
from torchattacks_ext.evaluation.zoo.catalogue import (
    EXCLUDED,
    attack_info,
    attack_names,
    ball_of,
    create_attack,
)

pytestmark = pytest.mark.usefixtures("generators_as_before")

NAMES = attack_names()
# Snapshot of (steps argument, its default): a new release of torchattacks must not pass unseen.
STEPS = dict.fromkeys(NAMES, ("steps", 10))
STEPS |= dict.fromkeys(("VANILA", "GN", "FGSM", "FFGSM", "JSMA"), (None, None))
STEPS |= {"AutoAttack": (None, None), "SPSA": ("nb_iter", 1), "CW": ("steps", 50)}
STEPS |= dict.fromkeys(("EADL1", "EADEN"), ("max_iterations", 100))
STEPS |= dict.fromkeys(("PIFGSM", "PIFGSMPP"), ("num_iter_set", 10))
STEPS |= {"DeepFool": ("steps", 50), "Pixle": ("max_iterations", 10)}
STEPS |= {"Square": ("n_queries", 5000)}


def test_every_exported_class_is_registered_or_excluded():
    assert len(NAMES) == len(set(NAMES)) == 37
    assert [n for n in torchattacks.__all__ if n not in EXCLUDED] == sorted(
        NAMES, key=torchattacks.__all__.index
    )
    assert set(EXCLUDED) == set(torchattacks.__wrapper__)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_modes_are_those_of_the_class(smooth_net, name, parameters):
    info, arguments = attack_info(name), parameters(name)
    live = getattr(torchattacks, name)(smooth_net(4))
    radius = {"eps", "max_epsilon"} & set(arguments)
    assert radius == ({info.eps_argument} - {None})
    steps = {"steps", "nb_iter", "num_iter_set", "max_iterations", "n_queries"}
    assert steps & set(arguments) == ({info.steps_argument} - {None})
    assert (info.steps_argument, info.default_steps) == STEPS[name]
    assert info.targeted == ("targeted" in live.supported_mode)
    assert (info.classes is not None) == ("n_classes" in arguments)
    assert bool(info.norms) == ("norm" in arguments) == hasattr(live, "norm")
    assert (info.seeding == "self-seeded") == ("seed" in arguments)
    assert info.paper == "" or info.paper in getattr(torchattacks, name).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_norm_is_the_documented_distance(name):
    found = re.search("Distance Measure : (.*)", getattr(torchattacks, name).__doc__)
    info = attack_info(name)
    if found is None:
        assert info.norm is None and name in ("VANILA", "GN")
    else:
        documented = set(re.findall(r"L(?:inf|\d)", found[1]))
        if name not in (
            "FAB",
            "EADEN",
        ):  # FAB's L1 fails; EADEN minimises L2^2 + beta L1
            assert documented == {*info.norms} | {info.norm}
        assert info.norm in documented


BOUNDED = [
    (name, norm)
    for name in NAMES
    for norm in ("Linf", "L2")
    if attack_info(name).eps_argument and ball_of(attack_info(name), norm) == "native"
]


@pytest.mark.parametrize(("name", "norm"), BOUNDED)
def test_eps_bounds_the_attack_in_its_own_norm(name, norm, setting, bare, fast):
    model, images, labels = setting(3, 8, 8)
    eps = 0.3 if name == "AutoAttack" else 0.07  # broken by APGD: no long Square
    more = {"norm": norm, "eps": eps, **fast.get(name, {})}
    found = bare(name, model, images, labels, **more)
    order = {"Linf": float("inf"), "L2": 2}[norm]
    size = (found - images).flatten(1).norm(order, dim=1)
    assert 0 < size.max() <= eps + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_seeding_is_as_declared(name, setting, bare, fast):
    """Two global seeds, two numbers looked at: the candidates and the state afterwards."""
    model, images, labels = setting(3, 8, 8)
    found, states = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1:3]
        more = {"eps": 0.3} if name == "AutoAttack" else fast.get(name, {})
        found.append(bare(name, model, images, labels, **more))
        after = torch.get_rng_state(), np.random.get_state()[1:3]
        moved_torch = not torch.equal(before[0], after[0])
        moved_numpy = any(not np.array_equal(a, b) for a, b in zip(before[1], after[1]))
        states.append(after[0])
    seeding = attack_info(name).seeding
    assert torch.equal(*found) == (seeding != "global generator")
    assert (moved_torch or moved_numpy) == (seeding != "deterministic")
    assert torch.equal(*states) == (seeding == "self-seeded")


@pytest.mark.parametrize("name", NAMES)
def test_spatial_and_channels_say_which_shapes_work(name, setting, fast):
    info = attack_info(name)

    def works(*shape: int) -> bool:
        model, images, labels = setting(*shape)
        try:
            run_attack(
                lambda m: create_attack(
                    name, m, eps=0.3, n_classes=10, **fast.get(name, {})
                ),
                model,
                images,
                labels,
                5,
            )
        except BackendError:
            return False
        return True

    assert works(3, 8, 8)
    assert works(1, 8, 8) == (info.channels is None)
    if name != "PGDRS":
        assert works(12) == works(3, 4) == (not info.spatial)


def test_pgdrs_mixes_images_that_are_not_spatial(setting, bare):
    """It runs on (N, D) without an error: hence spatial although nothing is raised."""
    for shape, right in (((12, 1, 1), True), ((12,), False)):
        model, images, labels = setting(*shape)
        found = bare("PGDRS", model, images, labels, steps=1, noise_sd=0.0, alpha=0.1)
        x = images.clone().requires_grad_()
        nn.functional.cross_entropy(model(x), labels).backward()
        assert torch.allclose(found, images + 0.1 * x.grad.sign(), atol=1e-6) == right


@pytest.mark.parametrize("name", NAMES)
def test_access_says_what_the_attack_asks_for(name, smooth_net, setting, bare, fast):
    asked = []

    class Watched(smooth_net):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            if logits.requires_grad:
                logits.register_hook(asked.append)
            return logits

    _, images, labels = setting(3, 8, 8)
    model = Watched(192)
    bare(name, model, images, labels, **({"eps": 0.3} | fast.get(name, {})))
    access = attack_info(name).access
    assert bool(asked) == (access == "white-box")
    assert bool(model.calls) == (access != "none")


def test_four_documented_defaults_are_false(parameters):
    documented = {
        ("SPSA", "eps"): ("8/255", 0.3),
        ("PGDRS", "steps"): ("40", 10),
        ("AutoAttack", "eps"): ("0.3", 8 / 255),
        ("AutoAttack", "seed"): ("0", None),
    }
    for (name, argument), (said, true) in documented.items():
        text = getattr(torchattacks, name).__doc__
        found = re.search(rf"\b{argument} \(\w+\): .*?\(Default: (.*?)\)", text)
        assert found is not None and found[1] == said
        assert parameters(name)[argument].default == true


@pytest.mark.parametrize("name", ["APGD", "APGDT", "FAB", "Square"])
def test_caveat_images_not_broken_come_back_unchanged(name, setting, bare):
    model, images, labels = setting(3, 8, 8)
    more = {"eps": 1e-6, "n_queries": 5} if name == "Square" else {"eps": 1e-6}
    assert "come back unchanged" in attack_info(name).caveat
    assert torch.equal(bare(name, model, images, labels, **more), images)


@pytest.mark.parametrize("name", ["EADL1", "EADEN"])
def test_caveat_of_ead_the_reference_image_moves(name, setting):
    class Spy(getattr(torchattacks, name)):
        references: list[Tensor] = []

        def FISTA(self, images, x_k, y_k):
            self.references.append(images.clone())
            return super().FISTA(images, x_k, y_k)

    model, images, labels = setting(3, 8, 8)
    Spy(model, max_iterations=10, initial_const=100.0)(images, labels)
    assert not torch.allclose(Spy.references[0], images, atol=1e-3)


def test_other_caveats(setting, bare):
    model, images, labels = setting(3, 8, 8)
    other = (labels + 1) % 10
    spsa = torchattacks.SPSA(model)(images, labels) - images
    assert 0 < spsa.abs().max() <= 0.01 + 1e-6
    found = []
    for y in (labels, other):
        torch.manual_seed(3)
        found.append(bare("TPGD", model, images, y))
    assert torch.equal(*found)
    upgd, mifgsm = (bare(n, model, images, labels) for n in ("UPGD", "MIFGSM"))
    assert torch.equal(upgd, mifgsm)
    changed = bare("PIFGSM", model, images, labels, momentum=0.1, prob=0.1)
    assert torch.equal(changed, bare("PIFGSM", model, images, labels))
    inner = create_attack("AutoAttack", model, n_classes=10)._autoattack.attacks
    assert [getattr(a, "steps", None) for a in inner] == [10, 10, 10, None]


@pytest.mark.parametrize("name", ["DIFGSM", "TIFGSM"])
def test_caveat_of_input_diversity_square_images(name, setting, bare):
    model, images, labels = setting(3, 8, 16)
    torch.manual_seed(0)
    bare(name, model, images, labels)
    assert {tuple(shape[2:]) for shape in model.calls} == {(8, 16), (16, 16)}
