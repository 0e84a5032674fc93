"""Do claims hold where rows of a call share a draw of the model or of the law?

Every victim here draws once a forward call. Simulations fix their seeds; the false-alarm rate of
each is stated.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    PRTest,
    ReliabilityWarning,
    StateError,
    Verdict,
)
from torchattacks_ext.errors import TorchattacksExtError
from torchattacks_ext.results.grounds import guarantee_of
from torchattacks_ext.results.prob_robustness import ProbRobustness
from torchattacks_ext.testing import RateVictim

pytestmark = pytest.mark.filterwarnings(
    "ignore::torchattacks_ext.errors.ReliabilityWarning"
)
OPTIONS: dict[str, Any] = dict(eps=0.1, tolerance=0.1, significance=0.01, n_max=400)


class OnceACall(nn.Module):
    """Wrong for a whole call with probability p; jitter: whether other calls differ at all."""

    def __init__(self, p: float, seed: int = 0, jitter: float = 0.01) -> None:
        super().__init__()
        self.p, self.jitter = p, jitter
        self.source = torch.Generator().manual_seed(seed)
        self.calls: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(images.detach().clone())
        struck, size = torch.rand(2, generator=self.source).tolist()
        sign = -1.0 if struck < self.p else 1.0
        two = torch.tensor([[1.0, -1.0]]).repeat(len(images), 1)
        return sign * (1 + self.jitter * size) * two


def grey(n: int) -> tuple[Tensor, Tensor]:
    return torch.full((n, 1, 2, 2), 0.5), torch.zeros(n, dtype=torch.long)


def measured(model: Any, n: int = 1, **changes: Any) -> ProbRobustness:
    test = PRTest(model, **OPTIONS | {"clean_policy": "sample", "n_mean": 0} | changes)
    result: ProbRobustness = test.measure(*grey(n), ids=range(n))
    return result


# ---------------------------------------------------------------- the model
def _robust(jitter: float, runs: int, **changes: Any) -> int:
    found = 0
    for seed in range(runs):
        result = measured(OnceACall(0.2, seed, jitter), seed=seed, **changes)
        found += result.count(Verdict.ROBUST)
    return found


def test_a_model_that_draws_once_a_call_is_not_called_robust_too_often() -> None:
    """p = 2 x tolerance: of 12, at most the binomial 99.9999 % quantile of the level, 3."""
    assert _robust(0.01, 12) <= stats.binom.ppf(1 - 1e-6, 12, 0.01)


def test_a_rare_jitter_that_no_look_sees_is_not_called_robust_too_often() -> None:
    """Calls that are not struck answer alike: only the generator tells that it draws."""
    assert _robust(0.0, 12) <= stats.binom.ppf(1 - 1e-6, 12, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("jitter", [0.01, 0.0])
def test_verdicts_of_shared_draws_err_at_their_level(jitter: float) -> None:
    """300 runs at twice the tolerance; false-alarm rate 1e-6."""
    assert _robust(jitter, 300) <= stats.binom.ppf(1 - 1e-6, 300, 0.01)


def test_every_draw_of_an_image_has_a_call_of_its_own() -> None:
    model = OnceACall(0.0)
    images = torch.tensor([0.3, 0.5, 0.7]).reshape(3, 1, 1, 1).expand(3, 1, 2, 2)
    test = PRTest(model, **OPTIONS, batch_size=2)
    result = test.measure(images.contiguous(), torch.zeros(3, dtype=torch.long))
    centres = torch.tensor([0.3, 0.5, 0.7])
    drawn = torch.zeros(3, dtype=torch.long)
    for call in model.calls:
        moved = call.flatten(1)
        if bool((moved.std(1) < 1e-6).any()):
            continue  # a look, or clean images
        which = (moved.mean(1)[:, None] - centres).abs().argmin(1)
        assert len(which.unique()) == len(which) <= 2
        drawn += torch.bincount(which, minlength=3)
    assert drawn.tolist() == result.n_samples.tolist()
    assert result.cost.forward <= int(result.n_samples.sum()) + 100 + 3
    assert result.guarantee == result.summary()["guarantee"] == "independent-calls"


def test_claims_of_a_data_set_are_left_out_where_images_share_a_draw() -> None:
    result = measured(OnceACall(0.3), 20, n_mean=16, n_max=8)
    found = result.summary()
    for name in ("count_bound", "population_bounds", "mean_failure_bounds"):
        assert found[name] is None and "batch_size=1" in found["left_out"][name]
    with pytest.raises(ConfigError, match="independent images"):
        result.corrected("bh")
    with pytest.raises(StateError, match="batch_size=1"):
        result.sil()
    assert {"shared_model_draws"} <= {flag.code for flag in result.flags}


def test_one_row_a_call_brings_the_claims_back_and_they_cover() -> None:
    """95 % bounds of the mean failure rate, .3: of 10 runs at most the 99.9999 % quantile miss."""
    missed = 0
    for seed in range(10):
        model = OnceACall(0.3, seed)
        result = measured(model, 5, n_mean=8, n_max=8, seed=seed, batch_size=1)
        assert result.settings["guarantee"] == "one-row-calls"
        missed += result.summary()["mean_failure_bounds"][1] < 0.3
    assert missed <= stats.binom.ppf(1 - 1e-6, 10, 0.05)
    assert result.summary()["count_bound"] is not None


def test_a_close_answer_of_a_randomised_model_is_not_asked_again() -> None:
    """Each failure is close: asked again it would nearly always pass, and p_fail read p^2."""

    class Close(OnceACall):
        def forward(self, images: Tensor) -> Tensor:
            struck = torch.rand(len(images), generator=self.source) < 0.3
            score = torch.where(struck, -1e-6, 1.0)
            return torch.stack([score, torch.zeros_like(score)], 1)

    result = measured(Close(0.0))
    assert result.count(Verdict.NOT_ROBUST) == 1 and float(result.p_fail) > 0.15


def test_a_fixed_model_keeps_its_word_and_its_batches() -> None:
    result = measured(RateVictim(0.0), 3, n_mean=4)
    assert result.guarantee == result.settings["guarantee"] == "exact"
    assert result.summary()["count_bound"] == 3
    assert [flag.code for flag in result.flags] == ["duplicates"]  # of the images


# ---------------------------------------------------------------- rows that mix
@pytest.mark.parametrize("n", [1, 4])
def test_rows_of_a_model_that_mixes_them_are_asked_one_by_one(n: int) -> None:
    """It is wrong in company and right alone; a single image is drawn beside itself too."""
    sizes: list[int] = []

    def mixing(images: Tensor) -> Tensor:
        sizes.append(len(images))
        score = 1.0 - 2.0 * images.new_ones(len(images)) * (len(images) > 1)
        score = score + 0.1 * images.flatten(1).mean()
        return torch.stack([score, -score], 1)

    result = measured(mixing, n)
    draws = int(result.n_samples.sum())
    assert sizes[-draws:] == [1] * draws and result.count(Verdict.ROBUST) == n
    assert result.guarantee == "one-row-calls"


# ---------------------------------------------------------------- the law
def one_number(images: Tensor, u: Any) -> Tensor:
    return images + 0.1 * (2 * torch.rand(1) - 1)


def first_row(images: Tensor, u: Any) -> Tensor:
    return images + 0.1 * (2 * u(1)[0] - 1)


def rare_shift(images: Tensor, u: Any) -> Tensor:
    return images + 0.3 * float(torch.rand(1) < 1e-9)


def test_a_law_of_its_own_numbers_bounds_no_mean_and_no_band() -> None:
    torch.manual_seed(0)
    result = measured(RateVictim(0.3), 5, sampler=one_number, n_max=8, n_mean=16)
    found = result.summary()
    for name in ("count_bound", "population_bounds", "mean_failure_bounds"):
        assert found[name] is None
        assert "draws its own numbers" in found["left_out"][name]
    assert found["mean_failure"] is not None
    with pytest.raises(StateError, match="draws its own numbers"):
        result.sil()
    assert result.guarantee == "independent-calls"


def test_a_law_of_its_own_numbers_does_not_call_robust_too_often() -> None:
    """p = 2 x tolerance; of 12 runs at most the 99.9999 % quantile of the level, 3."""
    found = 0
    for seed in range(12):
        torch.manual_seed(seed)
        result = measured(RateVictim(0.2), sampler=one_number, seed=seed)
        found += result.count(Verdict.ROBUST)
    assert found <= stats.binom.ppf(1 - 1e-6, 12, 0.01)


@pytest.mark.slow
def test_a_law_that_hands_one_row_to_all_is_asked_row_by_row() -> None:
    found = 0
    for seed in range(12):
        result = measured(RateVictim(0.2), sampler=first_row, seed=seed)
        assert "law_mixes_rows" in {flag.code for flag in result.flags}
        assert result.guarantee == "one-row-calls"
        found += result.count(Verdict.ROBUST)
    assert found <= stats.binom.ppf(1 - 1e-6, 12, 0.01)


def test_a_law_whose_own_numbers_hardly_ever_matter_is_not_replayable() -> None:
    codes = {f.code for f in measured(RateVictim(0.0), sampler=rare_shift).flags}
    assert "not_replayable" in codes


# ---------------------------------------------------------------- splitting, resume, files
def test_splitting_decides_nothing_of_a_model_that_gives_no_answer_twice() -> None:
    test = PRTest(OnceACall(0.0), eps=0.1, test="splitting", tolerance=1e-5)
    with pytest.warns(ReliabilityWarning, match="splitting_needs_fixed_model"):
        result = test.measure(*grey(2), ids=[1, 2])
    assert result.count(Verdict.UNDECIDED) == 2 and result.guarantee == "none"
    assert result.p_fail_upper.tolist() == [1.0, 1.0]


def test_a_run_that_is_gone_on_with_keeps_its_calls_apart() -> None:
    short = measured(OnceACall(0.1, 3), n_max=30)
    model = OnceACall(0.1, 4)
    test = PRTest(model, **OPTIONS, clean_policy="sample", n_mean=0)
    longer = test.measure(*grey(1), ids=[0], resume=short)
    assert longer.guarantee == "independent-calls"
    assert int(longer.n_samples) > int(short.n_samples)


def test_draws_that_were_packed_together_are_not_gone_on_with() -> None:
    packed = measured(RateVictim(0.1), n_max=30)
    test = PRTest(OnceACall(0.1), **OPTIONS, clean_policy="sample", n_mean=0)
    with pytest.raises(TorchattacksExtError, match="measure anew"):
        test.measure(*grey(1), ids=[0], resume=packed)


def test_a_file_that_calls_a_randomised_model_exact_is_not_believed() -> None:
    assert guarantee_of({"guarantee": "exact"}, ()) == "exact"
    for code in ("randomised_model", "batch_dependent_model", "not_replayable"):
        assert guarantee_of({"guarantee": "exact"}, [code]) == "unverified"


def test_nothing_is_left_to_the_global_filter() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        measured(OnceACall(0.0))
    told = [str(w.message) for w in seen]
    assert any("randomised_model" in text for text in told)
