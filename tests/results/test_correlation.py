"""Does a table of correlations say what was computed, and does it come back from disk?"""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.correlation.columns import correlate
from torchattacks_ext.results.correlation import (
    Correlation,
    CorrelationRow,
    correlate_columns,
)

EVIL = "<img src=x onerror=alert(1)>|\nb"
N = 40


def columns() -> Any:
    rng = torch.Generator().manual_seed(0)
    radius = torch.rand(N, generator=rng)
    noise = torch.randn(N, generator=rng)
    lam = -radius + 0.1 * noise
    lam[3] = math.nan
    return {"lam": lam, EVIL: noise}, radius


@pytest.fixture(scope="module")
def table() -> Correlation:
    predictors, radius = columns()
    defended = torch.arange(N) < 15
    subsets = {"defended": defended, "standard": ~defended, "none": defended & False}
    return correlate_columns(
        predictors, radius, subsets, n_resamples=100, outcome_name=f"radius {EVIL}"
    )


def test_every_predictor_on_every_subset(table: Correlation) -> None:
    assert table.predictors == ("lam", EVIL)
    assert table.subsets == ("all", "defended", "standard", "none")
    assert table.coefficients == ("spearman", "kendall", "pearson")
    assert len(table) == len(table.rows) == 2 * 4 * 3
    predictors, radius = columns()
    row = table.find("lam", "defended", "kendall")
    alone = correlate(
        predictors["lam"][:15], radius[:15], "kendall", n_resamples=100, seed=0
    )
    names = {"predictor": "lam", "subset": "defended"}
    assert row.to_dict() == alone.to_dict() | names
    assert (row.n, row.n_dropped) == (14, 1)
    assert row.low < row.value < row.high < -0.3


def test_signs_are_left_alone() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 5.0])
    table = correlate_columns({"x": x, "minus": -x}, x < 3, n_resamples=100)
    assert table.find("x").value == -table.find("minus").value < 0


def test_an_empty_subset_has_a_reason(table: Correlation) -> None:
    row = table.find("lam", "none")
    assert math.isnan(row.value) and row.reason.startswith("0 rows")
    assert "n/a (0 rows" in table._repr_html_()


def test_to_disk_and_back(table: Correlation, tmp_path: Path) -> None:
    text = table.to_json(tmp_path / "table.json")
    for source in (text, tmp_path / "table.json"):
        again = Correlation.from_json(source)
        assert again.to_dict() == table.to_dict()
        assert again.find("lam") == table.find("lam")
    data = json.loads(text)
    assert data["schema"] == "correlation/1" and "NaN" not in text
    newer = data | {"weather": "fine", "rows": [r | {"mood": 1} for r in data["rows"]]}
    kept = Correlation.from_dict(newer)
    assert kept.to_dict()["weather"] == "fine" and len(kept) == len(table)


def test_records_start_with_names(table: Correlation) -> None:
    records = table.to_records()
    assert len(records) == len(table)
    assert list(records[0])[:4] == ["predictor", "subset", "coefficient", "value"]
    assert records[-1]["value"] == "nan"


class Reader(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert attrs == []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_escaped(table: Correlation) -> None:
    reader = Reader()
    reader.feed(table._repr_html_())
    assert set(reader.tags) == {"table", "caption", "tr", "th", "td"}
    assert reader.tags.count("tr") == 1 + 2 * 3
    assert reader.tags.count("td") == 2 * 3 * 4
    assert any("onerror" in word for word in reader.words)


def test_one_line(table: Correlation) -> None:
    text = repr(table)
    assert "\n" not in text and "spearman lam=-0.9" in text and "n=40" in text
    many = {f"p{i}": columns()[1] for i in range(8)}
    text = repr(correlate_columns(many, columns()[1], n_resamples=100))
    assert text.endswith("p5=1, ...)") and "1 subset," in text


def test_an_empty_table() -> None:
    empty = Correlation(())
    assert (
        len(empty) == 0
        and empty.to_records() == []
        and "<table>" in (empty._repr_html_())
    )
    assert Correlation.from_dict(empty.to_dict()) == empty
    assert repr(empty) == "Correlation(0 predictors, 0 subsets)"


def test_what_is_refused(table: Correlation) -> None:
    x = torch.arange(4.0)
    with pytest.raises(InputError, match=r"predictor 'a' is \(3,\), expected \(4,\)"):
        correlate_columns({"a": x[:3]}, x)
    with pytest.raises(InputError, match=r"subset 's' is \(4,\) torch.float32"):
        correlate_columns({"a": x}, x, {"s": x})
    with pytest.raises(InputError, match="predictors is empty"):
        correlate_columns({}, x)
    with pytest.raises(InputError, match=r"outcome is \(2, 2\)"):
        correlate_columns({"a": x}, x.reshape(2, 2))
    with pytest.raises(ConfigError, match="confidence=2"):
        correlate_columns({"a": x}, x, confidence=2)
    with pytest.raises(InputError, match="no row .*'lam'"):
        table.find("lamb")
    with pytest.raises(InputError, match="written by a newer version"):
        Correlation.from_dict({"schema": "correlation/2", "rows": []})
    with pytest.raises(InputError, match="'rows' is missing"):
        Correlation.from_dict({"schema": "correlation/1"})
    whole = table.rows[0].to_dict()
    with pytest.raises(InputError, match="is not a CorrelationRow"):
        CorrelationRow.from_dict({k: v for k, v in whole.items() if k != "n"})
    with pytest.raises(InputError, match="holds no numbers"):
        CorrelationRow.from_dict(whole | {"low": "deep"})
