"""Is every leave-one-out eigenvalue that of a decomposition of its own?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.fisher.blackbox.jackknife import (
    corrected,
    log_error,
    top_eigenvalues,
)


def random_terms(n: int, m: int, k: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 ** torch.arange(k, dtype=torch.float64)
    return torch.randn(n, m, k, generator=generator, dtype=torch.float64) * scale


def naive(terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """m decompositions a sample, and the value of the term left out for the vector of the rest."""

    def top(a: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(a.mT @ a)
        return values[:, -1], vectors[:, :, -1]

    m = terms.shape[1]
    kept = [[j for j in range(m) if j != i] for i in range(m)]
    without, vectors = zip(*(top(terms[:, rows]) for rows in kept))
    unseen = (torch.stack(vectors, 1) * terms).sum(2).square()
    return top(terms)[0], torch.stack(without, 1), unseen


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
        *found, unseen = top_eigenvalues(terms)
        for one, expected in zip(found, naive(terms)):
            torch.testing.assert_close(one, expected, rtol=1e-12, atol=1e-15)
        # The top vector of the rest is not unique; a term at right angles to all has no value.
        assert (unseen >= 0).all() and (unseen <= terms.square().sum(2) + 1e-12).all()
        if terms is basis:
            assert (unseen == 0).all()


def test_a_term_alone_in_its_direction_has_no_unseen_value() -> None:
    """Where the root meets theta_2, theta_1 or both: the formula divides zero by zero."""
    nearly = torch.tensor([[[1.0, 0.0], [0.0, 1.0 - 1e-15]]]).double()
    turned = torch.tensor([[[0.6, 0.8], [0.8, -0.6]]]).double()
    alone = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]]).double()
    for terms in (nearly, turned, nearly @ turned, alone):
        assert float(top_eigenvalues(terms)[2].max()) < 1e-9
    spread = random_terms(3, 30, 6) * 1e-150  # squares near the end of float64
    expected = naive(spread * 1e150)[2]
    found = top_eigenvalues(spread)[2] * 1e300
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_unseen_below_jackknife_below_seen_and_the_estimate_between() -> None:
    terms = random_terms(20, 25, 6)
    top, without, unseen = top_eigenvalues(terms)
    steps = top.unsqueeze(1) - without
    assert (unseen <= steps + 1e-9).all()
    assert (steps.mean(1) <= top / 25 + 1e-9).all()
    found = corrected(terms, top, unseen, 1.0)
    assert (found <= top / 25).all() and (found >= unseen.mean(1)).all()
    half = corrected(terms, top, unseen, 0.5)
    assert (half >= found).all()
    torch.testing.assert_close(corrected(terms, top, unseen, 0.0), top / 25)


def test_the_estimate_is_never_below_the_mean_of_the_eigenvalues() -> None:
    terms = (
        torch.eye(4).double().unsqueeze(0)
    )  # a tie: nothing is left of it by unseen values
    top, _, unseen = top_eigenvalues(terms)
    assert unseen.max() == 0
    assert corrected(terms, top, unseen, 1.0).item() == 0.25


def test_for_one_column_it_is_the_jackknife_of_a_mean() -> None:
    """K = 1: lambda is the mean of squares, and its leave-one-out means are known."""
    terms = random_terms(4, 30, 1)
    top, without, unseen = top_eigenvalues(terms)
    squares = terms.squeeze(2).square()
    logs = ((squares.sum(1, keepdim=True) - squares) / 29).log()
    expected = (logs.var(1, correction=0) * 29).sqrt()
    torch.testing.assert_close(log_error(without), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(unseen, squares, rtol=1e-9, atol=1e-12)
    assert torch.allclose(corrected(terms, top, unseen, 1.0), top / 30)


def test_one_term_knows_nothing_about_its_error() -> None:
    one = torch.ones(1, 1, 3)
    top, without, unseen = top_eigenvalues(one)
    assert log_error(without).item() == float("inf")
    assert corrected(one, top, unseen, 1.0) == top
    lonely = torch.tensor([[[5.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    top, without, unseen = top_eigenvalues(lonely)
    assert log_error(without).item() == float("inf")
    assert 0 < corrected(lonely, top, unseen, 1.0) <= top / 3


def test_other_shapes_are_refused() -> None:
    for shape in ((3, 4), (2, 0, 3), (2, 3, 0)):
        with pytest.raises(InputError, match=r"\(N, m, K\)"):
            top_eigenvalues(torch.zeros(shape))
