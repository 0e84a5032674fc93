"""What does every benchmark record beside its numbers?

Machine, versions, and a file written in one step.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [x.partition(":")[2].strip() for x in lines if x[:10] == "model name"]
        cpu = names[0] if names else cpu
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.system()}


def write(path: Path, record: dict[str, Any]) -> None:
    """JSON at `path`, the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def read(path: Path) -> dict[str, Any]:
    """The record at `path`, or an empty one."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
