"""What does PRTest say of images that are wrong already, of groups, shared noise and the mean?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    LinfUniform,
    ProbRobustness,
    PRTest,
    ReliabilityWarning,
    Verdict,
)
from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(8)
OPTIONS: dict[str, Any] = dict(tolerance=0.1, significance=0.05, n_max=200)
every_test = pytest.mark.parametrize("name", ["eprocess", "sprt", "fixed", "group"])


def net_and_labels() -> tuple[nn.Module, Tensor]:
    """A net and labels of which those of the images 1 and 4 are wrong."""
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    labels[[1, 4]] = (labels[[1, 4]] + 1) % 3
    return net, labels


# ---------------------------------------------------------------- wrong images
@every_test
def test_wrong_images_are_sampled_and_never_counted_as_certified(name: str) -> None:
    net, labels = net_and_labels()
    sample: dict[str, Any] = dict(test=name, clean_policy="sample", n_mean=0)
    result = PRTest(net, 0.01, **sample, **OPTIONS).measure(IMAGES, labels)
    wrong = torch.tensor([1, 4])
    assert (result.clean_correct[wrong] == 0).all()
    assert (result.n_samples > 0).all() and result.count(Verdict.MISCLASSIFIED) == 0
    assert (result.verdict[wrong] == int(Verdict.NOT_ROBUST)).all()
    assert not bool(result.certified[wrong].any())
    plain = PRTest(net, 0.01, test=name, **OPTIONS).measure(IMAGES, labels)
    assert (plain.verdict[wrong] == int(Verdict.MISCLASSIFIED)).all()
    right = torch.tensor([0, 2, 3, 5, 6, 7])
    for column in ("verdict", "n_samples", "n_failures", "p_fail_upper"):
        one, other = getattr(result, column), getattr(plain, column)
        assert torch.equal(one[right], other[right]), column
    assert result.summary()["certified"] == int(plain.certified.sum()) == result.pra * 8


def test_a_wrong_image_that_the_noise_heals_is_robust_but_not_certified() -> None:
    """The clean image alone fails: p_fail is 0, and yet its accuracy is not certified."""
    grey = torch.full((2, 1, 2, 2), 0.5)
    grey[1] += 0.01

    def shy(images: Tensor) -> Tensor:
        clean = images.flatten(1).amax(1) == images.flatten(1).amin(1)
        sign = 1 - 2 * clean.to(images.dtype)
        return torch.stack([sign, -sign], 1)

    test = PRTest(shy, 0.1, clean_policy="sample", n_mean=4, **OPTIONS)
    result = test.measure(grey, torch.zeros(2, dtype=torch.long))
    assert result.count(Verdict.ROBUST) == 2 and (result.clean_correct == 0).all()
    assert not bool(result.certified.any()) and result.pra == 0
    found = result.summary()
    assert found["robust"] == 2 and found["certified"] == 0
    assert found["mean_failure"] == 0


# ---------------------------------------------------------------- the mean
@pytest.mark.parametrize("clean_policy", ["fail", "sample"])
def test_draws_for_the_mean_are_those_of_a_hand_computation(clean_policy: Any) -> None:
    """16 draws of numbers of their own for each image, wrong ones too."""
    net, labels = net_and_labels()
    ids = torch.arange(8) * 7 + 3
    n_mean = None if clean_policy == "sample" else 16
    options: dict[str, Any] = dict(clean_policy=clean_policy, n_mean=n_mean, seed=5)
    test = PRTest(net, 0.2, **options, **OPTIONS)
    result = test.measure(IMAGES, labels, ids=ids)
    law, failures = LinfUniform(0.2), np.zeros(8, dtype=np.int64)
    for draw in range(16):
        noise = keyed(5, ids, draw, f"mean:{law.name}")
        with torch.no_grad():
            answers = net(law.sample(IMAGES, noise)).argmax(1)
        failures += (answers != labels).numpy()
    assert (result.n_mean == 16).all()
    assert result.mean_failures.tolist() == failures.tolist()
    assert 0 < failures.sum() < 128 and failures[1] > 0
    found = result.summary()
    assert found["mean_failure"] == failures.sum() / 128
    low, high = found["mean_failure_bounds"]
    assert low < failures.sum() / 128 < high
    again = PRTest(net, 0.2, batch_size=3, **options, **OPTIONS)
    assert again.measure(IMAGES, labels, ids=ids).digest() == result.digest()


def test_without_draws_for_the_mean_it_is_left_out_with_a_reason() -> None:
    net, labels = net_and_labels()
    result = PRTest(net, 0.1, **OPTIONS).measure(IMAGES, labels)
    found = result.summary()
    assert (result.n_mean == 0).all() and found["mean_failure"] is None
    assert "n_mean=16" in found["left_out"]["mean_failure_bounds"]


def test_a_budget_that_ends_before_the_mean_leaves_it_out() -> None:
    net, labels = net_and_labels()
    test = PRTest(net, 0.1, n_mean=16, max_queries=150, batch_size=4, **OPTIONS)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = test.measure(IMAGES, labels)
    assert result.cost.forward <= 150
    assert result.summary()["mean_failure_bounds"] is None


# ---------------------------------------------------------------- shared noise
class Recorder(nn.Module):
    """A net that keeps what it saw; a last row of pixels, which it does not use, tells images."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().clone())
        score = images.flatten(1).mean(1) - 0.45
        return torch.stack([score, -score], 1) * self.scale


