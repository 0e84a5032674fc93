"""Is a finished measurement kept, whatever kind of tensor the weights are?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import PRTest, ReliabilityWarning, evaluate
from torchattacks_ext.models.fingerprint import (
    describe_model,
    fingerprint,
    model_sha256,
)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Weighted(nn.Module):
    """Scores by one matrix of any layout."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return (self.weight @ images.flatten(1).t()).t()


def with_meta_buffer() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    net.register_buffer("unused", torch.zeros(3, device="meta"))
    return net


def quantised() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: will move to torchao
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


class Grumpy(nn.Sequential):
    """Its own state_dict raises, as that of a sharded module may."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("gather first")


MATRIX = torch.randn(10, 64, generator=seeded()).relu()
NETS = {
    "sparse COO": lambda: Weighted(MATRIX.to_sparse()),
    "sparse CSR": lambda: Weighted(MATRIX.to_sparse_csr()),
    "unused meta buffer": with_meta_buffer,
    "dynamic int8": quantised,
    "state_dict raises": lambda: Grumpy(nn.Flatten(), nn.Linear(64, 10)),
}
HASHED = {"sparse COO", "sparse CSR", "dynamic int8"}


@pytest.mark.filterwarnings(
    "ignore"
)  # torch's own, and int8 answers depend on the batch
@pytest.mark.parametrize("kind", NETS)
def test_no_measurement_is_lost_to_the_hash_of_its_weights(kind: str) -> None:
    net, images = NETS[kind](), torch.rand(4, 1, 8, 8, generator=seeded())
    labels = net(images).argmax(1)
    test = PRTest(net, eps=0.1, tolerance=0.05, significance=0.05, n_max=600)
    result = test.measure(images, labels)
    said = result.provenance["model"]
    assert (
        (said["sha256"] is not None) == (kind in HASHED) == ("not_hashed" not in said)
    )
    plan = {"eps": 0.1, "stages": ["clean"]}
    assert evaluate(net, (images, labels), plan).model == said
    assert test.measure(images, labels, resume=result).digest() == result.digest()


def test_a_sparse_layout_does_not_hide_other_weights() -> None:
    other = MATRIX.clone()
    other[0, 0] += 1
    assert model_sha256(Weighted(MATRIX.to_sparse())) == model_sha256(Weighted(MATRIX))
    assert model_sha256(Weighted(MATRIX.to_sparse())) != model_sha256(Weighted(other))


def test_packed_weights_count() -> None:
    torch.manual_seed(0)
    first = quantised()
    torch.manual_seed(1)
    assert model_sha256(first) != model_sha256(quantised())


def test_the_reason_names_the_tensor() -> None:
    said = describe_model(with_meta_buffer())
    assert said["sha256"] is None and "'unused'" in said["not_hashed"]
    assert "gather first" in str(fingerprint(Grumpy(nn.Flatten())).reason)
    lazy = describe_model(nn.LazyLinear(3))
    assert lazy["sha256"] is None and lazy["parameters"] is None


class Wrapped(Tensor):
    """A tensor in two parts, as quantised subclasses are."""

    @staticmethod
    def __new__(cls, codes: Tensor, scale: Tensor) -> Any:
        make = torch.Tensor._make_wrapper_subclass
        return make(cls, codes.shape, dtype=scale.dtype)

    def __init__(self, codes: Tensor, scale: Tensor) -> None:
        self.codes, self.scale = codes, scale

    def __tensor_flatten__(self) -> Any:
        return ["codes", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].codes, args[0].scale)
        raise NotImplementedError(f"{func} of a packed tensor")


def test_a_wrapped_tensor_is_hashed_by_its_parts() -> None:
    def net(code: int, scale: float) -> nn.Module:
        codes = torch.full((2, 2), code, dtype=torch.int8)
        found = nn.Module()
        found.register_buffer("weight", Wrapped(codes, torch.tensor(scale)))
        return found

    hashes = {model_sha256(net(*one)) for one in [(1, 1.0), (2, 1.0), (1, 2.0)]}
    assert len(hashes) == 3 and None not in hashes


def test_the_hash_of_an_ordinary_model_is_the_one_of_earlier_versions() -> None:
    net = nn.Linear(2, 1)
    net.weight.data = torch.tensor([[1.0, 2.0]])
    net.bias.data = torch.tensor([3.0])
    assert model_sha256(net) == (
        "c53a90d1844b58c1939db523bcc560c4cf3ffc710055a467e9f13ec1e3af953d"
    )


def test_the_doubt_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReliabilityWarning)
        describe_model(with_meta_buffer())
