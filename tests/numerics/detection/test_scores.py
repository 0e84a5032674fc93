"""Are the scores of logits their formulas, and do they keep their order where float32 gives up?"""

from __future__ import annotations

import pytest
import torch

from torchattacks_ext.numerics.detection.scores import (
    LOGIT_SCORES,
    energy,
    max_logit,
    max_softmax,
)


def test_they_are_their_formulas() -> None:
    torch.manual_seed(0)
    z = 3 * torch.randn(20, 7, dtype=torch.float64)
    p = z.exp() / z.exp().sum(1, keepdim=True)
    torch.testing.assert_close(max_softmax(z), torch.log(1 - p.amax(1)))
    torch.testing.assert_close(energy(z), -z.exp().sum(1).log())
    torch.testing.assert_close(max_logit(z), -z.amax(1))


def test_sure_answers_are_no_ties() -> None:
    z = torch.zeros(3, 4)
    z[:, 0] = torch.tensor([20.0, 200.0, 2000.0])
    assert len((1 - z.softmax(1).amax(1)).unique()) == 1  # float32 knows one
    assert max_softmax(z).diff().lt(0).all()


def test_a_masked_class_is_no_class() -> None:
    z = torch.tensor([[1.0, 0.0, -torch.inf]])
    for score in LOGIT_SCORES.values():
        torch.testing.assert_close(score(z), score(z[:, :2]))


@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_a_flat_answer_scores_higher_than_a_sure_one(name: str) -> None:
    low, high = LOGIT_SCORES[name](torch.tensor([[9.0, 0.0], [0.1, 0.0]]))
    assert high > low
