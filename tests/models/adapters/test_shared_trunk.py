"""Does one trunk pass serve all heads, with the values and gradients of trunk and head?"""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, InputError, ModelContractError
from torchattacks_ext.models import LogitsView, SharedTrunk, session

Make = Callable[..., Any]
"""The fixtures of conftest.py: functions that make images or a net, or compare it with its twin."""


def test_values_and_gradients_are_those_of_trunk_and_head(
    images: Make, shared: Make, check: Make
) -> None:
    net, x = shared(), images()
    check(net, x)
    with torch.no_grad():
        check(net, x)
    check(net, images(1))


def test_all_heads_cost_one_trunk_pass(images: Make, shared: Make) -> None:
    net, x = shared(), images()
    found = net.probe(x)
    assert list(found) == ["fc", "soft.3"] and net.trunk_rows == 4
    assert not any(z.requires_grad for z in found.values())
    net.probe(x.detach())
    net.probe(x.detach().clone())
    assert net.trunk_rows == 4
    net.probe(images(1))
    assert net.trunk_rows == 8
    net.probe(x)  # one batch is kept, not two
    assert net.trunk_rows == 12


def test_a_probe_is_free_beside_the_gradient_of_one_head(
    images: Make, shared: Make, naive: Make
) -> None:
    """Forward with a graph, probe, backward, probe: the loop of an attack."""
    net, x = shared(), images()
    logits = net.head("fc")(x)
    net.probe(x.detach())
    (found,) = torch.autograd.grad(logits.sum(), x)
    net.probe(x)
    assert net.trunk_rows == 4
    assert torch.equal(found, torch.autograd.grad(naive(net, "fc", x).sum(), x)[0])


def test_a_joint_loss_takes_one_pass_each_way(
    images: Make, shared: Make, naive: Make
) -> None:
    net, x = shared(), images()
    passes = []
    net.trunk.register_full_backward_hook(lambda *_: passes.append(1))
    found = net(x)
    loss = sum(z.square().sum() for z in found.values())
    (gradient,) = torch.autograd.grad(loss, x)
    assert net.trunk_rows == 4 and len(passes) == 1
    twin = sum(naive(net, name, x).square().sum() for name in net.names)
    assert torch.allclose(gradient, torch.autograd.grad(twin, x)[0], atol=1e-13)


def test_a_graph_without_gradients_is_not_used_for_one(
    images: Make, shared: Make, check: Make
) -> None:
    net, x = shared(), images()
    net.probe(x)
    check(net, x)
    y = x.detach()
    net.head("fc")(y)
    y.requires_grad_()
    assert net.head("fc")(y).requires_grad


def test_a_graph_to_the_weights_is_built_when_they_need_it(
    images: Make, shared: Make
) -> None:
    net, x = shared(), images().detach()
    net.trunk.requires_grad_(True)
    net.probe(x)
    net.head("fc")(x).sum().backward()
    assert all(p.grad is not None for p in net.trunk.parameters())


def test_a_graph_of_another_tensor_is_not_used(images: Make, shared: Make) -> None:
    net, x = shared(), images()
    net.head("fc")(x)
    twin = x.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(net.head("fc")(twin).sum(), twin)
    assert bool(found.abs().sum() > 0)


def test_a_spent_graph_is_built_anew(images: Make, shared: Make) -> None:
    net, x = shared(), images()
    for _ in range(3):
        torch.autograd.grad(net.head("fc")(x).sum(), x)
    assert net.trunk_rows == 12


def test_two_backward_passes_on_one_graph(images: Make, shared: Make) -> None:
    net, x = shared(), images()
    one, two = net(x).values()
    (first,) = torch.autograd.grad(one.sum(), x, retain_graph=True)
    (second,) = torch.autograd.grad(two.sum(), x)
    assert not torch.equal(first, second) and net.trunk_rows == 4
    one, two = net(x).values()
    torch.autograd.grad(one.sum(), x)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(two.sum(), x)


