"""Does the committed record of `benchmarks/monitor.py` keep what is promised?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RECORD = Path(__file__).parents[3] / "benchmarks" / "results" / "monitor.json"
TESTS = ("MMD of features", "KS of the score", "KS by feature", "family")


@pytest.fixture(scope="module")
def cells() -> Any:
    return json.loads(RECORD.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("level", ["0.05", "0.01"])
def test_fresh_clean_splits_alarm_within_the_quantile(cells: Any, level: str) -> None:
    found = cells["splits"]
    assert found["n"] == 500 and found["0.05"]["most"] == 41
    assert all(found[level][name] <= found[level]["most"] for name in TESTS)


def test_jpeg_copies_are_found_in_batches_and_in_a_stream(cells: Any) -> None:
    found = cells["shift cifar10_resnet20_std"]
    assert found["jpeg"]["n"] == 100 and found["jpeg"]["0.01"]["family"] >= 95
    assert found["clean"]["0.05"]["family"] <= found["clean"]["0.05"]["most"]
    stream = cells["stream cifar10_resnet20_std"]
    assert stream["looks"] == 200
    assert stream["alarm"]["look"] > stream["clean_looks"]
    again = cells["stream cifar10_resnet20_std replays"]["martingale"]
    assert again["false_alarms"] <= again["most"] and again["missed"] == 0


def test_a_check_takes_less_than_a_second_twice(cells: Any) -> None:
    found = cells["speed"]
    assert found["mmd_and_score"]["least"] <= 1 and found["by_feature"]["least"] <= 1
    assert found["alternations"] >= 20
