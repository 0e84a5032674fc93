"""Does a probe give everything back, and does it aim where it is told to?"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import ReliabilityWarning, StateError, Verdict
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(6)


# ---------------------------------------------------------------- given back
def test_frozen_batchnorm_stays_frozen_but_not_inside_multiattack(
    labels_of: Any, quick: Any
) -> None:
    net = small_net().train()
    net[1].eval()
    y = labels_of(small_net())
    probe = quick(net)
    for verb in (probe, probe.measure):
        verb(IMAGES, y)
        assert not net[1].training and net.training and net[4].training
    probe.save([(IMAGES, y)], None)
    assert not net[1].training
    multi = torchattacks.MultiAttack([quick(net), quick(net)])
    multi(IMAGES, y)
    assert net[
        1
    ].training  # torchattacks' own loss of the mode: documented, not repaired


def test_rows_leave_the_consumer_its_own_modes(labels_of: Any, quick: Any) -> None:
    net = small_net().train()
    y = labels_of(small_net())
    seen = []
    for _ in quick(net, batch_size=2).rows(IMAGES, y):
        seen.append(
            (net.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        )
    assert seen and set(seen) == {(True, True, False)}


def test_rows_abandoned_half_way_leave_no_lock(labels_of: Any, quick: Any) -> None:
    net = small_net().train()
    y = labels_of(small_net())
    next(quick(net, batch_size=1).rows(IMAGES, y))
    assert net.training
    threads = [threading.Thread(target=lambda: quick(net)(IMAGES, y))]
    threads[0].start()
    threads[0].join()


def test_a_second_thread_gets_a_state_error(labels_of: Any, quick: Any) -> None:
    net, inside, go_on = small_net().eval(), threading.Event(), threading.Event()
    y = labels_of(net)

    def slow(images: Tensor) -> Tensor:
        if threading.current_thread() is worker:
            inside.set()
            go_on.wait(20)
        return net(images)

    probe = quick(slow)
    worker = threading.Thread(target=lambda: probe(IMAGES, y))
    worker.start()
    assert inside.wait(20)
    with pytest.raises(StateError, match="another thread"):
        quick(slow)(IMAGES, y)
    go_on.set()
    worker.join()
    assert probe(IMAGES, y).shape == IMAGES.shape


def test_a_randomised_model_advances_the_generator_by_its_own_draws(
    labels_of: Any, quick: Any
) -> None:
    net = small_net().eval()

    def noisy(images: Tensor) -> Tensor:
        return net(images) + 0.1 * torch.rand(len(images), 3)

    y = labels_of(net)
    rows = []
    torch.manual_seed(11)
    with pytest.warns(ReliabilityWarning, match="randomised_model"):
        quick(lambda x: rows.append(len(x)) or noisy(x)).measure(IMAGES, y)
    after = torch.get_rng_state()
    torch.manual_seed(11)
    for n in rows:
        torch.rand(n, 3)
    assert torch.equal(after, torch.get_rng_state())


def test_nothing_is_printed(
    net: nn.Module, capsys: pytest.CaptureFixture[str], labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    probe = quick(net)
    probe.set_mode_targeted_by_label(quiet=False)
    probe.set_mode_targeted_random()
    probe.set_mode_default()
    probe.save([(IMAGES, y)], None, verbose=True)
    probe.measure(IMAGES, y, progress=False)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""


# ---------------------------------------------------------------- targeted modes
def test_targets_are_never_the_label_and_do_not_depend_on_the_batch(
    net: nn.Module, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    probe = quick(net)
    probe.set_mode_targeted_random(quiet=True)
    targets = probe.get_target_label(IMAGES, y)
    assert bool((targets != y).all()) and targets.dtype == torch.int64
    single = [probe.get_target_label(IMAGES[i : i + 1], y[i : i + 1]) for i in range(6)]
    assert torch.equal(targets, torch.cat(single))
    probe.set_mode_targeted_least_likely(quiet=True)
    with torch.no_grad():
        logits = net(IMAGES)
    masked = logits.scatter(1, y[:, None], float("inf"))
    assert torch.equal(probe.get_target_label(IMAGES, y), masked.argmin(1))


@pytest.mark.parametrize("mode", ["random", "least_likely", "by_label", "by_function"])
def test_targeted_failures_are_hits_of_the_target(
    net: nn.Module, mode: str, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    probe = quick(net, eps=0.5)
    given = y
    if mode == "by_label":
        given = (y + 1) % 3
        probe.set_mode_targeted_by_label(quiet=True)
    elif mode == "by_function":
        probe.set_mode_targeted_by_function(lambda x, labels: (labels + 1) % 3)
    else:
        getattr(probe, f"set_mode_targeted_{mode}")(quiet=True)
    result = probe.measure(IMAGES, given)
    assert result.count(Verdict.MISCLASSIFIED) == 0
    assert (result.clean_correct == -1).all()
    assert bool((result.reference != y).all())
    shown = probe(IMAGES, given)
    with torch.no_grad():
        hit = net(shown).argmax(1) == probe._targets(result.ids, IMAGES, given)
        failing = result.n_failures > 0.5 * result.n_samples
    assert bool(hit[failing].all())


def test_rows_already_at_the_target_are_not_robust(
    net: nn.Module, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    probe = quick(net)
    probe.set_mode_targeted_by_label(quiet=True)
    result = probe.measure(IMAGES, y)
    assert result.count(Verdict.NOT_ROBUST) == len(IMAGES)
    assert (result.n_samples == 0).all() and (result.clean_correct == -1).all()
