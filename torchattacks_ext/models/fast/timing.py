"""What does a call take, where others use the machine as well? The least of alternating times.

What disturbs a machine makes calls slower and never faster, so that minima are what the calls
themselves take; calls that alternate meet the same disturbances.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import torch


def least(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    most_seconds: float = math.inf,
    device: torch.device | None = None,
) -> tuple[dict[str, float], int]:
    """Seconds of each call, the least of `rounds` alternations, and how many there were.

    Each call is made once before, untimed. No round begins after `most_seconds`, but for the first.
    device: a GPU, which is waited for.

    >>> times, rounds = least({"a": lambda: None, "b": lambda: sum(range(10_000))}, 3)
    >>> times["a"] < times["b"], rounds
    (True, 3)
    """
    for call in calls.values():
        call()
    found, done, started = dict.fromkeys(calls, math.inf), 0, time.perf_counter()
    while done < rounds and (not done or time.perf_counter() - started < most_seconds):
        for name, call in calls.items():
            found[name] = min(found[name], _seconds(call, device))
        done += 1
    return found, done


def _seconds(call: Callable[[], object], device: torch.device | None) -> float:
    wait = device is not None and device.type == "cuda"
    if wait:
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    if wait:
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
