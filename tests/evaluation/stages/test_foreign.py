"""Is any class of torchattacks' call run by its name, judged here, and watched on its own copy?"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import ConfigError, EvaluationReport, evaluate
from torchattacks_ext.results.attack import AttackResult
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

pytestmark = pytest.mark.usefixtures("generators_as_before")
EPS = 0.5


class Towards:
    """One step against the sign of the gradient that its subclass asks for; eps is its radius."""

    sign = 1.0

    def __init__(self, model: nn.Module, eps: float = 1.0, share: float = 1.0) -> None:
        self.model, self.eps, self.share = model, eps, share

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        shown = images.clone().requires_grad_()
        loss = nn.functional.cross_entropy(self.model(shown), labels)
        (slope,) = torch.autograd.grad(loss, shown)
        return images + self.sign * self.share * self.eps * slope.sign()


class Away(Towards):
    sign = -1.0


class Far(Towards):
    """Leaves ball and range."""

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        return super().__call__(images, labels) * 3 + 1


class Hooking(Towards):
    """Leaves a hook on a layer that it finds by its name."""

    def __init__(self, model: Any, eps: float = 1.0) -> None:
        super().__init__(model, eps)
        layer = [m for m in model.modules() if isinstance(m, nn.Linear)][0]
        layer.register_forward_hook(lambda module, given, output: output)
        assert model.get_submodule("net.0") is not None


class Writing(Towards):
    """Changes weights, and with them the input gradient."""

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        found = super().__call__(images, labels)
        with torch.no_grad():
            next(iter(self.model.parameters())).mul_(1.5)
        return found


class Twice(Towards):
    """Goes backward twice through one graph, and draws."""

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        shown = images.clone().requires_grad_()
        loss = nn.functional.cross_entropy(self.model(shown), labels)
        torch.autograd.grad(loss, shown, retain_graph=True)
        (slope,) = torch.autograd.grad(loss, shown)
        return images + self.eps * torch.rand_like(images) * slope.sign()


class Raising(Towards):
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        raise KeyError("no such layer")


class Needy:
    def __init__(
        self, model: nn.Module, epsilon: float, depth: int, **more: Any
    ) -> None:
        self.settings = epsilon, depth, more

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        assert self.settings[0] == pytest.approx(EPS) and self.settings[1] == 3
        return images


CLASSES = (Towards, Away, Far, Hooking, Writing, Twice, Raising, Needy)


class Named(nn.Module):
    """A net with a child called `net`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net(n_classes=4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


@pytest.fixture(scope="module", autouse=True)
def shelf() -> Iterator[None]:
    module = types.ModuleType("a_shelf_of_attacks")
    for one in CLASSES:
        setattr(module, one.__name__, one)
    vars(module)["number"] = 3
    sys.modules[module.__name__] = module
    yield
    del sys.modules[module.__name__]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return Named().eval()


def run(model: Any, *stages: Any, n: int = 12, **plan: Any) -> EvaluationReport:
    images = example_images(n)
    labels = model(images).argmax(1)
    whole = [isinstance(s, str) and ":" not in s for s in stages]
    given = [f"a_shelf_of_attacks:{s}" if w else s for s, w in zip(stages, whole)]
    with torch.no_grad():
        return evaluate(model, (images, labels), {"eps": EPS, "stages": given, **plan})


def result(report: EvaluationReport, name: str) -> AttackResult:
    found = report[name if ":" in name else f"a_shelf_of_attacks:{name}"].result
    assert isinstance(found, AttackResult)
    return found


def codes(report: EvaluationReport, name: str) -> set[str]:
    return {flag.code for flag in result(report, name).flags}


# ---------------------------------------------------------------- the same as by its own name
@pytest.mark.filterwarnings("ignore")
def test_a_class_by_its_module_is_the_same_as_by_its_name(model: nn.Module) -> None:
    plan = {"name": "torchattacks:PGD", "steps": 5, "alpha": "20/100"}
    report = run(model, {"name": "PGD", "steps": 5, "alpha": "20/100"}, plan, seed=3)
    one, two = report["PGD"].result, report["torchattacks:PGD"].result
    assert isinstance(one, AttackResult) and isinstance(two, AttackResult)
    assert one.robust_accuracy == two.robust_accuracy < 1
    fgsm = run(
        model, {"name": "FGSM"}, {"name": "attack", "attack": "torchattacks:FGSM"}
    )
    same = fgsm["FGSM"].result, fgsm["torchattacks:FGSM"].result
    assert torch.equal(same[0].verdict, same[1].verdict)  # type: ignore[union-attr]
    assert torch.equal(same[0].margin, same[1].margin)  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore")
def test_what_it_returns_is_judged_in_the_ball(model: nn.Module) -> None:
    report = run(model, "Towards", "Far", {"name": "a_shelf_of_attacks:Twice"})
    towards, far = result(report, "Towards"), result(report, "Far")
    assert bool((far.norm <= EPS * (1 + 1e-5)).all())
    assert towards.robust_accuracy < 1 and not codes(report, "Towards")
    again = run(model, "Twice")
    assert torch.equal(result(report, "Twice").margin, result(again, "Twice").margin)
    assert (
        report["a_shelf_of_attacks:Towards"].settings["origin"] == "a_shelf_of_attacks"
    )
    worst = report.worst_case()
    assert worst is not None and len(worst["stages"]) == 3


# ---------------------------------------------------------------- its own copy
@pytest.mark.filterwarnings("ignore")
def test_what_an_attack_does_to_its_copy_is_said_and_stays_there(
    model: nn.Module,
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = run(model, "Towards", "Hooking", "Writing", "Away")
    assert not codes(report, "Towards")
    assert codes(report, "Hooking") == {"attack_left_hooks"}
    assert codes(report, "Writing") == {
        "attack_changed_model",
        "attack_changed_gradient",
    }
    assert codes(report, "Away") == {"raised_margin"}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(module._forward_hooks for module in model.modules())
    said = [flag for flag in report.flags if flag.code == "attack_changed_model"]
    assert "net." in said[0].message and said[0].count == 12
    alone = run(model, "Towards")  # nothing that Writing did is in another stage
    assert torch.equal(
        result(report, "Towards").margin, result(alone, "Towards").margin
    )


@pytest.mark.filterwarnings("ignore")
def test_a_class_that_raises_ends_its_stage_with_the_reason(model: nn.Module) -> None:
    report = run(model, "Raising", "Towards")
    (failed,) = report.failed
    assert "a_shelf_of_attacks:Raising raised KeyError" in str(failed.error)
    assert result(report, "Towards").robust_accuracy < 1


def test_a_model_without_a_copy_is_refused(model: nn.Module) -> None:
    images = example_images(2)
    plan = {"eps": EPS, "stages": ["a_shelf_of_attacks:Towards"]}
    labels = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ConfigError, match="cannot attack a plain function"):
        evaluate(lambda x: model(x), (images, labels), plan)
    odd = Named()
    odd.kept = torch.ones(1, requires_grad=True) * 2  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="copy.deepcopy raises RuntimeError"):
        evaluate(odd, (images, labels), plan)


