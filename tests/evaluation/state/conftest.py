"""What do tests of a state share? One plan of every kind of stage, reports without times."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport, ReliabilityWarning, evaluate

LINES = [
    {"kind": "noise", "on": "target", "steps": 2},
    {"kind": "apgd", "steps": 3},
]
STAGES: list[Any] = [
    "FGSM",
    {"name": "PGD", "steps": 2},
    {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 60},
    "fim",
    {"name": "msa", "version": "custom", "plan": LINES},
    {"name": "stress", "corruptions": ["contrast", "brightness"], "severities": [1, 3]},
]
PLAN = {"eps": 0.03, "batch_size": 10, "group_size": 12, "stages": STAGES}


def without_times(value: Any) -> Any:
    """A report's dict without provenance and seconds."""
    if isinstance(value, dict):
        odd = ("provenance", "seconds")
        return {k: without_times(v) for k, v in value.items() if k not in odd}
    return [without_times(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        yield


@pytest.fixture(scope="session")
def bytes_of() -> Callable[[EvaluationReport], str]:
    """f(report): its JSON outside provenance and times."""
    return lambda report: json.dumps(without_times(report.to_dict()), sort_keys=True)


@pytest.fixture(scope="session")
def plan() -> dict[str, Any]:
    """Every kind of stage, in batches of 10 and groups of 12."""
    return PLAN


@pytest.fixture
def net(waves: Any) -> nn.Module:
    """A new one each time: what a look shows is remembered, and costs nothing then."""
    found: nn.Module = waves()
    return found


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: Any, waves: Any, images: Tensor, labels: Tensor
) -> tuple[Path, EvaluationReport]:
    """A state of an undisturbed run, never written to, and its report."""
    folder = tmp_path_factory.mktemp("state")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return folder, evaluate(waves(), (images, labels), PLAN, state=folder)


@pytest.fixture
def part_of(
    finished: tuple[Path, EvaluationReport], tmp_path: Path
) -> Callable[[bytes], Path]:
    """f(rows): a state of that run with other bytes of finished rows."""

    def part_of(rows: bytes) -> Path:
        (tmp_path / "run.json").write_bytes((finished[0] / "run.json").read_bytes())
        (tmp_path / "rows.jsonl").write_bytes(rows)
        return tmp_path

    return part_of
