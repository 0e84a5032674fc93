"""Does an ONNX file answer as its runtime does, in any batch, and is it known by its weights?

The runtime here is a stand-in with the interface of onnxruntime; the real one has its turn in
tests/compat.
"""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchattacks_ext.attacks.prtest.prtest import PRTest
from torchattacks_ext.errors import InputError, MissingExtra, ModelContractError
from torchattacks_ext.models.fingerprint import model_sha256
from torchattacks_ext.models.normalised import NormalizedModel
from torchattacks_ext.models.onnx import OnnxModel

from .wire import field, graph, model, tensor

FORM: dict[str, Any] = {}


class Session:
    """Two scores of how bright a row is, each row by itself."""

    def __init__(self, path: str, options: Any, providers: list[str]) -> None:
        if b"refused" in Path(path).read_bytes():
            raise RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF\nmore")
        assert providers == ["CPUExecutionProvider"]
        self.seen: list[Any] = []

    def get_inputs(self) -> list[Any]:
        one = SimpleNamespace(name="images", shape=FORM["shape"], type=FORM["type"])
        return [one] * FORM["inputs"]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="logits"), SimpleNamespace(name="rest")]

    def run(self, names: list[str], given: dict[str, Any]) -> list[Any]:
        rows = given["images"]
        assert rows.dtype == FORM["dtype"] and rows.flags["C_CONTIGUOUS"]
        batch = FORM["shape"][0]
        assert not isinstance(batch, int) or len(rows) == batch
        self.seen.append(rows.shape)
        mean = rows.reshape(len(rows), -1).mean(1)
        return [np.stack([4 * mean, 2 - mean], 1), np.zeros((len(rows), 3), np.float32)]


@pytest.fixture
def onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the form, and a runtime that opens it."""
    FORM.update(shape=["n", 3, 4, 4], type="tensor(float)", dtype=np.float32, inputs=1)
    runtime: Any = ModuleType("onnxruntime")
    runtime.InferenceSession = Session
    runtime.SessionOptions = SimpleNamespace
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    path = tmp_path / "net.onnx"
    path.write_bytes(model(graph(field(5, tensor("net.data")))))
    (tmp_path / "net.data").write_bytes(b"\0" * 12)
    return path


IMAGES = torch.rand(7, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_free_batch_is_one_run(onnx: Path) -> None:
    net = OnnxModel(onnx)
    found = net(IMAGES)
    mean = IMAGES.flatten(1).mean(1)
    assert torch.allclose(
        found["logits"], torch.stack([4 * mean, 2 - mean], 1), atol=1e-6
    )
    assert found["rest"].shape == (7, 3) and net.session.seen == [(7, 3, 4, 4)]


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_a_fixed_batch_is_filled_up_and_cut(batch: int, onnx: Path) -> None:
    expected = OnnxModel(onnx)(IMAGES)["logits"]
    FORM["shape"] = [batch, 3, 4, 4]
    net = OnnxModel(onnx)
    assert torch.allclose(net(IMAGES)["logits"], expected, atol=1e-6)
    assert len(net.session.seen) == -(-7 // batch)


def test_channels_last_and_other_floats(onnx: Path) -> None:
    FORM.update(shape=["n", 4, 4, 3], type="tensor(double)", dtype=np.float64)
    FORM["shape"] = ["n", 5, 4, 3]
    net = OnnxModel(onnx)
    assert net(torch.rand(2, 3, 5, 4))["logits"].dtype == torch.float64
    assert net.session.seen == [(2, 5, 4, 3)]


def test_what_does_not_fit_is_refused(onnx: Path) -> None:
    net = OnnxModel(onnx)
    with pytest.raises(ModelContractError, match="takes images of 3x4x4, got 1x4x4"):
        net(torch.rand(2, 1, 4, 4))
    FORM["inputs"] = 2
    with pytest.raises(InputError, match="2 inputs .*expected one: the images"):
        OnnxModel(onnx)
    FORM.update(inputs=1, type="tensor(uint8)")
    with pytest.raises(InputError, match=r"takes tensor\(uint8\), expected floats"):
        OnnxModel(onnx)
    onnx.write_bytes(onnx.read_bytes() + field(2, b"refused"))
    with pytest.raises(InputError, match="refused by onnxruntime: .*PROTOBUF more"):
        OnnxModel(onnx)


def test_a_model_is_known_by_all_its_files(onnx: Path) -> None:
    first = OnnxModel(onnx)
    again, wrapped = OnnxModel(onnx), NormalizedModel(OnnxModel(onnx), [0.5], [0.5])
    assert model_sha256(first) == model_sha256(again) != model_sha256(wrapped)
    (onnx.parent / "net.data").write_bytes(b"\1" * 12)
    other = OnnxModel(onnx)
    assert model_sha256(other) != model_sha256(first)
    with pytest.raises(InputError, match="the state is not that of net.onnx"):
        other.load_state_dict(first.state_dict())


def test_copies_open_the_file_again_if_it_is_the_same(onnx: Path) -> None:
    net = nn.Sequential(OnnxModel(onnx))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(IMAGES)["logits"], net(IMAGES)["logits"])
        assert twin[0].session is not net[0].session
    (onnx.parent / "net.data").write_bytes(b"\1" * 12)
    with pytest.raises(InputError, match="is not the file any more"):
        copy.deepcopy(net)


def test_a_probe_measures_it(onnx: Path) -> None:
    test = PRTest(OnnxModel(onnx), eps=0.01, n_max=800)
    labels = torch.zeros(7, dtype=torch.long)
    assert len(test.measure(IMAGES, labels)) == 7


def test_without_the_runtime_the_extra_is_named(
    onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'torchattacks_ext\[onnx\]'"):
        OnnxModel(onnx)
