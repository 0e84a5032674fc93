"""What is written down of the data, also where the images have unequal sizes?"""

from __future__ import annotations

import pytest
import torch

from torchattacks_ext import FIMScore, InputError
from torchattacks_ext.data.stream import Batch
from torchattacks_ext.evaluation.intake import DataFacts


def facts_of(*shapes: tuple[int, ...]) -> DataFacts:
    facts = DataFacts()
    for number, shape in enumerate(shapes):
        one = torch.tensor([number])
        facts.add(Batch(one, torch.zeros(1, *shape), one, one))
    return facts


def test_unequal_sizes_are_not_those_of_the_last_batch() -> None:
    said = facts_of((3, 8, 8), (3, 8, 6), (3, 8, 8)).describe()
    assert said["shape"] == [3, 8, None]
    assert said["shapes"] == [[3, 8, 8], [3, 8, 6]]
    assert facts_of((3, 8, 8), (64,)).describe()["shape"] == []


def test_one_size_is_said_as_ever() -> None:
    said = facts_of((3, 8, 8), (3, 8, 8)).describe()
    assert said["shape"] == [3, 8, 8] and "shapes" not in said
    many = facts_of(*((side,) for side in range(1, 20))).describe()
    assert many["shape"] == [None] and len(many["shapes"]) == 8


def test_directions_of_unequal_sizes_are_refused_at_the_second_batch() -> None:
    def mean(images: torch.Tensor) -> torch.Tensor:
        means = images.flatten(2).mean(2)
        return torch.cat([means, means.square()], 1)

    score = FIMScore(mean, method="gram", kl=False)
    batches = [torch.rand(2, 1, side, 4) for side in (4, 4, 5)]
    found = score.directions(batches[:2])
    assert found.shape == (4, 1, 4, 4)
    with pytest.raises(InputError, match=r"\(1, 5, 4\), the first one of \(1, 4, 4\)"):
        score.directions(batches)
