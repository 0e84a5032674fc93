"""Is the sequence of torchattacks' components as strong as AutoAttack's, and as careful?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from crossed import crossed
from torch import Tensor, nn

from torchattacks_ext.engines.autoattack.sequence import STANDARD, StandardSequence
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import Ledger
from torchattacks_ext.engines.zoo.sequence import ZooSequence
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Budget, Meter
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.testing import GradientKiller, small_net
from torchattacks_ext.testing.props import balanced_net, example_images

NORMS = [("Linf", 0.012), ("L2", 0.12)]
ALL = (*STANDARD, "apgd-dlr")


def data(n_classes: int, shape: Any = (1, 8, 8), n: int = 6) -> Any:
    net, images = balanced_net(n_classes, shape), example_images(n, shape)
    return net, images, net(images).argmax(1)


def run(
    kind: Any,
    net: Any,
    images: Tensor,
    labels: Tensor,
    norm: Any,
    eps: Any,
    attacks: Any = STANDARD,
    target: Any = None,
    limit: int | None = None,
    short: tuple[int, int] = (6, 30),
) -> tuple[Ledger, Meter, tuple[str, ...]]:
    """The sequence on `net`, judged on the target (None: `net`)."""
    meter = Meter()
    with ForkedRng(0) as fork:
        victim = fork.victim(LogitsView(net, meter=meter))
        judged = victim if target is None else target
        ledger = Ledger.open(Judge(judged, False, 64), images, labels, eps, norm)
        budget = None if limit is None else Budget(meter, limit)
        n_classes = net(images[:1]).shape[1]
        meter.forward = meter.backward = 0
        sequence = kind("t", victim, n_classes, 0, 16, meter, *short, budget=budget)
        left = sequence.run(attacks, ledger)
    return ledger, meter, left


# ---------------------------------------------------------------- as strong
@pytest.mark.parametrize(
    "norm, eps, n_classes, shape",
    crossed(NORMS, [(2, (3, 8, 8)), (5, (3, 8, 8))])
    + [
        pytest.param(*norm, n, (c, 8, 8), marks=pytest.mark.slow)
        for norm in NORMS
        for n, c in ((3, 1), (10, 1), (12, 3))
    ],
)
def test_robust_flags_are_those_of_autoattack(
    n_classes: int, shape: Any, norm: Any, eps: float
) -> None:
    """In Linf the same; in L2 its targeted APGD moves all rows by one step size."""
    net, images, labels = data(n_classes, shape, 32)
    labels[::8] = (labels[::8] + 1) % n_classes
    theirs, their_meter, _ = run(StandardSequence, net, images, labels, norm, eps)
    ours, meter, left = run(ZooSequence, net, images, labels, norm, eps)
    assert left == (
        ("apgd-t needs four classes, the model has %d" % n_classes,) * (n_classes < 4)
    )
    assert int((ours.alive != theirs.alive).sum()) <= (0 if norm == "Linf" else 2)
    assert 0 < int(ours.alive.sum()) < 29  # some fall and some stay
    assert meter.forward <= 1.05 * their_meter.forward
    assert meter.backward <= 1.05 * their_meter.backward


@pytest.mark.parametrize("attack", ALL)
def test_each_attack_breaks_rows_inside_the_ball(attack: str) -> None:
    net, images, labels = data(10, (1, 8, 8), 24)
    for norm, eps in NORMS:
        ledger, _, left = run(
            ZooSequence, net, images, labels, norm, 2 * eps, (attack,)
        )
        assert left == () and ledger.sources == [f"t/{attack}"]
        broken = torch.from_numpy(ledger.breaker == 0)
        assert 0 < int(broken.sum()) == ledger.entries[f"t/{attack}"].broken
        assert bool((net(ledger.best).argmax(1) != labels)[broken].all())
        length = norm_of(ledger.best - images, norm)
        assert bool((length <= 2 * eps * (1 + 1e-6)).all())
        assert 0 <= float(ledger.best.min()) and float(ledger.best.max()) <= 1


def test_the_ledger_judges_and_not_the_attack() -> None:
    """The model that is attacked falls; the target, which is another, does not."""
    net, images, labels = data(5, n=12)
    answers = nn.functional.one_hot(labels, 5).float()

    def target(given: Tensor) -> Tensor:
        seen = torch.cdist(given.flatten(1), images.flatten(1)).argmin(1)
        return answers[seen]

    ledger, _, _ = run(ZooSequence, net, images, labels, "Linf", 0.05, target=target)
    assert bool(ledger.alive.all())
    assert ledger.entries["t/apgd-ce"].fooled > 8
    assert all(entry.broken == 0 for entry in ledger.entries.values())


# ---------------------------------------------------------------- what stops it
def test_the_budget_is_kept() -> None:
    net, images, labels = data(5, n=6)
    full = run(ZooSequence, net, images, labels, "Linf", 1e-6)[1].forward
    for limit in [*range(0, full, 241), full - 1]:
        ledger, meter, _ = run(
            ZooSequence, net, images, labels, "Linf", 1e-6, limit=limit
        )
        assert meter.forward <= limit
    assert meter.forward > 0 and "t/square" in ledger.entries
    assert (
        run(ZooSequence, net, images, labels, "Linf", 1e-6, limit=2 * full)[1].forward
        == full
    )


def test_the_cost_is_what_the_docstring_says() -> None:
    net, images, labels = data(5, n=6)
    ledger, _, _ = run(ZooSequence, net, images, labels, "Linf", 1e-6, ALL)
    found = {name[2:]: entry.forward / 6 for name, entry in ledger.entries.items()}
    assert found == {
        "apgd-ce": 8 + 1,
        "apgd-dlr": 8 + 1,
        "apgd-t": 4 * 8 + 1 + 1,
        "fab-t": 4 * 15 + 1 + 1,
        "square": 33 + 1,
    }


def test_nothing_is_asked_once_all_rows_are_broken() -> None:
    net, images, labels = data(5, n=8)
    ledger, meter, _ = run(ZooSequence, net, images, labels, "Linf", 0.5, ALL)
    assert not bool(ledger.alive.any())
    assert meter.forward <= 8 * 10 and ledger.entries["t/square"].forward == 0


@pytest.mark.parametrize("norm, eps", NORMS)
def test_models_without_gradient_do_not_end_it(norm: Any, eps: float) -> None:
    net, images, labels = data(4, (3, 8, 8))
    hard = nn.Sequential(net, nn.Identity())
    hard.register_forward_hook(lambda module, args, logits: logits.detach())
    why = "t gives no gradient to attack it by"
    for model, left in ((GradientKiller(net), ()), (hard, (why,))):
        ledger, _, found = run(ZooSequence, model, images, labels, norm, 2 * eps)
        assert found == left and ledger.n_odd == 0


@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize("shape", [(9,), (1, 4, 4), (1, 6, 10), (1, 12, 12)])
def test_images_that_square_cannot_take_do_not_end_the_sequence(
    shape: Any, norm: Any, eps: float
) -> None:
    net, images = small_net(shape, 4).eval(), example_images(4, shape)
    labels = net(images).argmax(1)
    _, _, left = run(ZooSequence, net, images, labels, norm, eps)
    odd = len(shape) == 1 or norm != "Linf"
    assert len(left) == odd and all(why.startswith("square") for why in left)


def test_what_cannot_run_is_left_out_with_a_reason() -> None:
    for n_classes, attack, needs in ((3, "apgd-t", "four"), (2, "apgd-dlr", "three")):
        net, images, labels = data(n_classes)
        left = run(ZooSequence, net, images, labels, "L2", 0.1, (attack,))[2]
        assert left == (f"{attack} needs {needs} classes, the model has {n_classes}",)


def test_l1_and_a_radius_for_each_row_are_refused() -> None:
    net, images, labels = data(4)
    with pytest.raises(ConfigError, match='engine="autoattack"'):
        run(ZooSequence, net, images, labels, "L1", 1.0)
    with pytest.raises(InputError, match="one radius for all rows"):
        run(ZooSequence, net, images, labels, "Linf", torch.ones(6))


# ---------------------------------------------------------------- no traces
@pytest.mark.parametrize("norm, eps", NORMS)
def test_nothing_is_left_behind(norm: Any, eps: float, capsys: Any) -> None:
    net, images = small_net((3, 8, 8), 4).eval(), example_images(4, (3, 8, 8))
    net[1].train().eval()
    labels, before = net(images).argmax(1), images.clone()
    last = images.to(memory_format=torch.channels_last)
    state = torch.get_rng_state()
    first, _, _ = run(ZooSequence, net, images, labels, norm, eps, ALL)
    net.to(memory_format=torch.channels_last)
    again, _, left = run(ZooSequence, net, last, labels, norm, eps, ALL)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.alive, again.alive) and left == ()
    assert torch.equal(images, before)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(part.training for part in net.modules())
    assert capsys.readouterr() == ("", "")
