"""Do the real packages do what the stand-ins of the quick tests say? Models and data, all offline.

Slow: seconds a package. Each is skipped where it is not installed (requirements.txt beside this
file); weights are random, files are made here, nothing is fetched.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchattacks_ext.cli.loaders.loaded import prepared
from torchattacks_ext.cli.loaders.loading import load_model
from torchattacks_ext.cli.main import main
from torchattacks_ext.data.named import load_data
from torchattacks_ext.errors import InputError
from torchattacks_ext.models.onnx import OnnxModel
from torchattacks_ext.models.preprocessing.pixels import on_pixels, own_pixels
from torchattacks_ext.models.preprocessing.read import (
    of_processor,
    of_timm,
    own_transform,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 48, 3), np.uint8)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with caches of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


def picture() -> Any:
    return pytest.importorskip("PIL.Image").fromarray(PICTURE)


# ------------------------------------------------------------------ processors
PLAIN = (
    "ViT",
    "DeiT",
    "Beit",
    "ConvNext",
    "Levit",
    "Bit",
    "CLIP",
    "PoolFormer",
    "MobileNetV2",
)


@pytest.mark.parametrize(
    "name", [*PLAIN, "EfficientNet", "MobileViT", "Swin2SR", "GLPN", "Siglip"]
)
def test_the_model_gets_what_the_processor_gives(name: str) -> None:
    package = pytest.importorskip("transformers")
    processor = getattr(package, f"{name}ImageProcessor")()
    found = of_processor(processor, name)
    expected = own_transform(processor)(picture())
    pixels = own_pixels(found)(picture())
    assert 0 <= pixels.min() and pixels.max() <= 1
    given = on_pixels(nn.Identity(), found)(pixels[None])[0]
    assert torch.allclose(given, expected, atol=1e-5)
    assert found.reverse == (name == "MobileViT")
    told = any("that is taken" in note for note in found.notes)
    assert told == (name == "EfficientNet")


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [
        ("resnet18.a1_in1k", 224, 0.485),
        ("mobilevit_s", 256, 0.0),
        ("tf_efficientnet_b0.ap_in1k", 224, 0.5),
        ("inception_v3.tv_in1k", 299, 0.5),
    ],
)
def test_of_timm(name: str, size: int, mean: float) -> None:
    timm = pytest.importorskip("timm")
    found = of_timm(timm.create_model(name), name)
    assert found.size == (size, size) and found.mean[0] == mean


def test_of_timm_a_smaller_transformer_says_its_own_size() -> None:
    timm = pytest.importorskip("timm")
    found = of_timm(timm.create_model("vit_tiny_patch16_224", img_size=32), "vit")
    assert found.size == (32, 32) and "the net takes (32, 32)" in found.notes[0]


# ------------------------------------------------------------------ models
def test_a_model_of_transformers_round_trip(here: Path) -> None:
    package = pytest.importorskip("transformers")
    names = {0: "dog", 1: "bird", 2: "cat"}
    config = package.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        id2label=names,
        label2id={v: k for k, v in names.items()},
    )
    made = package.ViTForImageClassification(config).eval()
    made.save_pretrained(here / "vit")
    processor = package.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(here / "vit")
    loaded = load_model("hf:./vit")
    assert loaded.classes == (("dog",), ("bird",), ("cat",))
    known = loaded.preprocessing
    assert known is not None and known.size == (32, 32)
    ready = prepared(loaded, None, (32, 32)).model
    expected = made(**processor(images=picture(), return_tensors="pt")).logits
    found = ready(own_pixels(known)(picture())[None]).logits
    assert torch.allclose(found, expected, atol=1e-4)
    # a model without its head
    package.ViTModel(config).save_pretrained(here / "headless")
    processor.save_pretrained(here / "headless")
    with pytest.raises(
        InputError, match="lacks weights of the classifier .classifier.bias"
    ):
        load_model("hf:./headless")
    text = json.loads((here / "vit" / "config.json").read_text())
    text["auto_map"] = {"AutoModelForImageClassification": "evil.Net"}
    (here / "vit" / "config.json").write_text(json.dumps(text))
    (here / "vit" / "evil.py").write_text("open('sprung', 'w')")
    with pytest.raises(InputError, match="code of its own"):
        load_model("hf:./vit")
    assert not (here / "sprung").exists()


def test_a_folder_and_a_file_of_timm(here: Path) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    made = timm.create_model("resnet18.a1_in1k", num_classes=3).eval()
    images = torch.rand(2, 3, 64, 64)
    for safe in (False, True):
        told = {"label_names": ["a", "b", "c"]}
        save_for_hf(made, here / "net", model_config=told, safe_serialization=safe)
        loaded = load_model("hf:./net")
        assert torch.allclose(loaded.model(images), made(images), atol=1e-6)
    assert loaded.classes == (("a",), ("b",), ("c",))
    torch.save({"state_dict": made.state_dict()}, "run.pt")
    again = load_model("run.pt", "timm:resnet18.a1_in1k")
    assert torch.allclose(again.model(images), made(images), atol=1e-6)
    assert again.preprocessing is not None and again.preprocessing.mean == (
        0.485,
        0.456,
        0.406,
    )
    bare = load_model("run.pt", "timm:resnet18")
    assert bare.preprocessing is None and "name their tag" in bare.unsaid


@pytest.mark.parametrize(
    "spec", ["timm:resnet18", "hf:owner/none", "torchvision:resnet18"]
)
def test_nothing_is_fetched_unasked(spec: str, here: Path, monkeypatch: Any) -> None:
    pytest.importorskip("huggingface_hub")
    pytest.importorskip("timm")
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "hub"))
    with pytest.raises(InputError, match="not in the cache.*--download only"):
        load_model(spec)


@pytest.mark.parametrize("dynamic", [False, True])
def test_onnx(dynamic: bool, here: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    ).eval()
    images = torch.rand(7, 1, 8, 8)
    more: dict[str, Any] = {}
    if dynamic:
        more["dynamic_shapes"] = ({0: torch.export.Dim("n", min=1, max=512)},)
    torch.onnx.export(
        net, (images[:2],), "net.onnx", dynamo=True, verbose=False, **more
    )
    assert Path("net.onnx.data").is_file()
    model = OnnxModel("net.onnx")
    assert model.batch == (None if dynamic else 2)
    (found,) = model(images).values()
    assert torch.allclose(found, net(images), atol=1e-5)
    line = "evaluate --model net.onnx --data digits --eps 0.05 --attacks GN --n 20 --n-max 1000"
    assert main(line.split()) == 0
    Path("net.onnx.data").rename("elsewhere")
    assert main(line.split()) == 2


# ------------------------------------------------------------------ data
def encoded(mode: str, kind: str) -> bytes:
    held = io.BytesIO()
    picture().convert(mode).save(held, kind)
    return held.getvalue()


def test_tables_of_the_hub(here: Path, monkeypatch: Any) -> None:
    package = pytest.importorskip("datasets")
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", here / "cache")
    features = package.Features(
        {
            "img": package.Image(),
            "fine": package.ClassLabel(names=["a", "b", "c"]),
            "coarse": package.ClassLabel(names=["x", "y"]),
        }
    )
    rows = {"img": [picture()] * 4, "fine": [2, 0, 1, 0], "coarse": [0, 1, 0, 1]}
    table = package.Dataset.from_dict(rows, features=features)
    package.DatasetDict({"train": table, "test": table}).save_to_disk("saved")
    Path("parquet").mkdir()
    table.to_parquet("parquet/test-00000-of-00001.parquet")
    for spec in ("hf:./saved,label=fine", "hf:./parquet,label=fine"):
        data = load_data(spec)
        assert data.classes == ("a", "b", "c") and [y for _, y in data.dataset] == [
            2,
            0,
            1,
            0,
        ]
        expected = torch.from_numpy(PICTURE).permute(2, 0, 1) / 255
        assert torch.equal(data.dataset[3][0], expected)
    Path("pandas").mkdir()
    forms = (("RGB", "PNG"), ("P", "GIF"), ("RGBA", "PNG"), ("CMYK", "TIFF"))
    raw = [{"bytes": encoded(*form), "path": None} for form in forms]
    frame = pandas.DataFrame({"image": raw, "label": [0, 1, 2, 1]})
    frame.to_parquet("pandas/test.parquet")
    data = load_data("hf:./pandas")
    assert {tuple(x.shape) for x, _ in data.dataset} == {(3, 60, 48)}
    assert all(float(x.max()) <= 1 and float(x.std()) > 0.1 for x, _ in data.dataset)


def test_the_list_of_medmnist(here: Path) -> None:
    package = pytest.importorskip("medmnist")
    assert package.INFO["pneumoniamnist"]["label"] == {"0": "normal", "1": "pneumonia"}
    images = np.zeros((3, 28, 28), np.uint8)
    np.savez(
        "pneumoniamnist.npz", test_images=images, test_labels=np.zeros((3, 1), np.uint8)
    )
    with pytest.raises(InputError, match="has MD5 .*, published is"):
        load_data("medmnist:pneumoniamnist", root=here)
    with pytest.raises(InputError, match="downloaded with --download only"):
        load_data("medmnist:bloodmnist,size=64", root=here)


def test_objects_that_maite_takes() -> None:
    protocols = pytest.importorskip("maite.protocols.image_classification")
    from torchattacks_ext.data.loaders.foreign import as_named

    class Pets:
        metadata = {"id": "pets", "index2label": {0: "cat", 1: "dog"}}

        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> Any:
            return np.full((1, 4, 4), i * 0.5), np.eye(2)[i], {"id": i}

    assert isinstance(Pets(), protocols.Dataset)
    data = as_named(Pets(), "pets")
    assert [y for _, y in data.dataset] == [0, 1] and data.classes == ("cat", "dog")
