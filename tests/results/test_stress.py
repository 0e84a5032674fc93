"""Are means, intervals and mCE of a table of corruptions what one computes by hand?"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats

from torchattacks_ext._typing import Status
from torchattacks_ext.errors import ConfigError, StatusError
from torchattacks_ext.numerics.populations.mce import ALEXNET
from torchattacks_ext.numerics.populations.means import mean_interval
from torchattacks_ext.results import Flag
from torchattacks_ext.results.stress import PUBLISHED, Stress


def table(
    codes: dict[str, list[int]], clean: list[int], severities: Any = (1, 2, 3, 4, 5)
) -> Stress:
    """A table of these codes; bit s - 1 says right at severity s."""
    n = len(clean)
    settings = {"corruptions": list(codes), "severities": list(severities)}
    return Stress(
        ids=torch.arange(n).flip(0),
        settings={**settings, "parameters": "imagenet", "n_classes": 1000},
        status=torch.zeros(n, dtype=torch.int8),
        reference=torch.zeros(n, dtype=torch.int64),
        clean_correct=torch.tensor(clean, dtype=torch.int8),
        **{k: torch.tensor(v, dtype=torch.int16) for k, v in codes.items()},
    )


def fifteen() -> Stress:
    """Four rows: right everywhere, at severities 1 to k, and nowhere; k goes by the name."""
    codes = {name: [31, 2 ** (k % 5 + 1) - 1, 1, 0] for k, name in enumerate(PUBLISHED)}
    return table(codes, [1, 1, 1, 0])


def test_shares_are_over_all_rows() -> None:
    result = fifteen()
    assert result.right("snow", 3).tolist() == [True, True, False, False]
    cell = result.share("snow", 3, 0.9)
    exact = stats.binomtest(2, 4).proportion_ci(0.9, method="exact")
    assert cell[:3] == ("snow", 3, 0.5)
    assert (cell.low, cell.high) == pytest.approx((exact.low, exact.high))
    with pytest.raises(StatusError, match="'rotation' at severity 1 was not run"):
        result.right("rotation", 1)


def test_mean_accuracy_by_hand() -> None:
    result = fifteen()
    # 5 of 5, then 1..5 of 5 three times each, 1 of 5, 0
    rows = [1.0, (1 + 2 + 3 + 4 + 5) / 25, 0.2, 0.0]
    assert result.mean_right().tolist() == pytest.approx(rows)
    assert result.mean_accuracy() == pytest.approx(sum(rows) / 4)
    assert result.mean_accuracy(["fog"]) == pytest.approx((5 + 5 + 1) / 20)
    assert result.mean_accuracy_interval() == mean_interval(rows[::-1])


def test_mce_by_hand() -> None:
    result = fifteen()
    errors = {}
    for k, name in enumerate(PUBLISHED):
        right = 5 + (k % 5 + 1) + 1
        errors[name] = 1 - right / 20
    by_hand = sum(errors[name] / ALEXNET[name] for name in PUBLISHED) / 15
    assert result.mce("alexnet") == pytest.approx(by_hand)
    more = [(errors[n] - 0.25) / (ALEXNET[n] - 0.435) for n in PUBLISHED]
    assert result.mce("alexnet", relative=True) == pytest.approx(sum(more) / 15)
    summary = result.summary()
    assert summary["mce"] == result.mce("alexnet")
    assert summary["relative_mce"] == pytest.approx(sum(more) / 15)
    own = {name: 0.5 for name in PUBLISHED}
    assert result.corruption_errors(own)["fog"] == pytest.approx(errors["fog"] / 0.5)


def test_there_is_no_mce_without_a_baseline() -> None:
    result = fifteen()
    with pytest.raises(ConfigError, match="no baseline: CIFAR-10-C has none"):
        result.mce()
    with pytest.raises(ConfigError, match="not 'resnet'"):
        result.mce("resnet")
    result.settings["parameters"] = "cifar"  # type: ignore[index]
    with pytest.raises(ConfigError, match="no baseline: AlexNet"):
        result.mce("alexnet")
    result.settings.update(parameters="imagenet", n_classes=10)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="10 classes"):
        result.mce("alexnet")
    assert "no baseline" in result.summary()["left_out"]["mce"]


def test_half_a_benchmark_has_no_mce() -> None:
    fourteen = table({n: [31, 0] for n in PUBLISHED if n != "frost"}, [1, 1])
    assert len(fourteen.corruption_errors("alexnet")) == 14
    with pytest.raises(ConfigError, match="no mCE without frost"):
        fourteen.mce("alexnet")
    part = table({n: [31, 0] for n in PUBLISHED}, [1, 1], [1, 2])
    with pytest.raises(ConfigError, match="over 1 .. 5"):
        part.mce("alexnet")


def test_own_names_are_in_no_mean() -> None:
    mixed = table({"fog": [31, 0], "frost_procedural": [0, 0]}, [1, 1])
    assert mixed.mean_accuracy() == 0.5 and mixed.published == ("fog",)
    own = table({"rotation": [31, 0]}, [1, 1])
    assert math.isnan(own.mean_accuracy())
    assert own.mean_accuracy_interval() == (0.0, 1.0)


def test_rows_that_failed_widen_and_parts_say_nothing() -> None:
    codes = {"fog": [31] * 20 + [0] * 20}
    known, result = table(codes, [1] * 40), table(codes, [1] * 40)
    result.status[30:] = int(Status.FAILED)
    result.fog[30:] = -1
    cell, before = result.share("fog", 1), known.share("fog", 1)
    assert (cell.value, cell.low) == (0.5, before.low) and cell.high > before.high
    ends, before_ends = (t.mean_accuracy_interval() for t in (result, known))
    assert ends[0] == before_ends[0] and ends[1] > before_ends[1] + 0.1
    assert result.summary()["failed"] == 10
    part = fifteen().select(fifteen().ids[:2])
    assert part.mean_accuracy_interval() == (0.0, 1.0)
    assert "mean_accuracy_interval" in part.summary()["left_out"]
    flag = Flag("duplicates", "copies", 1, {"same": "pixels"})
    doubled = fifteen().with_flags([flag])
    assert doubled.mean_accuracy_interval() == (0.0, 1.0)
    assert "more than once" in doubled.summary()["left_out"]["mean_accuracy_interval"]


def test_it_travels_as_json() -> None:
    result = fifteen()
    back = Stress.from_json(result.to_json())
    assert back.digest() == result.digest() and back.summary() == result.summary()
    assert "rotation" not in result.to_dict()["columns"]
