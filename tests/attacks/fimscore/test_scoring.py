"""Are the rows that a runner gets those of `measure`, in parts and inside its own session?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from torchattacks_ext import FIMScore, InputError, StateError
from torchattacks_ext.attacks.fimscore.scoring import taken
from torchattacks_ext.data.stream import Batch
from torchattacks_ext.models.session import session
from torchattacks_ext.results.base.columns import Rows, Table
from torchattacks_ext.results.sensitivity import Sensitivity
from torchattacks_ext.testing.props import balanced_net, example_images

IMAGES = example_images(7)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1])
BATCH = Batch(torch.arange(7), IMAGES, LABELS, torch.arange(7))


def rows_of(score: FIMScore, batch: Batch = BATCH) -> list[Rows]:
    def asked() -> Iterator[Rows]:
        with session(score.model):
            yield from score.score_batch(batch)

    return list(asked())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "blackbox", "n_directions": 20},
        {"dtype": torch.float64, "temperature": 3.0},
        {"smooth": (0.05, 2), "norm": "L2"},
        {"keep": "memory"},
    ],
    ids=str,
)
def test_rows_of_a_runner_are_those_of_measure(options: dict[str, Any]) -> None:
    net = balanced_net(5)
    score, other = (FIMScore(net, batch_size=3, **options) for _ in range(2))
    found = rows_of(score)
    assert [len(part) for part in found] == [3, 3, 1]
    assert torch.equal(torch.cat([part.index for part in found]), BATCH.index)
    whole = other.measure(IMAGES, LABELS, ids=range(7))
    columns = Table(found).columns(Sensitivity.columns())
    for name, values in columns.items():
        torch.testing.assert_close(
            values, getattr(whole, name), rtol=0, atol=0, equal_nan=True, msg=name
        )
    assert score.facts() == other.facts() and score.settings() == other.settings()
    assert all((part.images is not None) == ("keep" in options) for part in found)


def test_step_checks_add_up_for_a_runner_and_start_anew_in_measure() -> None:
    score = FIMScore(balanced_net(5), method="blackbox", n_directions=20)
    for n in (7, 14):
        rows_of(score)
        assert sum(score.facts()["step_checks"].values()) == n
    score.measure(IMAGES)
    assert sum(score.facts()["step_checks"].values()) == 7


def test_a_batch_without_images_has_no_rows() -> None:
    assert rows_of(FIMScore(balanced_net(5)), taken(BATCH, torch.arange(0))) == []


def test_a_runner_is_held_to_the_images_that_were_fitted() -> None:
    score = FIMScore(balanced_net(5), temperature="fit")
    with pytest.raises(StateError, match="call fit_temperature"):
        rows_of(score)
    score.fit_temperature(IMAGES, LABELS, ids=range(7))
    with pytest.raises(InputError, match="fit on images that you do not score"):
        rows_of(score)


def test_some_rows_of_a_batch_are_taken_with_all_that_is_theirs() -> None:
    part = taken(Batch(BATCH.ids + 10, IMAGES, None, BATCH.index), torch.tensor([4, 1]))
    assert part.ids.tolist() == [14, 11] and part.index.tolist() == [4, 1]
    assert part.labels is None and torch.equal(part.images, IMAGES[[4, 1]])
    both = taken(BATCH, torch.tensor([4, 1]))
    assert both.labels is not None and both.labels.tolist() == [4, 1]
