"""Which arguments do the stages msa and autoattack take, and what will they cost?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.testing.props import example_images

EPS = 0.03
LINES = [{"kind": "noise", "on": "target", "steps": 2}, {"kind": "apgd", "steps": 8}]
SHORT = {"name": "msa", "version": "custom", "plan": LINES}


@pytest.fixture(scope="module")
def net(wave_net: nn.Module) -> nn.Module:
    return wave_net


@pytest.fixture(scope="module")
def data(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """22 images, every seventh with a wrong label."""
    return images[:22], labels[:22]


def stage(plan: Any) -> Any:
    return build_stages(check_plan({"eps": EPS} | plan))[1]


# ---------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"verson": "quick"}, "did you mean 'version'"),
        ({"eps": 0.1}, "has no argument 'eps'"),
        ({"version": "best"}, "version='best' is not one of"),
        ({"version": "custom"}, "plan= goes with"),
        ({"plan": LINES}, "plan= goes with"),
        ({"version": "custom", "plan": [{"kind": "apdg"}]}, "kind='apdg'"),
        ({"surrogates": {"fc": "net.pt"}}, "surrogate 'fc' is a str"),
        ({"surrogates": "all"}, "only 'auto' is a word here"),
        ({"surrogates": {"target": torch.relu}}, "is named 'target'"),
        ({"probe_every": -1}, "probe_every=-1"),
    ],
)
def test_wrong_arguments_are_refused_before_any_pass(
    arguments: Any, said: str, run: Any
) -> None:
    def never(images: Tensor) -> Tensor:
        raise AssertionError("a forward pass")

    with pytest.raises(ConfigError, match=said):
        stage({"stages": [{"name": "msa"} | arguments]})
    with pytest.raises(ConfigError, match=said):
        run(never, example_images(2), {"name": "MSA"} | arguments)


def test_autoattack_takes_no_version() -> None:
    with pytest.raises(ConfigError, match="'attack': 'AutoAttack'"):
        stage({"stages": [{"name": "AutoAttack", "version": "rand"}]})


@pytest.mark.parametrize("name", ["autoattack", "msa"])
def test_no_bounds_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="bounds=None: MSA clips to a pixel range"):
        stage({"stages": [name], "bounds": None})


def test_auto_asks_the_model(
    net: nn.Module, data: Any, run: Any, attacked: Any
) -> None:
    class Defended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images)
            return logits

        def surrogates(self) -> dict[str, nn.Module]:
            return {"inner": self.inner}

    auto = SHORT | {"surrogates": "auto"}
    result = attacked(run(Defended(), data, auto, eps=EPS), "msa")
    assert "inner/apgd-ce-8" in result.breakdown
    assert stage({"stages": [auto]}).cost_per_image is None
    report = run(net, data, auto, eps=EPS)
    assert "surrogates='auto'" in str(report["msa"].error) and report.failed


def test_a_plan_of_objects_is_written_and_read_again(
    net: nn.Module, data: Any, run: Any
) -> None:
    lines = [AttackSpec("apgd", steps=3), AttackSpec("apgd", loss="margin", steps=2)]
    report = run(net, data, SHORT | {"plan": lines}, eps=EPS)
    told = {k: v for k, v in report.plan["stages"][0].items() if k != "label"}
    assert told["plan"][0]["gate"] is None
    again = run(net, data, told, eps=EPS)
    assert again["msa"].result.digest() == report["msa"].result.digest()


# ---------------------------------------------------------------- the dry run
@pytest.mark.parametrize(
    ("arguments", "surrogates"),
    [
        pytest.param({"version": "quick"}, 0, marks=pytest.mark.slow),
        ({"version": "quick"}, 1),
        pytest.param({"version": "paper"}, 1, marks=pytest.mark.slow),
    ],
)
def test_the_estimate_of_the_cost_is_about_right(
    arguments: Any, surrogates: int, run: Any
) -> None:
    far = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        for parameter, values in zip(far.parameters(), (0.0, torch.arange(10.0))):
            parameter.mul_(0.001).add_(torch.as_tensor(values))
    images = example_images(3)
    spec = {"name": "msa", **arguments, "surrogates": [far] * surrogates}
    told = stage({"stages": [spec]}).cost_per_image
    report = run(far, (images, far(images).argmax(1)), spec, eps=0.001)
    cost = report["msa"].cost
    assert 0.9 < (cost.forward + cost.backward) / 3 / told < 1.1


def test_the_quick_version_says_so() -> None:
    (note,) = stage({"stages": [{"name": "msa", "version": "quick"}]}).notes
    assert "first look" in note
    assert stage({"stages": ["msa"]}).notes == ()
    assert stage({"stages": ["msa"]}).cost_per_image > 1000
    assert stage({"stages": ["autoattack"]}).cost_per_image > 5000
