"""Which surrogates and settings does MSA take, and what does it do with weak ones?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, ConfigError, ReliabilityWarning
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.testing.props import balanced_net, example_images

SHORT = [
    AttackSpec("noise", on="target", steps=2),
    AttackSpec("apgd", steps=5),
    AttackSpec("fab-t", steps=3, targets=2),
    AttackSpec("square", on="target", steps=20),
]
IMAGES = example_images(12)


def near(other: int) -> nn.Module:
    """The net with other last weights, as a relative that was trained apart."""
    net = balanced_net()
    net[-1].weight.data.add_(balanced_net(seed=other)[-1].weight.data)
    return net


def answers(net: Any, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        found: Tensor = net(images).argmax(1)
    return found


def make(model: Any, surrogates: Any = (), eps: float = 0.02, **options: Any) -> MSA:
    settings = {"version": "custom", "plan": SHORT, **options}
    return MSA(model, surrogates, eps, **settings)


def measure(attack: MSA, *args: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return attack.measure(*args)


def test_forms_of_surrogates() -> None:
    net, one, two = balanced_net(), near(3), near(4)
    forms = {
        "list": [one, two],
        "tuple": (one, two),
        "functions": [lambda x: one(x), two.forward],
        "modules": nn.ModuleList([one, two]),
    }
    labels, found = answers(net), {}
    for name, surrogates in forms.items():
        attack = make(net, surrogates)
        assert list(attack.surrogates) == ["s1", "s2"]
        found[name] = measure(attack, IMAGES, labels).first_breaker.tolist()
    assert all(one == found["list"] for one in found.values())
    for named in ({"a": one, "b": two}, nn.ModuleDict({"a": one, "b": two})):
        assert list(make(net, named).surrogates) == ["a", "b"]


def test_auto_asks_the_model() -> None:
    class Knows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = balanced_net()

        def forward(self, images: Tensor) -> Any:
            return self.net(images)

        def surrogates(self) -> dict[str, nn.Module]:
            return {"inner": self.net}

    model = Knows()
    attack = make(model, "auto")
    assert list(attack.surrogates) == ["inner"]
    assert "inner/apgd-ce-5" in measure(attack, IMAGES, answers(model)).breakdown


@pytest.mark.parametrize(
    "surrogates, words",
    [
        ("auto", "only 'auto' is a word"),
        ("fc", "only 'auto' is a word"),
        (nn.Flatten(), "write .model."),
        (3, "expected a list or dict"),
        ([3], "expected a Module or a callable"),
        ({"target": nn.Flatten()}, "is named 'target'"),
        ({"best": nn.Flatten()}, "is named 'best'"),
        ({"a/b": nn.Flatten()}, "is named 'a/b'"),
        ({"": nn.Flatten()}, "is named ''"),
        ({1: nn.Flatten()}, "is named 1"),
    ],
)
def test_surrogates_that_are_none_are_refused(surrogates: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(balanced_net(), surrogates)


@pytest.mark.parametrize(
    "options",
    [
        {"version": "best"},
        {"version": "custom", "plan": None},
        {"version": "custom", "plan": []},
        {"version": "standard", "plan": SHORT},
        {"plan": [{"kind": "apgd", "step": 3}]},
        {"plan": [AttackSpec("apgd", on="s9")]},
        {"probe_every": -1},
        {"probe_every": 1.5},
        {"surrogate_normalization": "none"},
        {"engine": "torchattacks", "norm": "L1"},
        {"headline": "worst"},
        {"deployed_batch": 0},
        {"partitions": 0},
        {"partitions": True},
        {"fresh_draws": 0},
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    """Also a line on a model that is not there, which was refused only in the middle of a run."""
    with pytest.raises(ConfigError):
        make(balanced_net(), [near(3)], **options)


def test_a_surrogate_that_is_wrong_everywhere_still_attacks_all_rows() -> None:
    net, other = balanced_net(), near(3)

    class Shifted(nn.Module):
        """Never right on a clean image: the label's logit is lowered."""

        def forward(self, images: Tensor) -> Tensor:
            logits = other(images)
            worse: Tensor = logits - 10 * nn.functional.one_hot(labels[:1], 5)
            return worse

    labels = answers(net)
    rows = labels == labels.mode().values
    images, labels = IMAGES[rows], labels[rows]
    victim = Shifted()
    assert not bool((answers(victim, images) == labels).any())
    plan = [AttackSpec("apgd", loss="margin", on="surrogates", steps=10)]
    found = measure(make(net, [victim], 0.05, plan=plan), images, labels)
    book = found.breakdown["s1/apgd-margin-10"]
    assert book["tried"] == len(labels) and book["broken"] > 0
