"""What is installed here, and what of it works?"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import Any

CORE = (
    *("torch", "torchvision", "torchattacks", "numpy", "scipy", "pyautoattack"),
    *("safetensors", "typer", "pydantic", "PyYAML", "Jinja2", "tqdm", "filelock"),
)
EXTRAS = {
    "demo": ("scikit-learn", "matplotlib"),
    "frames": ("pandas",),
    "hub": ("timm", "huggingface-hub"),
    "card": ("huggingface-hub",),
    "onnx": ("onnxruntime",),
    "ray": ("ray",),
}
OTHERS = (
    "requests",
    "autoattack",
    "robustbench",
    "transformers",
    "datasets",
    "medmnist",
)


@dataclass(frozen=True)
class Environment:
    """What was seen: versions (None: not installed) and the results of a few trials.

    requests_pin: what torchattacks asks of requests ("2.25.1"). failures: module -> why
    it cannot be imported. bridge: why torch and numpy cannot exchange arrays. Empty and
    None mean that all is well.
    """

    versions: dict[str, str | None]
    requests_pin: str | None = None
    failures: dict[str, str] = field(default_factory=dict)
    bridge: str | None = None
    devices: dict[str, Any] = field(default_factory=dict)


def inspect_environment() -> Environment:
    """Look at this environment; imports torch, torchvision and robustbench."""
    names = (*CORE, *(n for group in EXTRAS.values() for n in group), *OTHERS)
    versions: dict[str, str | None] = {"python": platform.python_version()}
    versions |= {name: _version(name) for name in names}
    failures = {}
    for module in ("torch", "numpy", "torchvision", "torchattacks", "robustbench"):
        if versions[module] is None:
            continue
        try:
            import_module(module)
        except Exception as error:  # a broken binary raises almost anything
            failures[module] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    works = versions["torch"] is not None and "torch" not in failures
    return Environment(
        versions=versions,
        requests_pin=_requests_pin(),
        failures=failures,
        bridge=_bridge() if works else None,
        devices=_devices() if works else {},
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requests_pin() -> str | None:
    """The x.y.z in torchattacks' "requests ~= x.y.z"."""
    try:
        needs = metadata.requires("torchattacks") or []
    except metadata.PackageNotFoundError:
        return None
    found = (re.match(r"requests\s*\(?\s*~=\s*([\d.]+)", need) for need in needs)
    return next((match.group(1) for match in found if match), None)


def _bridge() -> str | None:
    """Why a tensor cannot become an array; None where it can."""
    import torch

    try:
        torch.from_numpy(torch.zeros(1).numpy())
    except Exception as error:
        return " ".join(str(error).split())
    return None


def _devices() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "cuda": (
            [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            if cuda
            else []
        ),
        "cuda_build": torch.version.cuda,
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
    }
