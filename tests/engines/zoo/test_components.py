"""Do torchattacks' components run at AutoAttack's settings, for any K, and leave no traces?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.zoo import components as zoo
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.testing import HalfSpace, small_net
from torchattacks_ext.testing.props import example_images

NORMS = [("Linf", 0.02), ("L2", 0.2)]
CLASSES = [2, 3, 5, 10, 12]
NOTHING = 1e-7  # a radius in which no row falls


class Counted(nn.Module):
    """A net that counts the times that it is asked."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, images: Tensor) -> Any:
        self.calls += 1
        return self.net(images)


def counted(n_classes: int, shape: Any = (1, 8, 8), n: int = 3) -> Any:
    """A net that counts, images, and its answers."""
    net, images = small_net(shape, n_classes).eval(), example_images(n, shape)
    return Counted(net), images, net(images).argmax(1)


def perturb(part: Any, images: Tensor, labels: Tensor) -> Any:
    with ForkedRng(0):
        return part.perturb(images.clone(), labels)


# ---------------------------------------------------------------- the settings are in force
def test_the_defaults_are_those_of_autoattack() -> None:
    net, like = small_net(), torch.zeros(1, 1, 8, 8)
    build = zoo.Components(net, like, 0.1, "Linf")
    apgd, targeted = build.apgd(), build.apgd_targeted()
    for part in (apgd, targeted):
        found = (part.steps, part.n_restarts, part.eot_iter, part.thr_decr)
        assert found == (100, 1, 1, 0.75)
    fab = build.fab()
    found = (fab.steps, fab.n_restarts, fab.alpha_max, fab.eta, fab.beta)
    assert found == (100, 1, 0.1, 1.05, 0.9)
    assert targeted.n_target_classes == fab.n_target_classes == 9
    square = build.square()
    found = (square.n_queries, square.n_restarts, square.p_init, square.loss)
    assert found == (5000, 1, 0.8, "margin") and not square.rescale_schedule
    # the schedule of 10,000 queries, not stretched: p is halved after the 10th
    assert square.p_selection(10) == 0.8 and square.p_selection(11) == 0.4


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("n_classes", CLASSES)
def test_steps_and_targets_are_counted_at_the_model(n_classes: int, norm: Any) -> None:
    """torchattacks' own defaults raise an IndexError below ten classes."""
    steps, targets = 4, min(9, n_classes - 1)
    model, images, labels = counted(n_classes)
    build = zoo.Components(model, images, NOTHING, norm, n_classes)
    for part, calls in (
        (build.apgd(steps, "dlr"), steps),
        (build.apgd_targeted(steps), targets * (steps + 2) - 1),
        (build.fab(steps), targets * (2 * steps + 3) - 1),
    ):
        model.calls = 0
        perturb(part, images, labels)
        assert model.calls == 2 + calls, part


@pytest.mark.parametrize("wanted, used", [(1, 1), (3, 3), (9, 4), (99, 4)])
def test_fewer_targets_may_be_asked_for(wanted: int, used: int) -> None:
    net, like = small_net(n_classes=5), torch.zeros(1, 1, 8, 8)
    build = zoo.Components(net, like, 1, "L2", n_classes=5)
    for part in (build.fab(targets=wanted), build.apgd_targeted(targets=wanted)):
        assert part.n_target_classes == used


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_queries_are_counted_at_the_model(norm: Any) -> None:
    model, images, labels = counted(4)
    square = zoo.Components(model, images, NOTHING, norm).square(37)
    perturb(square, images, labels)
    assert model.calls == 1 + 38 + 1  # clean; the start and 37 more; what came of it


# ---------------------------------------------------------------- torchattacks' own numbers
@pytest.mark.parametrize("norm, eps", NORMS)
def test_what_is_mended_changes_no_number(norm: Any, eps: float) -> None:
    net, images = small_net(n_classes=10).eval(), example_images(6)
    labels = net(images).argmax(1)
    build = zoo.Components(net, images, eps, norm)
    ours: list[Any] = [
        build.apgd(8),
        build.apgd(8, "dlr"),
        build.apgd_targeted(8),
        build.fab(8),
        build.square(20),
    ]
    some: dict[str, Any] = {"norm": norm, "eps": eps}
    theirs: list[Any] = [
        torchattacks.APGD(net, steps=8, **some),
        torchattacks.APGD(net, steps=8, loss="dlr", **some),
        torchattacks.APGDT(net, steps=8, n_classes=10, **some),
        torchattacks.FAB(net, steps=8, multi_targeted=True, n_classes=10, **some),
        torchattacks.Square(net, n_queries=20, resc_schedule=False, **some),
    ]
    for own, other in zip(ours, theirs):
        found, known = (perturb(part, images, labels) for part in (own, other))
        if isinstance(found, tuple):
            found, known = found[1], known[1]
        assert torch.equal(found, known)
    plain = torchattacks.FAB(net, steps=8, **some)
    with torch.no_grad():
        found = ours[3].attack_single_run(images, labels)
        assert torch.equal(found, plain.attack_single_run(images, labels))


