"""Which traps of torchattacks' `Attack` lie in wait for a class that holds a model? 1-11, 13, 14, 26, 28.

Each test sets the trap with torchattacks itself, then walks over it with a probe and with `evaluate`. The
other numbers are in test_traps_zoo.py.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import ConfigError, PRTest, Verdict, evaluate
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.contract import example_images

NOT_OURS: dict[int, str] = {}
"""Number of a trap -> why it cannot concern this package: none is left."""

SHAPE = (3, 8, 8)
IMAGES = example_images(4, SHAPE)
CHANNELS = [0.0] * 3, [1.0] * 3
PRTEST = {"name": "prtest", "n_max": 60, "tolerance": 0.1, "significance": 0.1}
Test = Callable[..., None]


def net(n_classes: int = 3) -> nn.Module:
    return small_net(SHAPE, n_classes).eval()


def answers(model: nn.Module, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images).argmax(1)


LABELS = answers(net())


def quick(model: Any, kind: type[PRTest] = PRTest, **options: Any) -> Any:
    settings = dict(eps=0.1, n_max=60, significance=0.1, tolerance=0.1) | options
    return kind(model, **settings)


def silenced() -> contextlib.AbstractContextManager[Any]:
    return contextlib.redirect_stdout(io.StringIO())


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
        self.net, self.fails = net(), lambda images: False

    def forward(self, images: Tensor) -> Tensor:
        if self.fails(images):
            raise ZeroDivisionError("planted")
        return self.net(images)


def test_every_trap_has_a_test_or_a_reason() -> None:
    """Thirty traps are known; this file and its sister leave none out."""
    text = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_traps*.py")
    )
    tested = [int(number) for number in re.findall(r"^def test_trap_(\d\d)_", text, re.M)]
    assert sorted(tested + list(NOT_OURS)) == list(range(1, 31))


def test_trap_01_exception_leaves_nothing_behind() -> None:
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
        with pytest.raises(ZeroDivisionError):
            verb(IMAGES, LABELS)
        assert modes(model) == before and ours._normalization_applied is True
    model.fails = lambda images: images.requires_grad
    report = evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": ["FGSM", "GN"]})
    assert "FGSM raised ZeroDivisionError: planted" in str(report["FGSM"].error)
    assert report["GN"].error is None and modes(model) == before
    assert all(p.requires_grad for p in model.parameters())


def test_trap_02_frozen_batchnorm_stays_frozen() -> None:
    """torchattacks: after a call on a train() model every layer trains. Ours: each has its own mode."""
    model = net().train()
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
def test_trap_03_surrogates_and_parts_keep_their_own_mode(training: bool) -> None:
    """torchattacks: a surrogate ends in the mode of the outer model. Ours: in its own."""
    model, surrogate = net().train(training), net().train(not training)
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


def test_trap_04_set_model_touches_the_victim_only() -> None:
    """torchattacks: outer.set_model overwrites the model of every surrogate. Ours: its own only."""
    victim, surrogate, other = net(), net(), net()
    theirs = torchattacks.PGD(victim)
    theirs.children = [torchattacks.PGD(surrogate)]
    theirs.set_model(other)
    assert theirs.children[0].model is other
    ours = quick(victim, Nest, children=[torchattacks.PGD(surrogate), quick(surrogate)])
    ours.set_model(other)
    assert ours.model is other
    assert all(child.model is surrogate for child in ours.children)


@pytest.mark.parametrize("box", [list, tuple, set, dict])
def test_trap_05_children_are_their_owners_business_in_any_container(box: Any) -> None:
    """torchattacks: setters reach children in lists, not in tuples. Ours: never; no surprise either way."""
    child = torchattacks.PGD(net())
    held = {"child": child} if box is dict else box([child])
    theirs = torchattacks.PGD(net())
    theirs.children = held
    theirs.set_normalization_used(*CHANNELS)
    assert (child.normalization_used is not None) == (box in (list, dict))
    child = torchattacks.PGD(net())
    ours = quick(net(), Nest, children={"a": child} if box is dict else box([child]))
    ours.set_normalization_used(*CHANNELS)
    ours.set_mode_targeted_random()
    ours.set_device("meta")
    assert child.normalization_used is None and child.device == torch.device("cpu")
    assert not child.targeted and not ours._attacks
    assert ours(IMAGES, LABELS).shape == IMAGES.shape


@pytest.mark.parametrize("pair", [[torch.ones(3)] * 2, [np.ones(3), np.zeros(3)]])
def test_trap_06_lists_of_tensors_may_be_attributes(pair: Any) -> None:
    """torchattacks: "truth value is ambiguous" from __setattr__. Ours: an attribute is an attribute."""
    pair = [pair[0], pair[0] + 1]
    with pytest.raises((RuntimeError, ValueError), match="ambiguous"):
        torchattacks.PGD(net()).means = pair
    ours = quick(net(), bounds=(torch.zeros(3), torch.ones(3)))
    ours.means, ours.table = pair, {"a": pair, "b": pair}
    assert ours.means is pair and ours(IMAGES, LABELS).shape == IMAGES.shape


def test_trap_07_attributes_come_in_any_order_and_go_for_good() -> None:
    """torchattacks: an attack set before super().__init__ is a TypeError; a shorter list keeps the old ones."""
    first, second = torchattacks.PGD(net()), torchattacks.PGD(net())

    class Early(torchattacks.PGD):
        def __init__(self, model: nn.Module) -> None:
            self.children = [first]
            super().__init__(model)

    with pytest.raises(TypeError):
        Early(net())
    theirs = torchattacks.PGD(net())
    theirs.children = [first, second]
    theirs.children = [first]
    assert second in theirs._attacks.values()
    ours = quick(net(), Nest, children=[first, second])
    ours.children = [first]
    ours.set_normalization_used(*CHANNELS)
    assert second.normalization_used is None and ours.children == [first]


def test_trap_08_a_cycle_of_attacks_ends() -> None:
    """torchattacks: RecursionError in setters, calls and repr. Ours: setters, calls, copies, repr work."""
    theirs, other = torchattacks.PGD(net()), torchattacks.PGD(net())
    with pytest.raises(RuntimeError):  # RecursionError, or a dict that changes under its loop
        theirs.friend, other.friend = [other], [theirs]
        theirs.set_device("cpu")
    ours, friend = quick(net()), quick(net())
    ours.friend, friend.friend, ours.itself = [friend], [ours], ours
    ours.set_normalization_used(*CHANNELS)
    ours.set_mode_default()
    assert torch.equal(ours(IMAGES, LABELS), copy.deepcopy(ours)(IMAGES, LABELS))
    assert repr(ours).count("PRTest(") == 2


def test_trap_09_methods_keep_their_names_words_and_signatures() -> None:
    """torchattacks: setters show as wrapper_func(*args, **kwargs) without a word. Ours: as written."""
    theirs = torchattacks.PGD.set_mode_targeted_least_likely
    assert theirs.__name__ == "wrapper_func" and theirs.__doc__ is None
    assert "kth_min" not in inspect.signature(theirs).parameters
    for name, method in inspect.getmembers(PRTest, inspect.isfunction):
        if not name.startswith("_"):
            assert method.__name__ == name and method.__doc__, name
    ours = inspect.signature(PRTest.set_mode_targeted_least_likely)
    assert list(ours.parameters) == ["self", "kth_min", "quiet"]


def test_trap_10_a_refused_mode_changes_nothing() -> None:
    """torchattacks: raises when parent and siblings are targeted already. Ours: refuses, then is as before."""
    theirs = torchattacks.PGD(net())
    theirs.children = [torchattacks.PGD(net()), torchattacks.DeepFool(net())]
    with pytest.raises(ValueError, match="not supported"):
        theirs.set_mode_targeted_by_label(quiet=True)
    assert theirs.targeted and theirs.children[0].targeted
    single = torchattacks.PGD(net())
    with pytest.raises(AssertionError):
        single.set_mode_targeted_least_likely(kth_min=0, quiet=True)
    assert single.targeted
    ours = quick(net(), Nest, children=[torchattacks.DeepFool(net())])
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


def test_trap_11_random_targets_are_the_same_for_all_who_ask() -> None:
    """torchattacks: each attack draws its own. Ours: a function of seed and image, wherever it is asked."""
    model, images = net(10), example_images(20, SHAPE)
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


@pytest.mark.parametrize("way", ["by_function", "by_label", "random", "least_likely"])
def test_trap_13_every_mode_that_is_advertised_works(way: str) -> None:
    """torchattacks: LGV is "targeted", yet raises NotImplementedError. Ours: all four; LGV is refused."""
    setter, model = f"set_mode_targeted_{way}", net()
    arguments = [lambda images, labels: labels] if way == "by_function" else []
    theirs = torchattacks.LGV(model, None, verbose=False)
    theirs.load_models([model])
    getattr(theirs, setter)(*arguments, quiet=True)
    assert "targeted" in theirs.supported_mode
    if way.startswith("by"):
        with pytest.raises(NotImplementedError):
            theirs(IMAGES, LABELS)
    ours = quick(model)
    getattr(ours, setter)(*arguments)
    assert ours(IMAGES, LABELS).shape == IMAGES.shape
    assert ours.measure(IMAGES, LABELS).count(Verdict.MISCLASSIFIED) == 0
    with pytest.raises(ConfigError, match="'LGV' cannot be run by name"):
        evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": ["LGV"]})


def test_trap_14_a_targeted_success_is_a_hit_of_the_target() -> None:
    """torchattacks: MultiAttack drops targeted hits and fails on an empty list. Ours: counts them; no stage is fine."""
    model, aims = net(), (LABELS + 1) % 3
    theirs = [torchattacks.PGD(model, eps=0.5, alpha=0.1, steps=20) for _ in range(2)]
    for attack in theirs:
        attack.set_mode_targeted_by_label(quiet=True)
    hits = answers(model, theirs[0](IMAGES, aims)) == aims
    lost = answers(model, torchattacks.MultiAttack(theirs)(IMAGES, aims)) == aims
    assert hits.any() and not lost.any()
    with pytest.raises(IndexError):
        torchattacks.MultiAttack([])
    ours = quick(model, eps=0.5)
    ours.set_mode_targeted_by_label()
    result = ours.measure(IMAGES, aims)
    found = answers(model, ours(IMAGES, aims)) == aims
    assert torch.equal(found, result.n_failures > 0) and found.any()
    scores = ours.save([(IMAGES, aims)], return_verbose=True)
    assert scores[0] == pytest.approx(100 * float((~found).double().mean()))
    report = evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": []})
    assert report.worst_case() is None and report["clean"].result.clean_accuracy == 1


def test_trap_26_true_labels_as_targets_do_not_look_robust() -> None:
    """torchattacks: save then reports a robust accuracy above the clean one. Ours: every image is a hit."""
    images = example_images(20, SHAPE)
    model = net()
    truth = (answers(model, images) + (torch.arange(20) % 2)) % 3
    theirs = torchattacks.PGD(model, eps=0.5, alpha=0.1, steps=20)
    theirs.set_mode_targeted_by_label(quiet=True)
    with silenced():
        score = theirs.save([(images, truth)], return_verbose=True)[0]
    assert score > 50  # the clean accuracy
    ours = quick(model)
    ours.set_mode_targeted_by_label()
    right = answers(model, images) == truth
    assert ours.save([(images, truth)], return_verbose=True)[0] <= 50
    result = ours.measure(images, truth)
    assert (result.verdict[right] == int(Verdict.NOT_ROBUST)).all()


def test_trap_28_nothing_is_printed(capsys: Any, tmp_path: Path) -> None:
    """torchattacks: prints on construction, modes, save and load. Ours: not a word on stdout or stderr."""

    class Bare(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3]

    def use(make: Callable[[nn.Module], Any], **how: Any) -> list[str]:
        attack, path, said = make(Bare()), tmp_path / "saved.pt", []
        said.append(capsys.readouterr().out)
        attack.set_mode_targeted_random()
        attack.set_mode_default()
        said.append(capsys.readouterr().out)
        make(net()).save([(IMAGES, LABELS)], path)
        said.append(capsys.readouterr().out)
        assert len(attack.load(path)) == 1
        return [*said, capsys.readouterr().out]

    assert all(use(torchattacks.PGD))
    assert not any(use(quick))
    stages = ["PGD", "JSMA", "SparseFool", "FAB", PRTEST]
    evaluate(net(), (IMAGES, LABELS), {"eps": 0.1, "stages": stages})
    assert capsys.readouterr() == ("", "")
