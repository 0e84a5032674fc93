"""Does fine-tuning move what it is told to, and end the same however often it was stopped?"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import ConfigError, InputError, StateError
from torchattacks_ext.defenses import HPMModel, finetune_hpm
from torchattacks_ext.defenses.hpm.training.losses import class_means, improved_kl

from .conftest import Make, images_of

SMALL: dict[str, Any] = {
    "eps": 0.05,
    "steps": 2,
    "batch_size": 8,
    "epochs": 2,
    "rate": 1e-2,
}


def data() -> tuple[Tensor, Tensor]:
    return images_of(28, 4), torch.arange(28) % 5


def pairwise(clean: Tensor, attacked: Tensor, w: Tensor) -> Tensor:
    """1/4 sum_jk w_j w_k (D_jk - E_jk)^2, pair by pair."""
    d = clean[:, :, None] - clean[:, None]
    e = attacked[:, :, None] - attacked[:, None]
    return 0.25 * (w[:, :, None] * w[:, None] * (d - e).square()).sum((1, 2))


def logits(seed: int, n: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=generator, dtype=torch.float64) * 2


def test_the_squares_are_those_of_all_pairs() -> None:
    a, b, w = logits(0), logits(1), logits(2).softmax(1)
    assert torch.allclose(improved_kl(a, b, w, entropy=0.0), pairwise(a, b, w))


def test_taken_apart_kl_has_the_gradients_of_kl() -> None:
    a, b = logits(0).requires_grad_(), logits(1).requires_grad_()
    kl = (a.softmax(1) * (a.log_softmax(1) - b.log_softmax(1))).sum()
    apart = improved_kl(a, b, both=False).sum()
    truth = torch.autograd.grad(kl, (a, b))
    found = torch.autograd.grad(apart, (a, b))
    assert all(torch.allclose(x, y) for x, y in zip(found, truth))
    improved = torch.autograd.grad(improved_kl(a, b).sum(), (a, b))
    assert torch.allclose(improved[0], truth[0]) and not torch.allclose(
        improved[1], truth[1]
    )


def test_the_table_holds_mean_probabilities_of_each_class() -> None:
    a, labels = logits(3), torch.tensor([0, 0, 1, 1, 1, 4, 4])
    found = class_means(torch.zeros(5, 5), a, labels, 0.0)
    for k in (0, 1, 4):
        assert torch.allclose(found[k], a[labels == k].softmax(1).mean(0).float())
    assert float(found[2:4].abs().sum()) == 0


@pytest.mark.parametrize("loss", ["ikl", "ce"])
def test_a_stopped_run_ends_as_one_in_one_piece(
    make: Make, tmp_path: Path, loss: str
) -> None:
    whole, settings = make(), {**SMALL, "loss": loss, "train": ("mixer", "fc")}
    start = copy.deepcopy(whole)
    done = finetune_hpm(whole, data(), **settings)
    assert done.done and done.steps == 8 and len(done.losses) == 8
    path = tmp_path / "at"
    for most in (3, 1, None):  # each in another process, as it were
        model = copy.deepcopy(start)
        part = finetune_hpm(model, data(), checkpoint=path, max_steps=most, **settings)
    assert part == done
    for name, one in model.state_dict().items():
        assert torch.equal(one, whole.state_dict()[name]), name
    assert (
        finetune_hpm(copy.deepcopy(start), data(), checkpoint=path, **settings) == done
    )


def test_an_exception_loses_no_more_than_the_steps_since(
    make: Make, tmp_path: Path
) -> None:
    whole, start = make(), make()
    finetune_hpm(whole, data(), **SMALL)
    path, broken = tmp_path / "at", copy.deepcopy(start)
    calls = []

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) > 12:
            raise RuntimeError("the machine went away")

    handle = broken.trunk.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="went away"):
        finetune_hpm(broken, data(), checkpoint=path, every=1, **SMALL)
    handle.remove()
    assert path.exists() and not broken.training
    finetune_hpm(start, data(), checkpoint=path, **SMALL)
    pairs = zip(start.state_dict().values(), whole.state_dict().values())
    assert all(torch.equal(one, other) for one, other in pairs)


def test_only_what_is_asked_learns_and_all_is_given_back(make: Make) -> None:
    model = make().eval()
    kept = next(model.trunk.parameters())
    for p in model.parameters():
        p.requires_grad_(p is not kept)
    before = copy.deepcopy(model.state_dict())
    needs = [p.requires_grad for p in model.parameters()]
    finetune_hpm(model, data(), **SMALL)
    moved = {
        n for n, one in model.state_dict().items() if not torch.equal(one, before[n])
    }
    assert moved == {"head.of_all", "head.mixer.weight", "head.mixer.bias"}
    assert [p.requires_grad for p in model.parameters()] == needs
    assert all(p.grad is None for p in model.parameters()) and not model.training
    finetune_hpm(model, data(), train=("trunk",), **SMALL)
    assert not torch.equal(next(model.trunk.parameters()), next(iter(before.values())))
    assert not model.trunk.training


def test_the_loss_falls_and_prototypes_alone_can_be_trained(make: Make) -> None:
    images, labels = images_of(40, 5), torch.arange(40) % 5
    settings = {**SMALL, "eps": 0.0, "loss": "ce", "epochs": 6, "batch_size": 40}
    done = finetune_hpm(make(), (images, labels), train=("mixer", "fc"), **settings)
    assert done.losses[-1] < done.losses[0]
    convex = make(mixer="convex")
    before = convex.head.of_all.clone()
    assert finetune_hpm(convex, data(), **SMALL).done
    assert not torch.equal(convex.head.of_all, before)


def test_a_new_head_gets_its_prototypes_from_the_data(make: Make) -> None:
    model = make()
    fresh = HPMModel.from_classifier(
        torch.nn.Sequential(model.trunk, model.head.fc), images=images_of(2)
    )
    assert not fresh.head.ready
    assert finetune_hpm(fresh, data(), max_steps=1, **SMALL).steps == 1
    assert fresh.head.ready


def test_refusals(make: Make, tmp_path: Path) -> None:
    model, path = make(), tmp_path / "at"
    finetune_hpm(model, data(), checkpoint=path, max_steps=1, **SMALL)
    other = {**SMALL, "rate": 1e-3}
    with pytest.raises(StateError, match=r"another run \(tuning differ"):
        finetune_hpm(model, data(), checkpoint=path, **other)
    with pytest.raises(StateError, match="data differ"):
        finetune_hpm(model, (data()[0], data()[1].flip(0)), checkpoint=path, **SMALL)
    with pytest.raises(StateError, match="trunk"):
        finetune_hpm(make(3), data(), checkpoint=path, **SMALL)
    with pytest.raises(ConfigError, match="8/255, not 8"):
        finetune_hpm(model, data(), 8.0)
    with pytest.raises(ConfigError, match="is to be one of"):
        finetune_hpm(model, data(), loss="kl")
    with pytest.raises(ConfigError, match=r"no \['lr'\]; its settings are .*'rate'"):
        finetune_hpm(model, data(), lr=1e-3)
    with pytest.raises(InputError, match="labels run from"):
        finetune_hpm(model, (data()[0], data()[1] + 3))
    with pytest.raises(InputError, match="no images"):
        finetune_hpm(model, (images_of(4)[:0], torch.zeros(0).long()))
