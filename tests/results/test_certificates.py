"""Do tables of certificates say what their rows say, and never mix what they rest on?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats

from torchattacks_ext import Status
from torchattacks_ext.errors import ConfigError, InputError, StateError, StatusError
from torchattacks_ext.results import Certificates, EvaluationReport, StageReport

INF = math.inf


def table(first: int = 0, tier: str = "certified", **changes: Any) -> Certificates:
    """Six rows: certified far, near, for ever, wrong but constant, abstaining, failed."""
    columns: dict[str, Any] = {
        "status": torch.tensor([0, 0, 0, 0, 0, int(Status.FAILED)], dtype=torch.int8),
        "label": torch.tensor([1, 1, 2, 0, -1, -1]),
        "prediction": torch.tensor([1, 1, 2, 0, 2, -1]),
        "reference": torch.tensor([1, 1, 2, 1, 2, 0]),
        "clean_correct": torch.tensor([1, 1, 1, 0, 0, -1], dtype=torch.int8),
        "abstain": torch.tensor([0, 0, 0, 0, 1, -1], dtype=torch.int8),
        "radius": torch.tensor([0.8, 0.3, INF, 0.9, 0, 0], dtype=torch.float64),
        "latent_radius": torch.tensor([1.6, 0.6, INF, 1.8, 0, 0], dtype=torch.float64),
        "lipschitz": torch.full((6,), 2.0, dtype=torch.float64),
    }
    settings = {"certifier": "Ellips", "method": "exact", "tier": tier, "norm": "L2"}
    settings |= {"L": 2.0, "scope": "global", "n_inputs": 16}
    return Certificates(
        ids=torch.arange(first, first + 6), settings=settings, **(columns | changes)
    )


def exact(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    found = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    return found.low, found.high


@pytest.mark.parametrize(
    ("eps", "k"), [(0, 3), (0.29, 3), (0.3, 2), (0.5, 2), (0.8, 1), (0.9, 1), (1e9, 1)]
)
def test_certified_accuracy_counts_right_rows_beyond_eps(eps: float, k: int) -> None:
    """Strictly: the ball is open. The failed row may be certified for all that is known."""
    found = table().certified_accuracy(eps)
    assert found.eps == eps and found.value == pytest.approx(k / 6)
    assert found.low == pytest.approx(exact(k, 6)[0])
    assert found.high == pytest.approx(exact(k + 1, 6)[1])


def test_without_failed_rows_the_interval_is_clopper_pearson() -> None:
    whole = table().select(torch.arange(5), declared=True)
    for eps, k in ((0.0, 3), (0.5, 2)):
        for confidence in (0.9, 0.999):
            found = whole.certified_accuracy(eps, confidence)
            assert found[1:] == pytest.approx((k / 5, *exact(k, 5, confidence)))


def test_the_curve_falls() -> None:
    grid = [0.0, 0.1, 0.3, 0.5, 1.0, 2.0]
    points = table().curve(grid)
    assert [p.eps for p in points] == grid
    values = [p.value for p in points]
    assert values == sorted(values, reverse=True)
    assert points[3] == table().certified_accuracy(0.5)


def test_rows_chosen_after_the_run_have_no_interval() -> None:
    part = table().select(torch.tensor([0, 1]))
    found = part.certified_accuracy(0.5)
    assert found.value == 0.5 and (found.low, found.high) == (0.0, 1.0)
    assert "certified_accuracy_interval" in part.summary()["left_out"]
    none = table().select([])
    assert math.isnan(none.certified_accuracy(0.5).value)


@pytest.mark.parametrize("eps", [-0.1, math.nan, INF, "a", True])
def test_a_radius_outside_its_domain_is_refused(eps: Any) -> None:
    with pytest.raises(ConfigError, match="eps="):
        table().certified_accuracy(eps)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_a_confidence_outside_its_domain_is_refused(confidence: float) -> None:
    for say in (table().summary, lambda c: table().certified_accuracy(0.5, c)):
        with pytest.raises(ConfigError, match="confidence"):
            say(confidence)


def test_without_labels_there_is_no_accuracy() -> None:
    none = torch.full((6,), -1)
    bare = table(reference=none, clean_correct=none.to(torch.int8))
    with pytest.raises(InputError, match="needs labels"):
        bare.certified_accuracy(0.5)
    summary = bare.summary()
    assert "clean_accuracy" not in summary and summary["abstained"] == 1
    assert math.isnan(bare.clean_accuracy)


def test_the_summary_counts_rows() -> None:
    found = table().summary()
    assert found["n"] == 6 and found["failed"] == 1 and found["abstained"] == 1
    assert found["tier"] == "certified" and found["norm"] == "L2"
    assert found["clean_accuracy"] == 3 / 5
    assert found["clean_accuracy_interval"] == pytest.approx(list(exact(3, 5)))
    assert found["median_radius"] == 0.8
    assert list(found["certified_accuracy"]) == ["0.25", "0.5", "1"]
    assert found["certified_accuracy"]["0.5"][0] == pytest.approx(2 / 6)
    assert "tier=certified" in repr(table()) and "\n" not in repr(table())


# ---------------------------------------------------------------------- other norms
def test_other_norms_are_converted_and_say_so() -> None:
    found = table().converted("Linf")
    assert found.radius[:2].tolist() == pytest.approx([0.2, 0.075], rel=1e-12)
    assert bool((found.radius[:2] <= torch.tensor([0.2, 0.075])).all())
    assert found.radius[2] == INF and found.norm == "Linf"
    assert found.summary()["norm"] == "Linf (converted)"
    assert table().converted("L1").radius.tolist() == table().radius.tolist()
    assert table().converted("L1").settings["converted"] == "from L2"
    assert table().converted("L2").settings == table().settings
    assert found.digest() != table().digest()
    with pytest.raises(StateError, match="different settings"):
        Certificates.concat([found, table(10)])


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(ConfigError, match="L3"):
        table().converted("L3")  # type: ignore[arg-type]
    with pytest.raises(StatusError, match="only those in L2 can"):
        table().converted("Linf").converted("L2")
    settings = {k: v for k, v in table().settings.items() if k != "n_inputs"}
    with pytest.raises(StatusError, match="n_inputs"):
        replace(table(), settings=settings).converted("Linf")


# ---------------------------------------------------------------------- one tier a table
def test_tables_of_one_tier_are_joined() -> None:
    whole = Certificates.concat([table(), table(10)])
    assert len(whole) == 12 and whole.tier == "certified"


@pytest.mark.parametrize(
    "tier", ["conditional: L assumed", "reproduction, not a certificate", "anything"]
)
def test_tiers_are_never_mixed(tier: str) -> None:
    for parts in ([table(), table(10, tier)], [table(10, tier), table()]):
        with pytest.raises(StatusError, match="cannot stand in one table"):
            Certificates.concat(parts)


def test_a_table_that_says_nothing_is_no_certificate() -> None:
    bare = replace(table(), settings={})
    assert bare.tier == "reproduction, not a certificate"


@pytest.mark.parametrize(
    ("row", "radius", "label"),
    [(0, -0.1, 1), (0, math.nan, 1), (4, 0.1, -1), (5, 0.1, -1)],
)
def test_a_radius_that_is_none_makes_no_table(
    row: int, radius: float, label: int
) -> None:
    radii, labels = table().radius.clone(), table().label.clone()
    radii[row], labels[row] = radius, label
    with pytest.raises(StateError, match=f"row {row} has radius"):
        table(radius=radii, label=labels)


# ---------------------------------------------------------------------- disk
def test_a_table_returns_from_json() -> None:
    one = table()
    two = Certificates.from_json(one.to_json())
    assert two.to_dict() == one.to_dict() and two.digest() == one.digest()
    row = one.to_records()[4]
    assert row["label"] is None and row["abstain"] is True and row["radius"] == 0
    assert one.to_records()[2]["radius"] == "inf"
    assert one.to_records()[5]["status"] == "failed"


def test_a_damaged_table_is_refused() -> None:
    raw = table().to_dict()
    raw["columns"]["radius"][0] = -1.0
    with pytest.raises(InputError, match="is the file damaged"):
        Certificates.from_dict(raw)


def test_a_report_reads_it_back() -> None:
    stage = StageReport("certified", "certified", table())
    report = EvaluationReport("net", {}, {}, {"n": 6}, stages=(stage,))
    back = EvaluationReport.from_json(report.to_json())
    result = back.stages[0].result
    assert isinstance(result, Certificates) and result.digest() == table().digest()
