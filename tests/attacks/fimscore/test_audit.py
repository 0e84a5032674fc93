"""Does the audit tell a masked gradient from an honest one?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, FIMScore, StatusError
from torchattacks_ext.testing import GradientKiller
from torchattacks_ext.testing.masked import Quantised
from torchattacks_ext.testing.props import balanced_net, example_images

IMAGES = 0.2 + 0.6 * example_images(12)


def test_an_honest_gradient_is_not_suspected() -> None:
    found = FIMScore(balanced_net(5), eps=0.05).audit(IMAGES)
    assert found.n_suspicious == 0 and "no suspicion" in repr(found)
    # 20 of 64 directions: the sketch is within a factor of 3 of lambda
    assert float(found.log_ratio.abs().max()) < 1.1


def test_a_killed_gradient_is_suspected_everywhere() -> None:
    found = FIMScore(GradientKiller(balanced_net(5)), eps=0.05).audit(IMAGES)
    assert found.n_suspicious == len(IMAGES)
    assert (found.log_ratio == torch.inf).all()
    assert "gradient masking suspected" in repr(found)


def test_a_quantised_input_is_suspected_once_steps_cross_its_levels() -> None:
    target = Quantised(balanced_net(5), 64)
    wide = FIMScore(target, eps=0.3).audit(IMAGES)
    assert wide.n_suspicious == len(IMAGES)


def test_a_constant_model_is_neither_masked_nor_clear() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3] * 0 + torch.arange(3.0)

    found = FIMScore(Constant(), eps=0.05).audit(IMAGES)
    assert found.log_ratio.isnan().all() and found.n_suspicious == 0


def test_batches_change_nothing_and_a_black_box_has_no_gradient_to_audit() -> None:
    one = FIMScore(balanced_net(5), eps=0.05).audit(IMAGES, ids=range(12))
    two = FIMScore(balanced_net(5), eps=0.05, batch_size=5).audit(IMAGES, ids=range(12))
    assert torch.allclose(one.log_ratio, two.log_ratio, atol=1e-3)
    with pytest.raises(StatusError):
        FIMScore(balanced_net(5), method="blackbox").audit(IMAGES)


class Kink(nn.Module):
    """Logits (0, z), z of slope 1 where the first pixel is below .5 and of slope 4 above."""

    def forward(self, images: Tensor) -> Tensor:
        s = images.flatten(1)[:, 0] - 0.5
        z = torch.where(s > 0, 4 * s, s)
        return torch.stack([torch.zeros_like(z), z], 1)


def test_an_image_on_a_kink_is_one_sided_and_others_are_not() -> None:
    images = torch.full((3, 1, 2, 2), 0.5)
    images[1, 0, 0, 0], images[2, 0, 0, 0] = 0.3, 0.8
    found = FIMScore(Kink(), eps=0.05).audit(images)
    assert found.n_one_sided == 1 and "1 on a kink" in repr(found)
    assert found.log_sides[0].abs().item() == pytest.approx(2.7726, abs=1e-2)  # log 16
    assert found.log_sides[1:].abs().max() < 1e-2
    smooth = FIMScore(balanced_net(5), eps=0.05).audit(IMAGES)
    assert smooth.n_one_sided == 0 and smooth.log_sides.isfinite().all()


def test_a_change_below_the_rounding_of_the_logits_says_nothing() -> None:
    class Far(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 1e6 + 1e-3 * Kink()(images)

    found = FIMScore(Far(), eps=0.05).audit(torch.full((2, 1, 2, 2), 0.5))
    assert found.log_sides.isnan().all() and found.n_one_sided == 0


def test_a_radius_of_nothing_was_refused_in_words_that_did_not_name_it() -> None:
    with pytest.raises(ConfigError, match="eps=0.* eps > 0"):
        FIMScore(balanced_net(5), eps=0).audit(IMAGES)
