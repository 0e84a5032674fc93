"""Is it said when the data look like those of another model?"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from torchattacks_ext import MSA, FIMScore, PRTest, ReliabilityWarning, evaluate
from torchattacks_ext.data.doubts import layout_doubts, named_classes, unanswered
from torchattacks_ext.data.named import load_data
from torchattacks_ext.engines.judge.ledger import AttackSpec

IMAGES = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 2
PLAN = {"eps": 0.01, "stages": ["clean"]}


class Named(TensorDataset):
    """Two classes with names."""

    classes = ["duck", "swan"]


class Fixed(nn.Module):
    """Always answers one class of K."""

    def __init__(self, answer: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("scores", torch.zeros(n_classes))
        self.scores[answer] = 5.0

    def forward(self, images: Tensor) -> Tensor:
        return self.scores.expand(len(images), -1) + 0 * images.flatten(1)[:, :1]


DATA = Named(IMAGES, LABELS)


def flags_of(model: nn.Module, data: Any) -> list[str]:
    """Codes of an evaluation and of a measurement, which must agree."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        report = evaluate(model, data, PLAN)
        result = PRTest(model, eps=0.01).measure(data)
    found = [flag.code for flag in report.flags]
    assert [flag.code for flag in result.flags] == found
    return found


@pytest.mark.parametrize(
    "data",
    [DATA, Subset(DATA, range(12)), DataLoader(Subset(DATA, range(12)), batch_size=5)],
)
def test_another_number_of_classes_is_said(data: Any) -> None:
    assert named_classes(data) == 2
    assert flags_of(Fixed(0, 1000), data) == ["class_count"]
    assert flags_of(Fixed(0, 2), data) == []


def test_a_model_that_never_answers_a_label_is_doubted() -> None:
    plain = TensorDataset(IMAGES, LABELS)
    assert flags_of(Fixed(7, 10), plain) == ["labels_never_answered"]
    assert flags_of(Fixed(1, 10), plain) == []
    assert flags_of(Fixed(7, 10), Subset(plain, range(9))) == []  # too few to say
    assert not list(unanswered(0, set(), set()))


@pytest.mark.parametrize("method", ["gram", "blackbox"])
def test_scores_and_attacks_doubt_the_labels_too(method: Any) -> None:
    line = AttackSpec("noise", steps=1)
    for answer, data, codes in (
        (7, DATA, ["class_count", "labels_never_answered"]),
        (1, TensorDataset(IMAGES, LABELS), []),
        (7, TensorDataset(IMAGES[:9], LABELS[:9]), []),
    ):
        model = Fixed(answer, 10)
        score = FIMScore(model, method=method, n_directions=2, kl=False)
        attack = MSA(model, eps=0.01, version="custom", plan=[line])
        for probe in (score, attack):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReliabilityWarning)
                found = [flag.code for flag in probe.measure(data).flags]
            assert [code for code in found if code != "zero_gradient"] == codes


def test_images_with_channels_last_are_doubted() -> None:
    turned = TensorDataset(IMAGES.permute(0, 2, 3, 1).contiguous(), LABELS)
    assert flags_of(Fixed(0, 2), turned) == ["channels_last"]
    assert flags_of(Fixed(0, 2), TensorDataset(IMAGES, LABELS)) == []


@pytest.mark.parametrize(
    ("shape", "doubted"),
    [
        ((2, 28, 28, 1), True),
        ((2, 32, 24, 4), True),
        ((2, 12, 1000, 1), False),  # twelve leads of a heart
        ((2, 3, 32, 3), False),
        ((2, 64, 1, 1), False),
        ((2, 50, 3), False),
    ],
)
def test_only_pictures_can_lie_the_wrong_way(
    shape: tuple[int, ...], doubted: bool
) -> None:
    assert bool(list(layout_doubts(shape))) == doubted


def test_who_says_how_many_classes_there_are() -> None:
    class Features:
        features = {"label": type("Label", (), {"names": ["a", "b", "c"]})()}

    assert named_classes(Features()) == 3
    assert named_classes(load_data("digits", 20).loader(5)) == 10
    for silent in ([], DATA[0], ConcatDataset([DATA]), torch.zeros(2), "birds"):
        assert named_classes(silent) is None


def test_folders_of_20_classes_on_a_model_of_1000(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number in range(20):
        (tmp_path / f"c{number:02d}").mkdir()
        pixels = np.full((8, 8, 3), number, dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / f"c{number:02d}" / "0.png")
    data = load_data(f"imagefolder:{tmp_path}").loader(8)
    with pytest.warns(ReliabilityWarning, match="20 classes, the model has 1,000"):
        report = evaluate(Fixed(0, 1000), data, PLAN)
    assert [flag.code for flag in report.flags] == ["class_count"]
