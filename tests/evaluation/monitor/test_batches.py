"""One batch: clean ones pass, shifted ones alarm by name, and what cannot be judged is an error."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from torchattacks_ext.errors import (
    ConfigError,
    InputError,
    ReliabilityWarning,
    StateError,
)
from torchattacks_ext.evaluation.monitor import check_batch, fit_reference
from torchattacks_ext.evaluation.monitor.check import held
from torchattacks_ext.evaluation.monitor.how import How
from torchattacks_ext.evaluation.monitor.measured import measure
from torchattacks_ext.models import NormalizedModel
from torchattacks_ext.results.monitor import Alert, Reference
from torchattacks_ext.testing.props import balanced_net, same_state, state


def test_features_are_what_goes_into_the_last_linear(scene: Any) -> None:
    net, known, _, reference = scene
    with torch.no_grad():
        wanted = net[:7](known)
    assert torch.allclose(reference.features, wanted, atol=1e-6)
    assert reference.settings["place"] == "penultimate:7"
    logits = fit_reference(net, known, features="logits", score="max_softmax")
    assert torch.allclose(logits.features, net(known).detach(), atol=1e-6)
    p = net(known).detach().double().softmax(1).amax(1)
    assert torch.allclose(logits.scores, torch.log1p(-p), atol=1e-5)


def test_the_score_is_that_of_fimscore_and_the_model_is_given_back(scene: Any) -> None:
    from torchattacks_ext import FIMScore

    net, known, new, reference = scene
    lam = FIMScore(net, kl=False).measure(known[:9]).log_lam
    assert torch.allclose(reference.scores[:9], lam, atol=1e-5)
    net.train()
    before, rng = state(net), torch.get_rng_state()
    found = check_batch(reference, net, new)
    same_state(before, net, "are as they were")
    assert torch.equal(rng, torch.get_rng_state())
    assert not any(module._forward_hooks for module in net.modules())
    net.eval()
    assert (found.alarm, found.severity, found.runbook) == (False, "none", ())


def test_a_shift_alarms_with_the_tests_by_name_and_a_run_book(scene: Any) -> None:
    net, _, new, reference = scene
    found = check_batch(reference, net, new / 3)
    assert found.alarms == ("MMD of features", "KS of the score", "KS by feature")
    assert found.severity == "high" and found.above > 0.7
    first = found.moved[0]
    x = reference.features[:, first.feature].numpy()
    y = measure(net, new / 3, How()).features[:, first.feature].numpy()
    assert first.distance == pytest.approx(stats.ks_2samp(x, y).statistic)
    assert [step.costs for step in found.runbook][0].startswith("minutes")
    assert "higher" in found.runbook[2].tells
    assert Alert.from_json(found.to_json()).to_dict() == found.to_dict()


def test_labels_batches_and_order_of_loading_change_nothing(scene: Any) -> None:
    net, known, new, reference = scene
    labels = torch.full((len(new),), 99)  # no class of the net: nobody looks
    one = check_batch(reference, net, (new, labels), batch_size=7)
    other = check_batch(reference, net, [{"images": part} for part in new.split(33)])
    assert [t.p_value for t in one.tests] == [t.p_value for t in other.tests]
    assert one.data == other.data
    assert fit_reference(net, known, n=120).ids.tolist() == (
        reference.ids[:120].tolist()
    )


def test_clean_splits_alarm_at_most_as_often_as_stated() -> None:
    # false alarm of this test: <= 1e-6
    rng, level, runs = np.random.default_rng(0), 0.1, 100
    pool = rng.normal(size=(400, 3)).round(1)
    alarms = 0
    for seed in range(runs):
        rows = rng.permutation(400)[:150]
        sides = [torch.from_numpy(pool[part]) for part in (rows[:120], rows[120:])]
        x, y = (
            {"features": s.float(), "scores": s[:, 0], "ids": torch.arange(len(s))}
            for s in sides
        )
        y["ids"] = y["ids"] + 1000
        facts: Any = {"place": "", "shape": (), "flags": ()}
        seen = measured_as(**y, **facts)
        alarms += held(Reference(**x), seen, level, 59, seed).alarm
    assert alarms <= stats.binom.ppf(1 - 1e-6, runs, level)


def test_other_last_digits_are_no_shift() -> None:
    """A dead feature is 0.3 on one device and 0.3 + 1e-7 on another: whole batches differ there."""
    rng = np.random.default_rng(1)
    x, y = (torch.from_numpy(rng.normal(size=(n, 4))).float() for n in (200, 50))
    x[:, 2], y[:, 2] = 0.3, 0.3 + 1e-7
    known = Reference(features=x, scores=x[:, 0].double(), ids=torch.arange(200))
    facts: Any = {"place": "", "shape": (), "flags": ()}
    ids = torch.arange(1000, 1050)
    seen = measured_as(features=y, scores=y[:, 0].double(), ids=ids, **facts)
    assert not held(known, seen, 0.01, 299, 0).alarm
    y[:, 2] = 0.5
    seen = measured_as(features=y, scores=y[:, 0].double(), ids=ids, **facts)
    found = held(known, seen, 0.01, 299, 0)
    assert [one.feature for one in found.moved] == [2]


def measured_as(**parts: Any) -> Any:
    from torchattacks_ext.evaluation.monitor.measured import Measured

    return Measured(**parts, cost=Reference.cost, provenance={})


def test_memory_is_flat_in_the_number_of_checks(scene: Any) -> None:
    _, _, new, reference = scene
    seen = measure(scene.net, new[:50], How(score="energy"))
    for seed in range(3):
        held(reference, seen, 0.05, 59, seed)
    tracemalloc.start()
    held(reference, seen, 0.05, 59, 0)
    before = tracemalloc.get_traced_memory()[0]
    for seed in range(6):
        held(reference, seen, 0.05, 59, seed)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 30_000  # a kept Gram matrix would be 6 times 250,000


# ---------------------------------------------------------------------- what is refused
class Unread(torch.utils.data.Dataset[torch.Tensor]):
    """A set that counts how often it is asked."""

    def __init__(self, n: int) -> None:
        self.n, self.asked = n, 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, place: int) -> torch.Tensor:
        self.asked += 1
        return torch.zeros(1, 8, 8)


class Odd(nn.Module):
    """The net, with something wrong for images that are darker than .2."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(images)
        dark = images.flatten(1).amax(1) < 0.2
        return torch.where(dark[:, None], torch.nan, out)


