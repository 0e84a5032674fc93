"""Are nets of other precision, inference mode and wrong objects taken, or named?"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchattacks
from torch import nn

from torchattacks_ext import MSA, ConfigError, ModelContractError, ReliabilityWarning
from torchattacks_ext.defenses import (
    HPMModel,
    batch_report,
    finetune_hpm,
    sensitivity_report,
)
from torchattacks_ext.testing import small_net

from .conftest import Make, images_of

IMAGES, LABELS = images_of(10, 3), torch.arange(10) % 5
Report = Callable[[Any], Any]
REPORTS: list[Report] = [
    lambda hpm: batch_report(hpm, IMAGES, LABELS, (2,)),
    lambda hpm: sensitivity_report(hpm, IMAGES, LABELS, eps=0.1),
    lambda hpm: finetune_hpm(hpm, (IMAGES, LABELS), "1/10", steps=1, max_steps=1),
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_double_net_takes_images_of_any_precision(make: Make, report: Report) -> None:
    report(copy.deepcopy(make()).double())


@pytest.mark.parametrize("report", REPORTS)
def test_a_half_net_is_named_where_parts_are_called(make: Make, report: Report) -> None:
    with pytest.raises(ModelContractError, match="give model.float()"):
        report(copy.deepcopy(make()).half())


def test_a_half_net_fits_prototypes_and_is_attacked_with_its_surrogates() -> None:
    hpm = HPMModel.from_classifier(small_net(n_classes=5).half())
    hpm.fit_prototypes([(images_of(20, 1), torch.arange(20) % 5)])
    lines = [{"kind": "apgd", "loss": "margin", "steps": 2}]
    options: dict[str, Any] = {"version": "custom", "plan": lines, "partitions": 1}
    attack = MSA(hpm, hpm.surrogates(("fc", "soft")), deployed_batch=4, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        assert len(attack.measure(IMAGES[:4], LABELS[:4])) == 4


@pytest.mark.parametrize("report", REPORTS)
def test_inference_mode_does_not_end_in_an_autograd_error(
    make: Make, report: Report
) -> None:
    hpm = copy.deepcopy(make())
    with torch.inference_mode():
        report(hpm)


@pytest.mark.parametrize("report", [REPORTS[0], REPORTS[2]])
def test_what_is_no_hpm_model_is_named(report: Report) -> None:
    with pytest.raises(ModelContractError, match="is a Flatten, expected an HPMModel"):
        report(nn.Flatten())


def test_settings_of_the_wrong_kind_are_named(make: Make) -> None:
    hpm = make()
    with pytest.raises(ConfigError, match="sizes=4 are to be several"):
        batch_report(hpm, IMAGES, LABELS, 4)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="attack='PGD' is none"):
        sensitivity_report(hpm, IMAGES, LABELS, attack="PGD")  # type: ignore[arg-type]


def test_prototypes_of_one_pair_are_those_of_its_batch(make: Make) -> None:
    one, other = copy.deepcopy(make()), copy.deepcopy(make())
    one.fit_prototypes((IMAGES, LABELS))
    other.fit_prototypes([(IMAGES, LABELS)])
    assert torch.equal(one.head.of_all, other.head.of_all)


def test_an_attack_that_draws_moves_no_generator_and_is_repeated(make: Make) -> None:
    hpm, before = make(), torch.get_rng_state()

    def noisy(model: nn.Module) -> Any:
        return lambda x, y: x + 0.1 * (2 * torch.rand_like(x) - 1)

    def told(attack: Any) -> Any:
        found = sensitivity_report(hpm, IMAGES, LABELS, eps=0.1, attack=attack)
        return found.to_dict()["heads"]

    assert told(noisy) == told(noisy)
    pgd = torchattacks.PGD(hpm, eps=0.1, alpha=0.05, steps=1)
    assert told(pgd) == told(pgd)
    assert torch.equal(before, torch.get_rng_state())


def test_one_name_is_not_taken_for_its_letters(make: Make) -> None:
    assert list(make().surrogates("fc")) == ["fc"]
    done = finetune_hpm(
        copy.deepcopy(make()), (IMAGES, LABELS), 0.1, train="fc", steps=1, max_steps=1
    )
    assert done.steps == 1


def test_a_loaded_model_has_its_precision_and_moves_no_generator(
    make: Make, tmp_path: Path
) -> None:
    hpm, before = copy.deepcopy(make()).double().eval(), torch.get_rng_state()
    hpm.save(tmp_path / "hpm")
    net = small_net(n_classes=5).double()
    torch.set_rng_state(before)
    again = HPMModel.load(tmp_path / "hpm", net)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(again(IMAGES.double()), hpm(IMAGES.double()))
