"""Which traps of torchattacks lie in wait for who holds a model or another attack? Numbers 1 to 11.

Each test sets the trap with torchattacks 3.5.1 itself, then walks over it with a probe and, where
that can fall into it, with `evaluate`. The others are in test_traps_calls.py, test_traps_zoo.py
and test_traps_layout.py.
"""

from __future__ import annotations

import copy
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import ConfigError, ModelContractError, PRTest, evaluate
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

NOT_OURS: dict[int, str] = {}
"""Number of a trap -> why it cannot concern this package: none is left."""

SHAPE = (3, 8, 8)
IMAGES = example_images(4, SHAPE)
CHANNELS = [0.0] * 3, [1.0] * 3
PRTEST = {"name": "prtest", "n_max": 60, "tolerance": 0.1, "significance": 0.1}


LABELS = small_net(SHAPE).eval()(IMAGES).argmax(1)


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


class Nest(PRTest):
    """A probe that holds other attacks, set before and after the base's constructor."""

    def __init__(self, model: Any, children: Any = (), **options: Any) -> None:
        self.children = children
        super().__init__(model, **options)
        self.children = children


class Fragile(nn.Module):
    """A net that fails when `fails(images)`."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.fails = small_net(SHAPE).eval(), lambda images: False

    def forward(self, images: Tensor) -> Tensor:
        if self.fails(images):
            raise ZeroDivisionError("planted")
        return self.net(images)


def test_every_trap_has_a_test_or_a_reason() -> None:
    """Thirty traps are known; the four files leave none out."""
    text = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_traps*.py")
    )
    tested = [
        int(number) for number in re.findall(r"^def test_trap_(\d\d)_", text, re.M)
    ]
    assert sorted(tested + list(NOT_OURS)) == list(range(1, 31))


def test_trap_01_exception_leaves_nothing_behind(quick: Any) -> None:
    """torchattacks: eval mode, and normalisation off for the next call. Ours: all as before."""
    model = Fragile().train()
    theirs = torchattacks.PGD(model)
    theirs.set_normalization_used(*CHANNELS)
    model.fails = lambda images: True
    with pytest.raises(ZeroDivisionError):
        theirs(IMAGES, LABELS)
    assert not model.training and theirs._normalization_applied is False
    ours = quick(model.train())
    ours.set_normalization_used(*CHANNELS)
    before = modes(model)
    for verb in (ours, ours.measure, lambda x, y: ours.save([(x, y)])):
        with pytest.raises(ModelContractError, match="ZeroDivisionError.*planted"):
            verb(IMAGES, LABELS)
        assert modes(model) == before and ours._normalization_applied is True
    model.fails = lambda images: images.requires_grad
    report = evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": ["FGSM", "GN"]})
    assert "the model raised ZeroDivisionError" in str(report["FGSM"].error)
    assert report["GN"].error is None and modes(model) == before
    assert all(p.requires_grad for p in model.parameters())


def test_trap_02_frozen_batchnorm_stays_frozen(
    quick: Any, silenced: Any, make_net: Any
) -> None:
    """torchattacks: after a call on a train() model every layer trains. Ours: each as before."""
    model = make_net().train()
    model[1].eval()
    before = modes(model)
    with silenced():
        torchattacks.PGD(model)(IMAGES, LABELS)
    assert model[1].training
    model[1].eval()
    ours = quick(model)
    for verb in (ours, ours.measure, lambda x, y: ours.save([(x, y)])):
        verb(IMAGES, LABELS)
        assert modes(model) == before
    evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": ["PGD", PRTEST]})
    assert modes(model) == before


@pytest.mark.parametrize("training", [True, False])
def test_trap_03_surrogates_and_parts_keep_their_own_mode(
    training: bool, quick: Any, make_net: Any
) -> None:
    """torchattacks: a surrogate ends in the mode of the outer model. Ours: in its own."""
    model, surrogate = make_net().train(training), make_net().train(not training)
    theirs = torchattacks.PGD(model)
    theirs.children = [torchattacks.PGD(surrogate)]
    theirs(IMAGES, LABELS)
    assert surrogate.training is training
    surrogate.train(not training)
    quick(model, Nest, children=[torchattacks.PGD(surrogate)])(IMAGES, LABELS)
    assert surrogate.training is not training
    model[5].train(not training)
    before = modes(model)
    evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": ["PGD", PRTEST]})
    assert modes(model) == before


def test_trap_04_set_model_touches_the_victim_only(quick: Any, make_net: Any) -> None:
    """torchattacks: set_model overwrites the model of every surrogate. Ours: its own only."""
    victim, surrogate, other = make_net(), make_net(), make_net()
    theirs = torchattacks.PGD(victim)
    theirs.children = [torchattacks.PGD(surrogate)]
    theirs.set_model(other)
    assert theirs.children[0].model is other
    ours = quick(victim, Nest, children=[torchattacks.PGD(surrogate), quick(surrogate)])
    ours.set_model(other)
    assert ours.model is other
    assert all(child.model is surrogate for child in ours.children)


@pytest.mark.parametrize("box", [list, tuple, set, dict])
def test_trap_05_children_are_their_owners_business_in_any_container(
    box: Any, quick: Any, make_net: Any
) -> None:
    """torchattacks: setters reach children in lists, not in tuples. Ours: never, in no box."""
    child = torchattacks.PGD(make_net())
    held = {"child": child} if box is dict else box([child])
    theirs = torchattacks.PGD(make_net())
    theirs.children = held
    theirs.set_normalization_used(*CHANNELS)
    assert (child.normalization_used is not None) == (box in (list, dict))
    child = torchattacks.PGD(make_net())
    ours = quick(
        make_net(), Nest, children={"a": child} if box is dict else box([child])
    )
    ours.set_normalization_used(*CHANNELS)
    ours.set_mode_targeted_random()
    ours.set_device("meta")
    assert child.normalization_used is None and child.device == torch.device("cpu")
    assert not child.targeted and not ours._attacks
    assert ours(IMAGES, LABELS).shape == IMAGES.shape


@pytest.mark.parametrize("pair", [[torch.ones(3)] * 2, [np.ones(3), np.zeros(3)]])
def test_trap_06_lists_of_tensors_may_be_attributes(
    pair: Any, quick: Any, make_net: Any
) -> None:
    """torchattacks: "truth value is ambiguous" from __setattr__. Ours: they are just kept."""
    pair = [pair[0], pair[0] + 1]
    with pytest.raises((RuntimeError, ValueError), match="ambiguous"):
        torchattacks.PGD(make_net()).means = pair
    ours = quick(make_net(), bounds=(torch.zeros(3), torch.ones(3)))
    ours.means, ours.table = pair, {"a": pair, "b": pair}
    assert ours.means is pair and ours(IMAGES, LABELS).shape == IMAGES.shape


def test_trap_07_attributes_come_in_any_order_and_go_for_good(
    quick: Any, make_net: Any
) -> None:
    """torchattacks: TypeError before super().__init__; a shorter list keeps all. Ours: neither."""
    first, second = torchattacks.PGD(make_net()), torchattacks.PGD(make_net())

    class Early(torchattacks.PGD):
        def __init__(self, model: nn.Module) -> None:
            self.children = [first]
            super().__init__(model)

    with pytest.raises(TypeError):
        Early(make_net())
    theirs = torchattacks.PGD(make_net())
    theirs.children = [first, second]
    theirs.children = [first]
    assert second in theirs._attacks.values()
    ours = quick(make_net(), Nest, children=[first, second])
    ours.children = [first]
    ours.set_normalization_used(*CHANNELS)
    assert second.normalization_used is None and ours.children == [first]


def test_trap_08_a_cycle_of_attacks_ends(quick: Any, make_net: Any) -> None:
    """torchattacks: RecursionError in setters and repr. Ours: setters, calls, copies, repr work."""
    theirs, other = torchattacks.PGD(make_net()), torchattacks.PGD(make_net())
    with pytest.raises(
        RuntimeError
    ):  # RecursionError, or a dict that changes under its loop
        theirs.friend, other.friend = [other], [theirs]
        theirs.set_device("cpu")
    ours, friend = quick(make_net()), quick(make_net())
    ours.friend, friend.friend, ours.itself = [friend], [ours], ours
    ours.set_normalization_used(*CHANNELS)
    ours.set_mode_default()
    assert torch.equal(ours(IMAGES, LABELS), copy.deepcopy(ours)(IMAGES, LABELS))
    assert repr(ours).count("PRTest(") == 2


def test_trap_09_methods_keep_their_names_words_and_signatures() -> None:
    """torchattacks: setters show as wrapper_func(*args, **kwargs). Ours: as written, with words."""
    theirs = torchattacks.PGD.set_mode_targeted_least_likely
    assert theirs.__name__ == "wrapper_func" and theirs.__doc__ is None
    assert "kth_min" not in inspect.signature(theirs).parameters
    for name, method in inspect.getmembers(PRTest, inspect.isfunction):
        if not name.startswith("_"):
            assert method.__name__ == name and method.__doc__, name
    ours = inspect.signature(PRTest.set_mode_targeted_least_likely)
    assert list(ours.parameters) == ["self", "kth_min", "quiet"]


def test_trap_10_a_refused_mode_changes_nothing(quick: Any, make_net: Any) -> None:
    """torchattacks: raises when parent and siblings are targeted already. Ours: is as before."""
    theirs = torchattacks.PGD(make_net())
    theirs.children = [torchattacks.PGD(make_net()), torchattacks.DeepFool(make_net())]
    with pytest.raises(ValueError, match="not supported"):
        theirs.set_mode_targeted_by_label(quiet=True)
    assert theirs.targeted and theirs.children[0].targeted
    single = torchattacks.PGD(make_net())
    with pytest.raises(AssertionError):
        single.set_mode_targeted_least_likely(kth_min=0, quiet=True)
    assert single.targeted
    ours = quick(make_net(), Nest, children=[torchattacks.DeepFool(make_net())])
    with pytest.raises(ConfigError, match="kth_min=0"):
        ours.set_mode_targeted_least_likely(kth_min=0)
    with pytest.raises(ConfigError, match="set_mode_targeted_by_label"):
        ours.set_mode_targeted_by_function(None)
    assert ours.attack_mode == "default" and not ours.targeted
    ours.supported_mode = ["default"]
    for way in ("random", "least_likely", "by_label"):
        with pytest.raises(ConfigError, match="no targeted mode"):
            getattr(ours, f"set_mode_targeted_{way}")()
        assert ours.attack_mode == "default" and not ours.targeted
    assert ours._target_map_function is None


def test_trap_11_random_targets_are_the_same_for_all_who_ask(
    answers: Any, make_net: Any, quick: Any
) -> None:
    """torchattacks: each attack draws its own. Ours: a function of seed, image and label."""
    model, images = make_net(10), example_images(20, SHAPE)
    labels = answers(model, images)
    theirs = torchattacks.PGD(model)
    theirs.children = [torchattacks.PGD(model)]
    theirs.set_mode_targeted_random(quiet=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        asked = [a.get_target_label(images, labels) for a in (theirs, *theirs.children)]
    assert not torch.equal(*asked)
    ours = [quick(model), quick(model), quick(model, seed=1)]
    for attack in ours:
        attack.set_mode_targeted_random()
    found = [attack.get_target_label(images, labels) for attack in ours]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(ours[0].measure(images, labels).reference, found[0])
