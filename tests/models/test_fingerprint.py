"""Has the same model one hash however it is wrapped, and every other model another?"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

from torchattacks_ext.models.fingerprint import describe_model, model_sha256
from torchattacks_ext.testing import small_net


def compiled(net: nn.Module) -> nn.Module:
    """The wrapper of torch.compile; nothing is compiled before the first call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of older torch, at import
        return torch.compile(net)  # type: ignore[return-value]


def test_the_same_weights_have_one_hash() -> None:
    net = small_net()
    known = model_sha256(net)
    assert known is not None and len(known) == 64
    assert model_sha256(copy.deepcopy(net)) == known == model_sha256(small_net())
    net.eval().requires_grad_(False)
    assert model_sha256(net) == known


def test_wrappers_do_not_change_the_hash() -> None:
    net = small_net()
    parallel = nn.DataParallel(net)
    wrapped = [parallel, compiled(net), compiled(parallel)]
    assert {model_sha256(model) for model in wrapped} == {model_sha256(net)}


def test_wrapped_parts_do_not_change_the_hash() -> None:
    net, inner = small_net(), small_net()
    inner[0] = nn.DataParallel(inner[0])
    inner[3] = compiled(inner[3])
    assert model_sha256(inner) == model_sha256(net)


class Twin(nn.Sequential):
    pass


CHANGES: dict[str, Callable[[nn.Sequential], object]] = {
    "in-place": lambda net: net[0].weight.detach().add_(1e-6),
    "through .data": lambda net: net[0].weight.data.add_(1e-6),
    "one bit": lambda net: net[-1].bias.data.view(torch.int32)[:1].add_(1),
    "order": lambda net: net[-1].bias.data.copy_(net[-1].bias.data.flip(0)),
    "buffer": lambda net: net[1].running_var.mul_(2),
    "dtype": lambda net: net.double(),
    "sign of zero": lambda net: net[1].num_batches_tracked.add_(1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_weights_have_another_hash(change: str) -> None:
    net = small_net()
    before = model_sha256(net)
    CHANGES[change](net)
    assert model_sha256(net) != before


def test_class_names_and_shapes_count() -> None:
    net = small_net()
    assert model_sha256(Twin(*net)) != model_sha256(net)
    ones, row = nn.Linear(4, 1, bias=False), nn.Linear(1, 4, bias=False)
    ones.weight.data.fill_(1), row.weight.data.fill_(1)
    assert model_sha256(ones) != model_sha256(row)
    assert model_sha256(small_net(seed=1)) != model_sha256(net)


def test_a_part_called_module_is_not_taken_for_a_wrapper() -> None:
    class Net(nn.Module):
        def __init__(self, outer: float, inner: float) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([outer]))
            self.module = nn.Linear(1, 1, bias=False)
            self.module.weight = nn.Parameter(torch.tensor([inner]))

    hashes = {
        model_sha256(Net(a, b))
        for a, b in [(1.0, 2.0), (3.0, 2.0), (1.0, 4.0), (2.0, 1.0)]
    }
    assert len(hashes) == 4


def test_tensors_of_every_kind_are_hashed() -> None:
    net = nn.Linear(2, 2).to(torch.bfloat16)
    net.register_buffer("scalar", torch.tensor(3.0))
    net.register_buffer("flag", torch.tensor([True, False]))
    net.register_buffer("empty", torch.zeros(0, 3))
    net.register_buffer("turned", torch.arange(6).reshape(2, 3).t())
    seen = {model_sha256(net)}
    net.scalar.add_(1)
    seen.add(model_sha256(net))
    net.flag.logical_not_()
    seen.add(model_sha256(net))
    net.weight.data.view(torch.int16)[0, 0] += 1
    seen.add(model_sha256(net))
    assert len(seen) == 4 and None not in seen
    with torch.inference_mode():
        assert model_sha256(nn.Linear(2, 2)) is not None


def test_layout_does_not_count() -> None:
    net = nn.Conv2d(3, 4, 3)
    before = model_sha256(net)
    assert model_sha256(net.to(memory_format=torch.channels_last)) == before


def test_a_callable_has_none() -> None:
    net = small_net()
    assert model_sha256(lambda x: net(x)) is None and model_sha256(len) is None


def test_the_description() -> None:
    net = nn.Linear(3, 2)
    assert describe_model(nn.DataParallel(net)) == {
        "class": "Linear",
        "sha256": model_sha256(net),
        "parameters": 8,
    }
    assert describe_model(len) == {"class": "len", "sha256": None, "parameters": None}
