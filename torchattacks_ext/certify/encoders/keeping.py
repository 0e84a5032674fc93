"""How does an interrupted training go on? From the last whole epoch in a safetensors file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...errors import InputError, StateError
from ...models.fingerprint import fingerprint
from ...results.base import codec

FORMAT = "encoder-training/1"


class Training(Protocol):
    """What is kept of a training: two modules, their optimiser, the losses so far."""

    losses: list[float]

    @property
    def encoder(self) -> nn.Module:
        """What maps images to latents."""

    @property
    def gaussians(self) -> nn.Module:
        """What stands for the head."""

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """What moves both."""


def key_of(
    facts: dict[str, Any], encoder: nn.Module, images: Tensor, labels: Tensor
) -> str:
    """SHA-256 of everything that decides what a training gives.

    >>> one = key_of({}, nn.Linear(1, 1, bias=False), torch.zeros(1, 1), torch.zeros(1))
    >>> len(one)
    64
    """
    digest = hashlib.sha256(json.dumps(codec.plain(facts), sort_keys=True).encode())
    digest.update(str(fingerprint(encoder).sha256).encode())
    for part in (images, labels):
        digest.update(str((tuple(part.shape), str(part.dtype))).encode())
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Keeper:
    """Writes and reads the file of one training; without a path it does nothing.

    path: of the file, or None. key: of the training, see :func:`key_of`.
    """

    def __init__(self, path: str | os.PathLike[str] | None, key: str) -> None:
        self._path, self._key = None if path is None else Path(path), key

    def write(self, run: Training) -> None:
        """The state after a whole epoch, in one step. InputError where the system refuses it."""
        if self._path is None:
            return
        from safetensors.torch import save_file

        told = {"format": FORMAT, "key": self._key, "losses": json.dumps(run.losses)}
        tensors = {k: v.contiguous().clone() for k, v in _tensors(run).items()}
        with codec.replacing(self._path) as part:
            save_file(tensors, part, told)

    def restore(self, run: Training) -> None:
        """The state of the file, if there is one.

        Raises StateError for that of another training, InputError for another file.
        """
        if self._path is None or not self._path.exists():
            return
        from safetensors import safe_open

        try:
            with safe_open(self._path, "pt") as handle:
                told = handle.metadata() or {}
                tensors = {name: handle.get_tensor(name) for name in handle.keys()}
        except Exception as error:  # whatever safetensors and the file system raise
            raise InputError(
                f"checkpoint {self._path} cannot be read: {error}"
            ) from error
        if told.get("format") != FORMAT or told.get("key") != self._key:
            raise StateError(
                f"checkpoint {self._path} is of another training (other settings, images, labels "
                "or encoder); give another name or remove it"
            )
        _fill(run, tensors)
        run.losses[:] = json.loads(told["losses"])


def _parameters(run: Training) -> dict[str, nn.Parameter]:
    named = {f"encoder.{name}": p for name, p in run.encoder.named_parameters()}
    return named | {f"head.{name}": p for name, p in run.gaussians.named_parameters()}


def _tensors(run: Training) -> dict[str, Tensor]:
    found = {}
    for name, parameter in _parameters(run).items():
        found[name] = parameter.detach()
        for what, value in run.optimiser.state[parameter].items():
            found[f"adam.{what}.{name}"] = value
    return found


def _fill(run: Training, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in _parameters(run).items():
            parameter.copy_(tensors[name])
            run.optimiser.state[parameter] = {
                what: tensors[f"adam.{what}.{name}"].clone()
                for what in ("step", "exp_avg", "exp_avg_sq")
            }