# ---------------------------------------------------------------- names and arguments
@pytest.mark.parametrize(
    "stage, words",
    [
        ("a_shelf_of_attacks:Nobody", "has no 'Nobody'"),
        ("a_shelf_of_attacks:number", "is a int, expected a class"),
        ("no_such_shelf:PGD", "there is no module 'no_such_shelf'"),
        ("a_shelf_of_attacks:Towards; import os", "is no name of a class"),
        ("../a_shelf:Towards", "is no name of a class"),
        (
            {"name": "a_shelf_of_attacks:Towards", "depth": 3},
            "takes no argument 'depth'",
        ),
        ({"name": "a_shelf_of_attacks:Towards", "eps": 3}, "eps=3 is that of the plan"),
        ("a_shelf_of_attacks:Needy", "needs depth"),
        ({"name": "a_shelf_of_attacks:Needy", "epsilon": 1}, "is decided by the plan"),
    ],
)
def test_wrong_names_and_arguments_are_refused_before_any_pass(
    model: nn.Module, stage: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run(model, stage)


@pytest.mark.filterwarnings("ignore")
def test_the_radius_goes_to_the_argument_that_the_class_has(model: nn.Module) -> None:
    stage = {"name": "a_shelf_of_attacks:Needy", "depth": 3, "anything": "1/2"}
    report = run(model, stage, norm="Linf")
    assert result(report, "Needy").robust_accuracy == 1.0
    assert result(report, "Needy").settings["arguments"] == {
        "depth": 3,
        "anything": 0.5,
    }


def test_the_call_of_torchattacks_is_not_needed_as_a_base() -> None:
    assert not issubclass(Towards, torchattacks.attack.Attack)
