"""Is a result one table whose identity no reordering changes? Digest, concat, select, words."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import InputError, MissingExtra, StateError, StatusError
from torchattacks_ext.numerics.ids import to_hex
from torchattacks_ext.results import (
    Accuracy,
    AttackResult,
    Cost,
    Flag,
    ProbRobustness,
    Result,
    Rows,
    Table,
    column,
)

Change = Callable[[Result, str, int, float], Result]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Tiny(Result):
    schema: ClassVar[str] = "tiny/1"

    hits: Tensor = column(torch.int64, "decision")
    score: Tensor = column(torch.float32, "measurement")
    note: Tensor = column(torch.int64, "provenance")


def tiny(*ids: int, **facts: Any) -> Tiny:
    numbers = torch.tensor(ids, dtype=torch.int64)
    return Tiny(
        ids=numbers, hits=2 * numbers, score=numbers / 3, note=numbers.clone(), **facts
    )


# ---------------------------------------------------------------------- shape
def test_a_result_cannot_be_changed(prob: ProbRobustness) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        prob.ids = torch.zeros(5)  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        prob.cost = Cost()  # type: ignore[misc]


def test_columns_are_checked_for_length_and_dtype() -> None:
    good = tiny(1, 2)
    with pytest.raises(StateError, match="'hits'.*one entry an image"):
        replace(good, hits=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(StateError, match="'score'.*float32"):
        replace(good, score=good.score.double())
    with pytest.raises(StateError, match="'ids'"):
        replace(good, ids=good.ids.int())
    with pytest.raises(StateError, match="'ids'"):
        replace(good, ids=good.ids[:, None])


def test_tensors_must_be_on_the_cpu() -> None:
    good = tiny(1, 2)
    with pytest.raises(StateError, match="on meta, expected .* on cpu"):
        replace(good, score=good.score.to("meta"))


@pytest.mark.gpu
def test_a_table_brings_columns_to_the_cpu() -> None:
    index = torch.tensor([1, 0])
    columns = {n: torch.tensor([5, 6], device="cuda") for n in ("ids", "hits", "note")}
    columns["score"] = torch.tensor([0.5, 0.25], device="cuda")
    result = Tiny.from_table(Table([Rows(index.cuda(), columns)]))
    assert all(getattr(result, s.name).device.type == "cpu" for s in Tiny.columns())
    assert result.ids.tolist() == [6, 5]


def test_a_table_puts_rows_into_input_order_whatever_their_completion() -> None:
    table = Table()
    for index in ([3, 1], [0], [2, 4]):
        place = torch.tensor(index)
        columns = {"ids": place * 10, "hits": place, "note": place, "score": place / 2}
        table.append(Rows(place, columns))
    result = Tiny.from_table(table, cost=Cost(5))
    assert len(table) == 5
    assert result.ids.tolist() == [0, 10, 20, 30, 40]
    assert result.hits.tolist() == [0, 1, 2, 3, 4]
    assert result.score.dtype == torch.float32 and result.cost == Cost(5)


def test_a_table_refuses_rows_that_disagree() -> None:
    place = torch.tensor([0])
    table = Table([Rows(place, {"ids": place, "hits": place})])
    with pytest.raises(StateError, match="'score'"):
        table.append(Rows(place, {"ids": place, "hits": place, "score": place}))
    with pytest.raises(StateError, match=r"\['hits'\] are not \(1,\)"):
        table.append(Rows(place, {"ids": place, "hits": torch.zeros(2)}))


def test_an_empty_table_is_an_empty_result() -> None:
    result = Tiny.from_table(Table())
    assert len(result) == 0 and result.score.dtype == torch.float32
    assert len(result.digest()) == 64
    assert result.sort().to_dict() == Tiny.from_dict(result.to_dict()).to_dict()
    assert result.find(torch.tensor([4])).tolist() == [-1]


# ---------------------------------------------------------------------- digest
def test_digest_is_independent_of_row_order(prob: ProbRobustness) -> None:
    for order in ([4, 3, 2, 1, 0], [2, 0, 1, 4, 3]):
        mixed = prob.select(prob.ids[order])
        assert mixed.ids.tolist() == prob.ids[order].tolist()
        assert mixed.digest() == prob.digest()


def test_digest_ignores_measurement_provenance_cost_flags(
    prob: ProbRobustness, changed: Change
) -> None:
    for spec in prob.columns():
        if spec.kind != "decision":
            other = changed(prob, spec.name, 0, 5)
            assert other.digest() == prob.digest(), spec.name
    other = replace(prob, cost=Cost(1), flags=(), provenance={"x": 1}, extra={"y": 2})
    assert other.digest() == prob.digest()


def test_digest_depends_on_every_decision_column_ids_and_settings(
    prob: ProbRobustness, changed: Change
) -> None:
    names = [s.name for s in prob.columns() if s.kind == "decision"]
    assert len(names) == 9
    digests = {changed(prob, name, 0, 2).digest() for name in names}
    digests |= {
        prob.digest(),
        changed(prob, "ids", 0, 99).digest(),
        replace(prob, settings={**prob.settings, "seed": 1}).digest(),
        replace(prob, settings={**prob.settings, "more": None}).digest(),
    }
    assert len(digests) == len(names) + 4


def test_digest_depends_on_the_schema() -> None:
    class Other(Tiny):
        schema: ClassVar[str] = "other/1"

    twin = Other(**{f.name: getattr(tiny(1), f.name) for f in dataclasses.fields(Tiny)})
    assert twin.digest() != tiny(1).digest()


def test_digest_knows_which_row_holds_what(prob: ProbRobustness) -> None:
    swapped = replace(prob, n_failures=prob.n_failures[[1, 0, 2, 3, 4]])
    assert swapped.digest() != prob.digest()


def test_digest_is_the_same_for_settings_of_the_same_content() -> None:
    ours = tiny(
        1, settings={"bounds": (0, 1), "eps": np.float64(0.5), "n": np.int64(3)}
    )
    theirs = tiny(1, settings={"n": 3, "eps": 0.5, "bounds": [0, 1]})
    assert ours.digest() == theirs.digest()


# ---------------------------------------------------------------------- concat
def test_concat_keeps_the_order_and_adds_cost_and_flag_counts() -> None:
    flag = Flag("close", "near", 2)
    parts = [
        tiny(5, 3, cost=Cost(1, 2, 0.5), flags=(flag,)),
        tiny(4, cost=Cost(10, 20, 1.5), flags=(flag, Flag("odd", "odd"))),
    ]
    whole = Tiny.concat(iter(parts))
    assert whole.ids.tolist() == [5, 3, 4] and whole.hits.tolist() == [10, 6, 8]
    assert whole.cost == Cost(11, 22, 2.0)
    assert [(f.code, f.count) for f in whole.flags] == [("close", 4), ("odd", None)]
    assert Tiny.concat([tiny(1)]).to_dict() == tiny(1).to_dict()


def test_concat_of_shards_has_the_digest_of_the_whole(prob: ProbRobustness) -> None:
    shards = [prob.select(prob.ids[[3, 0]]), prob.select(prob.ids[[4, 1, 2]])]
    assert ProbRobustness.concat(shards).digest() == prob.digest()


def test_concat_refuses_repeated_ids_and_names_the_remedy() -> None:
    with pytest.raises(StateError, match="1 ids occur twice.*ids="):
        Tiny.concat([tiny(1, 2), tiny(2, 3)])


def test_concat_refuses_other_settings_and_shows_both() -> None:
    with pytest.raises(StateError) as error:
        Tiny.concat(
            [
                tiny(1, settings={"eps": 0.25, "bounds": (0, 1), "seed": 0}),
                tiny(2, settings={"eps": 0.5, "bounds": [0, 1], "kind": "x"}),
            ]
        )
    message = str(error.value)
    assert "'eps': (0.25, 0.5)" in message and "'kind': (None, 'x')" in message
    assert "'seed': (0, None)" in message and "bounds" not in message


def test_concat_takes_a_result_from_disk_beside_one_from_memory() -> None:
    ours = tiny(1, settings={"bounds": (0, 1), "eps": float("inf")})
    theirs = tiny(2, settings={"bounds": (0, 1), "eps": float("inf")})
    whole = Tiny.concat([ours, Tiny.from_json(theirs.to_json())])
    assert whole.ids.tolist() == [1, 2]


def test_concat_refuses_another_class(
    prob: ProbRobustness, attack: AttackResult
) -> None:
    with pytest.raises(StatusError, match="AttackResult as ProbRobustness"):
        Result.concat([prob, attack])
    with pytest.raises(StatusError, match="ProbRobustness as Accuracy"):
        Accuracy.concat([prob])  # type: ignore[list-item]


def test_concat_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        Tiny.concat([])


# ---------------------------------------------------------------------- rows
def test_find_gives_rows_or_minus_one(prob: ProbRobustness) -> None:
    assert prob.find(prob.ids).tolist() == [0, 1, 2, 3, 4]
    asked = torch.tensor([3, 12345, -1, 2**62, -(2**63)])
    assert prob.find(asked).tolist() == [2, -1, 1, 3, -1]
    assert prob.find(asked[:0]).tolist() == []
    assert prob.find(asked[::2]).tolist() == [2, 1, -1]  # not contiguous, no warning


def test_find_refuses_what_is_no_id(prob: ProbRobustness) -> None:
    for ids in (torch.tensor([1.0]), torch.tensor([[7]]), torch.tensor([True])):
        with pytest.raises(InputError, match="int64"):
            prob.find(ids)


def test_select_takes_a_tensor_or_hex_strings(prob: ProbRobustness) -> None:
    wanted = torch.tensor([0, 7, -1])
    by_tensor, by_name = prob.select(wanted), prob.select(to_hex(wanted))
    assert by_tensor.ids.tolist() == [0, 7, -1] == by_name.ids.tolist()
    assert by_tensor.n_samples.tolist() == [0, 100, 50]
    assert by_tensor.to_dict() == by_name.to_dict()
    assert by_tensor.cost == prob.cost and by_tensor.settings == prob.settings
    assert len(prob.select([])) == 0


def test_select_refuses_unknown_ids_and_names_them(prob: ProbRobustness) -> None:
    with pytest.raises(InputError, match="1 ids are not.*0000000000000063.*result.ids"):
        prob.select(torch.tensor([7, 99]))
    with pytest.raises(InputError, match="16 hex"):
        prob.select(["99"])
    with pytest.raises(InputError, match="16 hex"):
        prob.select([7])  # type: ignore[list-item]


def test_sort_orders_by_id(prob: ProbRobustness) -> None:
    ordered = prob.sort()
    assert ordered.ids.tolist() == [-1, 0, 3, 7, 2**62]
    assert ordered.n_samples.tolist() == [50, 0, 400, 100, 0]


def test_with_flags_adds_one_flag_a_code() -> None:
    result = tiny(1, flags=(Flag("a", "first", 1),))
    more = result.with_flags([Flag("a", "second", 2), Flag("b", "third")])
    assert [(f.code, f.message, f.count) for f in more.flags] == [
        ("a", "first", 3),
        ("b", "third", None),
    ]
    assert len(result.flags) == 1


# ---------------------------------------------------------------------- words
def test_repr_is_one_line(prob: ProbRobustness, accuracy: Accuracy) -> None:
    for result in (prob, accuracy, prob.select([]), tiny(1)):
        assert "\n" not in repr(result) and len(repr(result)) < 400
    assert "flags=['duplicates']" in repr(prob) and "pra=0.2" in repr(prob)
    assert repr(tiny(1)) == "Tiny(n=1, confidence=0.95)"
    broken = replace(prob, settings={"tolerance": "two\nlines"})
    assert "\n" not in repr(broken)


def test_html_is_escaped() -> None:
    class Evil(Tiny):
        def summary(self, confidence: float = 0.95) -> dict[str, Any]:
            return {"<script>key": "<script>alert('x')</script>", "ok": ["<b>", 0.5]}

    bad = Evil(**{f.name: getattr(tiny(1), f.name) for f in dataclasses.fields(Tiny)})
    page = bad._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;alert" in page
    assert "<b>" not in page and "<table>" in page


def test_records_are_rows_in_json_types(prob: ProbRobustness) -> None:
    records = prob.to_records()
    assert len(records) == 5
    first, *_, last = records
    assert first["id"] == "0000000000000007" and first["verdict"] == "robust"
    assert first["clean_correct"] is True and first["log_e_not_robust"] == "-inf"
    assert last["clean_correct"] is None and last["status"] == "not_reached"
    assert tiny().to_records() == []


def test_frame_has_one_row_an_id_and_plain_floats(prob: ProbRobustness) -> None:
    pandas = pytest.importorskip("pandas")
    frame = prob.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == to_hex(prob.ids) and frame.index.name == "id"
    assert frame["verdict"].tolist()[:2] == ["robust", "not_robust"]
    assert frame["p_fail"].dtype == np.float64 and frame["p_fail"].isna().sum() == 2
    assert frame["n_samples"].tolist() == prob.n_samples.tolist()
    assert list(frame.columns) == [spec.name for spec in prob.columns()]


def test_writing_into_the_frame_leaves_the_result_alone(prob: ProbRobustness) -> None:
    pytest.importorskip("pandas")
    frame = prob.to_frame()
    frame.loc[:, "n_samples"] = 0
    values = frame["p_fail_upper"].to_numpy()
    if values.flags.writeable:
        values[:] = -1
    assert prob.n_samples.tolist() == [100, 50, 400, 0, 0]
    assert float(prob.p_fail_upper.min()) > 0


def test_frame_without_pandas_names_the_extra(
    prob: ProbRobustness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"torchattacks_ext\[frames\]"):
        prob.to_frame()


def test_images_that_were_not_kept_are_named_as_such(prob: ProbRobustness) -> None:
    with pytest.raises(InputError, match='keep="memory"'):
        prob.images()
