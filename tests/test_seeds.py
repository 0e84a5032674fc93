"""Does every verb that draws refuse the same seeds, at its door and by one check?"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchattacks_ext as tax
from torchattacks_ext.certify import (
    EllipsHead,
    RandomizedSmoothing,
    SmoothedEllips,
    audit,
    clever,
    distribution_report,
    sampled_gradients,
)
from torchattacks_ext.defenses import HPMModel, batch_report, sensitivity_report
from torchattacks_ext.defenses.hpm.training.tuning import Tuning
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.evaluation.demo import train_demo
from torchattacks_ext.models import NESGrad
from torchattacks_ext.numerics.drift.kernels import mmd_test
from torchattacks_ext.numerics.drift.martingale import ConformalMartingale
from torchattacks_ext.numerics.populations.spending import SpendSettings
from torchattacks_ext.numerics.resampling import bootstrap
from torchattacks_ext.testing import GradientKiller, LinearGaussian, attack_unit_test
from torchattacks_ext.testing.victims import small_net

NET, X, Y = (
    small_net().eval(),
    torch.full((4, 1, 8, 8), 0.5),
    torch.tensor([0, 1, 2, 0]),
)
FLAT = nn.Linear(2, 2).eval()
EYE = [[1.0, 0.0], [0.0, 1.0]]
VERBS: dict[str, Callable[[Any], Any]] = {
    "PRTest": lambda s: tax.PRTest(NET, seed=s),
    "FIMScore": lambda s: tax.FIMScore(NET, seed=s),
    "MSA": lambda s: tax.MSA(NET, seed=s),
    "diagnose": lambda s: tax.diagnose(NET, X, Y, eps=0.1, seed=s),
    "orthogonal_cnn": lambda s: tax.orthogonal_cnn((1, 8, 8), 4, seed=s),
    "orthogonal_mlp": lambda s: tax.orthogonal_mlp((2,), 2, seed=s),
    "train_encoder": lambda s: tax.train_encoder(FLAT, X, Y, seed=s),
    "clever": lambda s: clever(FLAT, torch.zeros(1, 2), 0.1, seed=s),
    "RandomizedSmoothing": lambda s: RandomizedSmoothing(FLAT, 0.1, seed=s),
    "SmoothedEllips": lambda s: SmoothedEllips(FLAT, latents(), 0.1, seed=s),
    "audit": lambda s: audit(FLAT, X, Y, seed=s),
    "distribution_report": lambda s: distribution_report(
        latents(), X[:, 0, 0, :2], Y, None, seed=s
    ),
    "mmd_test": lambda s: mmd_test([[0.0], [1.0]], [[0.0], [1.0]], seed=s),
    "ConformalMartingale": lambda s: ConformalMartingale([0.0], 0.1, seed=s),
    "sampled_gradients": lambda s: sampled_gradients(
        FLAT, torch.zeros(1, 2), radius=0.1, seed=s
    ),
    "batch_report": lambda s: batch_report(hpm(), X, Y, seed=s),
    "sensitivity_report": lambda s: sensitivity_report(hpm(), X, Y, seed=s),
    "attack_unit_test": lambda s: attack_unit_test(quiet, NET, X, seed=s),
    "NESGrad": lambda s: NESGrad(NET, seed=s),
    "GradientKiller": lambda s: GradientKiller(NET, seed=s),
    "small_net": lambda s: small_net(seed=s),
    "LinearGaussian.images_at": lambda s: LinearGaussian.images_at(
        linear(), 0.1, 0.1, 2, seed=s
    ),
    "Tuning": lambda s: Tuning(seed=s),
    "SpendSettings": lambda s: SpendSettings(seed=s),
    "bootstrap": lambda s: bootstrap([0.0, 1.0], "mean", seed=s),
    "Sensitivity.correlate": lambda s: bootstrap([0.0, 1.0], "mean", seed=s),
    "Sensitivity.summary": lambda s: bootstrap([0.0, 1.0], "mean", seed=s),
    "train_demo": lambda s: train_demo("standard", X, Y, seed=s),
    "ForkedRng": ForkedRng,
}
TOLD = {"BatchReport", "AttackUnitTest", "Probe"}
"""Records of what was run, and a base."""
ROOMS = ("", ".certify", ".defenses", ".testing", ".results", ".samplers", ".models")


def quiet(net: nn.Module) -> Any:
    return tax.MSA(net)


def hpm() -> Any:
    return HPMModel.from_classifier(small_net()).fit_prototypes([(X, Y)]).eval()


def latents() -> Any:
    return EllipsHead.from_parameters([[0.0, 0], [1, 0]], EYE, covariance="shared")


def linear() -> Any:
    return LinearGaussian(torch.ones(2), 0.0)


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, True])
def test_a_seed_outside_of_its_domain_is_refused(name: str, seed: Any) -> None:
    with pytest.raises(tax.ConfigError, match=r"seed=.*whole number in \[0, 2\*\*63\)"):
        VERBS[name](seed)


def takes_seed(found: Any) -> bool:
    try:
        return "seed" in inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False


def test_no_public_verb_with_a_seed_is_left_out() -> None:
    found = set()
    for room in ROOMS:
        module = importlib.import_module(f"torchattacks_ext{room}")
        for name in getattr(module, "__all__", dir(module)):
            verb = getattr(module, name, None)
            found |= {name} & ({name} if takes_seed(verb) else set())
            if inspect.isclass(verb):
                names = [n for n in vars(verb) if n[0] != "_" and n != "settings_type"]
                found |= {f"{name}.{n}" for n in names if takes_seed(getattr(verb, n))}
    assert found - TOLD <= set(VERBS)
