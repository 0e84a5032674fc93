"""Are the measures those of their formulas, row by row and class by class?"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import MSA, ConfigError, InputError
from torchattacks_ext.defenses import HPMModel, sensitivity_report
from torchattacks_ext.defenses.sensitivity.heads import FlatHead
from torchattacks_ext.defenses.sensitivity.paper import (
    angles,
    condition,
    distance_change,
    linear_change,
)
from torchattacks_ext.results.heads import HeadNumbers, HeadPair, HeadSensitivity

from .conftest import EPS, data


def rows(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


# ---------------------------------------------------------------------- the paper's measures
def test_the_relative_changes_are_the_papers_angle_by_angle() -> None:
    z, e, w = rows(7, 6, 0), rows(7, 6, 1), rows(4, 6, 2)
    s_c, (s_d, top) = linear_change(z, e, w), distance_change(z, e, w)
    for i in range(7):
        for k in range(4):
            size = [float(v.norm()) for v in (e[i], z[i], w[k])]
            g, t = (float(v[i] @ w[k]) / (v[i].norm() * w[k].norm()) for v in (e, z))
            assert s_c[i, k] == pytest.approx(
                size[0] * abs(float(g)) / (size[1] * abs(float(t)))
            )
            far = [float((v - w[k]).norm()) for v in (z[i], z[i] + e[i])]
            assert s_d[i, k] == pytest.approx(abs(far[1] - far[0]) / far[0])
            below = size[1] ** 2 + size[2] ** 2 - 2 * size[1] * size[2] * float(t)
            assert top[i, k] == pytest.approx(size[0] / math.sqrt(below))
    assert bool((s_d <= top + 1e-12).all())  # a supremum


def test_eq_8_suffices_whatever_row_and_centroid_are() -> None:
    held = 0
    for seed in range(20):
        z, e, w = rows(9, 3, seed), rows(9, 3, 50 + seed), rows(4, 3, 90 + seed)
        p = rows(4, 3, 130 + seed)
        holds = condition(angles(z, w), angles(z, p), angles(e, w))
        larger = linear_change(z, e, w) >= distance_change(z, e, p)[1]
        assert bool((larger | ~holds).all())
        held += int(holds.sum())
    assert held > 100


# ---------------------------------------------------------------------- fair numbers
@pytest.mark.parametrize("kind", ["dot", "l2", "l2sq"])
def test_the_boundary_is_where_two_logits_meet(kind: Any) -> None:
    z, w, labels = rows(9, 4, 0), rows(5, 4, 1), torch.arange(9) % 5
    bias = rows(1, 5, 2)[0] if kind == "dot" else None
    head = FlatHead("h", w, bias, kind)
    found = head.boundaries(z, labels)
    for i, y in enumerate(labels.tolist()):
        for c in range(5):
            if c == y:
                assert found[i, c] == math.inf
                continue
            way = w[y] - w[c]
            if bias is not None:
                literal = (way @ z[i] + bias[y] - bias[c]) / way.norm()
            else:
                literal = (z[i] - w[c]).square().sum() - (z[i] - w[y]).square().sum()
                literal = literal / (2 * way.norm())
            assert found[i, c] == pytest.approx(float(literal))
            foot = z[i] - literal * way / way.norm()
            scores = head.logits(foot[None])[0]
            assert float(scores[y]) == pytest.approx(float(scores[c]), abs=1e-9)


def test_squared_distances_are_a_linear_head(hpm: HPMModel) -> None:
    p = hpm.head.of_all
    linear = nn.Linear(p.shape[1], 5)
    with torch.no_grad():
        linear.weight.copy_(2 * p)
        linear.bias.copy_(-p.square().sum(1))
    images, labels = data(40, 3)
    shown = (images + 0.05 * (-1) ** torch.arange(8)).clamp(0, 1)
    found = sensitivity_report(
        hpm.trunk, images, labels, eps=0.1, attack=shown, linear=linear, centroids=p
    )
    one, other = found.heads
    assert one.n_right == other.n_right > 20 and one.n_kept == other.n_kept
    for name in ("distance", "moved", "reach"):  # what is fair cannot tell them apart
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3)
    assert not one.own == pytest.approx(other.own, rel=0.1)  # what is not, does
    # the same decisions, so no image speaks for either
    assert found.pairs[0].only_linear == found.pairs[0].only_distance == 0


# ---------------------------------------------------------------------- the whole
def test_an_hpm_model_has_three_heads(hpm: HPMModel, told: HeadSensitivity) -> None:
    assert [(h.name, h.kind) for h in told.heads] == [
        ("fc", "linear"),
        ("l2", "distance"),
        ("hpm", "distance"),
    ]
    assert [pair.distance for pair in told.pairs] == ["l2", "hpm"]
    for head in told.heads:
        assert 30 < head.n_right <= 60 and 0 < head.n_kept < head.n_right
        assert sum(head.law("features", "own").counts) == 60  # type: ignore[union-attr]
        assert head.law("features", "other").n == 240  # type: ignore[union-attr]
        # who loses all of the margin errs, who is moved less than the distance does not
        assert head.normalised[-1] > 1 > head.reach[0]
    for pair in told.pairs:
        assert 0 < pair.isotropic < 0.5 < pair.isotropic_at < 1
        # the fitted laws, taken as independent, are near what was counted
        assert abs(pair.other - pair.held_other) < 0.15


def test_it_leaves_the_model_as_it_was(hpm: HPMModel) -> None:
    hpm.train()
    state = torch.get_rng_state()
    before = {name: one.clone() for name, one in hpm.state_dict().items()}
    sensitivity_report(hpm, *data(6, 4), eps=EPS)
    assert hpm.training and all(p.requires_grad for p in hpm.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one, before[n]) for n, one in hpm.state_dict().items())
    hpm.eval()


def test_any_attack_gives_the_change(hpm: HPMModel) -> None:
    images, labels = data(8, 5)
    net = nn.Sequential(hpm.trunk, hpm.head.fc)
    zoo = torchattacks.PGD(net, eps=EPS, alpha=EPS / 2, steps=3)
    lines = [{"kind": "apgd", "steps": 3}]

    def ours(model: nn.Module) -> MSA:
        return MSA(model, eps=EPS, version="custom", plan=lines)

    def far(model: nn.Module) -> Any:
        return lambda images, labels: (images + 0.5).clamp(0, 1)

    for attack, words in (
        (zoo, "PGD, the same"),
        (ours, "ours, on each"),
        (far, "far, on each"),
        (images, "images that were given"),
    ):
        found = sensitivity_report(hpm, images, labels, eps=EPS, attack=attack)
        assert found.attack.startswith(words)
    assert found.heads[0].moved[-1] == 0 and found.heads[0].reach[0] == math.inf
    near = sensitivity_report(hpm, images, labels, eps=0.0, attack=far)
    assert near.heads[0].moved[-1] == 0  # projected on the ball, whatever came back


def test_l2_and_other_batch_sizes(hpm: HPMModel) -> None:
    images, labels = data(8, 6)
    one = sensitivity_report(hpm, images, labels, eps=0.5, norm="L2")
    other = sensitivity_report(hpm, images, labels, eps=0.5, norm="L2", batch_size=3)
    for a, b in zip(one.heads, other.heads):
        assert a.reach == pytest.approx(b.reach, rel=1e-3)
    assert one.heads[0].n_kept < one.heads[0].n_right


PLAIN = {"n": 20, "steadier": 10, "farther": 10, "only_linear": 0}


def test_pairs_answer_only_where_the_interval_does(told: HeadSensitivity) -> None:
    blank = {name: math.nan for name in ("isotropic", "isotropic_at", "own", "other")}
    blank |= {n: math.nan for n in ("mixed", "held_own", "held_other", "larger_own")}

    def answers(**counts: int) -> dict[str, str]:
        pair = HeadPair(
            linear="a",
            distance="b",
            **blank,
            larger_other=math.nan,
            **{**PLAIN, **counts},  # type: ignore[arg-type]
        )
        return dict(pair.answers())

    assert set(answers(only_distance=0).values()) == {"open"}
    assert answers(farther=16, only_distance=0)["reach"] == "against"
    assert answers(farther=15, only_distance=0)["reach"] == "against"
    assert answers(farther=14, only_distance=0)["reach"] == "open"
    assert answers(steadier=3, only_distance=0)["normalised"] == "for"
    assert answers(only_distance=5)["kept"] == "open"
    assert answers(only_distance=6)["kept"] == "for"


def test_json_comes_back(told: HeadSensitivity) -> None:
    text = told.to_json()
    again = HeadSensitivity.from_json(text)
    assert again == told and again.to_json() == text
    data = {**told.to_dict(), "later": [1]}
    assert HeadSensitivity.from_dict(data).to_dict() == data
    with pytest.raises(InputError, match="damaged"):
        HeadSensitivity.from_dict({**data, "heads": [{"name": "x"}]})
    assert told.head("l2").name == "l2" and isinstance(told.head("fc"), HeadNumbers)
    with pytest.raises(InputError, match="none of the heads"):
        told.head("cf")
    assert told.summary()["hpm beside fc"].keys() == {"normalised", "reach", "kept"}
    assert repr(told).startswith("HeadSensitivity(n=60, eps=0.03")


def test_refusals(hpm: HPMModel) -> None:
    images, labels = data(4, 0)
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (hpm, {"centroids": hpm.head.of_all}, ConfigError, "leave linear="),
        (hpm, {"norm": "L1"}, ConfigError, "give attack="),
        (hpm, {"norm": "l2"}, ConfigError, "did you mean"),
        (hpm, {"eps": -1}, ConfigError, "eps=-1"),
        (hpm, {"attack": images[:2]}, InputError, "expected images"),
        (nn.Flatten(), {}, ConfigError, "no Linear ran|not a Linear"),
    ]
    for model, settings, kind, words in wrong:
        with pytest.raises(kind, match=words):
            sensitivity_report(model, images, labels, **settings)
    with pytest.raises(InputError, match="labels run from"):
        sensitivity_report(hpm, images, labels + 2)
    with pytest.raises(InputError, match="at least two"):
        sensitivity_report(hpm, images[:1], labels[:1])
    linear = hpm.head.fc
    with pytest.raises(InputError, match="one row a class"):
        sensitivity_report(
            hpm.trunk, images, labels, linear=linear, centroids=torch.zeros(2, 2)
        )
