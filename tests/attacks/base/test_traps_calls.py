"""Which traps of torchattacks lie in wait for who calls an attack or saves? 13-16, 23-26, 28.

Each test sets the trap with torchattacks 3.5.1 itself, then walks over it with a probe and, where
that can fall into it, with `evaluate`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import ConfigError, InputError, PRTest, Verdict, evaluate
from torchattacks_ext.testing import RateVictim, small_net
from torchattacks_ext.testing.props import example_images

SHAPE = (3, 8, 8)
IMAGES = example_images(4, SHAPE)
PRTEST = {"name": "prtest", "n_max": 60, "tolerance": 0.1, "significance": 0.1}
PLAN = {"eps": 0.1, "stages": [{"name": "PGD", "alpha": 0.05}, PRTEST]}


LABELS = small_net(SHAPE).eval()(IMAGES).argmax(1)


def seen(
    model: Any, images: Tensor = IMAGES, labels: Tensor = LABELS
) -> dict[str, Any]:
    """What every stage of PLAN found, all columns."""
    report = evaluate(model, (images, labels), PLAN)
    assert not report.failed
    return {s.name: s.result.to_dict()["columns"] for s in report.stages if s.result}


@pytest.mark.parametrize("way", ["by_function", "by_label", "random", "least_likely"])
def test_trap_13_every_mode_that_is_advertised_works(
    way: str, quick: Any, make_net: Any
) -> None:
    """torchattacks: LGV can "targeted", but two ways are not implemented. Ours: all four work."""
    setter, model = f"set_mode_targeted_{way}", make_net()
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


def test_trap_14_a_targeted_success_is_a_hit_of_the_target(
    make_net: Any, answers: Any, quick: Any
) -> None:
    """torchattacks: MultiAttack drops hits, and IndexError without attacks. Ours: hits count."""
    model, aims = make_net(), (LABELS + 1) % 3
    theirs = [
        torchattacks.PGD(model, eps=0.5, alpha=0.1, steps=20, random_start=False)
        for _ in range(2)
    ]
    for attack in theirs:
        attack.set_mode_targeted_by_label(quiet=True)
    hits = answers(model, theirs[0](IMAGES, aims)) == aims
    lost = answers(model, torchattacks.MultiAttack(theirs)(IMAGES, aims)) == aims
    assert hits.any() and not lost.any()
    with pytest.raises(IndexError):
        torchattacks.MultiAttack([])
    half, images = RateVictim(0.5), IMAGES.clone()
    images[:, 0, 0, 0] = 0.5  # class 0, and half of the draws are class 1
    ours, aims = quick(half), torch.tensor([1, 1, 1, 0])
    ours.set_mode_targeted_by_label()
    result, found = ours.measure(images, aims), ours(images, aims)
    assert result.count(Verdict.NOT_ROBUST) == 4 and torch.equal(
        answers(half, found), aims
    )
    assert ours.save([(images, aims)], return_verbose=True)[0] == 0
    report = evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": []})
    assert report.worst_case() is None and report["clean"].result.clean_accuracy == 1


def test_trap_15_save_takes_the_arguments_of_attack(quick: Any, make_net: Any) -> None:
    """torchattacks: MultiAttack.save has other arguments. Ours: those of Attack, and no graph."""
    names = "data_loader save_path verbose return_verbose save_predictions"
    names += " save_clean_inputs save_type"
    theirs = torchattacks.MultiAttack(
        [torchattacks.PGD(make_net()), torchattacks.PGD(make_net())][:1] * 2
    )
    for keyword in ("save_type", "save_clean_inputs"):
        with pytest.raises(TypeError, match=keyword):
            theirs.save([(IMAGES, LABELS)], **{keyword: "int"})
    assert list(inspect.signature(PRTest.save).parameters) == ["self", *names.split()]
    ours = quick(make_net().train())
    for save_type in ("float", "int"):
        assert ours.save([(IMAGES, LABELS)], return_verbose=True, save_type=save_type)
    found = ours(IMAGES, LABELS)
    assert found.grad_fn is None and not found.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_trap_16_gradients_are_switched_on_where_they_are_needed(
    mode: Any, make_net: Any, quick: Any
) -> None:
    """torchattacks: "does not require grad" under no_grad. Ours: the same numbers as ever."""
    model = make_net()
    expected = seen(model), quick(model)(IMAGES, LABELS)
    with mode():
        images, labels = IMAGES * 1, LABELS * 1
        with pytest.raises(RuntimeError):
            torchattacks.PGD(model)(images, labels)
        assert seen(model, images, labels) == expected[0]
        assert torch.equal(quick(model)(images, labels), expected[1])
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("form", ["dict", "tuple", "one logit"])
def test_trap_23_outputs_of_every_form_are_scores(
    form: str, answers: Any, wrapped: Any, quick: Any
) -> None:
    """torchattacks: dicts, tuples and one logit fail in the loss. Ours: all are understood."""
    forms = {
        "dict": lambda z: {"logits": z},
        "tuple": lambda z: (z, z.sum()),
        "one logit": lambda z: z[:, :1] - z[:, 1:2],
    }
    twins = {"one logit": lambda z: torch.stack([0 * z[:, 0], z[:, 0] - z[:, 1]], 1)}
    model = wrapped(forms[form], SHAPE)
    twin = wrapped(twins.get(form, lambda z: z), SHAPE)
    labels = answers(twin)
    with pytest.raises((TypeError, AttributeError, IndexError)):
        torchattacks.PGD(model)(IMAGES, labels.clamp_min(1))
    assert seen(model, labels=labels) == seen(twin, labels=labels)
    assert torch.equal(quick(model)(IMAGES, labels), quick(twin)(IMAGES, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.uint8])
def test_trap_24_input_of_another_dtype_is_cast_or_refused_in_words(
    dtype: Any, quick: Any, make_net: Any
) -> None:
    """torchattacks: half, double, uint8 images fail on a float model. Ours: cast, or told why."""
    images = (IMAGES * 255).to(dtype) if dtype == torch.uint8 else IMAGES.to(dtype)
    with pytest.raises(RuntimeError):
        torchattacks.PGD(make_net())(images, LABELS)
    if dtype == torch.uint8:
        for refused in (
            quick(make_net()),
            quick(make_net()).measure,
            lambda x, y: seen(make_net(), x, y),
        ):
            with pytest.raises(InputError, match=r"images.float\(\) / 255"):
                refused(images, LABELS)
        return
    assert quick(make_net())(images, LABELS).dtype == dtype
    assert seen(make_net(), images) == seen(make_net(), images.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert quick(make_net())(IMAGES, LABELS).dtype == torch.float32
        assert seen(make_net()).keys() == {"clean", "PGD", "prtest"}


def batches(n: int = 2) -> Iterator[Any]:
    for start in range(0, 4, 4 // n):
        rows = slice(start, start + 4 // n)
        yield {"image": IMAGES[rows], "label": LABELS[rows]}


def test_trap_25_whatever_yields_batches_can_be_saved(
    tmp_path: Path, monkeypatch: Any, silenced: Any, make_net: Any, quick: Any
) -> None:
    """torchattacks: fails on generators, dicts, channels_last; writes n times. Ours: once."""
    last = IMAGES.contiguous(memory_format=torch.channels_last)
    loaders = [batches, lambda: list(batches()), lambda: [(last, LABELS)], lambda: []]
    for make in loaders:
        with silenced(), pytest.raises(
            (TypeError, AttributeError, RuntimeError, NameError)
        ):
            torchattacks.PGD(make_net()).save(make())
    path, written, write = tmp_path / "saved.pt", [], torch.save
    monkeypatch.setattr(torch, "save", lambda *a: written.append(a[1]) or write(*a))
    with pytest.raises(UnboundLocalError):
        torchattacks.PGD(make_net()).save(
            [(IMAGES, LABELS)], path, verbose=False, save_predictions=True
        )
    torchattacks.PGD(make_net()).save([(IMAGES, LABELS)] * 5, path, verbose=False)
    assert len(written) == 5
    for make in loaders[:-1]:
        written.clear()
        quick(make_net()).save(make(), path, verbose=False, save_predictions=True)
        assert len(written) == 1
        assert torch.equal(torch.load(path, weights_only=True)["labels"], LABELS)
    with pytest.raises(InputError, match="the loader is empty"):
        quick(make_net()).save([])
    with pytest.raises(InputError, match="the data are empty"):
        evaluate(make_net(), [], PLAN)


def test_trap_26_true_labels_as_targets_do_not_look_robust(
    make_net: Any, silenced: Any, quick: Any, answers: Any
) -> None:
    """torchattacks: save then reports more than the clean accuracy. Ours: each is a hit."""
    images = example_images(20, SHAPE)
    model = make_net()
    truth = (answers(model, images) + (torch.arange(20) % 2)) % 3
    theirs = torchattacks.PGD(model, eps=0.5, alpha=0.1, steps=20, random_start=False)
    theirs.set_mode_targeted_by_label(quiet=True)
    with silenced():
        score = theirs.save([(images, truth)], return_verbose=True)[0]
    assert score > 50  # the clean accuracy
    ours, still = quick(RateVictim(0.5)), IMAGES.clone()
    still[:, 0, 0, 0] = 0.5  # class 0, and half of the draws are class 1
    labels = torch.tensor([0, 1, 0, 1])
    ours.set_mode_targeted_by_label()
    assert ours.save([(still, labels)], return_verbose=True)[0] == 0
    verdict = ours.measure(still, labels).verdict
    assert (verdict == int(Verdict.NOT_ROBUST)).all()


def test_trap_28_nothing_is_printed(
    capsys: Any, tmp_path: Path, quick: Any, answers: Any, make_net: Any
) -> None:
    """torchattacks: prints when built, set, saved and loaded. Ours: not a word."""

    class Bare(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3]

    def use(make: Callable[[nn.Module], Any], **how: Any) -> list[str]:
        attack, path, said = make(Bare()), tmp_path / "saved.pt", []
        said.append(capsys.readouterr().out)
        attack.set_mode_targeted_random()
        attack.set_mode_default()
        said.append(capsys.readouterr().out)
        make(make_net()).save([(IMAGES, LABELS)], path)
        said.append(capsys.readouterr().out)
        assert len(attack.load(path)) == 1
        return [*said, capsys.readouterr().out]

    assert all(use(torchattacks.PGD))
    assert not any(use(quick))
    theirs = {"name": "attack", "attack": "AutoAttack"}
    sparse = {"name": "SparseFool", "steps": 1}
    stages = [theirs, "autoattack", sparse, "FAB", PRTEST]
    model = small_net(SHAPE, 5).eval()
    evaluate(model, (IMAGES, answers(model)), {"eps": 0.5, "stages": stages})
    assert capsys.readouterr() == ("", "")
