"""On rows with a formal verdict: certified <= attacked, and a planted crossing ends with 2."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PLACE = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def script(tax_data: Path) -> ModuleType:
    if str(PLACE) not in sys.path:
        sys.path.insert(0, str(PLACE))
    return importlib.import_module("bracket")


def test_a_planted_crossing_ends_with_2_and_keeps_finished_models(
    script: ModuleType, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "bracket.json"
    asked = ["--only", "mnist_mlp_set", "mnist_mlp_point", "--out", str(out)]
    assert script.main([*asked, "--plant"]) == 2
    said = capsys.readouterr().err
    assert "by VNN-COMP verifiers (claimed by another tool)" in said
    assert "broken there by MSA" in said
    assert list(json.loads(out.read_text())["models"]) == ["mnist_mlp_set"]
    assert script.main(asked) == 0
    total = json.loads(out.read_text())["total"]
    assert (total["n"], total["certified"], total["broken"]) == (40, 18, 22)
    assert total["falsified_broken"] == total["falsified"] == 22


def test_the_record_has_all_rows_and_no_crossing() -> None:
    total = json.loads((PLACE / "results" / "bracket.json").read_text())["total"]
    assert (total["n"], total["crossings"], total["certified"]) == (364, 0, 175)
    assert total["certified"] + total["open"] == total["left"]
    assert total["left"] + total["broken"] == total["n"]
