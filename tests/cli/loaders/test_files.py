"""Are weights of safetensors, published architectures and ONNX files loaded, and nothing run?"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from torchattacks_ext.cli.loaders.cache import torch_file
from torchattacks_ext.cli.loaders.checkpoints import read_weights
from torchattacks_ext.cli.loaders.filling import fill, fitted, other_classes
from torchattacks_ext.cli.loaders.loaded import prepared
from torchattacks_ext.cli.loaders.loading import load_model
from torchattacks_ext.errors import ConfigError, InputError

pytestmark = pytest.mark.usefixtures("workshop")
STATE = {"1.weight": torch.zeros(10, 64), "1.bias": torch.arange(10.0)}
BLACK = torch.zeros(1, 1, 8, 8)


def test_safetensors_are_loaded() -> None:
    save_file({f"module.{key}": value for key, value in STATE.items()}, "w.safetensors")
    loaded = load_model("w.safetensors", "shed:build")
    assert loaded.name == "w.safetensors" and loaded.model(BLACK)[0, 9] == 9


def test_pieces_are_put_together() -> None:
    parts = {key: f"model-0000{i}-of-00002.safetensors" for i, key in enumerate(STATE)}
    for key, name in parts.items():
        save_file({key: STATE[key]}, name)
    index = Path("model.safetensors.index.json")
    index.write_text(json.dumps({"metadata": {"total_size": 9}, "weight_map": parts}))
    assert load_model(str(index), "shed:build").model(BLACK)[0, 9] == 9


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"weight_map": {"a": "../x.safetensors"}}', "no safetensors file beside it"),
        ('{"weight_map": {"a": "/x.safetensors"}}', "no safetensors file beside it"),
        ('{"weight_map": {"a": "x.bin"}}', "no safetensors file beside it"),
        ('{"weight_map": {"a": "x.safetensors"}}', "there is no such file beside it"),
        ('{"weight_map": 3}', "is no index"),
        ("[]", "is no index"),
        ("{", "is no index"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(content: str, said: str) -> None:
    Path("m.safetensors.index.json").write_text(content)
    with pytest.raises(InputError, match=said):
        load_model("m.safetensors.index.json", "shed:build")


def test_damaged_safetensors_are_refused() -> None:
    save_file(STATE, "w.safetensors")
    whole = Path("w.safetensors").read_bytes()
    for content in (whole[:100], b"", b"text", whole[:-4], b"\xff" * 64):
        Path("cut.safetensors").write_bytes(content)
        with pytest.raises(
            InputError, match="cut.safetensors is not a safetensors file or is dam"
        ):
            load_model("cut.safetensors", "shed:build")
    with pytest.raises(InputError, match="none.safetensors is not a file"):
        load_model("none.safetensors", "shed:build")
    with pytest.raises(ConfigError, match="holds weights only; say which model"):
        load_model("w.safetensors")
    with pytest.raises(ConfigError, match="w.safetensors holds one set of weights"):
        load_model("w.safetensors", "shed:build", "ema")


class Tied(nn.Module):
    """Two names of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    made, empty = Tied(), Tied()
    save_model(made, str(tmp_path / "t.safetensors"))
    from torchattacks_ext.cli.loaders.tensors import read_tensors

    state = read_tensors(tmp_path / "t.safetensors")
    assert len(state) == 3
    fill(empty, state, "t", "x")
    assert (
        torch.equal(empty.b.weight, made.a.weight) and empty.b.weight is empty.a.weight
    )
    del state["b.bias"]
    with pytest.raises(InputError, match="1 missing: b.bias"):
        fill(empty, state, "t", "x")


def test_the_name_under_which_a_loop_keeps_its_model_is_taken_off() -> None:
    for prefix in ("net.", "model.", "module.net.", "a.b.c."):
        state = {prefix + key: value for key, value in STATE.items()}
        assert fitted(state, STATE).keys() == STATE.keys()
    odd = {"net.1.weight": 0, "loss.weight": 0}
    assert fitted(odd, STATE) == odd


def test_averaged_weights_of_lightning_are_said(weights: Path) -> None:
    state: Any = torch.load(weights, weights_only=True)
    raw = {f"model.{k}": v * 0 for k, v in state.items()}
    content = {
        "state_dict": {f"model.{k}": v for k, v in state.items()},
        "current_model_state": raw,
        "averaging_state": {"n_averaged": torch.tensor(3)},
        "pytorch-lightning_version": "2.6",
    }
    torch.save(content, "run.ckpt")
    loaded = load_model("run.ckpt", "shed:build")
    assert loaded.model(BLACK)[0, 9] == 9
    assert "holds the averaged weights" in loaded.facts()["notes"][0]
    other = load_model("run.ckpt", "shed:build", "current_model_state")
    assert other.model(BLACK).abs().max() == 0 and not other.notes