@pytest.mark.parametrize("norm, eps", NORMS)
@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("loss", ["ce", "dlr", "margin"])
def test_each_loss_goes_up(n_classes: int, norm: Any, eps: float, loss: str) -> None:
    net, images = small_net(n_classes=n_classes).eval(), example_images(6)
    labels = net(images).argmax(1)
    ends = []
    for steps in (1, 12):
        part = zoo.Components(net, images, eps, norm, n_classes).apgd(steps, loss)
        with ForkedRng(0):
            ends.append(part.attack_single_run(images, labels)[2])
    assert bool((ends[1] >= ends[0]).all()) and bool((ends[1] > ends[0]).any())


@pytest.mark.parametrize("n_classes", [3, 5])
def test_a_row_that_the_model_gets_wrong_has_a_target(n_classes: int) -> None:
    """At the label's own rank the target would be the label, and the gradient zero."""
    net, images = small_net(n_classes=n_classes).eval(), example_images(4)
    labels = net(images).argsort(1)[:, -2]  # the second choice
    build = zoo.Components(net, images, 0.02, "Linf", n_classes)
    part = build.apgd_targeted(4)
    part.target_class = 2
    with ForkedRng(0):
        found = part.attack_single_run(images, labels)[0]
    own = labels[:, None]
    before, after = (
        net(x).gather(1, own) - net(x).amax(1, True) for x in (images, found)
    )
    assert bool((after < before).all())


# ---------------------------------------------------------------- any model, any layout
@pytest.mark.parametrize("norm, eps", NORMS)
def test_channels_last_and_double_models_work(norm: Any, eps: float) -> None:
    net = small_net((3, 8, 8), 5).eval().double()
    net = net.to(memory_format=torch.channels_last)
    images = example_images(3, (3, 8, 8)).double()
    labels = net(images).argmax(1)
    build = zoo.Components(net, images, eps, norm, n_classes=5)
    for part in (build.apgd(3), build.apgd_targeted(3), build.square(3)):
        perturb(part, images, labels)

    class Cast(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return net(x.double())  # FAB works in float32

    fab = zoo.Components(Cast(), images, eps, norm, n_classes=5).fab(3)
    with torch.no_grad():
        fab.attack_single_run(images, labels)
        fab.target_class = 2
        fab.attack_single_run_targeted(images, labels)


def test_images_that_are_no_pictures_work_but_for_square() -> None:
    net, images = small_net((7,), 4).eval(), example_images(3, (7,))
    labels = net(images).argmax(1)
    build = zoo.Components(net, images, 0.1, "L2", n_classes=4)
    for part in (build.apgd(3), build.apgd_targeted(3)):
        _, found = perturb(part, zoo.as_pictures(images), labels)
        assert found.shape == (3, 1, 1, 7)
    assert perturb(build.fab(3), images, labels).shape == (3, 7)
    assert zoo.square_misfit(images, "Linf") == "square needs images (N, C, H, W)"


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(
    "shape", [(1, 4, 4), (1, 5, 9), (3, 6, 10), (1, 9, 8), (3, 9, 11), (1, 12, 12)]
)
def test_square_says_which_sizes_it_cannot_take(shape: Any, norm: Any) -> None:
    net, images = small_net(shape, 4).eval(), example_images(2, shape)
    part = zoo.Components(net, images, NOTHING, norm).square(4)
    try:
        perturb(part, images, net(images).argmax(1))
        fits = True
    except (RuntimeError, ZeroDivisionError):
        fits = False
    assert (zoo.square_misfit(images, norm) == "") is fits


# ---------------------------------------------------------------- no traces
def test_l1_is_refused_with_a_remedy() -> None:
    net, like = small_net(), torch.zeros(1, 1, 8, 8)
    with pytest.raises(ConfigError, match='engine="autoattack"'):
        zoo.Components(net, like, 1.0, "L1")


def test_nothing_is_left_behind(capsys: Any) -> None:
    """torchattacks' FAB fills .grad, its constructors print, its `perturb` leaves a seed."""
    net, images = small_net(n_classes=4), example_images(3)
    net.eval()
    net[0].train()
    labels, before = net(images).argmax(1), images.clone()
    state = torch.get_rng_state()
    for norm, eps in NORMS:
        build = zoo.Components(net, images, eps, norm, n_classes=4)
        for make in (build.apgd, build.apgd_targeted, build.fab, build.square):
            part = make(3)
            assert torch.equal(state, torch.get_rng_state())  # building draws nothing
            perturb(part, images, labels)
            assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        fab = zoo.Components(net, images, 0.1, "L2").fab(3)
        fab.attack_single_run(images, labels)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert net[0].training and not net[1].training and not net.training
    assert torch.equal(images, before)
    bare = HalfSpace(torch.ones(64), -32.0)  # torchattacks finds no device, and says so
    zoo.Components(bare, images, 0.1, "L2").apgd(3)
    assert capsys.readouterr() == ("", "")


def test_square_does_not_write_into_what_the_model_returned() -> None:
    images = example_images(3)
    stored = torch.eye(3)

    class Stored(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return stored

    part = zoo.Components(Stored(), images, 0.1, "Linf").square(3)
    perturb(part, images, torch.arange(3))
    assert torch.equal(stored, torch.eye(3))
