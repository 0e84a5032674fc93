"""Is AutoAttack's own sequence, run by us, AutoAttack? The same flags, at the same cost."""

from __future__ import annotations

from typing import Any

import pyautoattack
import pytest
import torch
from crossed import crossed
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from torchattacks_ext import MSA
from torchattacks_ext.engines.autoattack.sequence import STANDARD, StandardSequence
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import Ledger
from torchattacks_ext.errors import InputError
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Meter
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import balanced_net, example_images

NORMS = [("Linf", 0.02), ("L2", 0.2), ("L1", 1.0)]


def data(n_classes: int, shape: tuple[int, ...], n: int = 24) -> Any:
    """A net, images, and its answers, of which every eighth is made wrong."""
    net, images = balanced_net(n_classes, shape), example_images(n, shape)
    labels = net(images).argmax(1)
    labels[::8] = (labels[::8] + 1) % n_classes
    return net, images, labels


def original(
    net: Any,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Any,
    seed: int,
    batch: int,
    short: tuple[int, int] | None = (10, 40),
) -> tuple[Tensor, int]:
    """Robust flags of the package itself, and its row-passes without its checks of the model.

    Its targets are cut to K - 1 (it crashes with more); `short`: iterations and queries.
    """
    model = LogitsView(net, meter=Meter())
    attack: Any = pyautoattack.AutoAttack(model, norm=norm, eps=eps, seed=seed)
    attack.logger.disabled = True
    if short is not None:
        steps, queries = short
        options = dict(n_iter=steps, norm=norm, eps=eps, seed=seed, device="cpu")
        options |= dict(logger=attack.logger, use_largereps=norm == "L1")
        restarts = 5 if norm == "L1" else 1
        attack.apgd = APGDAttack(model, n_restarts=restarts, **options)
        attack.apgd_targeted = APGDAttack_targeted(
            model, n_target_classes=5 if norm == "L1" else 9, **options
        )
        attack.fab.n_iter, attack.square.n_queries = steps, queries
    n_classes = net(images[:1]).shape[1]
    for part in (attack.apgd_targeted, attack.fab):
        part.n_target_classes = min(part.n_target_classes, n_classes - 1)
    state = torch.get_rng_state()
    found, _ = attack.run_standard_evaluation(images, labels, batch_size=batch)
    torch.set_rng_state(state)
    checks = (5 + 1 + 1) * min(batch, len(images))  # randomised, range, dynamic
    attack.logger.disabled = False
    # the flags that it kept: rows it broke are those it moved, or was wrong on
    moved = (found != images).flatten(1).any(1)
    wrong = net(images).argmax(1) != labels
    return ~(moved | wrong), model.meter.forward - checks


def ours(
    net: Any,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Any,
    seed: int,
    batch: int,
    short: tuple[int, int] = (10, 40),
) -> tuple[Tensor, int]:
    """Robust flags of StandardSequence and its row-passes."""
    meter = Meter()
    model = LogitsView(net, meter=meter)
    with ForkedRng(seed) as fork:
        victim = fork.victim(model)
        judge = Judge(victim, False, batch, rechecks=False)
        ledger = Ledger.open(judge, images, labels, eps, norm)
        n_classes = net(images[:1]).shape[1]
        sequence = StandardSequence(
            "target", victim, n_classes, seed, batch, meter, *short
        )
        assert sequence.run(STANDARD, ledger) == ()
    return ledger.alive, meter.forward


@pytest.mark.parametrize(
    "norm, eps, n_classes, shape, seed, batch",
    crossed(
        NORMS,
        [
            (4, (1, 8, 8), 0, 24),
            (10, (1, 8, 8), 4, 100),
            (5, (3, 8, 8), 1, 7),
        ],
    )
    + [
        pytest.param(*norm, *net, marks=pytest.mark.slow)
        for norm in NORMS
        for net in ((7, (1, 8, 8), 2, 5), (10, (3, 8, 8), 3, 10))
    ],
)
def test_robust_flags_and_cost_are_those_of_the_package(
    n_classes: int, shape: Any, seed: int, batch: int, norm: Any, eps: float
) -> None:
    net, images, labels = data(n_classes, shape)
    theirs, their_rows = original(net, images, labels, eps, norm, seed, batch)
    found, rows = ours(net, images, labels, eps, norm, seed, batch)
    assert torch.equal(found, theirs)
    assert 0 < int(found.sum()) < 21  # some fall and some stay: a test that looks
    # both count each row of each forward pass: the clean look, the attacks, the last judgement
    assert rows <= 1.05 * their_rows, (rows, their_rows)


