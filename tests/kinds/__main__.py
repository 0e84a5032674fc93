"""Runs cases by hand: `python tests/kinds 17 203`, `0-1000`, or nothing for the first 100."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kinds.cases import draw, run_case, summary  # noqa: E402

if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    numbers: list[int] = []
    for word in sys.argv[1:] or ["0-100"]:
        first, _, last = word.partition("-")
        numbers += range(int(first), int(last) if last else int(first) + 1)
    found, spent = [], []
    for number in numbers:
        started = time.perf_counter()
        case = draw(number)
        found.append(run_case(case))
        spent.append((time.perf_counter() - started, case.words))
        if len(numbers) < 10:
            print(found[-1])
    print(summary(found))
    print(f"{sum(seconds for seconds, _ in spent):.1f} s; the slowest:")
    for seconds, words in sorted(spent)[-8:]:
        print(f"  {seconds:.2f} s  {words}")
