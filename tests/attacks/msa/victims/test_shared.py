"""Do heads of one trunk show the target's answer for free, and never anything else?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.attacks.msa.msa import MSA
from torchattacks_ext.attacks.msa.scene import Scene
from torchattacks_ext.attacks.msa.settings import MSASettings
from torchattacks_ext.attacks.msa.victims import shared as msa_shared
from torchattacks_ext.attacks.msa.victims.shared import (
    find_peeks,
    head_of,
    shared_peeks,
)
from torchattacks_ext.models.adapters.shared_trunk import SharedTrunk
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Meter
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

EPS = 0.02
PLAN = [
    {"kind": "apgd", "steps": 10},
    {"kind": "apgd-t", "steps": 6, "targets": 2},
    {"kind": "fab-t", "steps": 6, "targets": 2, "on": "best"},
]


class Hard(nn.Module):
    """Two heads; the surer one answers alone."""

    def __init__(self, one: nn.Module, two: nn.Module) -> None:
        super().__init__()
        self.one, self.two = one, two

    def forward(self, z: Tensor) -> Tensor:
        both = torch.stack([self.one(z), self.two(z)], 1)
        best = both.topk(2, dim=2).values
        sure = (best[:, :, 0] - best[:, :, 1]).argmax(1)
        return both[torch.arange(len(z)), sure]


def relatives() -> SharedTrunk:
    """Heads "a" and "b" of one trunk and their hard mixture "hard"."""
    net, other = (small_net(n_classes=5, seed=seed).eval() for seed in (0, 3))
    with torch.no_grad():
        other[-1].weight += net[-1].weight
        z = net[:-1](example_images(64))
        for last in (net[-1], other[-1]):
            last.bias -= last(z).mean(0)
    heads = {"a": net[-1], "b": other[-1], "hard": Hard(net[-1], other[-1])}
    return SharedTrunk(net[:-1], heads).eval()


def measured(peeked: bool, monkeypatch: Any, **options: Any) -> tuple[Any, int]:
    """The result of an MSA on the hard mixture, and its trunk rows."""
    shared, images = relatives(), example_images(24)
    with torch.no_grad():
        labels = shared.head("hard")(images).argmax(1)
    settings: dict[str, Any] = {"version": "custom", "plan": PLAN, "eps": EPS}
    surrogates = {name: shared.head(name) for name in "ab"}
    attack = MSA(shared.head("hard"), surrogates, **(settings | options))
    before = shared.trunk_rows
    with monkeypatch.context() as patch:
        if not peeked:
            patch.setattr(msa_shared, "find_peeks", lambda *_, **__: {})
        found = attack.measure(images, labels, ids=list(range(24)))
    return found, shared.trunk_rows - before


def test_the_flags_are_the_same_or_fewer_and_the_trunk_runs_less(
    monkeypatch: Any,
) -> None:
    asked, rows = measured(False, monkeypatch, probe_every=1)
    found, fewer = measured(True, monkeypatch)
    assert not bool((found.robust & ~asked.robust).any())
    assert 0 < int(found.robust.sum()) < 24
    assert fewer < 0.75 * rows
    # the meter says what the trunk did; it may say more, where features were kept
    assert fewer <= found.cost.forward <= 1.1 * fewer


def test_who_shares_a_trunk_is_seen() -> None:
    shared, other = relatives(), relatives()
    target, meter = shared.head("hard"), Meter()
    models = {"a": shared.head("a"), "far": other.head("a"), "net": nn.Flatten()}
    assert list(find_peeks(target, models, meter)) == ["a"]
    assert not find_peeks(nn.Flatten(), models, meter)
    assert not find_peeks(other.head("b"), {"a": shared.head("a")}, meter)


def test_a_model_may_name_its_head() -> None:
    class Named(nn.Module):
        def __init__(self, head: nn.Module) -> None:
            super().__init__()
            self.head_view = head

        def forward(self, images: Tensor) -> Tensor:
            return self.head_view(images)

    shared = relatives()
    assert head_of(Named(shared.head("hard"))) is not None
    assert head_of(Named(nn.Flatten())) is None
    found = find_peeks(Named(shared.head("hard")), {"a": shared.head("a")}, Meter())
    images = example_images(3)
    assert torch.equal(found["a"](images), shared.head("hard")(images))


def test_a_peek_is_free_after_the_surrogate_and_counted_where_it_is_not() -> None:
    shared, images, meter = relatives(), example_images(3), Meter()
    peek = find_peeks(shared.head("hard"), {"a": shared.head("a")}, meter)["a"]
    with torch.no_grad():
        LogitsView(shared.head("a"))(images)
        peek(images)
        assert meter.forward == 0 and shared.trunk_rows == 3
        peek(images + 0.1)
    assert meter.forward == 3 and shared.trunk_rows == 6


@pytest.mark.parametrize("same", ["same", None])
def test_with_a_normalisation_features_are_shared_or_there_is_no_peek(
    same: Any, monkeypatch: Any
) -> None:
    shared, images = relatives(), example_images(24)
    stray = []

    class Seen(msa_shared.Peek):
        def forward(self, images: Tensor) -> Tensor:
            before = shared.trunk_rows
            logits = super().forward(images)
            stray.append(shared.trunk_rows - before)
            return logits

    monkeypatch.setattr(msa_shared, "Peek", Seen)
    surrogates = {"a": shared.head("a")}
    attack = MSA(
        shared.head("hard"),
        surrogates,
        eps=EPS,
        version="custom",
        plan=PLAN[:1],
        surrogate_normalization=same,
    )
    attack.set_normalization_used(mean=[0.5], std=[0.25])
    with torch.no_grad():
        labels = shared.head("hard")((images - 0.5) / 0.25).argmax(1)
    attack((images - 0.5) / 0.25, labels)
    assert (len(stray) > 5 and not any(stray)) if same else not stray


def test_no_peeks_for_models_that_are_not_attacked() -> None:
    shared = relatives()
    target, surrogates = shared.head("hard"), {name: shared.head(name) for name in "ab"}
    settings = MSASettings(eps=EPS, norm="Linf")
    scene = Scene(settings, target, target, surrogates, Meter())
    assert list(shared_peeks(scene, {"a": nn.Flatten()})) == ["a"]