def test_another_model_is_refused_by_its_weights(scene: Any) -> None:
    _, known, new, reference = scene
    with pytest.raises(StateError, match="of another model .sha256 .* then, .* now"):
        check_batch(reference, balanced_net(seed=1), new)
    scaled = NormalizedModel(scene.net, [0.5], [0.5])
    with pytest.raises(StateError, match="class Sequential then, NormalizedModel now"):
        check_batch(reference, scaled, new)
    with pytest.raises(ConfigError, match="give tag="):
        fit_reference(lambda x: scene.net(x), known, score="max_softmax")
    plain = fit_reference(scene.net, known, score="energy", tag="release 3")
    with pytest.raises(StateError, match="tag release 3 then, release 4 now"):
        check_batch(plain, scene.net, new, tag="release 4")
    assert not check_batch(plain, scene.net, new, tag="release 3").alarm


def test_images_that_cannot_be_judged_are_errors(scene: Any) -> None:
    net, known, new, reference = scene
    with pytest.raises(InputError, match="shape .1, 4, 4., those of the reference"):
        check_batch(reference, net, new[:, :, :4, :4])
    for few in (new[:5], [new[:5]], iter([new[:3], new[3:5]])):
        with pytest.raises(InputError, match="here are 5: so few would pass"):
            check_batch(reference, net, few)
    unread = Unread(5000)
    with pytest.raises(InputError, match="here are 5,000; take n=4000"):
        fit_reference(net, unread)
    assert unread.asked == 0  # known before any pass
    with pytest.raises(InputError, match="no images"):
        check_batch(reference, net, [])
    with pytest.raises(InputError, match="40 of 60 images are in the reference"):
        check_batch(reference, net, torch.cat([known[:40], new[:20]]))
    with pytest.warns(ReliabilityWarning, match="2 of 62 images are in the reference"):
        few = check_batch(reference, net, torch.cat([known[:2], new[:60]]))
    assert [flag.code for flag in few.flags] == ["in_reference"]
    odd = Odd(net)
    ok = fit_reference(odd, known)
    with pytest.raises(InputError, match="3 of 60 images have no fim score"):
        check_batch(ok, odd, torch.cat([new[:57], new[57:60] / 6]))
    with pytest.raises(InputError, match="100 to 4,000 images, here are 60"):
        fit_reference(net, new[:60])
    with pytest.raises(InputError, match="0..255"):
        check_batch(reference, net, new * 255)


def test_settings_outside_their_domain_are_refused(scene: Any) -> None:
    net, known, new, reference = scene
    with pytest.raises(ConfigError, match="resize was None, is now 8"):
        check_batch(reference, net, new, prepared={"resize": 8})
    with pytest.raises(ConfigError, match="can never alarm .* at least 300"):
        check_batch(reference, net, new, permutations=100)
    with pytest.raises(ConfigError, match="significance=1.5"):
        check_batch(reference, net, new, significance=1.5)
    with pytest.raises(ConfigError, match="score='fish' is not one of"):
        fit_reference(net, known, score="fish")  # type: ignore[arg-type]
    convolution = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    with pytest.raises(ConfigError, match="features='penultimate'.*'logits'"):
        fit_reference(convolution, known, features="penultimate")
    with pytest.raises(ConfigError, match="needs logits"):
        fit_reference(net, known, outputs="probs", score="energy")
    with pytest.raises(ConfigError, match="expected a Module or a callable"):
        fit_reference(3, known)


class Deaf(nn.Module):
    """No gradient of the images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(images.detach())
        return out.detach()


def test_a_model_without_gradients_is_told_what_to_give(scene: Any) -> None:
    deaf = Deaf(scene.net)
    with pytest.raises(InputError, match="200 of 200 images .* score='max_softmax'"):
        fit_reference(deaf, scene.known)
    found = fit_reference(deaf, scene.known, score="max_softmax")
    assert found.settings["place"] == "penultimate:net.7"
    assert check_batch(found, deaf, scene.new / 3).alarm


@pytest.mark.parametrize(
    "wrap",
    [
        torch.nn.DataParallel,
        pytest.param(torch.compile, marks=pytest.mark.slow),  # 5 s to import dynamo
    ],
)
def test_a_wrapped_model_is_the_model_of_the_reference(scene: Any, wrap: Any) -> None:
    plain = check_batch(scene.reference, scene.net, scene.new[:40])
    found = check_batch(scene.reference, wrap(scene.net), scene.new[:40])
    assert [t.statistic for t in found.tests] == pytest.approx(
        [t.statistic for t in plain.tests], rel=1e-4
    )
