"""Is an alert told as it is: alarm, tests, chance of a false alarm, what to do, doubts?"""

from __future__ import annotations

from typing import Any

import torch

from torchattacks_ext.reports.monitor import render_alert, render_reference
from torchattacks_ext.results.base.facts import Cost, Flag
from torchattacks_ext.results.monitor import (
    Alert,
    DriftTest,
    MovedFeature,
    Reference,
    Step,
)

COMMON: dict[str, Any] = {"significance": 0.01, "n_reference": 1000, "n": 200}
COMMON |= {"reference": {"score": "fim"}, "above": 0.75, "distance": 0.31}


def test_an_alarm_of_a_batch() -> None:
    found = Alert(
        kind="batch",
        alarm=True,
        guarantee="at most 0.01",
        least=0.14,
        tests=(
            DriftTest(
                name="MMD|x", statistic=0.02, p_value=0.001, adjusted=0.003, alarm=True
            ),
            DriftTest(name="KS", statistic=0.1, p_value=0.2, adjusted=0.4, alarm=False),
        ),
        moved=(MovedFeature(feature=7, distance=0.31, adjusted=1e-5),),
        n_moved=12,
        runbook=(Step(do="Look.", tells="What it is.", costs="minutes"),),
        flags=(Flag("odd", "a\x1b[31m doubt", 3),),
        cost=Cost(400, 1800, 1.5),
        **COMMON,
    )
    text = render_alert(found)
    assert text.splitlines() == [
        "ALARM (medium): 200 images against a reference of 1,000",
        "",
        "test   statistic  p      p (Holm)  alarm",
        "MMD|x  0.02       0.001  0.003     ALARM",
        "KS     0.1        0.2    0.4       -",
        "",
        "features that moved (distance): 7 (0.31), and 11 more",
        "",
        "score fim: 75.0 % of these images lie above the median of the reference; distance 0.31",
        "with 200 images a distance of the score below about 0.14 is not seen",
        "false alarms: at most 0.01",
        "doubt: a[31m doubt [odd]",
        "cost: 400 forward, 1,800 backward, 1.5 s",
        "",
        "What to do, in this order:",
        "1. Look. What it is. Costs: minutes.",
    ]
    page = render_alert(found, markdown=True)
    assert page.startswith("# ALARM (medium)") and "| MMD\\|x | 0.02 |" in page
    assert "## What to do" in page


def test_a_stream_says_where_it_stands() -> None:
    process = {"name": "martingale", "looks": 3, "n": 450, "alarm_look": 2}
    process |= {"alarm_at": 287, "log_capital": 9.1, "most": 9.5, "edge": 4.605}
    text = render_alert(
        Alert(kind="stream", alarm=True, guarantee="ever", process=process, **COMMON)
    )
    assert text.splitlines()[0] == (
        "ALARM (medium): look 3 (200 images), 450 images so far, against a reference of 1,000"
    )
    assert "log capital 9.1, at most 9.5 so far, alarm from 4.61 on" in text
    assert "alarmed at image 287, look 2; an alarm of a stream stays" in text
    assert "of the last images" in text
    bands = {"name": "bands", "looks": 1, "n": 9, "distance": 0.1, "edge": 0.4}
    found = Alert(kind="stream", alarm=False, guarantee="", process=bands, **COMMON)
    assert "bands: distance 0.1, alarm above 0.4" in render_alert(found)


def test_a_reference_says_what_it_is() -> None:
    settings = {"score": "energy", "place": "logits", "prepared": {"resize": 32}}
    found = Reference(
        features=torch.rand(100, 2),
        scores=torch.arange(100.0).double(),
        ids=torch.arange(100),
        settings=settings,
        model={"class": "Net", "sha256": None, "tag": "v3"},
    )
    assert render_reference(found).splitlines() == [
        "Reference of 100 images: 2 features (logits), score energy (energy of the logits)",
        "score: quartiles 24.8, 49.5, 74.2",
        "model: Net no hash, tag v3",
        "prepared: resize 32",
    ]
