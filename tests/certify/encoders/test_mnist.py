"""Does training beat the head without training on real images, and do attacks stay outside?"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks

from torchattacks_ext.certify import Ellips, EllipsHead
from torchattacks_ext.certify.encoders import orthogonal_mlp, train_encoder
from torchattacks_ext.samplers import Affine

EPS = (0.0, 0.25, 0.5, 1.0)


@pytest.mark.slow
def test_two_epochs_beat_a_head_without_training(
    tax_data: Path, real: ModuleType
) -> None:
    """At every radius, on the first 1,000 test images; the first row is .956, .921, .88, .727."""
    with np.load(
        tax_data / "mnist" / "train_first10000.npz", allow_pickle=False
    ) as data:
        images, labels = real.pixels(data["images"]), torch.from_numpy(data["labels"])
    test, truth = real.test_images("mnist", 1000)
    start: dict[str, Any] = {"epochs": 1, "lr": 0, "head_lr": 0, "shrinkage": 0.1}
    plain = train_encoder(
        orthogonal_mlp((1, 28, 28), 64), images, labels.long(), **start
    )
    head = EllipsHead.fit(plain.encoder(images).detach(), labels.long(), "full", 0.1)
    base = Ellips(plain.encoder, head).eval().certify(test, truth)
    shares = [base.certified_accuracy(eps).value for eps in EPS]
    assert shares == pytest.approx([0.956, 0.921, 0.88, 0.727], abs=0.0021)
    law = Affine(rotation=10, translation=0.018, scale=0.1)
    found = train_encoder(
        orthogonal_mlp((1, 28, 28), 96), images, labels.long(), epochs=2, augment=law
    )
    model = Ellips(found.encoder, found.head).eval()
    table = model.certify(test, truth)
    gains = [table.certified_accuracy(e).value - s for e, s in zip(EPS, shares)]
    assert min(gains) > 0.005 and table.cost.forward == 1000

    some, own = test[:200], table.prediction[:200]
    moved = torchattacks.CW(model, c=10, steps=60, lr=0.02)(some, truth[:200])
    length = (moved.double() - some.double()).flatten(1).norm(dim=1)
    with torch.no_grad():
        flipped = model(moved).argmax(1) != own
    assert int(flipped.sum()) > 50
    assert not bool((flipped & (length < table.radius[:200])).any())
