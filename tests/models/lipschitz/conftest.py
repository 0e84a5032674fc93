"""What do the tests of bounds share? The layers of benchmarks/lipschitz_cases.py."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def cases() -> ModuleType:
    """`benchmarks/lipschitz_cases.py`: random layers and the norms of their dense Jacobians."""
    place = str(Path(__file__).resolve().parents[3] / "benchmarks")
    if place not in sys.path:
        sys.path.insert(0, place)
    return importlib.import_module("lipschitz_cases")
