"""Is every doubt about the model, the data and the law named once, in report and result?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import (
    EvaluationReport,
    ModelContractError,
    ReliabilityWarning,
    Status,
    evaluate,
)

PRTEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 300}
PLAN = {"eps": 0.03, "stages": ["FGSM", PRTEST]}


# ---------------------------------------------------------------- doubts
def warned(model: Any, data: Any, plan: Any, **options: Any) -> Any:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        report = evaluate(model, data, plan, **options)
    ours = [w for w in seen if issubclass(w.category, ReliabilityWarning)]
    assert all(w.filename == __file__ for w in ours)
    return report, [str(w.message).partition("]")[0].strip("[") for w in ours]


def test_a_randomised_model_is_flagged_once(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class Flipping(waves):
        """Answers by its own coin."""

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + 4 * torch.randn(len(images), 5)

    plan = PLAN | {"stages": ["FGSM", "PGD", PRTEST], "batch_size": 8}
    report, codes = warned(Flipping(), (images, labels), plan)
    assert codes == ["randomised_model"] == [flag.code for flag in report.flags]
    for stage in report.stages:  # and in every result that leaves the report
        assert [flag.code for flag in stage.result.flags] == codes


def test_duplicates_are_flagged_once_and_counted_within_n(
    wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    images, labels = torch.cat([images, images[:3]]), torch.cat([labels, labels[:3]])
    for size in (256, 8):
        plan = PLAN | {"batch_size": size}
        report, codes = warned(wave_net, (images, labels), plan)
        assert codes == ["duplicates"] and report.flags[0].count == 3
        assert len(report["prtest"].result.ids.unique()) == 33
        report, codes = warned(wave_net, (images, labels), plan, n=31)
        assert codes == ["duplicates"] and report.flags[0].count == 1
        assert warned(wave_net, (images, labels), plan, n=30)[1] == []


@pytest.fixture
def fragile(waves: Any) -> Any:
    class Fragile(waves):
        """No finite logits for images whose first pixel is 1."""

        def forward(self, images: Tensor) -> Tensor:
            broken = images.flatten(1)[:, :1] > 1 - 1e-6
            return torch.where(broken, torch.nan, super().forward(images))

    return Fragile()


@pytest.mark.parametrize("size", [1, 7, 64])
def test_one_image_without_finite_logits_is_one_failure(
    size: int, fragile: Any, images: Tensor, wrong_at: Any, wave_net: Any
) -> None:
    images = images.clone()
    images[:, 0, 0, 0] *= 0.5
    images[29, 0, 0, 0] = 1.0
    plan = PLAN | {"batch_size": size, "eps": 0.05}
    report, codes = warned(fragile, (images, wrong_at(wave_net, images)), plan)
    assert not report.failed and codes == ["non_finite"]
    assert report.flags[0].count == 1
    for stage in report.stages:
        odd = stage.result.status == int(Status.NON_FINITE)
        assert odd.tolist() == [False] * 29 + [True]
        assert stage.result.clean_correct[29] == 0


@pytest.mark.parametrize("size", [1, 64])
def test_a_model_without_any_finite_logits_breaks_its_contract(
    size: int, fragile: Any, images: Tensor, labels: Tensor
) -> None:
    images = images.clone()
    images[:, 0, 0, 0] = 1.0
    with pytest.raises(ModelContractError, match="all 30 images.*check the weights"):
        evaluate(fragile, (images, labels), PLAN | {"batch_size": size})


def law(images: Tensor, u: Any) -> Tensor:
    """Uniform in the cube of radius .3, without the box."""
    return images + 0.3 * (2 * u(images[0].numel()).reshape(images.shape) - 1)


def test_a_plan_with_a_law_of_the_user_can_be_written_down(
    wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    plan = {"eps": 0.3, "stages": [PRTEST | {"sampler": law}]}
    report = evaluate(wave_net, (images, labels), plan)
    again = EvaluationReport.from_json(report.to_json())
    assert again.plan["stages"][0]["sampler"]["function"].endswith("law")
    assert len(again.gallery) == 6


def test_a_law_that_draws_elsewhere_is_flagged_and_not_shown(
    wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    generator = torch.Generator()

    def wild(images: Tensor, u: Any) -> Tensor:
        return images + 0.1 * torch.rand(images.shape, generator=generator)

    plan = {"eps": 0.3, "stages": [PRTEST | {"sampler": wild}]}
    report, codes = warned(wave_net, (images, labels), plan)
    assert codes == ["not_replayable"] and report.gallery == ()
