"""Which traps of torchattacks lie in wait for who runs many attacks? 12, 17-22, 27 and 29.

Each test sets the trap with torchattacks 3.5.1 itself, then walks over it with `evaluate` and,
where that can fall into it, with a probe.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn
from torchattacks.attack import Attack

from torchattacks_ext import ConfigError, InputError, NormalizedModel, Verdict, evaluate
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

SHAPE = (3, 8, 8)
IMAGES = example_images(4, SHAPE)
PRTEST = {"name": "prtest", "n_max": 60, "tolerance": 0.1, "significance": 0.1}
MOMENTS = [0.5] * 3, [0.25] * 3


LABELS = small_net(SHAPE).eval()(IMAGES).argmax(1)


class Watched(nn.Module):
    """A net that wants normalised images and notes the least pixel of all that it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.fed = small_net(SHAPE).eval(), []

    def forward(self, images: Tensor) -> Tensor:
        self.fed.append(float(images.detach().min()))
        return self.net(images)


def test_trap_12_an_attack_made_late_still_gets_normalised_data(
    run: Any, quick: Any
) -> None:
    """torchattacks: one made inside forward feeds [0, 1] to the model. Ours: always normalised."""

    class Late(Attack):
        def forward(self, images: Tensor, labels: Any = None) -> Tensor:
            return torchattacks.PGD(self.model)(images, labels)

    model = Watched()
    theirs = Late("Late", model)
    theirs.set_normalization_used(*MOMENTS)
    theirs((IMAGES - 0.5) / 0.25, LABELS)
    assert min(model.fed) > -0.1
    model.fed.clear()
    run(
        NormalizedModel(model, *MOMENTS), "PGD", "FAB", PRTEST
    )  # an attack is made for each batch
    assert len(model.fed) > 10 and max(model.fed) < -1
    model.fed.clear()
    ours = quick(model)
    ours.set_normalization_used(*MOMENTS)
    first = ours((IMAGES - 0.5) / 0.25, LABELS)
    assert torch.equal(ours((IMAGES - 0.5) / 0.25, LABELS), first)
    assert max(model.fed) < -1


def test_trap_17_gradients_of_the_parameters_are_left_alone(
    make_net: Any, quick: Any, answers: Any, run: Any
) -> None:
    """torchattacks: five attacks write into param.grad. Ours: the same tensors, unchanged."""
    names = ("CW", "DeepFool", "EADL1", "PIFGSM", "FAB")
    short = {
        "EADL1": {"max_iterations": 10},
        "CW": {"steps": 5},
        "DeepFool": {"steps": 5},
    }
    for name in names:
        model = make_net(10)
        getattr(torchattacks, name)(model, **short.get(name, {}))(
            IMAGES, answers(model)
        )
        assert any(p.grad is not None for p in model.parameters()), name
    model = make_net(10)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = [parameter.grad for parameter in model.parameters()]
    stages = [{"name": name, **short.get(name, {})} for name in names]
    assert not run(model, *stages, PRTEST).failed
    quick(model)(IMAGES, answers(model))
    for parameter, grad in zip(model.parameters(), before):
        assert (
            parameter.grad is grad
            and bool((grad == 1).all())
            and parameter.requires_grad
        )


