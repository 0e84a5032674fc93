"""Is lambda of a Jacobian in memory right where products of its rows lose their digits?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.fisher import dense
from torchattacks_ext.numerics.fisher.dense import log_lambda, row_products
from torchattacks_ext.numerics.fisher.spectral import Ending

CLOSE = {torch.float32: 5e-5, torch.float64: 1e-6}


def normal(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def truth(logits: Tensor, jacobian: Tensor) -> Tensor:
    """lambda_max of the D x D matrix, literally, in float64."""
    p, j = logits.double().softmax(1), jacobian.double()
    j = j - torch.einsum("nk,nkd->nd", p, j).unsqueeze(1)
    return torch.linalg.eigvalsh(torch.einsum("nk,nkd,nke->nde", p, j, j))[:, -1]


def doubted(logits: Tensor, jacobian: Tensor) -> list[bool]:
    """Which rows the products of the gradients cannot answer."""
    small = logits.double().numpy(), row_products(jacobian).double().numpy()
    answer: list[bool] = dense._from_products(*small, jacobian.dtype)[1].tolist()
    return answer


@pytest.mark.parametrize("dtype", list(CLOSE))
@pytest.mark.parametrize("k", [1, 2, 3, 5, 10, 16, 40, 100, 128])
def test_truth_of_the_dense_matrix(k: int, dtype: torch.dtype) -> None:
    logits, jacobian = (x.to(dtype) for x in (normal(6, k), normal(6, k, 50, seed=1)))
    whole = logits, jacobian
    if k == 1:
        zero = torch.zeros_like
        whole = torch.cat([zero(logits), logits], 1), torch.cat(
            [zero(jacobian), jacobian], 1
        )
    log_lam, ending = log_lambda(logits, jacobian)
    assert log_lam.dtype == torch.float64 and (ending == int(Ending.CONVERGED)).all()
    torch.testing.assert_close(log_lam.exp(), truth(*whole), rtol=CLOSE[dtype], atol=0)


def test_many_classes_are_left_to_lanczos() -> None:
    logits, jacobian = normal(3, 300), normal(3, 300, 40, seed=1)
    log_lam, ending = log_lambda(logits, jacobian, tol=1e-4)
    assert (ending == int(Ending.CONVERGED)).all()
    torch.testing.assert_close(
        log_lam.exp(), truth(logits, jacobian), rtol=1e-4, atol=0
    )
    capped = log_lambda(logits, jacobian, tol=1e-9, n_max=2)[1]
    assert (capped == int(Ending.CAP)).all()


def test_the_two_traps_of_a_confident_and_of_a_saturated_softmax() -> None:
    v = normal(1, 1, 9)
    zero = torch.zeros_like(v)
    confident = torch.tensor([[0.4, 0.3, 0.3]], dtype=torch.float64).log()
    peak = log_lambda(confident, torch.cat([zero, v, -v], 1))[0]
    torch.testing.assert_close(peak.exp(), 0.6 * v.square().sum((1, 2)))
    logits = torch.tensor([[60.0, 0.0]])
    gap = log_lambda(logits, torch.cat([zero, v], 1).float())[0]
    assert gap.item() == pytest.approx(v.square().sum().log().item() - 60, abs=1e-5)


def test_logits_times_100_stay_finite() -> None:
    logits, jacobian = 100 * normal(5, 10), normal(5, 10, 30, seed=2)
    single = log_lambda(logits.float(), jacobian.float())[0]
    double = log_lambda(logits.float().double(), jacobian)[0]
    assert single.isfinite().all() and single.min() < -50
    torch.testing.assert_close(single, double, rtol=0, atol=1e-3)


def test_a_gradient_that_all_classes_share_does_not_eat_the_digits() -> None:
    logits, jacobian = normal(4, 6).float(), normal(4, 6, 30, seed=3)
    jacobian[:2] += 1e4  # cancels in every difference
    shared = jacobian.float()
    assert doubted(logits, shared) == [True, True, False, False]
    found = log_lambda(logits, shared)[0].exp()
    torch.testing.assert_close(found, truth(logits, shared), rtol=5e-5, atol=0)


def test_float64_rows_with_a_shared_part_keep_the_1e_6_that_is_promised() -> None:
    logits, jacobian = normal(3, 6), normal(3, 6, 30, seed=6)
    right = truth(logits, jacobian)
    shared = jacobian + 3e4  # the loss is estimated between 1e-6 and 5e-5
    assert doubted(logits, shared) == [True] * 3
    torch.testing.assert_close(
        log_lambda(logits, shared)[0].exp(), right, rtol=1e-6, atol=0
    )


def test_gradients_whose_squares_underflow() -> None:
    logits, jacobian = normal(2, 4).float(), normal(2, 4, 20, seed=4)
    tiny = (1e-24 * jacobian).float()
    assert doubted(logits, tiny) == [True, True]
    right = truth(logits, tiny.double() * 1e24).log() + 2 * np.log(1e-24)
    torch.testing.assert_close(log_lambda(logits, tiny)[0], right, rtol=0, atol=1e-4)


def test_rows_without_a_gradient_or_a_number_say_so() -> None:
    logits, jacobian = normal(6, 3).float(), normal(6, 3, 4, seed=5).float()
    jacobian[0] = 0
    jacobian[1, 2, 0] = torch.nan
    jacobian[2, 1, 0] = torch.inf
    logits[3, 1] = torch.nan
    logits[4, 0] = torch.inf
    log_lam, ending = log_lambda(logits, jacobian)
    names = [Ending(code).name.lower() for code in ending.tolist()]
    assert names == ["zero_gradient"] + 4 * ["non_finite"] + ["converged"]
    assert log_lam[0] == -torch.inf and log_lam[1:5].isnan().all()
    assert log_lam[5].isfinite()


def test_shapes_that_do_not_fit_and_no_rows_at_all() -> None:
    with pytest.raises(InputError, match="jacobian"):
        log_lambda(normal(2, 3), normal(2, 4, 5))
    assert log_lambda(normal(0, 3), normal(0, 3, 5))[0].shape == (0,)


@settings(max_examples=60, deadline=None)
@given(
    k=st.integers(2, 60),
    n=st.integers(1, 4),
    scale=st.floats(0.01, 50),
    seed=st.integers(0, 10**6),
)
def test_the_batch_and_a_common_shift_change_nothing(
    k: int, n: int, scale: float, seed: int
) -> None:
    logits, jacobian = scale * normal(n, k, seed=seed), normal(n, k, 20, seed=seed + 1)
    whole = log_lambda(logits, jacobian)[0]
    single = torch.cat(
        [log_lambda(logits[i : i + 1], jacobian[i : i + 1])[0] for i in range(n)]
    )
    torch.testing.assert_close(whole, single, rtol=1e-9, atol=1e-9)
    shifted = log_lambda(logits + 7.0, jacobian + normal(n, 1, 20, seed=seed + 2))[0]
    torch.testing.assert_close(whole, shifted, rtol=1e-6, atol=1e-6)
    centred = jacobian - jacobian.mean(1, keepdim=True)
    size = centred.flatten(1).norm(dim=1)
    assert bool((whole <= 2 * size.log() - np.log(2) + 1e-9).all())


@pytest.mark.parametrize("k", [1, 2, 15, 16, 17, 47, 48, 49, 100])
def test_every_pair_of_rows_once(k: int) -> None:
    rows = normal(2, k, 7)
    torch.testing.assert_close(row_products(rows), rows @ rows.mT)
    torch.testing.assert_close(row_products(rows[:1]), rows[:1] @ rows[:1].mT)