def test_each_attack_of_the_sequence_matters_somewhere() -> None:
    """Parity would be cheap if the first attack always did all the work."""
    net, images, labels = data(10, (1, 8, 8), 60)
    firsts = set()
    for eps in (0.005, 0.01, 0.02):
        judge = Judge(LogitsView(net), False, 60, rechecks=False)
        ledger = Ledger.open(judge, images, labels, eps, "Linf")
        with ForkedRng(0):
            StandardSequence("t", net, 10, 0, 60, Meter(), 3, 40).run(STANDARD, ledger)
        firsts |= {ledger.sources[i] for i in set(ledger.breaker[ledger.breaker >= 0])}
    assert {"t/apgd-ce", "t/apgd-t"} <= firsts and len(firsts) >= 3, firsts


@pytest.mark.slow
@pytest.mark.parametrize("norm, eps", NORMS)
def test_msa_without_surrogates_is_plain_autoattack(norm: Any, eps: float) -> None:
    net, images, labels = data(4, (1, 8, 8), 6)
    eps *= 1.5
    theirs, their_rows = original(net, images, labels, eps, norm, 5, 4, None)
    attack = MSA(net, eps=eps, norm=norm, version="autoattack", seed=5, batch_size=4)
    found = attack.measure(images, labels)
    assert torch.equal(found.robust, theirs)
    # the look at the model is at most 57 row-passes
    assert found.cost.forward <= 1.05 * their_rows + 57


@pytest.mark.slow
@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize(
    "n_classes, shape, seed, batch", [(5, (1, 8, 8), 1, 7), (10, (3, 8, 8), 0, 24)]
)
def test_msa_is_plain_autoattack_at_full_length(
    n_classes: int, shape: Any, seed: int, batch: int, norm: Any, eps: float
) -> None:
    net, images, labels = data(n_classes, shape)
    theirs, _ = original(net, images, labels, eps, norm, seed, batch, None)
    attack = MSA(
        net, eps=eps, norm=norm, version="autoattack", seed=seed, batch_size=batch
    )
    assert torch.equal(attack.measure(images, labels).robust, theirs)


# ---------------------------------------------------------------- what is left out, and why
@pytest.mark.parametrize(
    "n_classes, attacks, left",
    [
        (3, STANDARD, ("apgd-t needs four classes, the model has 3",)),
        (2, STANDARD, ("apgd-t needs four classes, the model has 2",)),
        (2, ("apgd-dlr",), ("apgd-dlr needs three classes, the model has 2",)),
        (3, ("apgd-dlr",), ()),
        (4, STANDARD, ()),
    ],
)
def test_what_cannot_run_is_left_out_with_a_reason(
    n_classes: int, attacks: Any, left: Any
) -> None:
    net, images, labels = data(n_classes, (1, 8, 8), 6)
    ledger = Ledger.open(Judge(net, False, 6), images, labels, 0.02, "Linf")
    with ForkedRng(0):
        sequence = StandardSequence("t", net, n_classes, 0, 6, Meter(), 3, 5)
        assert sequence.run(attacks, ledger) == left


@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize("shape", [(9,), (1, 4, 4), (1, 12, 12)])
def test_images_that_square_cannot_take_do_not_end_the_sequence(
    shape: Any, norm: Any, eps: float
) -> None:
    net, images = small_net(shape, 4).eval(), example_images(4, shape)
    labels = net(images).argmax(1)
    ledger = Ledger.open(Judge(net, False, 6), images, labels, eps, norm)
    with ForkedRng(0):
        left = StandardSequence("t", net, 4, 0, 6, Meter(), 4, 5).run(STANDARD, ledger)
    odd = len(shape) == 1 or norm != "Linf"
    assert len(left) == odd and all(why.startswith("square") for why in left)


def test_a_radius_for_each_row_is_refused() -> None:
    net, images, labels = data(4, (1, 8, 8), 6)
    ledger = Ledger.open(Judge(net, False, 6), images, labels, torch.ones(6), "Linf")
    with pytest.raises(InputError, match="one radius for all rows"):
        StandardSequence("t", net, 4, 0, 6, Meter()).run(STANDARD, ledger)


@pytest.mark.parametrize("norm, eps", NORMS)
def test_models_without_gradient_and_channels_last_models_work(
    norm: Any, eps: float
) -> None:
    net, images, labels = data(4, (3, 8, 8), 6)
    last = balanced_net(4, (3, 8, 8)).to(memory_format=torch.channels_last)
    hard = nn.Sequential(net, nn.Identity())
    hard.register_forward_hook(lambda module, args, logits: logits.detach())
    for model, left in ((last, ()), (hard, ("t gives no gradient to attack it by",))):
        ledger = Ledger.open(Judge(model, False, 6), images, labels, eps, norm)
        with ForkedRng(0):
            sequence = StandardSequence("t", model, 4, 0, 6, Meter(), 4, 5)
            assert sequence.run(STANDARD, ledger) == left
