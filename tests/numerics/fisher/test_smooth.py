"""Is the smoothed score the top of the mean of F over the points, whatever the softmax does?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.fisher.factor import Action
from torchattacks_ext.numerics.fisher.smooth import smoothed_fisher
from torchattacks_ext.numerics.fisher.spectral import Ending
from torchattacks_ext.numerics.fisher.top import top_fisher


def problem(
    n: int, n_points: int, k: int, d: int = 15, seed: int = 0
) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    rows = n * n_points
    logits = 2 * torch.randn(rows, k, generator=source, dtype=torch.float64)
    return logits, torch.randn(rows, k, d, generator=source, dtype=torch.float64)


def mean_fisher(logits: Tensor, jacobian: Tensor, n_points: int) -> Tensor:
    """(N, D, D), literally."""
    p, j = logits.softmax(1), jacobian
    j = j - torch.einsum("nk,nkd->nd", p, j).unsqueeze(1)
    each = torch.einsum("nk,nkd,nke->nde", p, j, j)
    return each.view(-1, n_points, *each.shape[1:]).mean(1)


@pytest.mark.parametrize("k", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("n_points", [1, 2, 5])
def test_truth_of_the_mean_of_dense_matrices(k: int, n_points: int) -> None:
    logits, jacobian = problem(4, n_points, k)
    smoothed = smoothed_fisher(Action.dense(logits, jacobian), n_points)
    found = smoothed.top(tol=1e-5)
    if k == 1:
        zero = torch.zeros_like
        logits = torch.cat([zero(logits), logits], 1)
        jacobian = torch.cat([zero(jacobian), jacobian], 1)
    f = mean_fisher(logits, jacobian, n_points)
    right = torch.linalg.eigvalsh(f)[:, -1]
    assert (found.status == int(Ending.CONVERGED)).all()
    torch.testing.assert_close(found.log_lam.exp(), right, rtol=1e-8, atol=0)
    along = torch.einsum("nde,nd,ne->n", f, found.u1, found.u1)
    torch.testing.assert_close(along, right, rtol=1e-8, atol=0)
    # 4,000 draws an image, side by side: 40 rows of each image with 100 draws of their own
    action = Action.dense(logits.repeat(40, 1), jacobian.repeat(40, 1, 1))
    traces = smoothed_fisher(action, n_points).log_trace(100, torch.arange(160)).exp()
    exact = f.diagonal(dim1=1, dim2=2).sum(1)
    trace = traces.view(40, 4).mean(0)
    torch.testing.assert_close(trace, exact, rtol=0.1, atol=0)  # sd about .02


def test_one_point_is_the_score_itself() -> None:
    logits, jacobian = problem(6, 1, 7)
    action = Action.dense(logits, jacobian)
    plain = top_fisher(action, "lanczos", tol=1e-6)
    found = smoothed_fisher(action, 1).top(tol=1e-6)
    torch.testing.assert_close(found.log_lam, plain.log_lam, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.u1, plain.u1, rtol=0, atol=1e-4)


def test_the_mean_of_log_p_falls_along_the_eigenvector() -> None:
    logits, jacobian = problem(50, 3, 5, seed=4)
    u1 = smoothed_fisher(Action.dense(logits, jacobian), 3).top().u1
    p = logits.softmax(1)
    rows = torch.arange(len(p))
    centred = jacobian - torch.einsum("nk,nkd->nd", p, jacobian).unsqueeze(1)
    slope = centred[rows, logits.argmax(1)].view(50, 3, -1).mean(1)
    falls = (slope * u1).sum(1)
    assert bool((falls <= 1e-6).all()) and float(falls.median()) < -0.05


def test_points_of_very_different_sharpness_keep_their_digits() -> None:
    logits, jacobian = problem(1, 2, 3)
    logits[0] *= 400  # log pi below -100
    whole = smoothed_fisher(Action.dense(logits, jacobian), 2).top().log_lam
    second = top_fisher(Action.dense(logits[1:], jacobian[1:])).log_lam
    torch.testing.assert_close(whole, second - math.log(2), rtol=0, atol=1e-6)
    logits[1] *= 900
    alone = [
        top_fisher(Action.dense(logits[i : i + 1], jacobian[i : i + 1])).log_lam
        for i in (0, 1)
    ]
    whole = smoothed_fisher(Action.dense(logits, jacobian), 2).top().log_lam
    assert float(whole) < -100
    torch.testing.assert_close(
        whole, torch.maximum(*alone) - math.log(2), rtol=0, atol=1e-3
    )


def test_a_point_without_a_number_spoils_its_image_alone() -> None:
    logits, jacobian = problem(2, 3, 4)
    logits[4, 1] = torch.nan
    found = smoothed_fisher(Action.dense(logits, jacobian), 3)
    top = found.top()
    assert top.log_lam[0].isfinite() and bool(top.log_lam[1].isnan())
    assert top.status.tolist() == [int(Ending.CONVERGED), int(Ending.NON_FINITE)]
    assert found.log_trace(2).isnan().tolist() == [False, True]
    zero = smoothed_fisher(Action.dense(logits[:3], 0 * jacobian[:3]), 3).top()
    assert zero.log_lam.tolist() == [-torch.inf]
    assert zero.status.tolist() == [int(Ending.ZERO_GRADIENT)]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 5), n_points=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_rows_know_nothing_of_each_other(n: int, n_points: int, seed: int) -> None:
    logits, jacobian = problem(n, n_points, 4, seed=seed)
    whole = smoothed_fisher(Action.dense(logits, jacobian), n_points).top(tol=1e-6)
    last = slice((n - 1) * n_points, None)
    action = Action.dense(logits[last], jacobian[last])
    alone = smoothed_fisher(action, n_points).top(tol=1e-6)
    torch.testing.assert_close(whole.log_lam[-1:], alone.log_lam, rtol=0, atol=1e-9)
    assert whole.n_iterations[-1] == alone.n_iterations[0]


def test_bad_counts_are_named() -> None:
    action = Action.dense(*problem(1, 4, 3))
    with pytest.raises(ConfigError, match="n_points=0"):
        smoothed_fisher(action, 0)
    with pytest.raises(InputError, match="multiple of n_points=3"):
        smoothed_fisher(action, 3)
