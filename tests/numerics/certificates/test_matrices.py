"""Are certified norms above the exact ones, which mpmath gives to 40 digits, and hardly above?"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.certificates.matrices import (
    gram,
    largest_norm,
    largest_root,
    spectral_norm,
    spectral_norms,
    to_unit,
)


def exact(matrix: torch.Tensor) -> mpmath.mpf:
    """The largest singular value to 40 digits."""
    with mpmath.workdps(40):
        rows = [[mpmath.mpmathify(complex(x)) for x in row] for row in matrix.tolist()]
        return max(mpmath.svd_c(mpmath.matrix(rows), compute_uv=False))


def drawn(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


CASES = {
    "square": lambda s: drawn(s, 4, 4),
    "tall": lambda s: drawn(s, 6, 2),
    "wide": lambda s: drawn(s, 2, 5),
    "rank one": lambda s: drawn(s, 4, 1) @ drawn(s + 9, 1, 4),
    "all equal values": lambda s: torch.linalg.qr(drawn(s, 4, 4))[0],
    "graded": lambda s: drawn(s, 4, 4) * 10.0 ** torch.arange(0, -16, -4),
    "tiny": lambda s: drawn(s, 3, 3) * 1e-200,
    "huge": lambda s: drawn(s, 3, 3) * 1e200,
    "complex": lambda s: torch.complex(drawn(s, 3, 4), drawn(s + 9, 3, 4)),
    "single": lambda s: drawn(s, 3, 3).float(),
}


@pytest.mark.parametrize("name", CASES)
def test_the_norm_is_certified_to_40_digits(name: str) -> None:
    for seed in range(4):
        matrix = CASES[name](seed)
        truth, bound = exact(matrix), spectral_norm(matrix)
        assert truth <= mpmath.mpf(bound) <= truth * (1 + mpmath.mpf("1e-11")), seed


def test_lapack_alone_is_not_above() -> None:
    below = 0
    for seed in range(20):
        matrix = drawn(seed, 5, 5)
        below += mpmath.mpf(float(torch.linalg.matrix_norm(matrix, 2))) < exact(matrix)
    assert below > 0


def test_a_stack_gives_the_norms_of_its_matrices() -> None:
    stack = drawn(0, 7, 5, 3)
    wanted = [spectral_norm(one) for one in stack]
    assert spectral_norms(stack).tolist() == pytest.approx(wanted, rel=1e-12)
    assert largest_norm(stack) == pytest.approx(max(wanted), rel=1e-10)
    assert largest_norm(stack) >= float(torch.linalg.matrix_norm(stack, 2).max())


def test_stacks_that_come_one_by_one_are_under_one_bound() -> None:
    stacks = [drawn(i, 6, 8, 8) * (1 + i % 3) for i in range(7)]
    grams = [gram(one) for one in stacks]
    found = largest_root((one, float(error.max())) for one, error in grams)
    truth = max(float(torch.linalg.matrix_norm(one, 2).max()) for one in stacks)
    assert truth <= found <= truth * (1 + 1e-10)


def test_an_error_that_is_told_is_added() -> None:
    eye = torch.eye(3, dtype=torch.float64)[None]
    assert 2 <= largest_root([(eye, 3.0)]) < 2 + 1e-9


def test_a_large_matrix_whose_top_is_crowded_is_proved() -> None:
    # two equal top values, many close to them: Lanczos alone may stop below
    basis, _ = torch.linalg.qr(drawn(0, 600, 600))
    values = 1 - torch.arange(600, dtype=torch.float64).sub(1).clamp(min=0) * 1e-7
    found = spectral_norm(basis * values)
    assert 1 - 1e-13 <= found <= 1 + 1e-7


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 2)])
def test_nothing_and_zeros_have_norm_zero(shape: tuple[int, int]) -> None:
    assert spectral_norm(torch.zeros(shape)) == 0
    assert largest_norm(torch.zeros(2, *shape)) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        spectral_norm(torch.tensor([[1.0, bad]]))


def test_other_shapes_are_refused() -> None:
    for call, tensor in (
        (spectral_norm, torch.zeros(2)),
        (spectral_norms, torch.ones(2, 2)),
        (largest_norm, torch.ones(2, 2)),
    ):
        with pytest.raises(InputError):
            call(tensor)


def test_scaling_is_by_powers_of_two() -> None:
    for value in (1e-300, 0.3, 7.0, 1e300):
        scaled, scale = to_unit(torch.tensor([value, value / 3], dtype=torch.float64))
        assert math.frexp(scale)[0] == 0.5 and 1 <= float(scaled[0]) < 2
        assert (scaled * scale).tolist() == [value, value / 3]


def test_what_is_tiny_beside_its_neighbours_has_a_norm_too() -> None:
    stack = torch.stack([torch.eye(3).double() * 1e200, torch.eye(3).double() * 1e-100])
    assert spectral_norms(stack).tolist() == pytest.approx([1e200, 1e-100], rel=1e-9)


def test_noise_around_zero_is_still_bounded() -> None:
    """Symbols vanish at some frequencies: their Gram matrices hold rounding only, of any sign."""
    noise = torch.tensor([[[-3e-17]], [[0.0]], [[2e-17]]], dtype=torch.float64)
    assert largest_root([(noise, 1e-16)]) >= 1.2e-16**0.5
    assert largest_root([(-noise.abs(), 0.0)]) < 1e-8
    assert largest_root([(torch.zeros(2, 2, 2).double(), 0.0)]) == 0
