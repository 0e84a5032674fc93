"""Does the softmax factor bound lambda_max(diag p - p p^T), and how closely?"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.certificates.softmax import (
    cheap_softmax_bound,
    largest_distance,
    log_softmax_top,
)
from torchattacks_ext.numerics.fisher.factor import Action
from torchattacks_ext.numerics.fisher.gram import exact_fisher


def softmax_matrix(p: Tensor) -> Tensor:
    return torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)


def dense_softmax_top(p: Tensor) -> Tensor:
    """lambda_max(diag p - p p^T) by its definition, (N, K) -> (N,)."""
    return torch.linalg.eigvalsh(softmax_matrix(p))[:, -1]


def logits_of(n: int, k: int, scale: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, k, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("k", [2, 3, 10, 150])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 4.0])
def test_the_secular_root_is_the_dense_eigenvalue(k: int, scale: float) -> None:
    z = logits_of(10, k, scale)
    p = z.softmax(1)
    exact, found = dense_softmax_top(p), log_softmax_top(z).exp()
    # the twin has absolute errors of some eps
    assert ((found - exact).abs() <= 2e-12 * exact + 1e-15).all()
    assert (cheap_softmax_bound(p) >= exact * (1 - 1e-12) - 1e-15).all()
    assert (found >= exact * (1 + 1e-13) - 1e-15).all()


@pytest.mark.parametrize("k", [2, 3, 30])
def test_a_saturated_softmax_loses_nothing(k: int) -> None:
    """Logit gaps up to 2,000: against the Gram matrix of J = 1, which keeps log pi apart."""
    z = logits_of(20, k, 500.0)
    unit = torch.eye(k, dtype=torch.float64).expand(20, k, k)
    twin = exact_fisher(Action.dense(z, unit)).log_lam
    assert twin.min() < -500
    assert (log_softmax_top(z) - twin).abs().max() < 1e-9


def test_two_classes_in_closed_form() -> None:
    """K = 2: 2 p_1 p_2."""
    gaps = torch.linspace(0, 1500, 31, dtype=torch.float64)
    z = torch.stack([gaps, torch.zeros_like(gaps)], 1)
    log_p = z.log_softmax(1)
    found = log_softmax_top(z)
    exact = math.log(2) + log_p.sum(1)
    assert (found >= exact).all() and (found - exact).max() < 2e-12


def test_theorem_3_of_the_paper_is_wrong_by_a_factor_2() -> None:
    """K = 2, p = (1/2, 1/2), J = (v, -v) / 2: lambda = |v|^2 / 4, the theorem allows half of it."""
    p = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    top = dense_softmax_top(p).item()
    theorem = (p * (1 - p)).max().item()
    assert (top, theorem) == (0.5, 0.25)
    assert log_softmax_top(p.log()).exp().item() >= top
    assert cheap_softmax_bound(p).item() == top
    jacobian = torch.tensor([[3.0, 4.0], [-3.0, -4.0]], dtype=torch.float64)
    fisher = jacobian.T @ softmax_matrix(p)[0] @ jacobian
    truth = torch.linalg.matrix_norm(fisher, 2).item()
    size = torch.linalg.matrix_norm(jacobian, 2).item() ** 2
    assert truth == pytest.approx(25.0) and theorem * size == pytest.approx(12.5)
    assert largest_distance(jacobian) ** 2 / 4 == pytest.approx(25.0, rel=1e-9)


def test_the_cheap_bound_is_up_to_twice_the_truth() -> None:
    p = torch.full((1, 1000), 0.01 / 999, dtype=torch.float64)
    p[0, 0] = 0.99
    ratio = cheap_softmax_bound(p) / dense_softmax_top(p)
    assert 1.9 < ratio.item() <= 2


@pytest.mark.parametrize("k, d", [(2, 3), (5, 2), (10, 40), (60, 7)])
def test_popoviciu_holds_and_beats_the_centred_norm(k: int, d: int) -> None:
    jacobian = logits_of(k, d, 1.0, seed=k) + 5.0  # a common part that plays no role
    quarter = largest_distance(jacobian) ** 2 / 4
    centred = torch.linalg.matrix_norm(jacobian - jacobian.mean(0), 2).item()
    assert quarter <= centred**2 / 2 * (1 + 1e-12)
    z = logits_of(50, k, 2.0)
    fisher = jacobian.T @ softmax_matrix(z.softmax(1)) @ jacobian
    assert torch.linalg.matrix_norm(fisher, 2).max().item() <= quarter
    at_p = log_softmax_top(z).exp() * centred**2
    assert (torch.linalg.matrix_norm(fisher, 2) <= at_p).all()


@pytest.mark.parametrize("common", [0.0, 1e3, 1e7])
def test_the_largest_distance_is_that_of_all_pairs(common: float) -> None:
    rows = logits_of(40, 11, 1.0) + common
    exact = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").max()
    found = largest_distance(rows)
    assert exact <= found <= exact * (1 + 1e-11) + 1e-14 * common


def test_one_row_or_none_apart_are_at_distance_0() -> None:
    assert largest_distance(torch.randn(1, 4)) == 0
    assert largest_distance(torch.zeros(3, 4)) == 0
    same = torch.full((3, 4), 0.1)
    assert largest_distance(same) < 1e-15


def test_bad_input_is_refused() -> None:
    assert log_softmax_top(torch.tensor([[0.0, torch.nan]])).isnan().all()
    for wrong in (torch.zeros(3), torch.zeros(2, 1)):
        with pytest.raises(InputError, match="K"):
            log_softmax_top(wrong)
    with pytest.raises(InputError, match="probabilities"):
        cheap_softmax_bound(torch.zeros(3))
    for rows in (torch.zeros(3), torch.zeros(0, 2), torch.tensor([[torch.inf]])):
        with pytest.raises(InputError, match="finite rows"):
            largest_distance(rows)
