"""Are the normal numbers normal, independent, and finite for every uniform number?"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.gaussian import normals
from torchattacks_ext.numerics.streams import uniform

RATE = 1e-7  # chance that one of the random tests below fails although all is well
STEP = 2.0**-24
U = uniform(0, torch.arange(4000), "gaussian", 0, 14)


def test_they_follow_the_naive_formula() -> None:
    u, found = U[:50].double(), normals(U[:50])
    for row in range(50):
        for j in range(7):
            radius = math.sqrt(-2 * math.log1p(-float(u[row, j])))
            angle = 2 * math.pi * float(u[row, j + 7])
            assert float(found[row, j]) == pytest.approx(
                radius * math.cos(angle), abs=4e-6
            )
            assert float(found[row, j + 7]) == pytest.approx(
                radius * math.sin(angle), abs=4e-6
            )


def test_each_half_is_normal() -> None:
    found = normals(U).double().numpy()
    for half in (found[:, :7], found[:, 7:]):
        assert stats.kstest(half.ravel(), "norm").pvalue > RATE


def test_pairs_are_independent() -> None:
    """Their squared length is Exp(1/2), their angle uniform, the correlation 0."""
    z = normals(U).double()
    a, b = z[:, :7].flatten(), z[:, 7:].flatten()
    assert stats.kstest((a**2 + b**2) / 2, "expon").pvalue > RATE
    angle = torch.atan2(b, a) / (2 * math.pi) % 1
    assert stats.kstest(angle, "uniform").pvalue > RATE
    assert stats.pearsonr(a, b).pvalue > RATE


def test_the_extreme_uniform_numbers() -> None:
    """u = 0 gives radius 0, and the largest u below 1 the limit of the docstring."""
    found = normals(torch.tensor([[0.0, 1 - STEP, 0.3, 0.0]]))
    assert found[0, 0] == 0 and found[0, 2] == 0
    assert float(found[0, 1]) == pytest.approx(math.sqrt(48 * math.log(2)), rel=1e-6)
    assert 5.76 < float(found.max()) < 5.77


def test_log_of_one_minus_u_is_exact_for_these_numbers() -> None:
    """The smallest radii are right to 1e-6: 1 - u has lost nothing."""
    u = torch.arange(1, 2000) * STEP
    found = normals(torch.stack([u, torch.zeros_like(u)], dim=1))[:, 0]
    exact = (-2 * torch.log1p(-u.double())).sqrt()
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


def test_rows_keep_their_bits_and_the_input_its_values() -> None:
    kept, whole = U.clone(), normals(U)
    assert torch.equal(U, kept)
    for i in range(0, 4000, 501):
        assert torch.equal(normals(U[i : i + 1]), whole[i : i + 1])
    assert torch.equal(normals(U.flip(0)).flip(0), whole)


def test_dtypes_and_empty_batches() -> None:
    assert normals(U).dtype == torch.float32
    double = normals(U.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), normals(U), rtol=0, atol=4e-6)
    assert normals(U[:0]).shape == (0, 14) and normals(U[:, :0]).shape == (4000, 0)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (2, 2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \(B, 2m\): ask for an even"):
        normals(torch.zeros(shape))
