"""Does the table of docs/models.md come from a run of every kind, and is enough of it equal?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kinds.case import VERBS
from kinds.every import every

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "models_table.json"
MAY_BE_REFUSED = {
    "class numbers, argmax of a callable",
    "FSDP version 1, one process",
    "one fixed batch size (torch.export)",
    "onnxruntime session of one batch size",
    "a forward that trains the model (Tent)",
    "BatchNorm without running statistics",
    "keyword-only forward",
    "features and logits without a key",
    "weights made under inference_mode",
    "weights on the meta device",
    "reentrant checkpoints",  # torch itself gives no gradient of the images
}


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    """Kind -> what the recorded run said of it."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))["kinds"]
    return found


def test_every_kind_has_a_line_and_every_line_a_kind(rows: dict[str, Any]) -> None:
    assert list(rows) == [kind.name for kind in every()]
    assert len(rows) >= 45


def test_numbers_are_equal_wherever_they_must_be(rows: dict[str, Any]) -> None:
    right = {"equal", "rounding", "doubted"}
    for name, row in rows.items():
        said = {verb: row["answers"][verb]["status"] for verb in VERBS}
        allowed = right | ({"refused"} if name in MAY_BE_REFUSED else set())
        assert set(said.values()) <= allowed, (name, said)
        assert said["PRTest"] != "doubted", name
        assert said["MSA"] != "doubted" or name == "torch.ao dynamic int8", name
    for verb, least in (("PRTest", 36), ("MSA", 36), ("FIMScore", 36)):
        n = sum(row["answers"][verb]["status"] == "equal" for row in rows.values())
        assert n >= least, verb


def test_refusals_say_what_to_do(rows: dict[str, Any]) -> None:
    for name in MAY_BE_REFUSED:
        said = [
            a["words"]
            for a in rows[name]["answers"].values()
            if a["status"] == "refused"
        ]
        assert said and all(len(words) > 40 for words in said), name
