"""Are detectors of others asked by their own interface, fitted once, turned where need be?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport
from torchattacks_ext.errors import ConfigError, ModelContractError
from torchattacks_ext.evaluation.stages.sets.detectors import (
    Turned,
    check_detector,
    scored,
)
from torchattacks_ext.results import OODScores

Run = Callable[..., EvaluationReport]


class Distance:
    """The interface of pytorch-ood: fit, predict, requires_fit; higher = from outside."""

    requires_fit = True

    def __init__(self) -> None:
        self.mean: Tensor | None = None
        self.fits = 0

    def fit(self, loader: Iterable[tuple[Tensor, Tensor]]) -> Distance:
        self.mean = torch.cat([images for images, _ in loader]).mean(0)
        self.fits += 1
        return self

    def predict(self, images: Tensor) -> Tensor:
        assert self.mean is not None
        return (images - self.mean).flatten(1).norm(dim=1)


class Made:
    """A detector that is made from the model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def predict(self, images: Tensor) -> Tensor:
        return -self.model(images).amax(1)


def test_a_fitted_detector_scores_both_sides_by_one_fit(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    own, far = Distance(), images[:5] / 4
    stage = {"name": "ood", "far": far, "noise": False, "scores": ["energy"]}
    stage |= {"detectors": [own], "train": (images[:20], labels[:20])}
    report = run(wave_net, (images, labels), stage, batch_size=8)
    found = report["ood"].result
    assert isinstance(found, OODScores) and own.fits == 1
    torch.testing.assert_close(found.inside("Distance"), own.predict(images).double())
    assert found.set("far").scores["Distance"] == pytest.approx(
        own.predict(far).tolist()
    )
    assert found.settings["detectors"]["Distance"]["n"] == 20
    assert "not counted" in report["ood"].notes[0]
    assert report.to_dict() == type(report).from_json(report.to_json()).to_dict()


def test_one_that_means_the_opposite_is_turned() -> None:
    own, images = Distance(), torch.rand(4, 1, 2, 2)
    own.fit([(images, torch.zeros(4))])
    assert torch.equal(scored(Turned(own), images), -scored(own, images))


def test_a_named_class_is_made_around_the_model_and_counted(
    run: Run,
    wave_net: nn.Module,
    images: Tensor,
    labels: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys
    import types

    module = types.ModuleType("own_detectors")
    module.Made = Made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_detectors", module)
    stage = {
        "name": "ood",
        "scores": ["max_logit"],
        "detectors": ["own_detectors:Made"],
    }
    report = run(wave_net, (images, labels), stage)
    found = report["ood"].result
    assert isinstance(found, OODScores)
    torch.testing.assert_close(found.inside("Made"), found.inside("max_logit"))
    assert report["ood"].cost.forward == 4 * 30 and report["ood"].notes == ()


def test_data_that_are_used_up_cannot_be_asked_again(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    batches = iter([(images, labels)])
    stage = {"name": "ood", "scores": ["energy"], "detectors": [Made(wave_net)]}
    report = run(
        wave_net, batches, stage, {"name": "ood", "label": "bare", "scores": ["energy"]}
    )
    assert "used up after one pass" in str(report["ood"].error)
    assert report["bare"].error is None


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (lambda images: images, "gave .*, expected \\(3,\\)"),
        (lambda images: 3.0, "gave float"),
        (lambda images: 1 / 0, "raised on .*ZeroDivisionError"),
    ],
)
def test_what_is_no_column_of_scores_is_refused(answer: Any, match: str) -> None:
    class Odd:
        predict = staticmethod(answer)

    with pytest.raises(ModelContractError, match=match):
        scored(Odd(), torch.rand(3, 1, 2, 2))


def test_fits_need_images_and_classes_are_no_detectors(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    with pytest.raises(ConfigError, match="Distance must be fitted; give train="):
        run(wave_net, (images, labels), {"name": "ood", "detectors": [Distance()]})
    with pytest.raises(ConfigError, match="two scores are called 'Made'"):
        run(
            wave_net,
            (images, labels),
            {"name": "ood", "detectors": [Made(wave_net)] * 2},
        )
    with pytest.raises(ConfigError, match="has no predict"):
        check_detector(Distance)


@pytest.mark.slow
def test_pytorch_ood_gives_the_scores_that_we_have(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    """Where pytorch-ood 0.4.0 is installed: energy and max logit are ours, and a fit works."""
    detector = pytest.importorskip("pytorch_ood.detector")
    classes = torch.arange(30) % 3  # all of them must occur
    stage = {"name": "ood", "scores": ["energy", "max_logit", "max_softmax"]}
    stage["detectors"] = [
        "pytorch_ood.detector:EnergyBased",
        "pytorch_ood.detector:MaxLogit",
        "pytorch_ood.detector:MaxSoftmax",
        detector.Mahalanobis(wave_net),
    ]
    stage["train"] = (images, classes)
    found = run(wave_net, (images, labels), stage)["ood"].result
    assert isinstance(found, OODScores)
    for theirs, ours in (("EnergyBased", "energy"), ("MaxLogit", "max_logit")):
        torch.testing.assert_close(
            found.inside(theirs), found.inside(ours), rtol=1e-5, atol=1e-5
        )
    order = found.inside("max_softmax").argsort()
    assert bool((found.inside("MaxSoftmax")[order].diff() >= -1e-6).all())
    assert found.settings["detectors"]["Mahalanobis"]["n"] == 30
    assert found.settings["detectors"]["EnergyBased"] is None
