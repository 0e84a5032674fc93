"""Does a model get back the buffers that it wrote while it was measured, and lose the hooks?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, FIMScore, PRTest, evaluate
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.models import loans
from torchattacks_ext.models.loans import lost_buffers
from torchattacks_ext.models.session import session

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Watched(nn.Module):
    """A linear net beside which something is written at each forward, in `how` way."""

    count: Tensor

    def __init__(self, how: str) -> None:
        super().__init__()
        self.net, self.how = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), how
        self.register_buffer("count", torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        if self.how == "in place":
            self.count.add_(1)
        elif self.how == "another tensor":
            self.count = self.count + 1
        elif self.how == "past the counter":
            self.count.data.add_(1)
        elif self.how == "through numpy":
            self.count.numpy()[:] += 1
        elif self.how == "nan":
            self.count[0] = torch.nan
        found: Tensor = self.net(images)
        return found


@pytest.mark.parametrize(
    "how",
    ["in place", "another tensor", "past the counter", "through numpy", "nan", "never"],
)
def test_an_observer_is_as_before_after_every_verb(how: str) -> None:
    model = Watched(how).eval()
    kept, labels = model.count, model.net(IMAGES).argmax(1)
    test = PRTest(model, eps=0.01, tolerance=0.1, significance=0.1, n_max=64)
    for _ in range(loans.WATCHED + 2):
        for verb in (test, test.measure):
            verb(IMAGES, labels)
            assert model.count is kept and kept.tolist() == [0.0, 0.0]
    assert lost_buffers(model) == ()


def test_what_the_owner_writes_between_two_sessions_stays() -> None:
    model = Watched("past the counter").eval()
    for number in range(1, 4):
        model.count.fill_(number)
        with session(model):
            model(IMAGES)
        assert model.count.tolist() == [number, number]


def test_a_graph_traced_in_training_mode_keeps_its_statistics() -> None:
    """torch's own kernel writes them without moving the version of the buffer."""
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3)).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(net, IMAGES, check_trace=False)
    before = {name: value.clone() for name, value in traced.named_buffers()}
    for _ in range(3):
        with session(traced):
            traced(IMAGES)
        for name, value in traced.named_buffers():
            assert torch.equal(value, before[name]), name


def test_large_buffers_are_named_and_not_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loans, "MOST_BYTES", 4)
    model = Watched("in place").eval()
    with session(model):
        model(IMAGES)
    assert model.count.tolist() == [1.0, 1.0] and lost_buffers(model) == ("count",)


def test_a_buffer_that_could_not_be_given_back_is_named_in_every_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loans, "MOST_BYTES", 4)

    def named(flags: Any) -> list[list[str]]:
        return [f.details["buffers"] for f in flags if f.code == "buffers_changed"]

    labels = Watched("never").net(IMAGES).argmax(1)
    line = AttackSpec("apgd", steps=2)
    limits: dict[str, Any] = {"tolerance": 0.1, "significance": 0.1, "n_max": 64}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for how, count in (("in place", 1), ("never", 0)):
            for probe in (
                PRTest(Watched(how).eval(), eps=0.01, **limits),
                FIMScore(Watched(how).eval(), kl=False),
                MSA(Watched(how).eval(), eps=0.01, version="custom", plan=[line]),
            ):
                found = named(probe.measure(IMAGES, labels).flags)
                assert found == [["count"]] * count
            plan = {"eps": 0.01, "stages": ["FGSM", {"name": "prtest", **limits}]}
            report = evaluate(Watched(how).eval(), (IMAGES, labels), plan)
            parts = [report, *(report[name].result for name in ("FGSM", "prtest"))]
            assert [named(part.flags) for part in parts] == [[["count"]] * count] * 3
        net = Watched("never").eval()
        twin = Watched("in place").eval()
        attack = MSA(net, [twin], eps=0.01, version="custom", plan=[line])
        assert named(attack.measure(IMAGES, labels).flags) == [["count"]]


def test_the_memory_of_a_model_dies_with_it() -> None:
    model = Watched("in place").eval()
    with session(model):
        model(IMAGES)
    n = len(loans._memories)
    del model
    assert len(loans._memories) == n - 1


def test_hooks_that_are_put_on_inside_are_taken_off() -> None:
    model = Watched("never").eval()
    mine = model.net.register_forward_hook(lambda *args: None)
    with session(model):
        model.net.register_forward_hook(lambda *args: None)
        model.register_forward_pre_hook(lambda *args: None)
        model.net[1].register_full_backward_hook(lambda *args: None)
    assert list(model.net._forward_hooks) == [mine.id]
    assert not model._forward_pre_hooks and not model.net[1]._backward_hooks


def test_a_nested_session_leaves_the_books_to_the_outer_one() -> None:
    model = Watched("in place").eval()
    with session(model):
        with session(model):
            model(IMAGES)
        assert model.count.tolist() == [1.0, 1.0]
    assert model.count.tolist() == [0.0, 0.0]
