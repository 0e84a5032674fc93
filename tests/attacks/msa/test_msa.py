"""Does MSA keep the promises of a probe, and its own: union, batches, surrogates, books?"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import (
    MSA,
    ConfigError,
    InputError,
    ModelContractError,
    ReliabilityWarning,
    Verdict,
)
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.testing import check_probe, small_net
from torchattacks_ext.testing.props import (
    Broken,
    balanced_net,
    example_images,
    half_frozen,
    same_state,
    state,
)

SHORT = [
    AttackSpec("noise", on="target", steps=2),
    AttackSpec("apgd", steps=5),
    AttackSpec("apgd-t", steps=4, targets=2),
    AttackSpec("fab-t", steps=3, targets=2),
    AttackSpec("square", on="target", steps=20),
    AttackSpec("warm", on="best", loss="margin", steps=5),
]
NORMS = [("Linf", 0.02), ("L2", 0.2), ("L1", 1.0)]
IMAGES = example_images(12)
linf_and_slow_others = pytest.mark.parametrize(
    "norm, eps",
    [NORMS[0], *(pytest.param(*n, marks=pytest.mark.slow) for n in NORMS[1:])],
)


def centred(n_classes: int = 5, seed: int = 0) -> nn.Module:
    """A net that can be trained: sessions must give back what they freeze."""
    return balanced_net(n_classes, seed=seed).requires_grad_(True)


def near(other: int, n_classes: int = 5) -> nn.Module:
    """The centred net with other last weights, as a relative that was trained apart."""
    net = centred(n_classes)
    net[-1].weight.data.add_(centred(n_classes, seed=other)[-1].weight.data)
    return net


def answers(net: Any, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        found: Tensor = net(images).argmax(1)
    return found


def make(model: Any, surrogates: Any = (), eps: float = 0.02, **options: Any) -> MSA:
    settings = {"version": "custom", "plan": SHORT, **options}
    return MSA(model, surrogates, eps, **settings)


def count(found: Any, verdict: Verdict) -> int:
    return int((found.verdict == int(verdict)).sum())


def measure(attack: MSA, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return attack.measure(*args, **options)


# ---------------------------------------------------------------- the contract
QUICK = [
    AttackSpec("noise", on="target", steps=1),
    AttackSpec("apgd", steps=2),
    AttackSpec("fab-t", steps=2, targets=1),
    AttackSpec("square", on="target", steps=4),
    AttackSpec("warm", on="best", loss="margin", steps=2),
]


def test_the_contract_of_a_probe_holds() -> None:
    surrogate = small_net(seed=1).eval()
    checks = check_probe(lambda model: make(model, [surrogate], 0.3, plan=QUICK), n=6)
    assert len(checks) >= 12


@pytest.mark.slow
def test_the_contract_holds_for_l2_without_surrogates() -> None:
    check_probe(lambda model: make(model, norm="L2", eps=2.0, plan=QUICK), n=5)


@pytest.mark.parametrize("version", ["autoattack", "paper", "quick", "standard"])
def test_versions_run(version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchattacks_ext.engines.autoattack.sequence import StandardSequence

    monkeypatch.setattr(StandardSequence, "__post_init__", _brief)
    net = centred(4)
    images = IMAGES[:3]
    attack = MSA(net, [near(3, 4)], eps=0.15, version=version)
    found = measure(attack, images, answers(net, images))
    assert set(found.sources) == set(attack.sources)
    assert set(found.breakdown) <= set(found.sources)
    assert found.settings["version"] == version
    assert int(found.robust.sum()) <= (
        version == "paper"
    )  # its Square alone on the target
    assert not any(flag.code == "left_out" for flag in found.flags)


def _brief(self: Any) -> None:
    from torchattacks_ext.engines.judge.harvest import Graded

    self.steps, self.n_queries, self._graded = 5, 20, Graded(self.model)


# ---------------------------------------------------------------- batches and order
@linf_and_slow_others
def test_flags_do_not_depend_on_batches_or_order(norm: Any, eps: float) -> None:
    net, images = centred(), example_images(20)
    labels = answers(net, images)
    surrogates = [near(3), near(4)]
    whole = measure(make(net, surrogates, eps, norm=norm), images, labels)
    assert 0 < int(whole.robust.sum()) < 20
    for size in (3, 7, 100):
        attack = make(net, surrogates, eps, norm=norm, batch_size=size)
        assert measure(attack, images, labels).digest() == whole.digest()
    mixed = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    other = measure(
        make(net, surrogates, eps, norm=norm, batch_size=6),
        images[mixed],
        labels[mixed],
    )
    assert other.digest() == whole.digest()
    assert torch.equal(other.first_breaker, whole.first_breaker[mixed])


# ---------------------------------------------------------------- more surrogates
@linf_and_slow_others
def test_another_surrogate_never_makes_a_row_robust(norm: Any, eps: float) -> None:
    """For plans that do not go on from the best candidate, which another surrogate may change."""
    net, images = centred(), example_images(20)
    labels = answers(net, images)
    plan = [line for line in SHORT if line.on != "best"]
    few: dict[str, nn.Module] = {}
    before = None
    for name in ("", "a", "b", "c"):
        if name:
            few = {**few, name: near(3 + len(few))}
        attack = make(net, few, eps, norm=norm, plan=plan, probe_every=1, seed=5)
        robust = measure(attack, images, labels).robust
        assert before is None or not bool((robust & ~before).any())
        before = robust


# ---------------------------------------------------------------- the images
@pytest.mark.parametrize("norm, eps", NORMS)
def test_images_lie_in_the_ball_and_fool_a_fresh_forward(
    norm: Any, eps: float, tmp_path: Path
) -> None:
    net = centred()
    labels = answers(net)
    labels[0] = (labels[0] + 1) % 5
    attack = make(net, [near(3)], eps, norm=norm, keep="memory")
    found = measure(attack, IMAGES, labels)
    images = found.images()
    assert bool(torch.isfinite(images).all())
    assert bool((images >= 0).all() and (images <= 1).all())
    length = norm_of(images - IMAGES, norm)
    assert bool((length <= eps * (1 + 1e-5)).all())
    torch.testing.assert_close(found.norm, length.double(), atol=1e-6, rtol=1e-5)
    wrong = answers(net, images) != labels
    assert torch.equal(wrong, ~found.robust) and int(wrong.sum()) > 2
    assert torch.equal(found.prediction, answers(net, images))
    assert torch.equal(images[0], IMAGES[0])  # a wrong row is left alone
    assert torch.equal(make(net, [near(3)], eps, norm=norm)(IMAGES, labels), images)
    path = tmp_path / "adv.pt"
    found.save_robustbench(path)
    assert torch.equal(torch.load(path, weights_only=True), images)


def test_without_kept_images_the_file_is_refused(tmp_path: Path) -> None:
    net = centred()
    found = measure(make(net, plan=QUICK), IMAGES, answers(net))
    with pytest.raises(InputError):
        found.save_robustbench(tmp_path / "adv.pt")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- no traces
def test_target_and_surrogates_are_given_back() -> None:
    net, other = half_frozen(centred()), half_frozen(near(3))
    before = state(net), state(other)
    rng = torch.get_rng_state()
    attack = make(net, [other])
    labels = answers(centred())
    attack(IMAGES, labels)
    measure(attack, IMAGES, labels)
    same_state(before[0], net, "of the target")
    same_state(before[1], other, "of the surrogate")
    assert torch.equal(rng, torch.get_rng_state())


def test_models_are_given_back_when_a_surrogate_raises() -> None:
    net, other, broken = half_frozen(centred()), half_frozen(near(3)), Broken(near(4))
    broken.working = False
    before = state(net), state(other), state(broken)
    attack = make(net, [other, broken])
    for verb in (attack, attack.measure):
        rng = torch.get_rng_state()
        with pytest.raises(ModelContractError, match="planted"):
            verb(IMAGES, answers(centred()))
        for model, seen in zip((net, other, broken), before):
            same_state(seen, model, "after an exception")
        assert torch.equal(rng, torch.get_rng_state())
    broken.working = True
    assert attack(IMAGES, answers(centred())).shape == IMAGES.shape


def test_a_function_around_a_model_leaves_no_gradient_in_it() -> None:
    """FAB used to fill .grad of parameters that no session can freeze."""
    net, other = centred(), near(3)
    attack = make(lambda x: net(x), [lambda x: other(x)])
    attack(IMAGES, answers(net))
    for model in (net, other):
        assert all(p.grad is None and p.requires_grad for p in model.parameters())


# ---------------------------------------------------------------- classes
@pytest.mark.parametrize(
    "n_classes",
    [3, 100, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5, 8, 10))],
)
def test_any_number_of_classes(n_classes: int) -> None:
    net = centred(n_classes)
    for norm, eps in NORMS:
        attack = make(net, [near(3, n_classes)], eps, norm=norm)
        found = measure(attack, IMAGES, answers(net))
        assert 0 < int((found.first_breaker >= 0).sum())
        assert count(found, Verdict.ROBUST) == 0


# ---------------------------------------------------------------- scale of inputs
def test_normalised_inputs_give_the_same_decisions() -> None:
    net, other = centred(), near(3)

    def scaled(inner: nn.Module) -> nn.Module:
        class Scaled(nn.Module):
            def forward(self, inputs: Tensor) -> Any:
                return inner(inputs * 0.5 + 0.25)

        return Scaled()

    labels = answers(net)
    plain = measure(make(net, [other]), IMAGES, labels)
    attack = make(scaled(net), [scaled(other)])
    attack.set_normalization_used([0.25], [0.5])
    found = measure(attack, (IMAGES - 0.25) / 0.5, labels)
    assert torch.equal(found.robust, plain.robust)
    assert torch.equal(found.first_breaker, plain.first_breaker)
    pixels = make(scaled(net), [other], surrogate_normalization=None)
    pixels.set_normalization_used([0.25], [0.5])
    found = measure(pixels, (IMAGES - 0.25) / 0.5, labels)
    assert torch.equal(found.first_breaker, plain.first_breaker)


# ---------------------------------------------------------------- torchattacks
def test_it_works_inside_multiattack_and_save(tmp_path: Path) -> None:
    net = centred()
    labels = answers(net)
    multi = torchattacks.MultiAttack([make(net, plan=QUICK), make(net, [near(3)])])
    assert multi(IMAGES, labels).shape == IMAGES.shape
    attack = make(net, [near(3)])
    path = tmp_path / "saved.pt"
    scores = attack.save([(IMAGES, labels)], path, verbose=False, return_verbose=True)
    robust = float(measure(attack, IMAGES, labels).robust.double().mean())
    assert scores is not None and scores[0] == pytest.approx(100 * robust)
    with pytest.raises(ConfigError, match="no targeted mode"):
        attack.set_mode_targeted_by_label()
    with pytest.raises(InputError, match="labels"):
        attack(IMAGES)
