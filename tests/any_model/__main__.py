"""Runs cases by hand: `python tests/any_model 17 203`, `0-1000`, or nothing for the first 100."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from any_model.cases import draw, run_case, summary  # noqa: E402

if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    numbers: list[int] = []
    for word in sys.argv[1:] or ["0-100"]:
        first, _, last = word.partition("-")
        numbers += range(int(first), int(last) if last else int(first) + 1)
    found, spent = [], []
    families: Counter[str] = Counter()
    for number in numbers:
        started = time.process_time()
        case = draw(number)
        found.append(run_case(case))
        seconds = time.process_time() - started
        spent.append((seconds, case.words))
        families[case.ask.family] += seconds
        if len(numbers) < 10 or found[-1].ended == "wrong" or found[-1].moved:
            print(found[-1], flush=True)
    print(summary(found))
    print({family: round(seconds, 1) for family, seconds in families.items()})
    print(f"{sum(seconds for seconds, _ in spent):.1f} s of this process; the slowest:")
    for seconds, words in sorted(spent)[-8:]:
        print(f"  {seconds:.2f} s  {words}")
