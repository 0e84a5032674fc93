"""What stands in for packages with published models, with the interface that is used of them?"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]


class Net(nn.Module):
    """Three channels, as many classes as are said."""

    num_classes = 0

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.pretrained_cfg: dict[str, Any] = {}
        self.first = nn.Conv2d(3, 2, 1)
        self.head = nn.Linear(2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.first(images).mean((2, 3)))
        return found


def weights(path: Path, n: int = 3, **changes: Any) -> dict[str, Tensor]:
    """A file of safetensors with the weights of a Net, which are returned."""
    state = {k: torch.randn(v.shape) for k, v in Net(n).state_dict().items()}
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    save_file(state, path)
    return state


def processor(does: Any) -> Any:
    """An image processor of transformers whose fields say MEAN and STD."""

    def call(images: Any, return_tensors: str) -> dict[str, Tensor]:
        levels = torch.from_numpy(np.array(images)).permute(2, 0, 1) / 255
        return {"pixel_values": does(levels)[None]}

    made: Any = type("Processor", (), {"__call__": staticmethod(call)})()
    made.image_mean, made.image_std, made.do_normalize = MEAN, STD, True
    return made


def normalised(levels: Tensor) -> Tensor:
    mean, std = (torch.tensor(side).reshape(3, 1, 1) for side in (MEAN, STD))
    found: Tensor = (levels - mean) / std
    return found


def transformers(does: Any = normalised) -> Any:
    """The package: AutoModelForImageClassification and AutoImageProcessor."""
    package: Any = ModuleType("transformers")
    log = SimpleNamespace(
        is_progress_bar_enabled=lambda: True,
        disable_progress_bar=lambda: None,
        enable_progress_bar=lambda: None,
        get_verbosity=lambda: 30,
        set_verbosity=lambda level: None,
        set_verbosity_error=lambda: None,
    )
    package.utils = SimpleNamespace(logging=log)
    package.told = {}

    def load_model(folder: str, **told: Any) -> Any:
        from safetensors.torch import load_file

        package.told = told
        config = json.loads((Path(folder) / "config.json").read_text())
        if config["model_type"] == "unknown":
            raise ValueError("Unrecognized configuration\nclass")
        net: Any = Net(len(config["id2label"]))
        net.config = SimpleNamespace(id2label=config["id2label"])
        state = load_file(Path(folder) / "model.safetensors")
        found = net.load_state_dict(state, strict=False)
        info = {
            "missing_keys": set(found.missing_keys),
            "unexpected_keys": set(found.unexpected_keys),
            "mismatched_keys": set(),
        }
        return net, info

    auto = SimpleNamespace(from_pretrained=load_model)
    package.AutoModelForImageClassification = auto
    package.AutoImageProcessor = SimpleNamespace(
        from_pretrained=lambda folder, **told: processor(does)
    )
    return package


def hub_folder(folder: Path, **config: Any) -> Path:
    """A folder of transformers' form: model, names of classes, image processor."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"0": "dog", "1": "cat", "2": "owl"}
    told = {"model_type": "net", "id2label": names} | config
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "preprocessor_config.json").write_text("{}")
    weights(folder / "model.safetensors")
    return folder


def timm(repo: str | None = "timm/net.tag") -> Any:
    """The package timm with one architecture, "net", and one tag of it."""
    package: Any = ModuleType("timm")
    package.models = ModuleType("timm.models")
    package.data = ModuleType("timm.data")
    known = {
        "net": SimpleNamespace(hf_hub_id=repo),
        "net.tag": SimpleNamespace(hf_hub_id=repo),
    }
    package.models.get_pretrained_cfg = known.get
    package.is_model = lambda name: name == "net"
    package.list_models = lambda: ["net"]
    package.list_pretrained = lambda pattern: ["net.tag"]

    def create_model(
        name: str, pretrained: bool, num_classes: int | None = None
    ) -> Net:
        assert pretrained is False
        if name.startswith("local-dir:"):
            config = json.loads((Path(name[10:]) / "config.json").read_text())
            num_classes = config["num_classes"]
        return Net(3 if num_classes is None else num_classes)

    package.create_model = create_model
    package.data.resolve_model_data_config = lambda model: {
        "input_size": (3, 8, 8),
        "mean": MEAN,
        "std": STD,
        "crop_pct": 0.8,
        "crop_mode": "center",
        "interpolation": "bicubic",
    }

    def create_transform(**_: Any) -> Any:
        def transform(picture: Any) -> Tensor:
            levels = torch.from_numpy(np.array(picture.resize((8, 8))))
            return normalised(levels.permute(2, 0, 1) / 255)

        return transform

    package.data.create_transform = create_transform
    return package


def timm_folder(folder: Path, n: int = 3, **config: Any) -> Path:
    """A folder of timm's form."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"architecture": "net", "num_classes": n, "pretrained_cfg": {}} | config
    (folder / "config.json").write_text(json.dumps(told))
    weights(folder / "model.safetensors", n)
    return folder


def huggingface_hub(found: Any) -> Any:
    """The package: `found` is the folder of every repository, an exception is raised."""
    package: Any = ModuleType("huggingface_hub")

    def snapshot_download(repo: str, **told: Any) -> str:
        package.told = told | {"repo": repo}
        if isinstance(found, Exception):
            raise found
        return str(found)

    package.snapshot_download = snapshot_download
    return package
