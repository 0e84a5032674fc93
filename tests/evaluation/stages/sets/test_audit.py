"""Does the stage audit the evaluated images, whatever their order, and mark the right rows?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from torchattacks_ext import ConfigError, EvaluationReport, data_audit
from torchattacks_ext.results import Audited

Run = Callable[..., EvaluationReport]
AUDIT = "ignore:.data_:torchattacks_ext.ReliabilityWarning"


def result_of(report: EvaluationReport) -> Audited:
    result = report["data-audit"].result
    assert isinstance(result, Audited), report["data-audit"].error
    return result


@pytest.fixture(scope="module")
def train(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows 4 and 9 of the evaluated images, and others."""
    torch.manual_seed(1)
    mixed = torch.cat([torch.rand(6, 1, 8, 8), images[[4, 9]]])
    return mixed, torch.cat([torch.zeros(6).long(), labels[[4, 9]]])


@pytest.mark.filterwarnings(AUDIT)
@pytest.mark.parametrize("size", [30, 7])
def test_it_is_the_audit_of_the_same_images(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, train: Any, size: int
) -> None:
    stage = {"name": "data-audit", "train": train}
    report = run(wave_net, (images, labels), stage, batch_size=size)
    one, audit = result_of(report), data_audit(train=train, test=(images, labels))
    assert one.audit is not None and one.audit.to_dict() == audit.to_dict()
    assert torch.nonzero(one.in_training == 2)[:, 0].tolist() == [4, 9]
    assert report["data-audit"].cost.forward == 0
    assert "data_leak" in {flag.code for flag in report.flags}


@pytest.mark.filterwarnings(AUDIT)
def test_rows_of_a_shuffled_loader_keep_their_marks(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, train: Any
) -> None:
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(
        TensorDataset(images, labels), batch_size=7, shuffle=True, generator=generator
    )
    stage = {"name": "data-audit", "train": train}
    plain = result_of(run(wave_net, (images, labels), stage))
    mixed = result_of(run(wave_net, loader, stage))
    assert not torch.equal(mixed.ids, plain.ids)  # it is another order
    assert torch.equal(mixed.sort().in_training, plain.sort().in_training)


@pytest.mark.filterwarnings(AUDIT)
def test_validation_images_count_as_seen_and_copies_as_repeats(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor, train: Any
) -> None:
    data = torch.cat([images, images[:2]]), torch.cat([labels, labels[:2]])
    stage = {"name": "data-audit", "val": train, "near": None}
    with pytest.warns(match="duplicates"):
        report = run(wave_net, data, stage)
    one = result_of(report)
    assert torch.nonzero(one.in_training)[:, 0].tolist() == [4, 9]
    assert torch.nonzero(one.repeats)[:, 0].tolist() == [30, 31]
    assert "no training images were given" in report["data-audit"].notes[0]


def test_without_other_images_nothing_is_said_of_them(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    one = result_of(run(wave_net, (images, labels), "data-audit"))
    assert one.in_training.eq(-1).all() and one.repeats.eq(0).all()
    assert one.audit is not None and one.audit.sound


def test_data_that_are_used_up_are_said(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    report = run(wave_net, iter([(images, labels)]), "data-audit")
    assert "used up after one pass" in str(report["data-audit"].error)


def test_bad_arguments_are_refused(
    run: Run, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    for arguments, match in (
        ({"near": 2}, "near=2 is not in"),
        ({"train": 3}, "train=3 is no data set"),
        ({"test": 3}, "has no argument 'test'"),
    ):
        with pytest.raises(ConfigError, match=match):
            run(wave_net, (images, labels), {"name": "data-audit", **arguments})
