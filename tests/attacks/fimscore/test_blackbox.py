"""Does the black box meet the exact score inside its interval, from scores alone?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from scipy.stats import binom
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    FIMScore,
    ModelContractError,
    ReliabilityWarning,
    StatusError,
)
from torchattacks_ext.numerics.fisher.spectral import Ending
from torchattacks_ext.testing.props import balanced_net, example_images

SHAPE = (3, 12, 12)
IMAGES = example_images(24, SHAPE)


def net() -> nn.Module:
    return balanced_net(10, SHAPE)


def measure(probe: FIMScore, images: Tensor = IMAGES, **options: Any) -> Any:
    options.setdefault("ids", range(len(images)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return probe.measure(images, **options)


def test_the_interval_covers_the_exact_value_and_queries_are_counted() -> None:
    exact = measure(FIMScore(net()))
    model = net()

    def ask(images: Tensor) -> Tensor:  # a function: no gradient is asked of it
        with torch.no_grad():
            found: Tensor = model(images)
        return found

    found = measure(FIMScore(ask, method="blackbox"))
    inside = (found.log_low <= exact.log_lam) & (exact.log_lam <= found.log_high)
    # 95 % intervals: so few inside by luck once in a million
    assert int(inside.sum()) >= binom.ppf(1e-6, 24, 0.9)
    assert float((found.log_lam - exact.log_lam).abs().median()) < 0.25
    assert (found.n_queries == 1 + 200 + 50).all()
    assert found.cost.backward == 0
    assert found.log_trace.isnan().all() and found.count(Ending.CONVERGED) == 24


def test_batches_change_nothing_and_seeds_do() -> None:
    one = measure(FIMScore(net(), method="blackbox", n_directions=20))
    two = measure(FIMScore(net(), method="blackbox", n_directions=20, batch_size=5))
    other = measure(FIMScore(net(), method="blackbox", n_directions=20, seed=1))
    assert one.digest() == two.digest()
    assert torch.allclose(one.log_lam, two.log_lam, atol=1e-3)
    assert not torch.allclose(one.log_lam, other.log_lam, atol=1e-3)


def test_a_model_of_single_rows_is_scored_one_row_at_a_time() -> None:
    model, asked = net(), set()

    def ask(images: Tensor) -> Tensor:
        asked.add(len(images))
        with torch.no_grad():
            return model(images)

    few = dict(method="blackbox", n_directions=6)
    one = measure(FIMScore(ask, batch_size=1, **few), IMAGES[:1])
    assert asked == {1}
    two = measure(FIMScore(model, **few), IMAGES[:1])
    assert torch.allclose(one.log_lam, two.log_lam, atol=1e-3)


def test_a_target_ends_images_early() -> None:
    found = measure(FIMScore(net(), method="blackbox", n_directions=200, target=0.5))
    done = found.ending == int(Ending.CONVERGED)
    assert bool(done.any()) and int(found.n_queries[done].min()) < 400
    half = (found.log_high - found.log_low) / 2
    assert (half[done] <= 0.5 * 1.5).all()


def test_probabilities_are_taken_when_told_and_labels_are_refused() -> None:
    model = net()
    logits = measure(FIMScore(model, method="blackbox", n_directions=20))
    probs = measure(
        FIMScore(
            lambda x: model(x).softmax(1),
            method="blackbox",
            n_directions=20,
            outputs="probs",
        )
    )
    assert torch.allclose(logits.log_lam, probs.log_lam, atol=0.05)
    for outputs in ("logits", "probs"):
        labels = FIMScore(
            lambda x: nn.functional.one_hot(model(x).argmax(1), 10).float(),
            method="blackbox",
            outputs=outputs,  # type: ignore[arg-type]
        )
        with pytest.raises(ModelContractError, match="labels only"):
            measure(labels)


def test_rounded_scores_are_flagged_as_noise() -> None:
    model = net()
    rounded = FIMScore(
        lambda x: (model(x) * 200).round() / 200, method="blackbox", n_directions=40
    )
    found = measure(rounded)
    assert "step_noise" in {flag.code for flag in found.flags}


def test_eight_bit_queries_stay_on_the_grid() -> None:
    model, images = net(), (IMAGES * 255).round() / 255

    def ask(shown: Tensor) -> Tensor:
        levels = shown * 255
        assert float((levels - levels.round()).abs().max()) < 1e-3
        with torch.no_grad():
            found: Tensor = model(shown)
        return found

    found = measure(FIMScore(ask, method="blackbox", grey=True), images)
    exact = measure(FIMScore(model), images)
    assert float((found.log_lam - exact.log_lam).abs().median()) < 0.4


def test_the_papers_black_box_is_far_below_and_says_so() -> None:
    found = measure(FIMScore(net(), method="srp_blackbox"))
    exact = measure(FIMScore(net()))
    assert (found.log_lam < exact.log_lam - 2).all()
    assert "biased_estimator" in {flag.code for flag in found.flags}
    assert (found.n_queries == 201).all()


def test_it_has_no_images_and_no_directions() -> None:
    probe = FIMScore(net(), method="blackbox")
    with pytest.raises(StatusError, match="no direction to step along"):
        probe(IMAGES, torch.zeros(24, dtype=torch.long))
    with pytest.raises(StatusError, match="no direction to step along"):
        probe.directions(IMAGES)


@pytest.mark.parametrize(
    "options",
    [{"n_directions": 1}, {"n_directions": 2.5}, {"target": 0.0}, {"grey": True}],
)
def test_settings_that_mean_nothing_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError):
        FIMScore(net(), **options)


def test_a_query_budget_is_kept() -> None:
    probe = FIMScore(net(), method="blackbox", batch_size=4, max_queries=1200)
    found = measure(probe)
    assert found.cost.forward <= 1200
    assert 0 < int((found.status == 2).sum()) < 24
