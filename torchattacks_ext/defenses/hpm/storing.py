"""How are weights and what belongs to them kept? One safetensors file, facts in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import InputError
from ...results.base.codec import replacing

KEY = "torchattacks_ext"


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
) -> None:
    """Tensors by name, and facts in JSON types; never half a file.

    Missing folders are made. Raises InputError for what the file system refuses.
    """
    from safetensors.torch import save_file

    # copies: safetensors refuses tensors that share memory
    whole = {
        name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        save_file(whole, part, metadata={KEY: json.dumps(dict(facts), sort_keys=True)})


def read_tensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, facts) of a file of `write_tensors`, on the CPU.

    Raises InputError for a file that is missing, is none of safetensors, or has no facts of ours.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"{str(path)!r} is not there; save the model first")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{str(path)!r} is no safetensors file: {error}") from error
    if KEY not in header:
        raise InputError(
            f"{str(path)!r} holds weights, but nothing that says of which head; write it with save"
        )
    facts: dict[str, Any] = json.loads(header[KEY])
    return tensors, facts