def test_trap_18_the_global_generator_is_nobodys(
    make_net: Any, quick: Any, answers: Any, run: Any
) -> None:
    """torchattacks: four attacks reseed it, seed=None fails late. Ours: untouched, refused."""
    names, model = ("APGD", "APGDT", "FAB", "Square"), make_net(10)
    for name in names:
        with torch.random.fork_rng():
            drawn = []
            for seed in (5, 6):
                torch.manual_seed(seed)
                getattr(torchattacks, name)(model, eps=0.3)(IMAGES, answers(model))
                drawn.append(float(torch.rand(())))
        assert drawn[0] == drawn[1], name
    with torch.random.fork_rng(), pytest.raises(TypeError):
        torchattacks.APGD(model, seed=None)(IMAGES, answers(model))
    before = torch.get_rng_state()
    stages = [
        {"name": n, **({"n_queries": 20} if n == "Square" else {})} for n in names
    ]
    assert not run(model, *stages, PRTEST).failed
    quick(model)(IMAGES, answers(model))
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ConfigError, match="seed"):
        evaluate(model, (IMAGES, LABELS), {"eps": 0.1, "stages": [], "seed": None})


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_trap_19_the_number_of_classes_is_the_models(
    n_classes: int, make_net: Any, run: Any, answers: Any
) -> None:
    """torchattacks: n_classes=10 is assumed. Ours: asked of the model, or refused in words."""
    model = make_net(n_classes)
    with pytest.raises((IndexError, RuntimeError)), torch.random.fork_rng():
        torchattacks.APGDT(model, eps=1e-4)(IMAGES, answers(model))
    report = run(model, "APGDT", "FAB", PRTEST, eps=1e-4)
    enough = n_classes >= 4
    words = None if enough else f"n_classes={n_classes}: APGDT needs at least 4 classes"
    assert str(report["APGDT"].not_applicable)[: len(words or "None")] == str(words)
    assert report.failed == () and len(report.not_applicable) == (not enough)
    assert report["prtest"].result.count(Verdict.ROBUST) == 4


