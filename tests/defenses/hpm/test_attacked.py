"""Does MSA find out by itself what it attacks: one trunk, one batch, rows alone?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, ReliabilityWarning
from torchattacks_ext.attacks.msa.joint import reserve_of
from torchattacks_ext.defenses import HPMModel, HPMSettings, finetune_hpm
from torchattacks_ext.defenses.hpm.surrogates import PAPER, STANDARD

from .conftest import Make, images_of

LINES = [{"kind": "apgd", "loss": "ce", "steps": 5}]
OWN: dict[str, Any] = {"eps": 0.03, "version": "custom", "plan": LINES}


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        yield


def attacked(model: nn.Module, images: Tensor, labels: Tensor, **options: Any) -> Any:
    attack = MSA(model, **{**OWN, "partitions": 1, **options})
    with quiet():
        return attack.measure(images, labels)


class Plain(nn.Module):
    """The same target, without a shortcut and without surrogates of its own."""

    def __init__(self, hpm: HPMModel) -> None:
        super().__init__()
        self.hpm = hpm

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.hpm(images)
        return found


class Lying(HPMModel):
    """Its answers for rows alone are those of another batch."""

    def alone_in(self, clean: Tensor) -> Any:
        ask = super().alone_in(clean)
        return lambda images, places: ask(images, places).flip(1)


def answers(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).argmax(1)


def test_a_batch_dependent_target_is_named_and_left_as_it_was(make: Make) -> None:
    hpm, images = make().eval(), images_of(4)
    labels = answers(hpm, images)
    hpm.train()
    before = {name: one.clone() for name, one in hpm.state_dict().items()}
    state = torch.get_rng_state()
    stand = hpm.surrogates((*STANDARD, "gmsa", "oracle", "mix"))
    lines = [{**LINES[0], "steps": 2}]
    found = attacked(
        hpm, images, labels, surrogates=stand, deployed_batch=4, plan=lines
    )
    codes = {flag.code for flag in found.flags}
    assert {"batch_dependent_model", "batch_protocols"} <= codes
    assert "left_out" not in codes
    assert {"iso", "union", "realised", "bystanders"} <= set(found.protocols)
    assert set(stand) <= {name.split("/")[0] for name in found.breakdown}
    assert torch.equal(state, torch.get_rng_state()) and hpm.training
    after = hpm.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    assert all(p.requires_grad and p.grad is None for p in hpm.parameters())


def test_without_batch_prototypes_it_is_a_fixed_target(make: Make) -> None:
    hpm, images = make(assign="none"), images_of(6)
    found = attacked(hpm, images, answers(hpm, images), surrogates="auto")
    assert not {f.code for f in found.flags} & {
        "batch_dependent_model",
        "batch_protocols",
    }
    assert found.protocols == {}


@pytest.mark.parametrize(
    "settings",
    [{}, {"assign": "hard", "mixer": "convex", "share": 0.2}],
)
@pytest.mark.slow
def test_rows_alone_by_the_shortcut_are_those_by_whole_batches(
    make: Make, settings: dict[str, Any]
) -> None:
    hpm, images = make(**settings), images_of(16)
    labels = answers(hpm, images)
    size = {"deployed_batch": 16, "eps": 0.015}
    quick = attacked(hpm, images, labels, **size)
    slow = attacked(Plain(hpm), images, labels, **size)
    assert quick.cost.forward < 0.7 * slow.cost.forward
    for name in ("clean", "union", "realised"):
        assert quick.protocols[name] == slow.protocols[name]
    # the gradient of the choice of class is left out: the way may differ, hardly the end
    iso = quick.protocols["iso"][0], slow.protocols["iso"][0]
    assert abs(iso[0] - iso[1]) <= 1 / 16 and 0 < iso[0] < 1


def test_a_shortcut_that_lies_is_not_believed(make: Make) -> None:
    hpm, images = make(), images_of(3)
    lying, labels = Lying(hpm.trunk, hpm.head).eval(), answers(hpm, images)
    size = {"deployed_batch": 3, "plan": [{**LINES[0], "steps": 1}]}
    found = attacked(lying, images, labels, **size)
    assert found.protocols["clean"] == [1.0]
    (flag,) = [flag for flag in found.flags if flag.code == "left_out"]
    assert "alone_in() answers other than its whole batches" in flag.message


def test_a_budget_reserves_what_rows_alone_cost_by_the_shortcut(make: Make) -> None:
    hpm, images = make(), images_of(8)
    labels = answers(hpm, images)
    limit = (reserve_of(8) + reserve_of(8, quick=True)) // 2
    size = {"deployed_batch": 8, "max_queries": limit}
    quick = attacked(hpm, images, labels, **size)
    assert (quick.status == 0).all() and quick.cost.forward <= limit
    slow = attacked(Plain(hpm), images, labels, **size)
    assert not (slow.status == 0).any() and slow.cost.forward <= limit


def test_a_lying_shortcut_is_no_way_around_a_budget(make: Make) -> None:
    hpm, images = make(), images_of(8)
    lying, labels = Lying(hpm.trunk, hpm.head).eval(), answers(hpm, images)
    limit = reserve_of(8, quick=True) + 200
    found = attacked(lying, images, labels, deployed_batch=8, max_queries=limit)
    assert found.cost.forward <= limit
    # no room was kept for lines in whole batches
    assert set(found.iso_correct[found.clean_correct == 1].tolist()) <= {-1, 0}


@pytest.mark.slow
def test_every_query_of_a_head_of_the_trunk_is_looked_at_for_nothing(
    make: Make,
) -> None:
    hpm, images = make(), images_of(6)
    labels = answers(hpm, images)
    lines = [{"kind": "apgd", "loss": "ce", "steps": 20, "on": "surrogates"}]
    books = {}
    for model in (hpm, Plain(hpm)):
        surrogates = hpm.surrogates(("soft",))
        options = {
            "plan": lines,
            "probe_every": 1000,
            "deployed_batch": 6,
            "eps": 0.015,
        }
        found = attacked(model, images, labels, surrogates=surrogates, **options)
        books[model is hpm] = found.breakdown["soft/apgd-ce-20"]
    # every thousandth query is none: only looks for nothing can have found rows on the way
    assert books[True]["offers"] > books[False]["offers"]
    assert books[True]["broken"] >= books[False]["broken"]


@pytest.mark.slow
def test_normalised_inputs_reach_all_of_them(make: Make) -> None:
    hpm, images = make(), images_of(6)
    scaled = HPMModel(nn.Sequential(Shift(), hpm.trunk), hpm.head).eval()
    labels = answers(hpm, images)
    kinds = ("fixed", "soft")
    one = attacked(
        hpm, images, labels, surrogates=hpm.surrogates(kinds), deployed_batch=6
    )
    other = MSA(scaled, scaled.surrogates(kinds), partitions=1, deployed_batch=6, **OWN)
    other.set_normalization_used([0.5], [0.25])
    with quiet():
        found = other.measure((images - 0.5) / 0.25, labels)
    assert found.protocols["clean"] == one.protocols["clean"] == [1.0]
    for name in ("iso", "union"):
        assert abs(found.protocols[name][0] - one.protocols[name][0]) <= 1 / 6


class Shift(nn.Module):
    """Undoes a normalisation by (0.5, 0.25)."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 0.25 + 0.5


