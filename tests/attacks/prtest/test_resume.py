"""Can the worst draws of PRTest be shown again, and can a run be gone on with?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from torchattacks_ext import ProbRobustness, PRTest, StateError, StatusError, Verdict
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images


# ---------------------------------------------------------------- worst draws
@pytest.mark.parametrize("keep", ["memory", "files"])
def test_the_worst_draw_is_replayed_and_kept(keep: str, tmp_path: Any) -> None:
    net = small_net().eval()
    images = example_images(9)
    labels = net(images).argmax(1)
    place = "memory" if keep == "memory" else tmp_path / "kept"
    test = PRTest(net, eps=0.2, tolerance=0.1, n_max=200, keep=place, batch_size=5)
    result = test.measure(images, labels)
    shown = test.replay(images, result.ids, result.worst_draw)
    assert torch.equal(result.images(), shown)
    with torch.no_grad():
        logits = net(shown)
    rest = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    margin = logits.gather(1, labels[:, None])[:, 0] - rest
    torch.testing.assert_close(
        margin.double(), result.worst_margin, rtol=1e-4, atol=1e-5
    )
    failing = result.n_failures > 0
    assert bool((logits.argmax(1) != labels)[failing].all())
    back = type(result).from_json(result.to_json())
    if keep == "files":
        assert torch.equal(back.images(), shown)


def test_the_worst_draw_is_the_worst_of_all_draws() -> None:
    net = small_net().eval()
    images = example_images(3)
    labels = net(images).argmax(1)
    test = PRTest(net, eps=0.2, tolerance=0.1, n_max=100)
    result = test.measure(images, labels)
    for row in range(3):
        n = int(result.n_samples[row])
        ids = result.ids[row].expand(n)
        drawn = test.replay(images[row].expand(n, -1, -1, -1), ids, torch.arange(n))
        with torch.no_grad():
            logits = net(drawn)
        label = labels[row].expand(n)
        rest = logits.scatter(1, label[:, None], -torch.inf).amax(1)
        margin = logits.gather(1, label[:, None])[:, 0] - rest
        assert int((logits.argmax(1) != label).sum()) == int(result.n_failures[row])
        assert float(margin.min()) == pytest.approx(
            float(result.worst_margin[row]), abs=1e-5
        )


def test_a_call_shows_the_worst_of_its_draws() -> None:
    net = small_net().eval()
    images = example_images(5)
    labels = net(images).argmax(1)
    test = PRTest(net, eps=0.2, n_queries=40)
    found = test(images, labels)
    ids = test._ids(images, labels)
    best = torch.full((5,), float("inf"))
    expected = images.clone()
    for draw in range(40):
        drawn = test.replay(images, ids, torch.full((5,), draw))
        with torch.no_grad():
            logits = net(drawn)
        rest = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        margin = logits.gather(1, labels[:, None])[:, 0] - rest
        better = margin < best
        expected[better], best[better] = drawn[better], margin[better]
    assert torch.equal(found, expected)


# ---------------------------------------------------------------- resume
def test_resume_refuses_what_does_not_fit() -> None:
    images = example_images(6)
    net = small_net().eval()
    labels = net(images).argmax(1)
    options: dict[str, Any] = dict(eps=0.1, tolerance=0.1, significance=0.1)
    first = PRTest(net, n_max=60, **options).measure(images, labels)
    longer = PRTest(net, n_max=200, **options)
    with pytest.raises(StateError, match="other settings"):
        PRTest(net, n_max=200, **(options | {"eps": 0.2})).measure(
            images, labels, resume=first
        )
    with pytest.raises(StateError, match="another model"):
        PRTest(small_net(seed=3), n_max=200, **options).measure(
            images, labels, resume=first
        )
    with pytest.raises(StateError, match="same data"):
        longer.measure(images[:3], labels[:3], resume=first)
    with pytest.raises(StateError, match="not in the result"):
        longer.measure(1 - images, labels, resume=first)
    with pytest.raises(StatusError):
        longer.measure(images, labels, resume={"n": 3})


def test_resume_through_a_file(measurements_agree: Any) -> None:
    images = example_images(6)
    net = small_net().eval()
    labels = net(images).argmax(1)
    options: dict[str, Any] = dict(eps=0.2, tolerance=0.1)
    first = PRTest(net, n_max=100, **options).measure(images, labels)
    stored = ProbRobustness.from_dict(json.loads(first.to_json()))
    whole = PRTest(net, n_max=400, **options).measure(images, labels)
    test = PRTest(net, n_max=400, **options)
    resumed = test.measure(images, labels, resume=stored)
    assert resumed.digest() == whole.digest()
    measurements_agree(resumed, whole)
    again = test.measure(images, labels, resume=resumed)
    assert (
        again.digest() == whole.digest() and again.cost.forward == resumed.cost.forward
    )


def test_prediction_is_a_reference_that_needs_no_labels() -> None:
    images = example_images(6)
    net = small_net().eval()
    predicted = net(images).argmax(1)
    test = PRTest(net, eps=0.1, tolerance=0.1, reference="prediction")
    result = test.measure(images)
    assert torch.equal(result.reference, predicted)
    assert (
        result.count(Verdict.MISCLASSIFIED) == 0 and (result.clean_correct == -1).all()
    )
    assert test(images).shape == images.shape


def test_misclassified_images_cost_one_pass_and_claim_nothing() -> None:
    images = example_images(6)
    net = small_net().eval()
    wrong = (net(images).argmax(1) + 1) % 3
    result = PRTest(net, eps=0.1).measure(images, wrong)
    assert result.count(Verdict.MISCLASSIFIED) == 6 and int(result.n_samples.sum()) == 0
    assert (result.p_fail_lower == 0).all() and (result.p_fail_upper == 1).all()
    assert result.pra == 0.0
