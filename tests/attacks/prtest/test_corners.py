"""What happens where a budget ends early, and where every draw lies beside the boundary?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import PRTest, ReliabilityWarning
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(6)
OPTIONS: dict[str, Any] = dict(eps=0.1, tolerance=0.1, significance=0.1, n_max=60)


def test_an_image_without_a_draw_keeps_its_clean_self() -> None:
    """It kept draw number -1, which nobody had measured."""
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    look, clean = 6 * 5 + 3 * 6 + 1, 6
    test = PRTest(net, keep="memory", max_queries=look + clean + 1, **OPTIONS)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = test.measure(IMAGES, labels)
    assert (result.n_samples == 0).all() and (result.worst_draw == -1).all()
    assert torch.equal(result.images(), IMAGES)


@pytest.mark.parametrize("limit", [50, 56, 60, 62, 70])
@pytest.mark.parametrize("mode", ["prediction", "random"])
def test_a_reference_that_asks_the_model_stays_in_the_budget(
    mode: str, limit: int
) -> None:
    """The worst case: every clean image is close and asked again by itself."""
    net = small_net().eval()

    def offset(images: Tensor) -> Tensor:
        found: Tensor = net(images) + 1e5
        return found

    labels = offset(IMAGES).argmax(1)
    reference = "prediction" if mode == "prediction" else "label"
    test = PRTest(offset, reference=reference, max_queries=limit, **OPTIONS)
    if mode == "random":
        test.set_mode_targeted_random(quiet=True)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = test.measure(IMAGES, labels)
    assert result.cost.forward <= limit and len(result) == len(IMAGES)


def test_draws_that_are_nearly_all_close_are_flagged() -> None:
    """A common offset of the logits makes every draw one to be asked again: slow, and said so."""
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    plain = PRTest(net, **OPTIONS).measure(IMAGES, labels)
    assert "many_close_draws" not in [flag.code for flag in plain.flags]
    with pytest.warns(ReliabilityWarning, match="many_close_draws"):
        result = PRTest(lambda z: net(z) + 1e5, **OPTIONS).measure(IMAGES, labels)
    flag = next(flag for flag in result.flags if flag.code == "many_close_draws")
    assert flag.count == int(result.n_close.sum()) == int(result.n_drawn.sum())
