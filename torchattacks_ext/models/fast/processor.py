"""Can a processor compute in 16 bits faster than in 32? What it says of itself.

A CPU without instructions for bf16 computes it in software, some twenty times slower than float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
WANTED: dict[str, tuple[str, ...]] = {
    "bf16": ("avx512_bf16", "amx_bf16"),
    "fp16": ("avx512_fp16", "amx_fp16"),
}
"""Instructions of which a CPU must have one."""


def refusal_of_precision(
    precision: str, device: torch.device, known: Iterable[str] | None = None
) -> str | None:
    """Why a device gains nothing by a precision; None where it may. known: instructions of a CPU.

    >>> cpu = torch.device("cpu")
    >>> refusal_of_precision("bf16", cpu, ["avx2"])
    'the CPU has no instructions for bf16 (avx512_bf16 or amx_bf16), and is slower with it'
    >>> refusal_of_precision("bf16", cpu, ["avx512_bf16"]) is None
    True
    """
    if device.type != "cpu":
        return None
    some = set(instructions() if known is None else known)
    wanted = WANTED[precision]
    if some & set(wanted):
        return None
    names = " or ".join(wanted)
    return (
        f"the CPU has no instructions for {precision} ({names}), and is slower with it"
    )


@lru_cache(maxsize=None)
def instructions() -> frozenset[str]:
    """Names of what the CPU of this machine can do, where torch or Linux tells; else none."""
    tell = getattr(torch.cpu, "get_capabilities", None)
    told: Mapping[str, Any] = tell() if callable(tell) else {}
    found = {name for name, able in told.items() if able is True}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
        found |= set(flags.partition(":")[2].split())
    return frozenset(found)