def test_trap_20_weak_spots_of_cw_are_in_the_report_and_not_in_ours(
    make_net: Any, answers: Any, run: Any, quick: Any
) -> None:
    """torchattacks: CW moves no pixel at 0 or 1, fears shifted logits. Ours: noted; no PRTest."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = make_net()

        def forward(self, images: Tensor) -> Tensor:
            return self.net(images) - 20

    black, hard = torch.zeros(2, *SHAPE), {"c": 100.0, "steps": 50, "lr": 0.1}
    theirs = torchattacks.CW(make_net(), **hard)
    assert torch.equal(theirs(black, answers(make_net(), black)), black)
    broken = [
        int((answers(m, torchattacks.CW(m, **hard)(IMAGES, LABELS)) != LABELS).sum())
        for m in (make_net(), Shifted())
    ]
    assert broken[0] > broken[1]
    notes = " ".join(run(make_net(), {"name": "CW", **hard})["CW"].notes)
    assert "pixels at 0 or 1 never move" in notes and "adding a constant" in notes
    assert quick(make_net())(black, answers(make_net(), black)).max() > 0.01
    plain, shifted = (quick(m).measure(IMAGES, LABELS) for m in (make_net(), Shifted()))
    assert plain.digest() == shifted.digest()


def test_trap_21_a_row_does_not_depend_on_its_neighbours(
    quick: Any, make_net: Any, run: Any
) -> None:
    """torchattacks: CW stops on the sum over the batch. Ours: noted; PRTest never does."""

    def rows(make: Any) -> list[Tensor]:
        single = [make()(IMAGES[i : i + 1], LABELS[i : i + 1]) for i in range(4)]
        return [torch.cat(single), make()(IMAGES, LABELS)]

    alone, together = rows(
        lambda: torchattacks.CW(make_net(), c=100.0, steps=50, lr=0.1)
    )
    assert (alone - together).abs().max() > 0.1
    assert "stops early on the sum over the batch" in " ".join(
        run(make_net(), "CW")["CW"].notes
    )
    alone, together = rows(lambda: quick(make_net()))
    assert torch.equal(alone, together)


@pytest.mark.parametrize("shape", [(12,), (4, 3)])
def test_trap_22_images_of_any_shape_or_a_reason(
    shape: tuple[int, ...], run: Any, quick: Any, make_net: Any, answers: Any
) -> None:
    """torchattacks: most fail on (N, D), PGDRS mixes it up. Ours: PRTest works, they say why."""
    model, images = make_net(4, shape), example_images(4, shape)
    fine = ("FGSM", "PGD", "CW", "DeepFool", "FAB", "SPSA", "TPGD", "EADL1")
    bad = ("PGDL2", "APGD", "APGDT", "Square", "MIFGSM", "PGDRS", "TIFGSM")
    with torch.random.fork_rng():
        for name in bad:
            attack = getattr(torchattacks, name)(model)
            if name != "PGDRS":  # no error, wrong numbers
                with pytest.raises((RuntimeError, ValueError, IndexError)):
                    attack(images, answers(model, images))
    report = run(model, *fine, *bad, PRTEST, images=images)
    assert report.failed == ()
    assert [stage.name for stage in report.not_applicable] == list(bad)
    for stage in report.not_applicable:
        assert f"{stage.name} needs images (N, " in str(stage.not_applicable)
    assert report["prtest"].result is not None
    ours = quick(model)
    n_channels = shape[0]
    ours.set_normalization_used([0.0] * n_channels, [1.0] * n_channels)
    assert ours(images, answers(model, images)).shape == images.shape


def test_trap_27_radius_and_range_are_checked_at_the_door(
    quick: Any, make_net: Any
) -> None:
    """torchattacks: takes eps=8, normalised data and NaN. Ours: refused in words."""

    def judged(images: Tensor, labels: Tensor) -> Any:
        return evaluate(make_net(), (images, labels), {"eps": 0.1, "stages": ["PGD"]})

    normalised, holes = IMAGES * 4 - 2, IMAGES.clone()
    holes[0, 0, 0, 0] = float("nan")
    theirs = torchattacks.PGD(make_net(), eps=8, alpha=1.0, random_start=False)(
        IMAGES, LABELS
    )
    assert (theirs - IMAGES).abs().max() > 0.9
    assert (
        torchattacks.PGD(make_net(), eps=0)(normalised, LABELS) - normalised
    ).abs().max() > 0.9
    assert torchattacks.PGD(make_net())(holes, LABELS).isnan().any()
    with pytest.raises(ConfigError, match="8/255"):
        quick(make_net(), eps=8)
    for stage in ("PGD", PRTEST):
        with pytest.raises(ConfigError, match="8/255"):
            evaluate(make_net(), (IMAGES, LABELS), {"eps": 8, "stages": [stage]})
    for images, words in ((normalised, "looks normalised"), (holes, "nan_to_num")):
        for refused in (
            quick(make_net()),
            quick(make_net()).measure,
            judged,
        ):
            with pytest.raises(InputError, match=words):
                refused(images, LABELS)
    with pytest.raises(ConfigError, match="eps=0 must be a positive number"):
        quick(make_net(), eps=0)
    report = evaluate(
        make_net(), (IMAGES, LABELS), {"eps": 0, "stages": ["PGD", "CW", "GN"]}
    )
    assert not report.failed and all(
        (s.result.norm == 0).all() for s in report.stages[1:]
    )


def test_trap_29_every_row_pass_is_counted_and_can_be_limited(
    answers: Any, make_net: Any, quick: Any
) -> None:
    """torchattacks: counts no query and has no budget. Ours: cost of each stage, max_queries."""
    model, rows = make_net(), []
    model.register_forward_hook(lambda m, inputs, out: rows.append(len(inputs[0])))
    assert not [name for name in vars(torchattacks.PGD(make_net())) if "quer" in name]
    labels = answers(make_net())
    plan = {"eps": 0.1, "stages": [{"name": "PGD", "steps": 7}, "FAB", PRTEST]}
    report = evaluate(model, (IMAGES, labels), plan)
    assert report.cost.forward == sum(rows)
    assert (report["PGD"].cost.forward, report["PGD"].cost.backward) == (8 * 4, 7 * 4)
    rows.clear()
    result = quick(model).measure(IMAGES, labels)
    assert result.cost.forward == sum(rows)
    rows.clear()
    with pytest.warns(UserWarning, match="budget_spent"):
        result = quick(model, max_queries=60, batch_size=4).measure(IMAGES, labels)
    assert sum(rows) == result.cost.forward <= 60
    assert result.count(Verdict.UNDECIDED) == 4