def test_the_papers_protocol_runs_on_the_papers_surrogates(make: Make) -> None:
    hpm, images = make(), images_of(4)
    attack = MSA(hpm, hpm.surrogates((*PAPER, "fixed")), eps=0.1, version="paper")
    with quiet():  # Square's 5,000 queries end with the last row that falls
        found = attack.measure(images, (answers(hpm, images) + 1) % 5)
    assert "not_as_deployed" in {flag.code for flag in found.flags}


@pytest.mark.slow
def test_digits() -> None:
    from torchattacks_ext.data.digits import load_digits
    from torchattacks_ext.evaluation.demo import train_demo

    images, labels = load_digits("train")
    net = train_demo("standard", images, labels, epochs=4)
    hpm = HPMModel.from_classifier(net, HPMSettings())
    finetune_hpm(hpm, (images[:256], labels[:256]), 0.05, steps=5, rate=1e-3)
    images, labels = (side[:24] for side in load_digits("test"))
    assert float((answers(hpm.eval(), images) == labels).float().mean()) > 0.9
    options = {"deployed_batch": 12, "eps": 0.05}
    found = attacked(hpm, images, labels, surrogates=hpm.surrogates(), **options)
    assert "batch_dependent_model" in {flag.code for flag in found.flags}
    shares = {name: values[0] for name, values in found.protocols.items()}
    assert shares["union"] <= shares["realised"] <= shares["clean"]
    assert shares["union"] < shares["iso"] + 1e-9 and shares["iso"] < shares["clean"]
