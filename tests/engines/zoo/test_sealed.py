"""Do attacks leave gradients in weights that no session can see, behind a plain function?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, FIMScore, evaluate
from torchattacks_ext.engines.fork import ForkedRng
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.engines.zoo.attack import quiet, run_attack
from torchattacks_ext.evaluation.zoo.catalogue import create_attack
from torchattacks_ext.models.adapters.bpda import BPDA

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
BACKWARD: dict[str, dict[str, Any]] = {
    "CW": {"steps": 3, "c": 10.0},
    "DeepFool": {"steps": 3},
    "EADL1": {"max_iterations": 10},
    "FAB": {"steps": 3, "eps": 0.1},
    "PIFGSM": {"num_iter_set": 3},
    "SparseFool": {"steps": 1},
}
"""Classes that call backward(), with arguments that make them quick."""
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def plain_net() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 4))
    for i, weight in enumerate(net.parameters()):
        place = torch.arange(float(weight.numel())) * (1.7 + i)
        weight.data = place.sin().view_as(weight) / 2
    return net.eval()


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """The weights of the net need gradients, one of them has one, and it stays so."""
    weights = list(net.parameters())
    weights[0].grad = kept = torch.full_like(weights[0], 0.5)
    yield
    assert all(weight.requires_grad for weight in weights)
    assert weights[0].grad is kept and bool((kept == 0.5).all())
    assert all(weight.grad is None for weight in weights[1:])


class Hidden(nn.Module):
    """A module whose net is in a tuple, where no `parameters()` finds it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.nets = (net,)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.nets[0](images)
        return found


FORMS: dict[str, Callable[[nn.Module], Any]] = {
    "closure": lambda net: lambda images: net(images),
    "hidden": Hidden,
    "BPDA": lambda net: BPDA(lambda x: net(x), lambda x: net(x)),
}


@pytest.mark.parametrize("name", list(BACKWARD))
def test_attacks_that_call_backward_fill_no_grad_behind_a_closure(name: str) -> None:
    net = plain_net()
    labels = net(IMAGES).argmax(1)
    stage = {"name": "attack", "attack": name, **BACKWARD[name]}
    eps = stage.pop("eps", 0.1)  # that of the plan, which judges all stages
    plan = {"eps": eps, "stages": [stage]}
    with untouched(net):
        report = evaluate(FORMS["closure"](net), (IMAGES, labels), plan)
    assert not report.failed


@pytest.mark.parametrize("name", list(BACKWARD))
def test_a_sealed_model_gives_the_candidates_of_the_bare_one(name: str) -> None:
    net = plain_net().requires_grad_(False)
    labels = net(IMAGES).argmax(1)

    def build(model: nn.Module) -> Any:
        return create_attack(name, model, n_classes=4, seed=3, **BACKWARD[name])

    with quiet(), ForkedRng(7) as fork:
        bare = build(fork.victim(net))(IMAGES.clone(), labels)
    assert torch.equal(run_attack(build, net, IMAGES, labels, 7), bare)


@pytest.mark.parametrize("form", list(FORMS))
def test_no_weight_behind_another_object_gathers_a_gradient(form: str) -> None:
    net = plain_net()
    model, labels = FORMS[form](net), net(IMAGES).argmax(1)
    options: dict[str, Any] = {"eps": 0.05, "version": "custom"}
    line, other = AttackSpec("apgd", steps=2), AttackSpec("fab-t", steps=2, targets=1)
    with untouched(net):
        score = FIMScore(model, method="lanczos", jvp="double_backward")
        score.measure(IMAGES, labels)
        score(IMAGES, labels)
        for engine in ("autoattack", "torchattacks"):
            attack = MSA(model, plan=[line, other], engine=engine, **options)
            attack.measure(IMAGES, labels)
            attack(IMAGES, labels)