def test_features_in_other_precisions_are_not_mixed(
    images: Make, shared: Make, naive: Make
) -> None:
    net, x = shared().float(), images().detach().float()
    full = net.probe(x)["fc"]
    with torch.autocast("cpu", torch.bfloat16):
        short = net.probe(x)["fc"]
        assert torch.equal(short, naive(net, "fc", x))
    assert torch.equal(net.probe(x)["fc"], full) and net.trunk_rows == 12


def test_inference_mode_leaves_nothing_that_gradients_trip_over(
    images: Make, shared: Make, check: Make
) -> None:
    net, x = shared(), images()
    net.heads.requires_grad_(True)
    with torch.inference_mode():
        net.probe(x)
    net.head("fc")(x.detach()).sum().backward()
    check(net, x)


@pytest.mark.parametrize(
    "mode", [torch.enable_grad, torch.no_grad, torch.inference_mode]
)
def test_a_head_that_writes_into_its_input_spoils_nothing(
    mode: Callable[[], torch.no_grad], images: Make
) -> None:
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 6)).double()
    heads = {"write": nn.ReLU(inplace=True), "read": nn.Identity()}
    net, x = SharedTrunk(trunk, heads), images()
    with mode():
        for _ in range(2):
            found = net(x)
            assert torch.equal(found["read"], trunk(x))
            assert torch.equal(found["write"], trunk(x).relu())
    assert net.trunk_rows == 4


def test_a_trunk_that_returns_its_input_or_a_view(images: Make) -> None:
    for trunk in (nn.Identity(), nn.Flatten()):
        net = SharedTrunk(trunk, {"a": nn.Flatten(), "b": nn.Flatten()})
        x = images()
        found = net(x)
        (gradient,) = torch.autograd.grad((2 * found["a"] + found["b"]).sum(), x)
        assert torch.equal(gradient, torch.full_like(x, 3.0)) and net.trunk_rows == 4
        torch.autograd.grad(x.sum(), x)  # no hook was left on the caller's tensor
        assert not x._backward_hooks


def test_memory_of_one_batch_is_kept_and_can_be_let_go(
    images: Make, shared: Make
) -> None:
    net, kept = shared(), []

    def remember(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        kept.append(weakref.ref(out))

    def alone(module: nn.Module, args: tuple[Tensor]) -> None:
        assert not any(ref() is not None for ref in kept), "two graphs at a time"

    net.trunk.register_forward_hook(remember)
    net.trunk.register_forward_pre_hook(alone)
    gc.disable()  # nothing may wait for the collector of cycles
    try:
        for seed in range(4):
            x = images(seed)
            torch.autograd.grad(net.head("fc")(x).sum(), x)
            net.head("soft.3")(x)
        assert sum(ref() is not None for ref in kept) <= 1
        net.clear()
        assert sum(ref() is not None for ref in kept) == 0
    finally:
        gc.enable()


def test_a_head_is_a_model_for_views_and_sessions(images: Make, shared: Make) -> None:
    net = shared().train()
    head = net.head("soft.3")
    with session(head):
        assert not net.trunk.training
        assert LogitsView(head)(images()).shape == (4, 5)
    assert net.trunk.training
    assert list(head.parameters())[0] is list(net.parameters())[0]


def test_copies_start_without_features(images: Make, shared: Make) -> None:
    net, x = shared(), images()
    net.head("fc")(x)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin._entry is None and torch.equal(
            twin.probe(x)["fc"], net.probe(x)["fc"]
        )


def test_no_rows(images: Make, shared: Make) -> None:
    assert shared().probe(images()[:0])["soft.3"].shape == (0, 5)


def test_errors(images: Make, shared: Make) -> None:
    with pytest.raises(ConfigError, match="heads={} is empty"):
        SharedTrunk(nn.Identity(), {})
    with pytest.raises(InputError, match=r"head 'x' is not one of \('fc', 'soft.3'\)"):
        shared().head("x")
    whole = SharedTrunk(nn.Flatten(0), {"a": nn.Identity()})
    with pytest.raises(ModelContractError, match=r"features \(256,\) for 4 images"):
        whole.probe(images())
    lstm = SharedTrunk(nn.LSTM(4, 2), {"a": nn.Identity()})
    with pytest.raises(ModelContractError, match="the trunk gave tuple"):
        lstm.probe(torch.rand(2, 3, 4))
