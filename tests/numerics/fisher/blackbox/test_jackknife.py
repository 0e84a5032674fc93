"""Is every leave-one-out eigenvalue that of a decomposition of its own?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.fisher.blackbox.jackknife import (
    log_bias,
    log_error,
    top_eigenvalues,
)


def random_terms(n: int, m: int, k: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 ** torch.arange(k, dtype=torch.float64)
    return torch.randn(n, m, k, generator=generator, dtype=torch.float64) * scale


def naive(terms: Tensor) -> tuple[Tensor, Tensor]:
    """m decompositions a sample."""

    def top(a: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(a.mT @ a)[:, -1]

    m = terms.shape[1]
    kept = [[j for j in range(m) if j != i] for i in range(m)]
    return top(terms), torch.stack([top(terms[:, rows]) for rows in kept], 1)


@pytest.mark.parametrize(
    "shape", [(3, 20, 2), (3, 20, 5), (3, 6, 30), (2, 2, 4), (2, 7, 7), (2, 5, 1)]
)
def test_against_one_decomposition_a_term(shape: tuple[int, int, int]) -> None:
    terms = random_terms(*shape)
    for found, expected in zip(top_eigenvalues(terms), naive(terms)):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_equal_eigenvalues_and_zero_terms() -> None:
    basis = torch.eye(4).double().unsqueeze(0)
    cases = (
        basis,
        torch.cat([basis, basis], 1),
        torch.cat([basis, basis * 0], 1),
        basis * 0,
    )
    for terms in cases:
        for found, expected in zip(top_eigenvalues(terms), naive(terms)):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_for_one_column_it_is_the_jackknife_of_a_mean() -> None:
    """K = 1: lambda is the mean of squares, and its leave-one-out means are known."""
    terms = random_terms(4, 30, 1)
    top, without = top_eigenvalues(terms)
    squares = terms.squeeze(2).square()
    logs = ((squares.sum(1, keepdim=True) - squares) / 29).log()
    expected = (logs.var(1, correction=0) * 29).sqrt()
    torch.testing.assert_close(log_error(without), expected, rtol=1e-9, atol=0)
    bias = 29 * (logs.mean(1) - squares.mean(1).log())
    torch.testing.assert_close(log_bias(top, without), bias, rtol=1e-7, atol=1e-9)


def test_one_term_knows_nothing_about_its_error() -> None:
    top, without = top_eigenvalues(torch.ones(1, 1, 3))
    assert log_error(without).item() == float("inf") and log_bias(top, without) == 0
    lonely = torch.tensor([[[5.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    top, without = top_eigenvalues(lonely)
    assert log_error(without).item() == float("inf") and log_bias(top, without) == 0


def test_other_shapes_are_refused() -> None:
    for shape in ((3, 4), (2, 0, 3), (2, 3, 0)):
        with pytest.raises(InputError, match=r"\(N, m, K\)"):
            top_eigenvalues(torch.zeros(shape))