def test_draw_number_i_is_the_same_noise_for_every_image() -> None:
    levels = torch.tensor([0.5, 0.625, 0.75])
    images = levels.reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3).contiguous()
    zeros = torch.zeros(3, dtype=torch.long)
    noises: dict[bool, list[Tensor]] = {}
    for shared in (True, False):
        net = Recorder()
        test = PRTest(net, 0.03125, shared_noise=shared, batch_size=5, **OPTIONS)
        result = test.measure(images, zeros)
        draws = torch.cat(net.seen)
        draws = draws[draws.flatten(1).std(1) > 0]  # without the clean ones
        which = (draws.flatten(1).mean(1)[:, None] - levels).abs().argmin(1)
        noises[shared] = [draws[which == i] - levels[i] for i in range(3)]
        assert (result.n_samples == len(noises[shared][0])).all()
        shown = test.replay(images, result.ids, result.worst_draw)
        moved = shown - levels.reshape(-1, 1, 1, 1)
        for i in range(3):
            place = int(result.worst_draw[i])
            torch.testing.assert_close(moved[i], noises[shared][i][place])
    for i in (1, 2):
        torch.testing.assert_close(noises[True][0], noises[True][i], rtol=0, atol=2e-7)
        away = (noises[False][0] - noises[False][i]).abs().flatten(1).amax(1)
        assert bool((away > 1e-4).all())


@every_test
def test_shared_noise_gives_one_digest_and_no_claim_of_independence(name: str) -> None:
    net, labels = net_and_labels()
    options: dict[str, Any] = dict(test=name, shared_noise=True, **OPTIONS)
    found = [
        PRTest(net, 0.2, batch_size=size, **options).measure(IMAGES, labels)
        for size in (256, 1, 7)
    ]
    assert len({result.digest() for result in found}) == 1
    summary = found[0].summary()
    assert summary["count_bound"] is None and summary["population_bounds"] is None
    assert "shared" in summary["left_out"]["count_bound"]
    with pytest.raises(ConfigError, match="independent images"):
        found[0].corrected("bh")
    for method in ("holm", "by"):
        assert found[0].corrected(method).shape == (8,)
    apart = PRTest(net, 0.2, test=name, **OPTIONS).measure(IMAGES, labels)
    assert apart.digest() != found[0].digest()
    assert apart.summary()["count_bound"] is not None


# ---------------------------------------------------------------- groups
def batches(
    net: nn.Module, labels: Tensor, groups: bool = True
) -> list[dict[str, Any]]:
    names = [["b", "a", "b", "a"], ["a", "c", "a", "b"]]
    parts = [slice(0, 4), slice(4, 8)]
    found: list[dict[str, Any]] = [
        {"images": IMAGES[part], "labels": labels[part]} for part in parts
    ]
    if groups:
        for batch, name in zip(found, names):
            batch["groups"] = name
    return found


def test_groups_come_with_the_data_and_stay_with_their_rows() -> None:
    net, labels = net_and_labels()
    test = PRTest(net, 0.15, n_mean=4, **OPTIONS)
    result = test.measure(batches(net, labels))
    assert result.groups == ("b", "a", "b", "a", "a", "c", "a", "b")
    plain = test.measure(batches(net, labels, groups=False))
    assert plain.groups is None and plain.digest() == result.digest()
    parts = result.by_group()
    assert list(parts) == ["a", "b", "c"] and plain.by_group() == {}
    assert [len(part) for part in parts.values()] == [4, 3, 1]
    assert torch.equal(parts["b"].ids, result.ids[[0, 2, 7]])
    found = result.summary()
    assert list(found["groups"]) == ["a", "b", "c"]
    for key in ("n", "robust", "not_robust", "misclassified", "certified", "samples"):
        assert sum(part[key] for part in found["groups"].values()) == found[key]
    assert found["groups"]["a"] == parts["a"].summary()
    assert "groups" not in plain.summary()
    back = ProbRobustness.from_dict(json.loads(result.to_json()))
    assert back.groups == result.groups and back.to_dict() == result.to_dict()
    shuffled = result.select(result.ids.flip(0))
    assert shuffled.groups == result.groups[::-1]


def test_a_part_without_groups_joins_parts_that_have_them() -> None:
    net, labels = net_and_labels()
    test = PRTest(net, 0.15, **OPTIONS)
    first = test.measure(batches(net, labels)[:1])
    second = test.measure(batches(net, labels, groups=False)[1:])
    joined = ProbRobustness.concat([first, second])
    assert joined.groups == ("b", "a", "b", "a", "", "", "", "")
    assert list(joined.by_group()) == ["", "a", "b"]
    back = ProbRobustness.from_json(joined.to_json())
    assert back.groups == joined.groups and back.digest() == joined.digest()
    assert ProbRobustness.concat([second]).groups is None
