"""How does an ONNX file answer? By onnxruntime on the CPU, scores only, in its own batch size."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError, MissingExtra, ModelContractError
from .external import external_files

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_COLOURS = (1, 3, 4)


class OnnxModel(nn.Module):
    """The network of an ONNX file: images (N, C, H, W) to its outputs by name. No gradients.

    path: of the file; weights in further files must lie in its folder. The runtime is told nothing
    but the file: no libraries of operators, no other folders. A file whose batch is fixed is asked
    in batches of that size, the last filled up with copies of its last row (so each row must be
    answered by itself, as everywhere). A file that takes (N, H, W, C) gets it. The SHA-256 of all
    its files is part of the `state_dict`, so that a model is known by its weights. Copies and
    pickles hold the path and open it again; a file that has changed meanwhile is refused.

    Raises MissingExtra without onnxruntime; InputError for what is no ONNX file, several inputs, an
    input that holds no floats, and files outside the folder.
    """

    scores_only = True
    """No gradient comes out of the runtime."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path).resolve()
        self.sha256 = ""
        self._open()

    def _open(self) -> None:
        runtime = _runtime()
        files = (self.path, *external_files(self.path))
        digest = _digest(files)
        if self.sha256 not in ("", digest):
            raise InputError(f"{self.path} is not the file any more that was loaded")
        self.sha256 = digest
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        threads = torch.get_num_threads()
        options.intra_op_num_threads = threads
        try:
            self.session = runtime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base
            raise InputError(
                f"{self.path.name} is refused by onnxruntime: {_short(error)}"
            ) from error
        self._read()

    def _read(self) -> None:
        """What goes in, and in which form."""
        given = self.session.get_inputs()
        names = [one.name for one in given]
        if len(given) != 1:
            raise InputError(
                f"{self.path.name} has {len(given)} inputs ({', '.join(names)}), expected one: the "
                "images"
            )
        self.name, shape, kind = given[0].name, list(given[0].shape), given[0].type
        if kind not in _DTYPES:
            raise InputError(
                f"{self.path.name} takes {kind}, expected floats: export the net without the part "
                "that turns bytes into floats"
            )
        self.dtype = _DTYPES[kind]
        self.outputs = [one.name for one in self.session.get_outputs()]
        whole = [isinstance(side, int) for side in shape]
        self.batch = int(shape[0]) if shape and whole[0] else None
        self.last = (
            len(shape) == 4
            and shape[3] in _COLOURS
            and shape[1] not in _COLOURS
            and whole[1]
        )
        self.sides = tuple(
            side if isinstance(side, int) else None for side in shape[1:]
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{name of an output: (N, ...)} of images (N, C, H, W) float. One run a batch."""
        rows = images.detach().cpu().numpy().astype(self.dtype)
        if self.last:
            rows = rows.transpose(0, 2, 3, 1)
        self._check(rows.shape[1:])
        found = [
            self._run(rows[at : at + size]) for at, size in self._pieces(len(rows))
        ]
        parts = zip(*found)
        return {
            name: torch.from_numpy(np.concatenate(part)[: len(rows)]).to(images.device)
            for name, part in zip(self.outputs, parts)
        }

    def _check(self, sides: tuple[int, ...]) -> None:
        fits = len(sides) == len(self.sides) and all(
            wanted in (None, side) for side, wanted in zip(sides, self.sides)
        )
        if not fits:
            wanted = "x".join("?" if side is None else str(side) for side in self.sides)
            raise ModelContractError(
                f"{self.path.name} takes images of {wanted}, got {'x'.join(map(str, sides))}; "
                "give the data that size (--resize N)"
            )

    def _pieces(self, n: int) -> list[tuple[int, int]]:
        size = self.batch or max(n, 1)
        return [(at, size) for at in range(0, n, size)]

    def _run(self, rows: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        short = (self.batch or len(rows)) - len(rows)
        if short > 0:
            rows = np.concatenate([rows, np.repeat(rows[-1:], short, axis=0)])
        given = {self.name: np.ascontiguousarray(rows)}
        return [np.asarray(part) for part in self.session.run(self.outputs, given)]

    def get_extra_state(self) -> Tensor:
        """The SHA-256 of the files, as 32 bytes."""
        return torch.tensor(list(bytes.fromhex(self.sha256)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Raises InputError for the state of another file."""
        if bytes(state.tolist()).hex() != self.sha256:
            raise InputError(f"the state is not that of {self.path.name}")

    def __getstate__(self) -> dict[str, Any]:
        """Without the session, which no process can hand to another."""
        return {key: value for key, value in self.__dict__.items() if key != "session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def _digest(files: tuple[Path, ...]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0")
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def _runtime() -> Any:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtra(
            "an ONNX file needs onnxruntime, which cannot be imported; "
            "pip install 'torchattacks_ext[onnx]'"
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
