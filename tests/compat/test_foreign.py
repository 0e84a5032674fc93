"""Do the attacks of torchattack and captum run by their names, and find what torchattacks finds?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import evaluate
from torchattacks_ext.data.digits import load_digits

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
EPS = 0.15


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """Two layers on digits; 95 % of the test images are right."""
    images, labels = load_digits("train")
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    step = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        step.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        step.step()
    torch.random.set_rng_state(state)
    return net.eval()


def robust(net: nn.Module, *stages: Any) -> dict[str, Any]:
    images, labels = (side[:100] for side in load_digits("test"))
    report = evaluate(net, (images, labels), {"eps": EPS, "stages": list(stages)})
    assert not report.failed, [stage.error for stage in report.failed]
    return {s.name: s.result for s in report.stages if s.name != "clean"}


def test_torchattack(net: nn.Module) -> None:
    pytest.importorskip("torchattack")
    steps = {"steps": 20, "alpha": EPS / 8}
    found = robust(
        net,
        {"name": "PGD", **steps},
        {"name": "torchattack:PGD", **steps},
        {"name": "torchattack:MIFGSM", **steps},
        "torchattack:DeepFool",
        {"name": "torchattack:FIA", "feature_layer_cfg": "1", "steps": 5},
    )
    pgd = found["PGD"].robust_accuracy
    assert pgd < 0.5
    assert found["torchattack:PGD"].robust_accuracy == pytest.approx(pgd, abs=0.05)
    assert found["torchattack:MIFGSM"].robust_accuracy == pytest.approx(pgd, abs=0.05)
    for result in found.values():
        assert bool((result.norm <= EPS * (1 + 1e-5)).all())


def test_captum_with_the_cross_entropy(net: nn.Module) -> None:
    pytest.importorskip("captum")
    pgd = {"name": "captum.robust:PGD", "step_size": EPS / 8, "step_num": 20}
    found = robust(net, "FGSM", {"name": "PGD", "steps": 20}, "captum.robust:FGSM", pgd)
    fgsm = found["FGSM"].verdict == found["captum.robust:FGSM"].verdict
    assert float(fgsm.double().mean()) > 0.95  # captum leaves slopes below 1e-6 alone
    assert found["captum.robust:PGD"].robust_accuracy < found["FGSM"].robust_accuracy
