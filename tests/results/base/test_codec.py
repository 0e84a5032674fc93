"""Does a result survive JSON bit by bit, and does a damaged or foreign file get a clear answer?"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext._typing import Verdict
from torchattacks_ext.errors import InputError, StateError
from torchattacks_ext.results import (
    Accuracy,
    Cost,
    Flag,
    ProbRobustness,
    Result,
    column,
)
from torchattacks_ext.results.base import codec
from torchattacks_ext.results.base.columns import ColumnSpec

GOLDEN = Path(__file__).parents[2] / "regression" / "prob_robustness_1.json"
GOLDEN_DIGEST = "cd0f65246a7ba796be9cbe5e0645d007073c8006ce07dba4269c7e4839af3fc0"


class Colour(IntEnum):
    RED = 0
    DARK_BLUE = 5


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Mixed(Result):
    schema: ClassVar[str] = "mixed/1"

    colour: Tensor = column(torch.int8, "decision", enum=Colour)
    known: Tensor = column(torch.int8, "decision", nullable=True)
    rank: Tensor = column(torch.int64, "decision", nullable=True)
    count: Tensor = column(torch.int64, "decision")
    single: Tensor = column(torch.float32, "measurement")
    double: Tensor = column(torch.float64, "measurement")


def mixed(n: int = 3) -> Mixed:
    return Mixed(
        ids=torch.arange(n),
        colour=torch.tensor([0, 5, 0][:n], dtype=torch.int8),
        known=torch.tensor([1, -1, 0][:n], dtype=torch.int8),
        rank=torch.tensor([-1, 0, 7][:n]),
        count=torch.tensor([2**62, -1, 0][:n]),
        single=torch.tensor([0.1, math.nan, -math.inf][:n]),
        double=torch.tensor([math.inf, 0.1, -0.0][:n], dtype=torch.float64),
    )


def spec(name: str, cls: type[Result] = Mixed) -> ColumnSpec:
    return next(s for s in cls.columns() if s.name == name)


def same_bits(one: Tensor, two: Tensor) -> bool:
    return one.dtype == two.dtype and one.numpy().tobytes() == two.numpy().tobytes()


# ---------------------------------------------------------------------- form
def test_non_finite_numbers_are_strings() -> None:
    columns = mixed().to_dict()["columns"]
    assert columns["single"][1:] == ["nan", "-inf"]
    assert columns["double"][0] == "inf"
    text = mixed().to_json()
    assert "NaN" not in text and "Infinity" not in text
    assert codec.plain({"a": (math.nan, [np.float32("inf")])}) == {
        "a": ["nan", ["inf"]]
    }


def test_codes_are_names_and_unknown_is_null() -> None:
    columns = mixed().to_dict()["columns"]
    assert columns["colour"] == ["red", "dark_blue", "red"]
    assert columns["known"] == [True, None, False]
    assert columns["rank"] == [None, 0, 7]
    assert columns["count"] == [
        2**62,
        -1,
        0,
    ]  # -1 is a number where null is not declared


def test_every_column_returns_with_its_bits() -> None:
    there = mixed()
    back = Mixed.from_json(there.to_json())
    for item in Mixed.columns():
        assert same_bits(getattr(back, item.name), getattr(there, item.name)), item.name
    assert same_bits(back.ids, there.ids)
    assert math.copysign(1, float(back.double[2])) == -1


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.sampled_from([0, 5]),
            st.sampled_from([-1, 0, 1]),
            st.integers(-1, 2**63 - 1),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(width=32),
            st.floats(),
        ),
        max_size=6,
        unique_by=lambda row: row[0],
    ),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
)
def test_round_trip_property(rows: list[tuple[Any, ...]], thing: Any) -> None:
    sides = list(zip(*rows)) or [()] * 7
    names = ["ids", *(item.name for item in Mixed.columns())]
    kinds = [torch.int64, *(item.dtype for item in Mixed.columns())]
    made = [torch.tensor(v, dtype=k) for v, k in zip(sides, kinds)]
    there = Mixed(
        **dict(zip(names, made)),
        settings={"thing": thing},
        provenance={"p": thing},
        flags=(Flag("c", "m", 1, {"d": thing}),),
        cost=Cost(3, 2, 0.125),
    )
    written = there.to_dict()
    back = Mixed.from_json(json.dumps(written, allow_nan=False))
    assert back.to_dict() == written
    assert back.digest() == there.digest() == written["digest"]
    for name, value in zip(names, made):
        bits = getattr(back, name)
        finite = ~torch.isnan(value) if value.is_floating_point() else slice(None)
        assert same_bits(bits[finite], value[finite]) and len(bits) == len(value)


def test_a_file_holds_the_same_as_the_text(
    prob: ProbRobustness, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    text = prob.to_json(path)
    assert path.read_text(encoding="utf-8") == text
    assert ProbRobustness.from_json(path).to_dict() == prob.to_dict()
    assert ProbRobustness.from_json(str(path)).to_dict() == prob.to_dict()
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


# ---------------------------------------------------------------------- unknown fields
def test_unknown_fields_and_columns_are_kept(prob: ProbRobustness) -> None:
    data = json.loads(prob.to_json())
    data["comment"] = {"by": "a newer minor version"}
    data["columns"]["n_retries"] = [1, 2, 3, 4, 5]
    back = ProbRobustness.from_dict(data)
    assert back.to_dict() == data
    assert back.digest() == prob.digest()


def test_unknown_columns_follow_their_rows(prob: ProbRobustness) -> None:
    data = prob.to_dict()
    data["columns"]["note"] = ["a", "b", "c", "d", "e"]
    back = ProbRobustness.from_dict(data)
    picked = back.select(back.ids[[4, 0]])
    assert picked.to_dict()["columns"]["note"] == ["e", "a"]
    assert back.sort().to_dict()["columns"]["note"] == ["b", "e", "c", "a", "d"]
    rest = back.select(back.ids[[1, 2, 3]])
    whole = ProbRobustness.concat([rest, picked]).to_dict()
    assert whole["columns"]["note"] == ["b", "c", "d", "e", "a"]
    assert ProbRobustness.from_dict(picked.to_dict()).to_dict() == picked.to_dict()


def test_an_unknown_column_that_one_part_lacks_is_left_out_of_the_whole(
    prob: ProbRobustness,
) -> None:
    one, two = prob.select(prob.ids[:2]), prob.select(prob.ids[2:])
    one = replace(one, extra={"columns": {"note": ["a", "b"]}, "same": 1, "odd": 1})
    two = replace(two, extra={"same": 1, "odd": 2})
    whole = ProbRobustness.concat([one, two]).to_dict()
    assert "note" not in whole["columns"] and whole["same"] == 1 and "odd" not in whole


def test_unknown_fields_inside_flags_and_cost_do_no_harm(prob: ProbRobustness) -> None:
    data = prob.to_dict()
    data["cost"]["joules"] = 3.5
    data["flags"][0]["severity"] = "high"
    back = ProbRobustness.from_dict(data)
    assert back.cost == prob.cost and back.flags == prob.flags


# ---------------------------------------------------------------------- damage
def test_a_missing_column_is_named(prob: ProbRobustness) -> None:
    data = prob.to_dict()
    del data["columns"]["n_failures"]
    with pytest.raises(InputError, match=r"\['n_failures'\] are missing.*damaged"):
        ProbRobustness.from_dict(data)
    data = prob.to_dict()
    del data["ids"]
    with pytest.raises(InputError, match=r"\['ids'\] are missing"):
        ProbRobustness.from_dict(data)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("colour", ["red", "green", "red"]),
        ("colour", [0, 0, 0]),
        ("known", [True, "yes", None]),
        ("known", [0.5, None, None]),
        ("rank", [None, 1.7, 2]),
        ("count", [1, 2.5, 3]),
        ("count", [1, None, 3]),
        ("count", [1, 2**64, 3]),
        ("count", ["1", "2", "3"]),
        ("count", [[1], [2], [3]]),
        ("count", 5),
        ("count", "123"),
        ("single", ["NaN?", 0, 0]),
        ("single", [None, 0, 0]),
        ("double", {"0": 1}),
        ("double", [[1.0, 2.0, 3.0]]),
    ],
)
def test_a_damaged_column_is_named(name: str, damage: Any) -> None:
    data = mixed().to_dict()
    data["columns"][name] = damage
    with pytest.raises(InputError, match=f"'{name}'.*damaged"):
        Mixed.from_dict(data)


@pytest.mark.parametrize(
    "damage",
    [
        {"columns": 5},
        {"columns": {"count": [1]}},
        {"ids": [1, 2, 3]},
        {"ids": ["zz"]},
        {"ids": None},
        {"flags": [3]},
        {"flags": [{"code": "a"}]},
        {"cost": [1]},
        {"sidecars": [7]},
    ],
)
def test_a_damaged_file_is_an_input_error(damage: dict[str, Any]) -> None:
    data = mixed().to_dict()
    if isinstance(damage.get("columns"), dict):
        damage = {"columns": data["columns"] | damage["columns"]}
    with pytest.raises(InputError):
        Mixed.from_dict(data | damage)


def test_an_unknown_column_of_another_length_is_refused() -> None:
    data = mixed().to_dict()
    data["columns"]["note"] = [1, 2]
    with pytest.raises(InputError, match="'note' must be a list of 3"):
        Mixed.from_dict(data)


def test_a_code_without_a_name_is_not_written() -> None:
    odd = replace(mixed(), colour=torch.tensor([0, 9, 0], dtype=torch.int8))
    with pytest.raises(StateError, match=r"'colour' holds \[9\].*Colour"):
        odd.to_dict()


def test_what_is_no_json_object_is_refused(tmp_path: Path) -> None:
    binary, listed = tmp_path / "b.json", tmp_path / "l.json"
    binary.write_bytes(b"\xff\xfe\x00")
    listed.write_text("[1, 2]", encoding="utf-8")
    half = tmp_path / "h.json"
    half.write_text(mixed().to_json()[:100], encoding="utf-8")
    sources = [
        tmp_path / "absent.json",
        tmp_path,
        binary,
        listed,
        half,
        "",
        "{",
        "a\0b",
    ]
    for source in sources:
        with pytest.raises(InputError):
            Mixed.from_json(source)


def test_a_text_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.json"
    mixed().to_json(path)
    before = path.read_text(encoding="utf-8")

    def full_disk(part: Path, text: str, **_: Any) -> None:
        part.write_bytes(text.encode()[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(InputError, match="No space left"):
        mixed(2).to_json(path)
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == before
    assert os.listdir(tmp_path) == ["r.json"]
    with pytest.raises(InputError, match="cannot be written"):
        mixed().to_json(tmp_path / "no_folder" / "r.json")
    with pytest.raises(InputError, match="cannot be written"):
        mixed().to_json(path / "below_a_file.json")


@pytest.mark.parametrize("value", [{1, 2}, b"raw", object(), 1j, torch.float32])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="cannot be written as JSON"):
        codec.plain({"x": value})


def test_plain_values() -> None:
    value = {
        1: np.arange(2),
        "t": torch.tensor([[0.5, math.inf]]),
        "s": np.float32(0.5),
        "b": np.bool_(True),
        "e": Verdict.ROBUST,
        "r": range(2),
        "z": None,
    }
    expected = {"1": [0, 1], "t": [[0.5, "inf"]], "s": 0.5, "b": True}
    expected |= {"e": 1, "r": [0, 1], "z": None}
    found = codec.plain(value)
    assert found == expected and found["b"] is True
    assert json.loads(json.dumps(found)) == expected


# ---------------------------------------------------------------------- schemas
def test_another_family_is_sent_to_its_own_class(
    prob: ProbRobustness, accuracy: Accuracy
) -> None:
    with pytest.raises(
        InputError, match="'prob_robustness/1'.*'accuracy/1'.*own class"
    ):
        Accuracy.from_dict(prob.to_dict())
    newer = accuracy.to_dict() | {"schema": "accuracy/9"}
    with pytest.raises(InputError, match="own class"):
        ProbRobustness.from_dict(newer)


def test_a_newer_major_asks_for_an_update(prob: ProbRobustness) -> None:
    with pytest.raises(
        InputError, match="'prob_robustness/2'.*update torchattacks_ext"
    ):
        ProbRobustness.from_dict(prob.to_dict() | {"schema": "prob_robustness/2"})


@pytest.mark.parametrize(
    "schema", [None, "", "prob_robustness", "prob_robustness/0", 7]
)
def test_a_schema_that_never_was_is_refused(prob: ProbRobustness, schema: Any) -> None:
    with pytest.raises(InputError, match="cannot be read as 'prob_robustness/1'"):
        ProbRobustness.from_dict(prob.to_dict() | {"schema": schema})


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Mixed2(Mixed):
    """The same family one major later: `count` is gone, `total` is new."""

    schema: ClassVar[str] = "mixed/2"

    total: Tensor = column(torch.int64, "decision")


def lift(data: dict[str, Any]) -> dict[str, Any]:
    columns = data["columns"] | {
        "total": [2 * abs(v) for v in data["columns"]["count"]]
    }
    return data | {"schema": "mixed/2", "columns": columns}


@pytest.fixture
def migration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(codec.MIGRATIONS, "mixed/1", lift)
    yield


def test_an_older_major_is_lifted(migration: None) -> None:
    data = replace(mixed(), count=torch.tensor([1, 2, 3])).to_dict() | {
        "comment": "old"
    }
    before = json.dumps(data)
    back = Mixed2.from_dict(data)
    assert back.total.tolist() == [2, 4, 6] and back.count.tolist() == [1, 2, 3]
    written = back.to_dict()
    assert written["schema"] == "mixed/2" and written["comment"] == "old"
    assert written["digest"] == back.digest() != data["digest"]
    assert Mixed2.from_dict(written).to_dict() == written
    assert json.dumps(data) == before  # the caller's dict is left alone


def test_an_older_major_without_a_migration_is_refused() -> None:
    with pytest.raises(InputError, match="'mixed/1' cannot be read as 'mixed/2'"):
        Mixed2.from_dict(mixed().to_dict())


def test_a_migration_that_does_not_advance_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(codec.MIGRATIONS, "mixed/1", lambda data: data)
    with pytest.raises(InputError, match="does not advance"):
        Mixed2.from_dict(mixed().to_dict())


# ---------------------------------------------------------------------- golden file
def test_the_golden_file_loads_with_the_digest_of_its_day() -> None:
    golden = ProbRobustness.from_json(GOLDEN)
    assert golden.digest() == GOLDEN_DIGEST
    raw = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert raw["schema"] == "prob_robustness/1" and raw["digest"] == GOLDEN_DIGEST
    assert golden.to_dict() == raw


def test_the_golden_file_means_what_it_meant(prob: ProbRobustness) -> None:
    golden = ProbRobustness.from_json(GOLDEN)
    for item in ProbRobustness.columns():
        assert same_bits(
            getattr(golden, item.name), getattr(prob, item.name)
        ), item.name
    assert golden.ids.tolist() == prob.ids.tolist()
    assert golden.cost == prob.cost and golden.flags == prob.flags


# ---------------------------------------------------------------------- bytes
def test_digest_parts_do_not_run_together() -> None:
    assert codec.digest([b"ab", b"c"]) != codec.digest([b"a", b"bc"])
    assert codec.digest([b"ab"]) != codec.digest([b"ab", b""])


def test_canonical_bytes_do_not_depend_on_the_order_of_keys() -> None:
    assert codec.canonical({"b": 1, "a": [2]}) == codec.canonical({"a": (2,), "b": 1})
    assert codec.canonical({"b": 1}) != codec.canonical({"b": True})
    assert spec("colour").enum is Colour
