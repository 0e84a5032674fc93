"""Is an image that comes twice noticed, whatever its id or label, and are claims then smaller?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from torchattacks_ext import PRTest, evaluate
from torchattacks_ext.errors import ReliabilityWarning
from torchattacks_ext.numerics.rates.binomial import clopper_pearson
from torchattacks_ext.testing import RateVictim

N, AGAIN = 40, 30
VICTIM = RateVictim(0.0)


QUICK = {"name": "Square", "n_queries": 20}


def images() -> torch.Tensor:
    """70 images of which 30 are copies; the victim looks at the first pixel alone."""
    pixels = torch.full((N + AGAIN, 1, 2, 2), 0.5)
    pixels[:N, 0, 1, 1] = torch.arange(N) / 64
    pixels[N:] = pixels[:AGAIN]
    return pixels


def measured(ids: Any = None, labels: Any = None) -> Any:
    zeros = torch.zeros(N + AGAIN, dtype=torch.long)
    test = PRTest(VICTIM, eps=0.1, tolerance=0.1, n_mean=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return test.measure(images(), zeros if labels is None else labels, ids=ids)


def duplicates(result: Any) -> Any:
    return next((flag for flag in result.flags if flag.code == "duplicates"), None)


def test_copies_are_noticed_beside_sample_ids() -> None:
    ids = [f"camera_{i}" for i in range(N + AGAIN)]
    assert duplicates(measured()).count == duplicates(measured(ids)).count == AGAIN
    batch = {"images": images(), "labels": torch.zeros(N + AGAIN).long()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who names his rows knows them: no warning
        plan = {"eps": 0.1, "stages": [QUICK, {"name": "prtest", "tolerance": 0.1}]}
        report = evaluate(VICTIM, [{**batch, "sample_ids": ids}], plan)
    assert [flag.code for flag in report.flags] == ["duplicates"]
    for stage in report.stages:  # every result says it, wherever it goes
        assert duplicates(stage.result).count == AGAIN


def test_copies_are_noticed_under_another_label() -> None:
    labels = torch.zeros(N + AGAIN, dtype=torch.long)
    labels[-4:] = 1
    flag = duplicates(measured(labels=labels))
    assert (flag.count, flag.details["relabelled"]) == (AGAIN, 4)
    assert "another label" in flag.message
    with pytest.warns(ReliabilityWarning, match="4 of the copies have another label"):
        test = PRTest(VICTIM, eps=0.1, tolerance=0.1)
        test.measure(images(), labels)


def test_a_population_is_not_judged_by_copies() -> None:
    """Bounds for new images are those of the images that are there once, copies at their worst."""
    said, once = measured().summary(), measured(list(range(N + AGAIN))).summary()
    assert said["population_bounds"] == once["population_bounds"]
    assert said["certified"] == N + AGAIN and said["count_bound"] > N  # of *these* rows
    low, _ = clopper_pearson(N, N, 0.95)
    assert said["pra_interval"] == [float(low), 1.0]
    alone = PRTest(VICTIM, eps=0.1, tolerance=0.1).measure(
        images()[:N], torch.zeros(N, dtype=torch.long)
    )
    assert not alone.flags
    assert alone.summary()["population_bounds"] == said["population_bounds"]
    assert alone.summary()["pra_interval"] == said["pra_interval"]


def test_a_selection_of_copies_alone_says_nothing_of_a_population() -> None:
    result = measured()
    part = result.select(result.ids[N:], declared=True).summary()
    assert part["population_bounds"] is None
    assert "copy of another" in part["left_out"]["population_bounds"]
    assert part["pra_interval"] == [0.0, 1.0]


def test_intervals_of_every_family_count_an_image_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        plan = {"eps": 0.01, "stages": [QUICK]}
        data = images(), torch.zeros(N + AGAIN).long()
        report = evaluate(VICTIM, data, plan)
    low = float(clopper_pearson(N, N, 0.95)[0])
    summary = report.summary()
    for name, key in (
        ("clean", "clean"),
        ("Square", "robust"),
        ("worst_case", "robust"),
    ):
        assert summary[name][f"{key}_accuracy_interval"] == [low, 1.0]
