"""Is every doubt about the model, the data and the law named once, in report and result?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import (
    EvaluationReport,
    ModelContractError,
    ReliabilityWarning,
    Status,
    evaluate,
)
from torchattacks_ext.testing.props import example_images

PRTEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 300}
PLAN = {"eps": 0.03, "stages": ["FGSM", PRTEST]}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Waves(nn.Module):
    """A linear net on images of 64 numbers; its answers are many, its logits not near a tie."""

    def __init__(self, n_classes: int = 5) -> None:
        super().__init__()
        place, klass = torch.arange(1, 65), torch.arange(n_classes)[:, None]
        self.weight = nn.Parameter((place * (1.37 * klass + 2.1)).sin())

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ self.weight.T


def wrong_at(model: nn.Module, images: Tensor, every: int = 7) -> Tensor:
    """The model's answers, each `every`-th moved to the next class."""
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[::every] = (labels[::every] + 1) % 3
    return labels


NET = Waves()
IMAGES = example_images(30)
LABELS = wrong_at(NET, IMAGES)


# ---------------------------------------------------------------- doubts
class Flipping(Waves):
    """Answers by its own coin."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + 4 * torch.randn(len(images), 5)


def warned(model: Any, data: Any, plan: Any, **options: Any) -> Any:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        report = evaluate(model, data, plan, **options)
    ours = [w for w in seen if issubclass(w.category, ReliabilityWarning)]
    assert all(w.filename == __file__ for w in ours)
    return report, [str(w.message).partition("]")[0].strip("[") for w in ours]


def test_a_randomised_model_is_flagged_once() -> None:
    plan = PLAN | {"stages": ["FGSM", "PGD", PRTEST], "batch_size": 8}
    report, codes = warned(Flipping(), (IMAGES, LABELS), plan)
    assert codes == ["randomised_model"] == [flag.code for flag in report.flags]
    for stage in report.stages:  # and in every result that leaves the report
        assert [flag.code for flag in stage.result.flags] == codes


def test_duplicates_are_flagged_once_and_counted_within_n() -> None:
    images, labels = torch.cat([IMAGES, IMAGES[:3]]), torch.cat([LABELS, LABELS[:3]])
    for size in (256, 8):
        plan = PLAN | {"batch_size": size}
        report, codes = warned(NET, (images, labels), plan)
        assert codes == ["duplicates"] and report.flags[0].count == 3
        assert len(report["prtest"].result.ids.unique()) == 33
        report, codes = warned(NET, (images, labels), plan, n=31)
        assert codes == ["duplicates"] and report.flags[0].count == 1
        assert warned(NET, (images, labels), plan, n=30)[1] == []


class Fragile(Waves):
    """No finite logits for images whose first pixel is 1."""

    def forward(self, images: Tensor) -> Tensor:
        broken = images.flatten(1)[:, :1] > 1 - 1e-6
        return torch.where(broken, torch.nan, super().forward(images))


@pytest.mark.parametrize("size", [1, 7, 64])
def test_one_image_without_finite_logits_is_one_failure(size: int) -> None:
    images = IMAGES.clone()
    images[:, 0, 0, 0] *= 0.5
    images[29, 0, 0, 0] = 1.0
    plan = PLAN | {"batch_size": size, "eps": 0.05}
    report, codes = warned(Fragile(), (images, wrong_at(NET, images)), plan)
    assert not report.failed and codes == ["non_finite"]
    assert report.flags[0].count == 1
    for stage in report.stages:
        odd = stage.result.status == int(Status.NON_FINITE)
        assert odd.tolist() == [False] * 29 + [True]
        assert stage.result.clean_correct[29] == 0


@pytest.mark.parametrize("size", [1, 64])
def test_a_model_without_any_finite_logits_breaks_its_contract(size: int) -> None:
    images = IMAGES.clone()
    images[:, 0, 0, 0] = 1.0
    with pytest.raises(ModelContractError, match="all 30 images.*check the weights"):
        evaluate(Fragile(), (images, LABELS), PLAN | {"batch_size": size})


def law(images: Tensor, u: Any) -> Tensor:
    """Uniform in the cube of radius .3, without the box."""
    return images + 0.3 * (2 * u(images[0].numel()).reshape(images.shape) - 1)


def test_a_plan_with_a_law_of_the_user_can_be_written_down() -> None:
    plan = {"eps": 0.3, "stages": [PRTEST | {"sampler": law}]}
    report = evaluate(NET, (IMAGES, LABELS), plan)
    again = EvaluationReport.from_json(report.to_json())
    assert again.plan["stages"][0]["sampler"]["function"].endswith("law")
    assert len(again.gallery) == 6


def test_a_law_that_draws_elsewhere_is_flagged_and_not_shown() -> None:
    generator = torch.Generator()

    def wild(images: Tensor, u: Any) -> Tensor:
        return images + 0.1 * torch.rand(images.shape, generator=generator)

    plan = {"eps": 0.3, "stages": [PRTEST | {"sampler": wild}]}
    report, codes = warned(NET, (IMAGES, LABELS), plan)
    assert codes == ["not_replayable"] and report.gallery == ()
