"""Does EOT average what it says, over fresh draws, within its memory?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchattacks_ext.errors import ConfigError, ModelContractError
from torchattacks_ext.models import EOT
from torchattacks_ext.testing import RandomisedInput, small_net

LABELS = torch.tensor([0, 2, 1, 1, 0])


def images() -> Tensor:
    """Five images that need a gradient."""
    source = torch.Generator().manual_seed(0)
    return torch.rand(
        5, 1, 8, 8, generator=source, dtype=torch.float64
    ).requires_grad_()


class Listed(nn.Module):
    """A noisy model that remembers its draws; its noise has a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net().double().eval()
        self.source = torch.Generator().manual_seed(5)
        self.draws, self.sizes = list[Tensor](), list[int]()

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=self.source, dtype=x.dtype)
        logits = self.net(x + 0.3 * noise)
        self.draws.append(logits)
        self.sizes.append(len(x))
        return logits


def naive(draws: Tensor, reduce: str) -> Tensor:
    """The definition, without care for range."""
    if reduce == "logit":
        return sum(draws) / len(draws)
    probs = draws.softmax(2)
    return probs.mean(0).log() if reduce == "prob" else probs.log().mean(0)


@pytest.mark.parametrize("reduce", ["logit", "prob", "loss"])
def test_equals_its_definition_in_value_and_gradient(reduce: Any) -> None:
    x, model = images(), Listed()
    out = EOT(model, 7, reduce)(x)
    draws = torch.stack(model.draws)
    assert draws.shape == (7, 5, 3) and len(draws.unique(dim=0)) == 7
    assert torch.allclose(out, naive(draws, reduce), atol=1e-12)
    weight = torch.linspace(-1, 1, 15, dtype=torch.float64).view(5, 3)
    found = torch.autograd.grad((out * weight).sum(), x, retain_graph=True)[0]
    loss = (naive(draws, reduce) * weight).sum()
    assert torch.allclose(found, torch.autograd.grad(loss, x)[0], atol=1e-12)


def test_what_the_losses_of_each_mean() -> None:
    x, losses = images().detach(), {}
    for reduce in ("logit", "prob", "loss"):
        model = Listed()  # the same draws
        out = EOT(model, 6, reduce)(x)
        draws = torch.stack(model.draws)
        losses[reduce] = F.cross_entropy(out, LABELS, reduction="none")
        one = torch.stack([F.cross_entropy(z, LABELS, reduction="none") for z in draws])
        if reduce == "prob":
            likely = draws.softmax(2).mean(0)[torch.arange(5), LABELS]
            assert torch.allclose(losses["prob"], -likely.log(), atol=1e-12)
            assert bool((losses["prob"] <= one.mean(0) + 1e-12).all())
        if reduce == "loss":
            nll = F.nll_loss(out, LABELS, reduction="none")
            assert torch.allclose(nll, one.mean(0), atol=1e-12)
            # cross_entropy subtracts a logsumexp <= 0 and is that of the mean logits
            away = out.logsumexp(1)
            assert bool((away < 0).all())
            assert torch.allclose(losses["loss"], nll + away, atol=1e-12)
    assert torch.allclose(losses["loss"], losses["logit"], atol=1e-12)


def test_improbable_classes_do_not_underflow() -> None:
    out = EOT(nn.Identity(), 3, "prob")(torch.tensor([[0.0, -500.0]]))
    assert torch.allclose(out, torch.tensor([[0.0, -500.0]]))


@pytest.mark.parametrize("reduce", ["logit", "prob", "loss"])
def test_a_fixed_model_keeps_its_answers(reduce: Any) -> None:
    net, x = small_net().double().eval(), images().detach()
    expected = net(x) if reduce == "logit" else net(x).log_softmax(1)
    assert torch.allclose(EOT(net, 5, reduce)(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("chunk", "sizes"),
    [(None, [5, 5]), (9, [5, 5]), (5, [5, 5]), (2, [2, 2, 1, 2, 2, 1])],
)
def test_no_forward_has_more_rows_than_the_chunk(
    chunk: int | None, sizes: list[int]
) -> None:
    """And rows of two draws never share a forward: a defence may draw once a batch."""
    model = Listed()
    assert EOT(model, 2, chunk=chunk)(images()).shape == (5, 3)
    assert model.sizes == sizes


def test_draws_advance_the_global_generator_and_nothing_else_does() -> None:
    model = RandomisedInput(small_net().double().eval(), 0.2)
    x = images().detach()
    torch.manual_seed(3)
    first = EOT(model, 4)(x)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    draws = [model(x) for _ in range(4)]
    assert torch.allclose(first, sum(draws) / 4, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.allclose(EOT(model, 4)(x), first)
    before = torch.get_rng_state()
    EOT(small_net().double().eval(), 4)(x)
    assert torch.equal(torch.get_rng_state(), before)


def test_scores_in_other_forms_and_no_rows() -> None:
    out = EOT(lambda x: {"logits": x[:, :1]}, 2, "prob")(torch.tensor([[0.7]]))
    assert torch.allclose(out.exp()[0, 1], torch.sigmoid(torch.tensor(0.7)))
    assert EOT(small_net().eval(), 2, chunk=3)(torch.rand(0, 1, 8, 8)).shape == (0, 3)
    with pytest.raises(ModelContractError, match=r"expected \(2, K\)"):
        EOT(lambda x: x[:1], 2)(torch.rand(2, 3))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(n=0), "n=0 must be an integer >= 1"),
        (dict(n=2.0), "n=2.0 must be an integer"),
        (dict(reduce="mean"), "reduce='mean' is not one of"),
        (dict(chunk=0), "chunk=0 must be an integer >= 1, or None"),
    ],
)
def test_settings_outside_their_domain(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EOT(nn.Identity(), **wrong)
