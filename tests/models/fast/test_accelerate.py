"""Is the copy the model, in less time, and the model as it was before?"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext.errors import ConfigError, InputError, ModelContractError
from torchattacks_ext.models import accelerate
from torchattacks_ext.models.fast import FastModel
from torchattacks_ext.models.fast.copied import Form

Settle = Callable[..., nn.Module]
IMAGES = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 4),
    )


def state_of(net: nn.Module) -> dict[str, Any]:
    """All that must be as it was; tensors by identity and by value."""
    tensors = [*net.named_parameters(), *net.named_buffers()]
    return {
        "tensors": [(n, id(x), x.requires_grad, id(x.grad)) for n, x in tensors],
        "values": [x.detach().clone() for _, x in tensors],
        "modes": [(n, id(m), m.training) for n, m in net.named_modules()],
        "hooks": [len(m._forward_hooks) for m in net.modules()],
    }


def assert_same(before: dict[str, Any], net: nn.Module) -> None:
    after = state_of(net)
    values = zip(before.pop("values"), after.pop("values"))
    assert all(torch.equal(one, other) for one, other in values)
    assert after == before


# ---------------------------------------------------------------------- the copy, and the model
def test_the_copy_is_the_model_and_says_what_was_done(settle: Settle) -> None:
    net = settle(small())
    net[1].register_forward_hook(lambda module, args, out: None)
    net = nn.Sequential(net, nn.BatchNorm1d(4)).eval()
    net[0][4].bias.grad = torch.ones(4)
    net[0][0].bias.requires_grad_(False)
    net[0][2].train()
    before = state_of(net)
    fast = accelerate(net, IMAGES)
    assert_same(before, net)
    facts = json.loads(json.dumps(fast.facts()))
    assert facts["folded"] == 1 and facts["not_folded"] is None
    assert list(facts["kept"]) == ["0.1"] and "hook" in facts["kept"]["0.1"]
    assert facts["changed_decisions"] == 0 and facts["equal_gradient_signs"] == 1
    assert facts["max_logit_difference"] <= 1e-4 * facts["largest_logit"]
    assert facts["rows"] == 4 and facts["timing"]["what"] == "forward and gradient"
    assert set(facts["seconds"]["tried"]) == {"fp32", "channels_last"}
    assert facts["speed_up"] == pytest.approx(
        facts["seconds"]["original"] / facts["seconds"]["copy"]
    )
    other = torch.rand(7, 3, 6, 6)
    assert torch.allclose(fast(other), net(other), atol=1e-4)
    assert not any(p.requires_grad for p in fast.parameters())
    assert [m.training for m in fast.modules()].count(
        True
    ) == 1  # the ReLU, as in the model


class Stops(nn.Module):
    """Raises at its n-th forward."""

    def __init__(self, n: int, error: BaseException) -> None:
        super().__init__()
        self.net, self.left, self.error = small(), [n], error

    def forward(self, x: Tensor) -> Tensor:
        """Of the net, while it lasts."""
        self.left[0] -= 1
        if not self.left[0]:
            raise self.error
        return self.net(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Stops:
        found = Stops(0, self.error)
        found.left = self.left
        return found


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_model_is_given_back_after_an_interruption(settle: Settle, n: int) -> None:
    net = settle(Stops(n, KeyboardInterrupt()))
    net.train()
    before = state_of(net)
    with pytest.raises(KeyboardInterrupt):
        accelerate(net, IMAGES)
    assert_same(before, net)
    assert torch.is_grad_enabled()


class Tires(nn.Module):
    """Raises from its n-th forward on; its copies count on."""

    class Count(list[int]):
        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            return self

    def __init__(self, n: int) -> None:
        super().__init__()
        self.net, self.left = small(), self.Count([n])

    def forward(self, x: Tensor) -> Any:
        self.left[0] -= 1
        if self.left[0] <= 0:
            raise RuntimeError("out of ink")
        return self.net(x)


@pytest.mark.parametrize("n", [7, 12])
def test_a_model_that_raises_after_some_calls_is_named(settle: Settle, n: int) -> None:
    """Its own error alone does not say that it answered before."""
    net = settle(Tires(n))
    before = state_of(net)
    with pytest.raises(ModelContractError, match="asked again.*out of ink"):
        accelerate(net, IMAGES)
    assert_same(before, net)


def test_attacks_run_on_it_and_the_model_decides(settle: Settle) -> None:
    net = settle(small())
    fast = accelerate(net, IMAGES)
    fast.form = Form("channels_last")
    labels = net(IMAGES).argmax(1)
    found = torchattacks.PGD(fast, eps=0.5, steps=5, random_start=False)(IMAGES, labels)
    want = torchattacks.PGD(net, eps=0.5, steps=5, random_start=False)(IMAGES, labels)
    assert torch.equal(net(found).argmax(1), net(want).argmax(1))


def test_prtest_says_of_the_copy_what_it_says_of_the_model(settle: Settle) -> None:
    """Draws, failures, verdicts: those that rounding may decide are asked again at batch size 1."""
    net = settle(small())
    labels = net(IMAGES).argmax(1)
    fast, whole = (
        tax.PRTest(m, eps=0.1, n_max=744, batch_size=64).measure(IMAGES, labels)
        for m in (accelerate(net, IMAGES), net)
    )
    for name in ("verdict", "n_samples", "n_failures", "n_close"):
        assert torch.equal(getattr(fast, name), getattr(whole, name)), name
    one, two = (
        tax.FIMScore(m).measure(IMAGES).lam for m in (accelerate(net, IMAGES), net)
    )
    assert torch.allclose(one, two, rtol=1e-3)


@pytest.mark.parametrize("probe", [tax.PRTest, tax.FIMScore, tax.MSA])
def test_a_copy_in_16_bits_decides_nothing(settle: Settle, probe: Any) -> None:
    net = settle(small())
    short = FastModel(net, Form(autocast=torch.bfloat16))
    with pytest.raises(ConfigError, match="bfloat16.*Give the original"):
        probe(short)
    assert list(tax.MSA(net, [short]).surrogates)


def test_the_gradient_is_contiguous_and_has_second_derivatives(settle: Settle) -> None:
    fast = FastModel(settle(small()).double(), Form("channels_last"))
    leaf = IMAGES.double().requires_grad_()
    (found,) = torch.autograd.grad(fast(leaf).square().sum(), leaf, create_graph=True)
    assert found.is_contiguous() and found.view(4, -1).requires_grad
    assert leaf._backward_hooks is None


def test_answers_in_fixed_memory_are_kept() -> None:
    """As those of CUDA graphs are not: the next call writes on them."""

    class Fixed(torch.autograd.Function):
        answers, gradients = torch.zeros(2, 3), torch.zeros(2, 3)

        @staticmethod
        def forward(ctx: Any, images: Tensor) -> Tensor:
            return Fixed.answers.copy_(images)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return Fixed.gradients.copy_(gradients[0])

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = Fixed.apply(x)
            return found

    def asked(form: Form, value: float) -> tuple[Tensor, Tensor]:
        leaf = torch.full((2, 3), value, requires_grad=True)
        logits = FastModel(Net(), form)(leaf)
        return logits.detach(), torch.autograd.grad(logits.sum() * value, leaf)[0]

    for form, kept in ((Form(), False), (Form(fixed_memory=True), True)):
        first = asked(form, 1.0)
        asked(form, 2.0)
        assert [bool((x == 1).all()) for x in first] == [kept, kept]


def test_other_outputs_and_modes_of_the_caller(settle: Settle) -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            out = self.net(x)
            return {"features": out * 2, "scores": out.softmax(1)}

    net = settle(Parts())
    with torch.inference_mode():
        fast = accelerate(net, IMAGES * 1, outputs="probs", output_key="scores")
    leaf = IMAGES.clone().requires_grad_()
    assert torch.allclose(fast(leaf).exp(), net(leaf)["scores"], atol=1e-5)
    assert torch.autograd.grad(fast(leaf).sum(), leaf)[0].abs().max() > 0


def test_a_model_without_a_gradient_is_timed_without(settle: Settle) -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    facts = accelerate(settle(Hidden()), IMAGES).facts()
    assert facts["timing"]["what"] == "forward" and facts["timing"]["no_gradient"]
    assert facts["equal_gradient_signs"] is None and facts["folded"] == 1


def test_models_that_write_and_keep(settle: Settle) -> None:
    """On their input, and what they saw; old weight_norm keeps a weight that was computed."""

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.nn.utils.weight_norm(self.net[4])  # type: ignore[no-untyped-call]

        def forward(self, x: Tensor) -> Tensor:
            self.seen = x.sub_(0.5) * 2
            return self.net(self.seen)

    net = settle(Keeps())
    images = IMAGES.clone()
    fast = accelerate(net, images)
    assert fast.facts()["folded"] == 1 and torch.equal(images, IMAGES)
    assert not net.seen.requires_grad  # it can still be copied
    leaf = images.clone().requires_grad_()
    assert torch.autograd.grad(fast(leaf).sum(), leaf)[0].abs().max() > 0
    assert torch.equal(fast(images), fast(images)) and torch.equal(images, IMAGES)


# ---------------------------------------------------------------------- what is not kept
def test_a_fold_that_the_forward_misses_is_taken_back(settle: Settle) -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) * self.net[1].num_features

    fast = accelerate(settle(Asks()), IMAGES)
    facts = fast.facts()
    assert facts["folded"] == 0 and "taken back" in facts["not_folded"]
    assert "num_features" in facts["not_folded"]
    assert isinstance(fast.net.net[1], nn.BatchNorm2d)


def test_a_fold_that_is_wrong_is_taken_back(
    settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchattacks_ext.models.fast import scene

    def wrong(net: Any, folds: Any) -> Any:
        if folds.norms:
            net[1].bias += 0.1
        return net

    monkeypatch.setattr(scene, "fold", wrong)
    facts = accelerate(settle(small()), IMAGES).facts()
    assert facts["folded"] == 0 and "more than rounding" in facts["not_folded"]


def test_a_random_model_is_refused() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] + torch.rand(len(x), 3)

    with pytest.raises(ModelContractError, match="when it is asked again"):
        accelerate(Noisy(), IMAGES)


def test_a_copy_that_answers_otherwise_is_refused() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(108, 3)

        def __deepcopy__(self, memo: dict[int, Any]) -> Counts:
            return Counts()

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.flatten(1))

    with pytest.raises(ModelContractError, match="outside of its modules"):
        accelerate(Counts(), IMAGES)


def test_what_cannot_be_copied_is_refused() -> None:
    class Locked(nn.Module):
        def __deepcopy__(self, memo: dict[int, Any]) -> Locked:
            raise TypeError("cannot pickle a handle")

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    with pytest.raises(ModelContractError, match="cannot be copied .*handle"):
        accelerate(Locked(), IMAGES)
    with pytest.raises(ModelContractError, match="no nn.Module"):
        accelerate(lambda x: x.flatten(1), IMAGES)  # type: ignore[arg-type]
    with pytest.raises(ModelContractError, match="never loaded|meta device"):
        accelerate(nn.Linear(2, 2, device="meta"), IMAGES)


def test_too_little_memory_is_said_as_it_is() -> None:
    class Large(nn.Linear):
        calls: list[int] = []

        def forward(self, input: Tensor) -> Tensor:
            self.calls.append(1)
            if len(self.calls) > 2:  # the copy's
                raise MemoryError
            return super().forward(input)

    with pytest.raises(MemoryError):
        accelerate(nn.Sequential(nn.Flatten(), Large(108, 3)), IMAGES)


def test_arguments_are_checked(settle: Settle) -> None:
    net = settle(small())
    for given in ({"precision": "int8"}, {"compile": "yes"}, {"outputs": "labels"}):
        with pytest.raises(ConfigError, match=str(list(given.values())[0])):
            accelerate(net, IMAGES, **given)  # type: ignore[arg-type]
    for images in (IMAGES[:0], IMAGES.long(), torch.zeros(3)):
        with pytest.raises(InputError, match="images"):
            accelerate(net, images)
    with pytest.raises(ModelContractError, match="the model raised"):
        accelerate(net, IMAGES[:, :1])


# ---------------------------------------------------------------------- real nets
@pytest.mark.parametrize(
    "name",
    [
        "cifar10_resnet20_std",
        pytest.param("all", marks=pytest.mark.slow),
    ],
)
def test_decisions_on_real_nets_are_those_of_the_model(
    tax_data: Path, real: ModuleType, name: str
) -> None:
    known = json.loads((tax_data / "models.json").read_text(encoding="utf-8"))
    for each in known if name == "all" else [name]:
        net = real.model(each)
        images, _ = real.test_images(
            known[each]["dataset"], 100 if name == "all" else 16
        )
        fast = accelerate(net, images[: 16 if name == "all" else 2])
        facts = fast.facts()
        norms = sum("BatchNorm" in type(m).__name__ for m in net.modules())
        assert facts["folded"] + len(facts["kept"]) >= norms, each
        assert facts["not_folded"] is None, (each, facts["not_folded"])
        with torch.no_grad():
            left, right = net(images), fast(images)
        assert torch.equal(left.argmax(1), right.argmax(1)), each
        assert (left - right).abs().max() <= 1e-4 * left.abs().max(), each


def test_a_double_copy_names_its_precision_as_the_others_do() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double().eval()
    facts = accelerate(net, torch.rand(2, 1, 2, 2).double()).facts()
    assert facts["precision"] == "fp64"
