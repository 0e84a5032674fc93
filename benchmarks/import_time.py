"""How much longer does `import torchattacks_ext` take than `import torchattacks`?

Each statement is timed as a process start (interpreter included), n times in
alternation, so that a slow minute of the machine hits both. The minimum over the
starts is the time without disturbance; `ratio` is the quotient of the two minima.

`interval` is a 95 % percentile bootstrap over the starts. Resampled minima can only
move up from the observed ones, so it shows how much the ratio hangs on a few lucky
starts and has no exact coverage; `ratio_of_medians`, with an interval of the same
kind, stands beside it for that reason.

Run: python benchmarks/import_time.py [--n 20] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import record

ROOT = record.ROOT
RESULT = record.RESULTS / "import_time.json"
BASE, OURS = "torchattacks", "torchattacks_ext"
N_BOOTSTRAP = 10_000

Times = npt.NDArray[np.float64]


def start_seconds(module: str) -> float:
    """Wall time of one fresh interpreter that imports the module and ends."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
    return time.perf_counter() - begin


def alternate(n: int) -> tuple[Times, Times]:
    """n starts of each; the first pair only warms the disk cache and is dropped."""
    pairs = []
    for i in range(n + 1):
        order = (BASE, OURS) if i % 2 else (OURS, BASE)
        seconds = {module: start_seconds(module) for module in order}
        pairs.append((seconds[BASE], seconds[OURS]))
    base, ours = np.array(pairs[1:]).T
    return base, ours


def interval(base: Times, ours: Times, statistic: Any) -> list[float]:
    """95 % percentile bootstrap of statistic(ours) / statistic(base)."""
    rng = np.random.default_rng(0)
    draws = [rng.choice(x, size=(N_BOOTSTRAP, len(x))) for x in (base, ours)]
    ratios = statistic(draws[1], axis=1) / statistic(draws[0], axis=1)
    return [round(float(q), 4) for q in np.quantile(ratios, [0.025, 0.975])]


def versions() -> dict[str, str]:
    """Python and the libraries whose import is timed."""
    from torchattacks_ext._version import __version__

    found = {x: importlib.metadata.version(x) for x in ("torch", "torchattacks")}
    found |= {x: importlib.metadata.version(x) for x in ("numpy", "scipy")}
    return {"python": platform.python_version(), OURS: __version__, **found}


def measure(n: int) -> dict[str, Any]:
    """The whole record, ready for JSON; seconds."""
    base, ours = alternate(n)
    minima = {BASE: float(base.min()), OURS: float(ours.min())}
    return {
        "question": "process start: import torchattacks_ext / import torchattacks",
        "machine": record.machine(),
        "versions": versions(),
        "n": n,
        "minima": {name: round(x, 4) for name, x in minima.items()},
        "ratio": round(minima[OURS] / minima[BASE], 4),
        "interval": interval(base, ours, np.min),
        "ratio_of_medians": round(float(np.median(ours) / np.median(base)), 4),
        "interval_of_medians": interval(base, ours, np.median),
    }


def main() -> None:
    """Measure, write the JSON and show it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=20, help="starts of each (default 20)")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the JSON goes")
    args = parser.parse_args()
    if args.n < 2:
        parser.error(f"--n {args.n} is not at least 2")
    found = measure(args.n)
    record.write(args.out, found)
    sys.stdout.write(
        f"ratio of minima {found['ratio']}, interval {found['interval']}\n"
    )


if __name__ == "__main__":
    main()
