"""Do models of the hub come with the preprocessing that they really have, and with no code?"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from torchattacks_ext.cli.loaders.loaded import Loaded, prepared
from torchattacks_ext.cli.loaders.loading import load_model
from torchattacks_ext.errors import (
    ConfigError,
    InputError,
    MissingExtra,
    TorchattacksExtError,
)

from . import stubs

pytest.importorskip("PIL.Image")
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Put a stand-in package in its place; the current folder is the test's."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, package: Any) -> Any:
        monkeypatch.setitem(sys.modules, name, package)
        for inner in ("models", "data"):
            if hasattr(package, inner):
                monkeypatch.setitem(
                    sys.modules, f"{name}.{inner}", getattr(package, inner)
                )
        return package

    return call


def answers(loaded: Loaded) -> torch.Tensor:
    found: torch.Tensor = prepared(loaded, None, (8, 8)).model(IMAGES)
    return found


# ------------------------------------------------------------------ transformers
def test_a_folder_gives_model_preprocessing_and_names(put: Any, tmp_path: Path) -> None:
    package = put("transformers", stubs.transformers())
    stubs.hub_folder(tmp_path / "net")
    loaded = load_model("hf:./net")
    expected = loaded.model(torch.stack([stubs.normalised(x) for x in IMAGES]))
    assert torch.allclose(answers(loaded), expected, atol=1e-4)
    assert loaded.name == "hf:./net" and not loaded.model.training
    assert loaded.classes == (("dog",), ("cat",), ("owl",))
    assert loaded.facts()["preprocessing"]["mean"] == stubs.MEAN
    told = package.told
    assert told["trust_remote_code"] is False and told["use_safetensors"] is True
    assert told["local_files_only"] is True


def test_what_the_processor_does_is_taken_and_told(put: Any, tmp_path: Path) -> None:
    std = torch.tensor(stubs.STD).reshape(3, 1, 1)
    put("transformers", stubs.transformers(lambda x: stubs.normalised(x.flip(0)) / std))
    stubs.hub_folder(tmp_path / "net")
    loaded = load_model("hf:./net")
    expected = loaded.model(
        torch.stack([stubs.normalised(x.flip(0)) / std for x in IMAGES])
    )
    assert torch.allclose(answers(loaded), expected, atol=1e-4)
    notes = loaded.facts()["preprocessing"]["notes"]
    assert len(notes) == 2 and "blue first" in notes[1]


def test_names_without_a_meaning_are_none(put: Any, tmp_path: Path) -> None:
    put("transformers", stubs.transformers())
    for names in (
        {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
        {"0": "a", "1": "b", "9": "c"},
    ):
        stubs.hub_folder(tmp_path / "net", id2label=names)
        assert load_model("hf:./net").classes is None


def test_without_a_processor_the_normalisation_must_be_said(
    put: Any, tmp_path: Path
) -> None:
    put("transformers", stubs.transformers())
    (stubs.hub_folder(tmp_path / "net") / "preprocessor_config.json").unlink()
    loaded = load_model("hf:./net")
    with pytest.raises(
        ConfigError, match="has no preprocessor_config.json.*--mean 0 --std 1"
    ):
        prepared(loaded, None, (8, 8))
    plain = prepared(loaded, ([0.0], [1.0]), (8, 8))
    assert plain.model is loaded.model
    assert (
        type(prepared(loaded, ([0.5], [1.0]), (8, 8)).model).__name__
        == "NormalizedModel"
    )


def change(folder: Path, what: str) -> None:
    """Spoil a folder in the way that `what` says."""
    file = folder / "model.safetensors"
    if what == "code":
        stubs.hub_folder(folder, auto_map={"AutoModel": "modeling.Net"})
    elif what == "processor code":
        (folder / "preprocessor_config.json").write_text('{"auto_map": {}}')
    elif what == "pickle":
        file.rename(folder / "pytorch_model.bin")
    elif what == "head":
        stubs.weights(file, head__weight=None, head__bias=None)
    elif what == "unknown":
        stubs.hub_folder(folder, model_type="unknown")
    elif what == "no config":
        (folder / "config.json").unlink()
    elif what == "list":
        (folder / "config.json").write_text("[]")
    elif what == "index":
        index = {"weight_map": {"a": "../../secret.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "code",
            "brings code of its own .auto_map., which is never run; give a factory",
        ),
        ("processor code", "prepares its images by code of its own"),
        ("pickle", "has no .*safetensors; pickled weights are not read"),
        (
            "head",
            "lacks weights of the classifier .head.bias, head.weight., which would be random",
        ),
        (
            "unknown",
            "is no image classifier: ValueError: Unrecognized configuration class",
        ),
        ("no config", "config.json cannot be read"),
        ("list", "holds no settings"),
        (
            "index",
            "names '../../secret.safetensors', which is no safetensors file beside it",
        ),
    ],
)
def test_a_folder_that_cannot_be_right_is_refused(
    what: str, said: str, put: Any, tmp_path: Path
) -> None:
    put("transformers", stubs.transformers())
    change(stubs.hub_folder(tmp_path / "net"), what)
    with pytest.raises(InputError, match=said) as caught:
        load_model("hf:./net")
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ timm
def test_timm_takes_the_weights_of_the_name_with_its_tag(
    put: Any, tmp_path: Path
) -> None:
    put("timm", stubs.timm())
    names = ["tench, Tinca", "swan", "owl"]
    folder = stubs.timm_folder(tmp_path / "repo", label_names=names)
    package = put("huggingface_hub", stubs.huggingface_hub(folder))
    loaded = load_model("timm:net")
    assert package.told["repo"] == "timm/net.tag" and package.told["local_files_only"]
    state = loaded.model.state_dict()
    from safetensors.torch import load_file

    assert all(
        torch.equal(v, state[k])
        for k, v in load_file(folder / "model.safetensors").items()
    )
    assert loaded.preprocessing is not None and loaded.preprocessing.size == (8, 8)
    assert (
        "shorter side to 10, the middle 8 x 8 (center), bicubic"
        in loaded.preprocessing.geometry
    )
    assert loaded.classes == (("tench, Tinca", "tench", "Tinca"), ("swan",), ("owl",))
    load_model("timm:net", download=True)
    assert package.told["local_files_only"] is False


def test_a_folder_of_timm_is_known_by_its_config(
    put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("timm", stubs.timm())
    folder = stubs.timm_folder(tmp_path / "mine", n=5)
    assert load_model("hf:./mine").model(IMAGES).shape == (2, 5)
    stubs.weights(folder / "model.safetensors", n=4)
    with pytest.raises(
        InputError, match="does not fit the architecture net.*of another shape"
    ):
        load_model("hf:./mine")
    monkeypatch.setattr(
        stubs.Net, "num_classes", property(lambda net: 0, lambda *_: None)
    )
    with pytest.raises(InputError, match="gives features only"):
        load_model("hf:./mine")


def test_pickled_weights_of_timm_are_read_by_the_restricted_reader(
    put: Any, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    put("timm", stubs.timm())
    file = stubs.timm_folder(tmp_path / "mine") / "model.safetensors"
    torch.save(load_file(file), tmp_path / "mine" / "pytorch_model.bin")
    expected = load_model("hf:./mine").model(IMAGES)
    file.unlink()
    assert torch.equal(load_model("hf:./mine").model(IMAGES), expected)
    torch.save({"a": torch.nn.Linear(1, 1)}, tmp_path / "mine" / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickled objects, which could run code"):
        load_model("hf:./mine")
    (tmp_path / "mine" / "pytorch_model.bin").unlink()
    with pytest.raises(
        InputError, match="neither model.safetensors nor pytorch_model.bin"
    ):
        load_model("hf:./mine")


def test_random_weights_are_asked_for_and_doubted(put: Any) -> None:
    put("timm", stubs.timm())
    loaded = load_model("timm:net@none")
    assert [flag.code for flag in loaded.flags] == ["random_weights"]
    with pytest.raises(
        ConfigError, match="random weights and no preprocessing; say --mean"
    ):
        prepared(loaded, None, (8, 8))


@pytest.mark.parametrize(
    ("spec", "kind", "said"),
    [
        ("timm:nett", ConfigError, "timm has no model 'nett'; did you mean 'net'"),
        ("timm:net.tga", ConfigError, "timm:net has the tags tag, not 'tga'"),
        ("timm:net@tag", ConfigError, "a tag is timm:NAME.TAG"),
        ("timm:../net", ConfigError, "timm has no model"),
        (
            "timm:net",
            InputError,
            "timm/net.tag is not in the cache of the hub, .*--download only",
        ),
        ("hf:owner/net", InputError, "owner/net is not in the cache"),
        ("hf:../../etc", InputError, "is not a folder"),
        ("hf:owner/../net", ConfigError, "is no name"),
        ("hf:owner/net@../x", ConfigError, "is no revision"),
        (
            "torchvision:resnet81",
            ConfigError,
            "no classifier 'resnet81'; did you mean 'resnet",
        ),
        (
            "torchvision:resnet18@V9",
            ConfigError,
            "has the weights IMAGENET1K_V1, not 'V9'",
        ),
        ("torchvision:deeplabv3_resnet50", ConfigError, "no classifier"),
        (
            "./net",
            ConfigError,
            "is a folder; one of the hub's form is written hf:./FOLDER",
        ),
    ],
)
def test_what_is_not_there_is_one_sentence(
    spec: str, kind: type[TorchattacksExtError], said: str, put: Any, tmp_path: Path
) -> None:
    (tmp_path / "net").mkdir()
    put("timm", stubs.timm())
    put("huggingface_hub", stubs.huggingface_hub(FileNotFoundError("no\nsnapshot")))
    with pytest.raises(kind, match=said) as caught:
        load_model(spec)
    assert "\n" not in str(caught.value)


def test_large_files_of_the_cache_are_checked(put: Any, tmp_path: Path) -> None:
    put("timm", stubs.timm())
    folder = stubs.timm_folder(tmp_path / "snapshot")
    file = folder / "model.safetensors"
    blob = tmp_path / hashlib.sha256(file.read_bytes()).hexdigest()
    file.rename(blob)
    try:
        file.symlink_to(blob)
    except OSError:
        pytest.skip("no links here")
    put("huggingface_hub", stubs.huggingface_hub(folder))
    load_model("timm:net")
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    with pytest.raises(InputError, match="has SHA-256 .*, published is .*remove it"):
        load_model("timm:net")


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        ("timm", "timm:net", r"pip install 'torchattacks_ext\[hub\]'"),
        ("transformers", "hf:./net", "pip install transformers"),
        ("huggingface_hub", "hf:owner/net", r"pip install 'torchattacks_ext\[hub\]'"),
    ],
)
def test_a_missing_package_is_named(
    name: str, spec: str, said: str, put: Any, tmp_path: Path
) -> None:
    stubs.hub_folder(tmp_path / "net")
    put(name, None)
    with pytest.raises(MissingExtra, match=said):
        load_model(spec)
