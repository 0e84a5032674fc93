"""Are labels and dtypes that no method can use refused by calls too, and images never cast?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, FIMScore, InputError, PRTest, evaluate
from torchattacks_ext.models.logits import LogitsView, working_dtype
from torchattacks_ext.models.session import first_tensor
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(4)
CLASSES: tuple[Any, ...] = (PRTest, FIMScore, MSA)
FLOAT8 = [
    dtype
    for name in ("float8_e4m3fn", "float8_e5m2")
    if (dtype := getattr(torch, name, None)) is not None
]


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize("wrong", [-1, 3, 1000])
def test_labels_outside_the_classes_are_refused_by_calls(
    build: Any, wrong: int
) -> None:
    own = {"version": "quick"} if build is MSA else {}
    attack = build(small_net().eval(), eps=0.1, **own)
    labels = torch.tensor([0, 1, 2, wrong])
    least, most = min(0, wrong), max(2, wrong)
    words = f"labels run from {least} to {most}, but the model has 3 classes"
    with pytest.raises(InputError, match=words):
        attack(IMAGES, labels)
    attack.set_mode_targeted_by_label(quiet=True) if build is not MSA else None
    with pytest.raises(InputError, match=words):
        attack(IMAGES, labels)
    if build is FIMScore:
        attack.set_mode_default()
        attack(IMAGES)  # needs none


@pytest.mark.parametrize("build", CLASSES)
def test_a_radius_of_nothing_is_taken_or_refused_in_words(build: Any) -> None:
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    own = {"version": "quick"} if build is MSA else {}
    if build is PRTest:
        with pytest.raises(ValueError, match="eps=0 must be a positive number"):
            build(net, eps=0)
        return
    attack = build(net, eps=0, **own)
    assert torch.equal(attack(IMAGES, labels), IMAGES)
    assert len(attack.measure(IMAGES, labels)) == 4


def test_evaluate_at_a_radius_of_nothing() -> None:
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    stages = ["clean", "FGSM", "PGD", {"name": "msa", "version": "quick"}, "fim"]
    report = evaluate(net, (IMAGES, labels), {"eps": 0, "stages": stages})
    assert not report.failed


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_images_in_which_nothing_can_be_computed_are_refused(dtype: Any) -> None:
    images, labels = IMAGES.to(dtype), torch.zeros(4, dtype=torch.long)
    probe = PRTest(small_net().eval(), eps=0.1)
    for verb in (
        probe,
        probe.measure,
        lambda x, y: evaluate(probe.model, (x, y), {"eps": 0.1, "stages": ["FGSM"]}),
    ):
        with pytest.raises(InputError, match=r"float8.*; use images.float\(\)"):
            verb(images, labels)


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
@pytest.mark.parametrize("others", [torch.float32, torch.bfloat16, None], ids=str)
def test_images_are_not_cast_to_what_only_stores(dtype: Any, others: Any) -> None:
    class Stored(nn.Module):
        """Weights of 8 bits, computed in the dtype of the input."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(
                (8 * torch.eye(3, 64)).to(dtype), requires_grad=False
            )
            if others is not None:
                self.scale = nn.Parameter(torch.ones(1, dtype=others))

        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.dtype)
            return images.flatten(1) @ self.weight.to(images.dtype).T

    seen: list[torch.dtype] = []
    net = Stored()
    LogitsView(net)(IMAGES)
    assert seen == [others or torch.float32] and working_dtype(net) == torch.float32
    tensor = first_tensor(net)
    assert tensor is not None and tensor.dtype == (others or dtype)
    result = PRTest(net, eps=0.01, tolerance=0.1).measure(IMAGES, net(IMAGES).argmax(1))
    assert len(result) == 4
