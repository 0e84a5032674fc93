"""Is a model that keeps tensors of its first call still trainable, and are kept images safe?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import InputError, ModelContractError, PRTest, evaluate
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(5)


class Caching(nn.Module):
    """Computes a scale at its first call and keeps it, as rotary embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.kept = small_net().eval(), None

    def forward(self, images: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = images.new_ones(3) * 1.5
        found: Tensor = self.net(images) * self.kept
        return found


@pytest.mark.parametrize("verb", ["call", "measure", "evaluate"])
def test_what_a_model_kept_from_our_passes_can_be_trained_through(verb: str) -> None:
    net = Caching()
    labels = small_net().eval()(IMAGES).argmax(1)
    test = PRTest(net, eps=0.1, tolerance=0.1, n_max=100)
    if verb == "evaluate":
        evaluate(net, (IMAGES, labels), {"eps": 0.1, "stages": ["FGSM", "prtest"]})
    else:
        (test if verb == "call" else test.measure)(IMAGES, labels)
    assert net.kept is not None and not net.kept.is_inference()
    net(IMAGES).sum().backward()
    assert net.net[0].weight.grad is not None


def test_two_runs_in_one_folder_keep_their_own_images(tmp_path: Path) -> None:
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    options: dict[str, Any] = dict(tolerance=0.1, n_max=100, keep=tmp_path)
    results = [
        PRTest(net, eps=e, **options).measure(IMAGES, labels) for e in (0.1, 0.2)
    ]
    first, second = (result.images() for result in results)
    assert not torch.equal(first, second)
    assert float((first - IMAGES).abs().max()) <= 0.1 + 1e-6


def test_what_is_no_tensor_is_refused_in_words() -> None:
    for verb in (PRTest(small_net()), PRTest(small_net()).measure):
        with pytest.raises(InputError):
            verb("abc", torch.zeros(1))


def test_logits_said_to_be_probabilities_are_refused() -> None:
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    test = PRTest(lambda images: net(images) * 10, eps=0.1, outputs="probs")
    with pytest.raises(ModelContractError, match='outputs="probs"'):
        test.measure(IMAGES, labels)
