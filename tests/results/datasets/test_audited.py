"""Do the marks of an audit follow their rows, and what is left of it when parts are joined?"""

from __future__ import annotations

import json

import pytest
import torch

from torchattacks_ext import data_audit
from torchattacks_ext.errors import InputError
from torchattacks_ext.results import Audited


def made(start: int = 0) -> Audited:
    torch.manual_seed(start)
    marks = torch.tensor([2, 0, 1], dtype=torch.int8)
    return Audited(
        ids=torch.arange(3) + start,
        status=torch.zeros_like(marks),
        reference=torch.arange(3),
        in_training=marks,
        repeats=torch.zeros_like(marks),
        audit=data_audit(test=(torch.rand(3, 1, 8, 8), torch.arange(3))),
    )


def test_it_comes_back() -> None:
    one = made()
    back = Audited.from_dict(json.loads(one.to_json()))
    assert back.to_dict() == one.to_dict() and back.summary() == one.summary()
    assert one.summary()["in_training"] == {"exact": 1, "near": 1}
    assert one.summary()["sound"] is True


def test_joined_parts_keep_their_marks_and_no_audit() -> None:
    both = Audited.concat([made(), made(10)])
    assert both.in_training.tolist() == [2, 0, 1] * 2
    assert both.audit is None
    assert [flag.code for flag in both.flags] == ["audited_in_parts"]
    assert Audited.concat([made()]).audit is not None


def test_rows_that_nobody_looked_at_count_nowhere() -> None:
    none = torch.zeros(2, dtype=torch.int8)
    bare = Audited(ids=torch.arange(2), status=none, reference=torch.arange(2))
    assert bare.summary() == {"n": 2}
    assert "in_training" not in bare.to_dict()["columns"]


def test_a_damaged_audit_is_said() -> None:
    with pytest.raises(InputError, match="'audit' of audited/1 is damaged"):
        Audited.from_dict(made().to_dict() | {"audit": "x"})