def test_a_distributed_checkpoint_says_what_makes_a_file_of_it() -> None:
    Path("dcp").mkdir()
    Path("dcp/.metadata").write_bytes(b"")
    with pytest.raises(InputError, match="dcp_to_torch_save"):
        load_model("dcp")


# ------------------------------------------------------------------ published architectures
@pytest.fixture(scope="module")
def small() -> Any:
    """The state of a small classifier of torchvision with seven classes."""
    models = pytest.importorskip("torchvision.models")
    return models.shufflenet_v2_x0_5(num_classes=7).state_dict()


def test_the_number_of_classes_is_that_of_the_file(small: Any) -> None:
    save_file(small, "w.safetensors")
    arch = "torchvision:shufflenet_v2_x0_5"
    loaded = load_model("w.safetensors", arch)
    assert loaded.model(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(
        ConfigError, match="name their tag .torchvision:NAME@WEIGHTS.; say --mean"
    ):
        prepared(loaded, None, (32, 32))
    tagged = load_model("w.safetensors", f"{arch}@IMAGENET1K_V1")
    ready = prepared(tagged, None, (32, 32))
    assert type(ready.model).__name__ == "NormalizedModel"
    assert [flag.code for flag in ready.flags] == ["other_size"]
    assert prepared(tagged, None, (224, 224)).flags == ()
    with pytest.raises(InputError, match="does not fit --arch torchvision:alexnet"):
        load_model("w.safetensors", "torchvision:alexnet")


def test_other_differences_are_no_number_of_classes() -> None:
    wanted = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 10)).state_dict()
    assert other_classes(wanted, wanted) is None
    deeper = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 10)).state_dict()
    assert other_classes(deeper, wanted) is None


def test_published_weights_come_from_the_cache_and_are_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.save(models.shufflenet_v2_x0_5().state_dict(), "file")
    content = Path("file").read_bytes()
    name = f"shuffle-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    kind = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    monkeypatch.setattr(kind.value, "url", f"https://example.invalid/{name}")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    place = tmp_path / "hub" / "checkpoints" / name
    with pytest.raises(InputError, match=f"not in the cache .*{name}.*--download only"):
        load_model("torchvision:shufflenet_v2_x0_5")
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    loaded = load_model("torchvision:shufflenet_v2_x0_5")
    state = read_weights(place).state
    assert all(torch.equal(v, state[k]) for k, v in loaded.model.state_dict().items())
    assert loaded.name == "torchvision:shufflenet_v2_x0_5@IMAGENET1K_V1"
    assert loaded.classes is not None and loaded.classes[0][0] == "tench"
    assert loaded.preprocessing is not None and loaded.preprocessing.size == (224, 224)
    place.write_bytes(content[:-1] + b"\1")
    with pytest.raises(InputError, match="has SHA-256 .*, published is"):
        load_model("torchvision:shufflenet_v2_x0_5")


@pytest.mark.parametrize("works", [False, True])
def test_the_net_is_used_when_told_and_its_failure_is_one_line(
    works: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[Any] = []

    def fetch(url: str, place: str, wanted: str, progress: bool) -> None:
        told.append((url, wanted))
        if not works:
            raise OSError("Name or service\nnot known")
        Path(place).write_bytes(b"weights")

    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    url = f"https://example.invalid/../net-{digest}.pth"
    if works:
        assert torch_file(url, True) == tmp_path / "checkpoints" / f"net-{digest}.pth"
    else:
        with pytest.raises(
            InputError, match="downloaded .OSError: Name or service not known"
        ):
            torch_file(url, True)
    assert told == [(url, digest)]


class Spring:
    """Pickled, it creates a file when somebody unpickles it."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


def test_a_pickle_in_the_cache_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also one whose hash is right: the restricted reader sees it before torchvision does."""
    models = pytest.importorskip("torchvision.models")
    torch.save({"a": Spring()}, "file")
    content = Path("file").read_bytes()
    name = f"shuffle-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    kind = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    monkeypatch.setattr(kind.value, "url", f"https://example.invalid/{name}")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_bytes(content)
    with pytest.raises(InputError, match="pickled objects"):
        load_model("torchvision:shufflenet_v2_x0_5")
    assert not Path("sprung").exists()


def test_a_net_whose_function_is_not_in_its_file_is_cautioned() -> None:
    from torchattacks_ext.cli.loaders.vision import other_function

    assert "transform_input" in other_function("inception_v3")
    assert other_function("resnet18") == ""


def test_weights_of_features_are_no_classifier() -> None:
    pytest.importorskip("torchvision.models")
    with pytest.raises(InputError, match="weights of features, not of a classifier"):
        load_model("torchvision:vgg16@IMAGENET1K_FEATURES")
