"""Are AutoAttack's components what they claim, and mended where they are known to slip?"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.autoattack import upstream as aa
from torchattacks_ext.errors import MissingExtra
from torchattacks_ext.numerics.losses import margins
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.masked import TiedLogits
from torchattacks_ext.testing.props import balanced_net, example_images

CPU = torch.device("cpu")
NORMS = [("Linf", 0.1), ("L2", 1.0), ("L1", 6.0)]


def test_without_either_package_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aa.package.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtra, match="pip install pyautoattack"):
            aa.package()
        with pytest.raises(MissingExtra):
            aa.make_apgd(nn.Flatten(), 0.1, "Linf", 3, "ce", CPU)
    assert aa.package() in aa.PACKAGES


def test_the_github_package_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec("pyautoattack")
    aa.package.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            importlib.util, "find_spec", lambda n: real if n == "autoattack" else None
        )
        assert aa.package() == "autoattack"
    aa.package.cache_clear()
    assert aa.package() == "pyautoattack"


@pytest.mark.parametrize(
    "wanted, classes, found",
    [(9, 10, 9), (9, 2, 1), (9, 3, 2), (9, 100, 9), (1, 5, 1), (4, 5, 4), (5, 5, 4)],
)
def test_targets_are_never_more_than_other_classes(
    wanted: int, classes: int, found: int
) -> None:
    assert aa.n_targets(wanted, classes) == found


def test_the_margin_loss_rises_as_the_margin_falls() -> None:
    net, images = small_net(n_classes=5).eval(), example_images(6)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    attack = aa.make_apgd(net, 0.1, "Linf", 3, "margin", CPU)
    loss = attack.dlr_loss(net(ours), labels)
    want = margins(net(theirs), labels)
    assert torch.equal(loss, -want)
    (one,) = torch.autograd.grad(loss.sum(), ours)
    (two,) = torch.autograd.grad(want.sum(), theirs)
    assert torch.equal(one, -two)


@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize("loss, targeted", [("ce", False), ("dlr", False), ("x", True)])
def test_apgd_from_a_given_start_does_not_depend_on_the_global_generator(
    norm: Any, eps: float, loss: str, targeted: bool
) -> None:
    net, images = small_net(n_classes=5).eval(), example_images(4)
    labels = net(images).argmax(1)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        attack = aa.make_apgd(net, eps, norm, 4, loss, CPU, targeted=targeted)
        attack.init_hyperparam(images)
        attack.y_target = (labels + 1) % 5
        best = attack.attack_single_run(images, labels, x_init=images + eps / 70)
        found.append(best)
    assert all(torch.equal(a, b) for a, b in zip(*found))


# ---------------------------------------------------------------- FAB
@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_fab_gives_the_bits_of_the_original(
    norm: Any, eps: float, targeted: bool
) -> None:
    net, images = small_net(n_classes=5).eval(), example_images(5)
    labels = net(images).argmax(1)
    base = aa._part("fab_pt", "FABAttack_PT")
    found = []
    for kind in (base, aa._quiet_fab()):
        attack = kind(net, norm=norm, n_iter=8, eps=eps, device=CPU)
        attack.target_class = 3
        found.append(attack.attack_single_run(images, labels, is_targeted=targeted))
    assert torch.equal(*found) and not torch.equal(found[0], images)


def test_fab_leaves_no_gradient_in_the_parameters() -> None:
    net, images = small_net(n_classes=5).eval(), example_images(3)
    attack = aa.make_fab(net, 0.1, "Linf", 3, CPU)
    attack.target_class = 2
    for targeted in (False, True):
        attack.attack_single_run(images, net(images).argmax(1), is_targeted=targeted)
    assert all(p.grad is None for p in net.parameters())


# ---------------------------------------------------------------- Square
def keyed(net: nn.Module, rows: Tensor, norm: Any, eps: float, seed: int = 3) -> Tensor:
    """What the keyed Square finds for these rows, from another state of the generator each."""
    images = example_images(8)
    torch.manual_seed(seed)  # as the engine does: FAB and Square share the fork
    attack = aa.make_square(net, eps, norm, 30, CPU, seed=seed, ids=rows + 100)
    part = images[rows]
    attack.init_hyperparam(part)
    found: Tensor = attack.attack_single_run(part, net(images).argmax(1)[rows])[1]
    return found


@pytest.mark.parametrize(
    "norm, eps",
    [("Linf", 0.03), ("L2", 0.3), pytest.param("L1", 2.0, marks=pytest.mark.slow)],
)
def test_square_by_ids_does_not_depend_on_how_batches_are_cut(
    norm: Any, eps: float
) -> None:
    net = balanced_net(5)
    whole = keyed(net, torch.arange(8), norm, eps)
    parts = [keyed(net, torch.arange(3), norm, eps)]
    parts.append(keyed(net, torch.arange(3, 8), norm, eps))
    mixed = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    shuffled = keyed(net, mixed, norm, eps)[mixed.argsort()]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(shuffled, whole, atol=1e-6, rtol=0)
    other = keyed(net, torch.arange(8), norm, eps, seed=4)
    assert not torch.allclose(other, whole, atol=1e-3)
    labels = net(example_images(8)).argmax(1)
    fooled = net(whole).argmax(1) != labels
    assert (
        0 < int(fooled.sum()) < 8
    )  # rows leave at different queries: a test that looks


class TieFirst(nn.Module):
    """Class 0 alone is largest until most pixels are dark; a few dark ones make a tie."""

    def forward(self, images: Tensor) -> Tensor:
        light = images.flatten(1).mean(1)
        zero = (light > 0.5).float() - (light < 0.46).float()
        return torch.stack([zero, torch.zeros_like(zero)], dim=1)


def test_square_goes_on_where_argmax_decides_a_tie_for_the_label() -> None:
    images = torch.full((6, 1, 8, 8), 0.501)
    labels = torch.zeros(6, dtype=torch.long)
    torch.manual_seed(0)
    own = aa.make_square(TieFirst(), 0.05, "Linf", 300, CPU, seed=0)
    own.init_hyperparam(images)
    theirs = own.attack_single_run(images, labels)[1]
    torch.manual_seed(0)
    mended = aa.make_square(
        TieFirst(), 0.05, "Linf", 300, CPU, seed=0, ids=torch.arange(6)
    )
    mended.init_hyperparam(images)
    ours = mended.attack_single_run(images, labels)[1]
    stuck = (TieFirst()(theirs).argmax(1) == 0) & (TieFirst()(theirs)[:, 0] == 0)
    # AutoAttack's own stops at the tie, which argmax still gives to the label
    assert int(stuck.sum()) >= 5, int(stuck.sum())
    margin, _ = mended.margin_and_loss(theirs, labels)
    assert bool((margin[stuck] > 0).all())
    assert int((TieFirst()(ours).argmax(1) == 0).sum()) < int(stuck.sum())


@pytest.mark.parametrize("step", [0.05, 0.1])
def test_square_breaks_more_rows_of_a_tied_victim_than_the_original(
    step: float,
) -> None:
    net = TiedLogits(balanced_net(5), step)
    images = example_images(60)
    labels = net(images).argmax(1)
    left = []
    for ids in (None, torch.arange(60)):
        torch.manual_seed(0)
        attack = aa.make_square(net, 0.1, "Linf", 150, CPU, seed=0, ids=ids)
        attack.init_hyperparam(images)
        found = attack.attack_single_run(images, labels)[1]
        left.append(int((net(found).argmax(1) == labels).sum()))
    assert left[1] < left[0], left


@pytest.mark.parametrize("label", [0, 1])
def test_the_sign_of_squares_margin_is_what_argmax_says(label: int) -> None:
    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            nan, inf = float("nan"), float("inf")
            rows = [[2.0, 2.0], [2.0, 1.0], [1.0, 2.0], [nan, 1.0], [inf, 1.0]]
            return torch.tensor(rows)

    attack = aa.make_square(Fixed(), 0.1, "Linf", 3, CPU, seed=0, ids=torch.arange(5))
    labels = torch.full((5,), label)
    margin, loss = attack.margin_and_loss(torch.zeros(5, 1, 8, 8), labels)
    right = [label == 0, label == 0, label == 1, False, False]
    assert (margin > 0).tolist() == right and (margin < 0).tolist() == [
        not one for one in right
    ]
    assert bool(torch.isfinite(loss).all()) and bool(torch.isfinite(margin).all())


def test_square_ends_on_nan_logits_and_on_ties_for_another_class() -> None:
    """NaN margins were neither positive nor done, so that all queries went to an empty batch."""
    seen: list[int] = []

    class Odd(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(len(images))
            logits = torch.zeros(len(images), 2)
            logits[::2] = float("nan")
            return logits

    images = torch.full((4, 1, 8, 8), 0.5)
    attack = aa.make_square(Odd(), 0.1, "Linf", 50, CPU, seed=0, ids=torch.arange(4))
    attack.init_hyperparam(images)
    attack.attack_single_run(images, torch.ones(4, dtype=torch.long))
    assert seen == [4]
