"""Where are the real images and models?

In the folder that TAX_DATA names; see DATA.md for their sources.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def folder() -> Path:
    """The data folder. Ends the program with the reason where there is none."""
    place = Path(os.environ.get("TAX_DATA", ""))
    if not os.environ.get("TAX_DATA") or not place.is_dir():
        raise SystemExit("set TAX_DATA to the folder of images and models (DATA.md)")
    return place


@lru_cache(maxsize=None)
def _definitions() -> Any:
    spec = importlib.util.spec_from_file_location("tax_arch", folder() / "arch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model(name: str) -> nn.Module:
    """A trained model on pixels in [0, 1], in eval mode."""
    from torchattacks_ext import NormalizedModel

    net, mean, std = _definitions().load(name)
    return net.eval() if mean is None else NormalizedModel(net, mean, std).eval()


def bare_model(name: str) -> tuple[nn.Module, list[float] | None, list[float] | None]:
    """The same without its normalisation: (net, mean, std)."""
    net, mean, std = _definitions().load(name)
    return net.eval(), mean, std


def pixels(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W[, 3]) to float32 (N, C, H, W) in [0, 1]."""
    found = torch.from_numpy(images).float() / 255
    return (
        found.permute(0, 3, 1, 2).contiguous() if found.dim() == 4 else found[:, None]
    )


def test_images(dataset: str, n: int) -> tuple[Tensor, Tensor]:
    """The first n test images and labels of "cifar10" (n <= 1,017) or "mnist"."""
    file = {"cifar10": "test_first1017.npz", "mnist": "test10000.npz"}[dataset]
    return _pairs(dataset, file, n)


test_images.__test__ = False  # type: ignore[attr-defined]


def train_images(dataset: str, n: int | None = None) -> tuple[Tensor, Tensor]:
    """The first n training images and labels: of "cifar10" there are 5,085, of "mnist" 10,000."""
    file = {"cifar10": "train_subset5085.npz", "mnist": "train_first10000.npz"}[dataset]
    return _pairs(dataset, file, n)


def jpeg_images(start: int, stop: int) -> tuple[Tensor, Tensor]:
    """JPEG copies of the CIFAR-10 test images `start` to `stop`, official order, and labels."""
    from io import BytesIO

    from PIL import Image

    path = folder() / "cifar10" / "test_jpeg10000.npz"
    with np.load(path, allow_pickle=False) as data:
        raw, offsets = data["jpeg"].tobytes(), data["offsets"].tolist()
        labels = data["labels"][start:stop]
    parts = (raw[offsets[i] : offsets[i + 1]] for i in range(start, stop))
    images = np.stack([np.asarray(Image.open(BytesIO(part))) for part in parts])
    return pixels(images), torch.from_numpy(labels.astype(np.int64))


def xray_images(n: int | None, split: str = "test") -> tuple[Tensor, Tensor]:
    """The first n images (n, 1, 28, 28) of a split of PneumoniaMNIST, None for all, and labels."""
    path = folder() / "pneumoniamnist" / "pneumoniamnist28.npz"
    with np.load(path, allow_pickle=False) as data:
        images, labels = data[f"{split}_images"][:n], data[f"{split}_labels"][:n]
    return pixels(images), torch.from_numpy(labels.reshape(-1).astype(np.int64))


def _pairs(dataset: str, file: str, n: int | None) -> tuple[Tensor, Tensor]:
    with np.load(folder() / dataset / file, allow_pickle=False) as data:
        images, labels = data["images"][:n], data["labels"][:n]
    return pixels(images), torch.from_numpy(labels.astype(np.int64))


def verified_rows(verdict: str) -> list[dict[str, Any]]:
    """Rows with a formal verdict ("robust", "falsified", "unknown"): image, label, eps, model, row.

    eps is rounded down to 1e-6, so that float noise of the recorded radius cannot leave the
    proved ball; `proved` is that radius as it was recorded.
    """
    rows = []
    for dataset in ("cifar10", "mnist"):
        place = folder() / "verified_instances"
        with np.load(place / f"{dataset}_images.npz", allow_pickle=False) as data:
            images, models = pixels(data["images"]), data["model"].tolist()
        with open(place / f"{dataset}_instances.csv", encoding="utf-8") as handle:
            for number, entry in enumerate(csv.DictReader(handle)):
                if entry["model"] != models[number]:
                    raise SystemExit(
                        f"{dataset} row {number}: images and verdicts differ"
                    )
                if entry["verdict"] == verdict:
                    rows.append(
                        {
                            "dataset": dataset,
                            "row": int(entry["row"]),
                            "model": entry["model"],
                            "label": int(entry["label"]),
                            "eps": math.floor(float(entry["eps"]) * 1e6) / 1e6,
                            "proved": float(entry["eps"]),
                            "image": images[number],
                        }
                    )
    return rows


def sha256(*parts: str) -> str:
    """SHA-256 of a file of the folder."""
    return hashlib.sha256((folder() / Path(*parts)).read_bytes()).hexdigest()
