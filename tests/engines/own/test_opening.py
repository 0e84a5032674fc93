"""Does one look serve the judge and the first step, and is it given up where it must be?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, ModelContractError, ReliabilityWarning
from torchattacks_ext.attacks.msa import run
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.objectives import OBJECTIVES
from torchattacks_ext.engines.own.opening import Opening
from torchattacks_ext.numerics.unit import Unit
from torchattacks_ext.testing.props import balanced_net, example_images

NET, IMAGES = balanced_net().double(), example_images(12).double()
LABELS = NET(IMAGES).argmax(1)
LINE = AttackSpec("apgd", loss="pm-t", steps=4)
ROWS = torch.arange(12)


class Counted(nn.Module):
    """NET, whose calls are counted by rows: without a gradient, with one, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.net = NET
        self.plain = self.steep = self.back = 0

    def forward(self, images: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and images.requires_grad):
            self.plain += len(images)
            return self.answer(images)
        self.steep += len(images)
        logits = self.graded(images)
        if logits.requires_grad:
            logits.register_hook(self._counted)  # type: ignore[no-untyped-call]
        return logits

    def _counted(self, gradient: Tensor) -> None:
        self.back += len(gradient)

    def answer(self, images: Tensor) -> Tensor:
        logits: Tensor = NET(images)
        return logits

    def graded(self, images: Tensor) -> Tensor:
        return self.answer(images)


def opening(model: Any, labels: Tensor = LABELS, unit: Any = (0.0, 1.0)) -> Opening:
    return Opening(model, LINE, Unit(unit), labels)


# ---------------------------------------------------------------- what is kept
def test_logits_and_gradient_are_those_of_two_looks() -> None:
    model = Counted()
    one = opening(model)
    assert torch.equal(one(IMAGES), NET(IMAGES))
    assert (model.plain, model.steep, model.back) == (1, 12, 12)
    (pulled,) = one.known("target", LINE, ROWS[3:7])
    leaf = IMAGES.clone().requires_grad_()
    loss = OBJECTIVES["pm-t"](NET(leaf), LABELS, None)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    assert torch.equal(pulled.gradient, gradient[3:7])
    assert torch.equal(pulled.loss, loss[3:7]) and not pulled.odd.any()
    assert one.known("target", LINE, ROWS) == []  # once
    assert torch.equal(one(IMAGES), NET(IMAGES)) and model.plain == 13


def test_another_line_knows_nothing() -> None:
    for model, line in (("s1", LINE), ("target", AttackSpec("malt", loss="pm-t"))):
        one = opening(NET)
        one(IMAGES)
        assert one.known(model, line, ROWS) == []
        assert one.known("target", LINE, ROWS) == []


@pytest.mark.parametrize("wrong, kept", [(5, True), (6, False), (12, False)])
def test_gradients_of_wrong_rows_are_not_paid_for_in_vain(
    wrong: int, kept: bool
) -> None:
    model, labels = Counted(), LABELS.clone()
    labels[:wrong] = (labels[:wrong] + 1) % NET(IMAGES).shape[1]
    one = opening(model, labels)
    one(IMAGES)
    assert bool(one.known("target", LINE, ROWS)) == kept
    assert (model.plain, model.steep, model.back) == (1, 12, 12 * kept)


def test_a_masked_class_is_the_judges_to_see() -> None:
    class Masked(Counted):
        def answer(self, images: Tensor) -> Tensor:
            last = torch.full((len(images), 1), -torch.inf)
            return torch.cat([NET(images), last], 1)

    one = opening(Masked())
    assert torch.isneginf(one(IMAGES)[:, -1]).all()
    (pulled,) = one.known("target", LINE, ROWS)
    assert torch.isfinite(pulled.logits).all() and torch.isfinite(pulled.gradient).all()


# ---------------------------------------------------------------- what is given up
class Otherwise(Counted):
    """Says something else where a gradient is asked for."""

    def graded(self, images: Tensor) -> Tensor:
        return -self.answer(images)


class Refuses(Counted):
    def graded(self, images: Tensor) -> Tensor:
        raise ModelContractError("no gradient, please")


class Detached(Counted):
    def graded(self, images: Tensor) -> Tensor:
        return self.answer(images).detach()


class Breaks(Counted):
    def graded(self, images: Tensor) -> Tensor:
        logits = self.answer(images)
        logits.register_hook(self._raise)  # type: ignore[no-untyped-call]
        return logits

    def _raise(self, gradient: Tensor) -> None:
        raise RuntimeError("not this way")


@pytest.mark.parametrize(
    "kind, plain", [(Otherwise, 13), (Refuses, 12), (Detached, 1), (Breaks, 1)]
)
def test_a_target_without_a_gradient_is_looked_at_as_ever(
    kind: type[Counted], plain: int
) -> None:
    model = kind()
    one = opening(model)
    assert torch.equal(one(IMAGES), NET(IMAGES))
    assert model.plain == plain and one.known("target", LINE, ROWS) == []


def test_pixels_that_do_not_come_back_and_few_images_are_looked_at_as_ever() -> None:
    model = Counted()
    opening(model, unit=(-0.1, 1.3))(IMAGES)
    opening(model, LABELS[:2])(IMAGES[:2])
    assert (model.plain, model.steep) == (14, 0)


# ---------------------------------------------------------------- in an attack
def measure(model: nn.Module, surrogates: Any = (), **more: Any) -> Any:
    plan = [LINE, AttackSpec("malt", loss="pm-t", steps=4, targets=1, gate=0.5)]
    known: dict[str, Any] = {"version": "custom", "plan": plan, "eps": 0.01} | more
    attack = MSA(model, surrogates, engine="own", **known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return attack.measure(IMAGES, LABELS)


@pytest.mark.parametrize("norm, eps", [("Linf", 0.01), ("L2", 0.1), ("L1", 0.4)])
@pytest.mark.parametrize("model", [NET, Otherwise(), Detached(), Breaks()])
def test_flags_are_those_of_two_looks(
    model: nn.Module, norm: Any, eps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {"norm": norm, "eps": eps, "batch_size": 5, "keep": "memory"}
    one = measure(model, **mine)
    monkeypatch.setattr(run, "opens", lambda line, models: False)
    two = measure(model, **mine)
    assert one.digest() == two.digest() and torch.equal(one.images(), two.images())


def test_a_forward_pass_of_an_image_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Counted(), Counted()
    measure(one, batch_size=5)
    monkeypatch.setattr(run, "opens", lambda line, models: False)
    measure(two, batch_size=5)
    assert one.back == two.back and one.steep == two.steep
    # of batches of 5, 5 and 2 two are opened, and one row of each is asked again
    assert one.plain == two.plain - 10 + 2


def test_it_opens_where_the_target_comes_first_and_whole() -> None:
    asked = []

    class Told(Opening):
        def __call__(self, images: Tensor) -> Tensor:
            asked.append(len(images))
            return super().__call__(images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Opening", Told)
        measure(NET)
        assert asked.pop(0) == 12
        asked.clear()
        measure(NET, {"kin": NET})
        measure(NET, plan=[AttackSpec("apgd", steps=2)])
        measure(NET, version="quick", plan=None)
        MSA(NET, eps=0.01, engine="own", version="fast", batch_size=5)(IMAGES, LABELS)
        assert asked == []
