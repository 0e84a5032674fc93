"""Do results and books of MSA say what was done, within the budget?"""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, ReliabilityWarning, Verdict
from torchattacks_ext._typing import Status
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.results.attack import AttackResult
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


def test_a_spent_budget_leaves_rows_undecided() -> None:
    net = balanced_net()
    attack = make(net, eps=0.02, max_queries=80, batch_size=4)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        found = attack.measure(IMAGES, answers(net))
    late = found.status == int(Status.NOT_REACHED)
    assert 0 < int(late.sum()) < len(IMAGES)
    assert bool((found.verdict[late] == int(Verdict.UNDECIDED)).all())
    assert bool((found.first_breaker[late] == -1).all())


@pytest.mark.parametrize(
    "version, limit",
    [("custom", 100), ("custom", 400), ("autoattack", 400), ("autoattack", 2000)],
)
def test_max_queries_was_passed_within_a_batch(version: Any, limit: int) -> None:
    """A batch was begun whatever it would cost; now a run that does not fit is not begun."""
    net = balanced_net()
    options: dict[str, Any] = dict(max_queries=limit)
    if version == "custom":
        attack = make(net, {"kin": near(3)}, eps=0.02, **options)
    else:
        attack = MSA(net, eps=0.02, version=version, **options)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        found = attack.measure(IMAGES, answers(net))
    assert found.cost.forward <= limit
    assert (found.verdict != int(Verdict.ROBUST)).all()


@pytest.mark.parametrize("eps", [0.0, 1e-6, 0.02, 1.0])
def test_no_verdict_is_robust_and_breakers_have_names(eps: float) -> None:
    net = balanced_net()
    labels = answers(net)
    labels[:2] = (labels[:2] + 1) % 5
    found = measure(make(net, {"kin": near(3)}, eps), IMAGES, labels)
    assert int((found.verdict == int(Verdict.ROBUST)).sum()) == 0
    assert int((found.verdict == int(Verdict.MISCLASSIFIED)).sum()) == 2
    broken = found.verdict == int(Verdict.NOT_ROBUST)
    assert torch.equal(found.first_breaker >= 0, broken)
    assert torch.equal(found.margin < 0, ~found.robust)
    counts = {name: 0 for name in found.sources}
    for number in found.first_breaker[broken].tolist():
        counts[found.sources[number]] += 1
    for name, book in found.breakdown.items():
        assert book["broken"] == counts[name]
    names = {name.partition("/")[0] for name in found.sources}
    assert names == {"kin", "target"}
    assert bool(broken.any()) is (eps > 0.01) and bool(broken[2:].all()) is (eps == 1)


def test_the_books_add_up_to_the_cost() -> None:
    net = balanced_net()
    one = measure(make(net, [near(3)], batch_size=5), IMAGES, answers(net))
    forward = sum(book["forward"] for book in one.breakdown.values())
    # beside the attacks: the clean look at each row, one row for K a batch, the look at the model
    assert one.cost.forward - 70 - 12 - 3 <= forward < one.cost.forward
    assert one.cost.backward == sum(b["backward"] for b in one.breakdown.values())


def test_json_there_and_back_and_concat() -> None:
    net = balanced_net()
    labels = answers(net)
    attack = make(net, [near(3)])
    whole = measure(attack, IMAGES, labels)
    back = AttackResult.from_json(whole.to_json())
    assert back.digest() == whole.digest() and back.sources == whole.sources
    assert json.loads(json.dumps(back.breakdown)) == whole.breakdown
    assert torch.equal(back.first_breaker, whole.first_breaker)
    halves = [measure(attack, IMAGES[i : i + 6], labels[i : i + 6]) for i in (0, 6)]
    joined = AttackResult.concat(halves)
    assert joined.digest() == whole.digest() and joined.sources == whole.sources
    assert torch.equal(joined.first_breaker, whole.first_breaker)
