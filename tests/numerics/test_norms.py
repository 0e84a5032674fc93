"""Do projections end in the ball and the box, at the nearest point, and only when outside?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from torchattacks_ext._typing import NORMS, Norm
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.norms import (
    bounds_for,
    check_norm,
    clip_,
    norm_of,
    project,
)

Array = NDArray[np.float64]
ORDER = {"Linf": np.inf, "L2": 2, "L1": 1}


@dataclass
class Case:
    """One drawn problem; pixels sit on the bounds and candidates on their images now and then."""

    norm: Norm
    images: Tensor
    candidates: Tensor
    eps: Tensor
    boxed: bool

    def project(self, candidates: Tensor) -> Tensor:
        bounds = (0.0, 1.0) if self.boxed else None
        return project(self.images, candidates, self.eps, self.norm, bounds)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d = draw(st.integers(0, 4)), draw(st.sampled_from([1, 2, 3, 12, 60, 600]))
    images = rng.random((n, d))
    images[rng.random((n, d)) < 0.2] = 0
    images[rng.random((n, d)) < 0.2] = 1
    spread = 10.0 ** rng.uniform(-8, 1, (n, 1))
    moves = spread * rng.standard_normal((n, d)) * (rng.random((n, d)) < rng.random())
    eps = 10.0 ** rng.uniform(-8, 1.5, n) * (rng.random(n) > 0.1)
    boxed = draw(st.booleans())
    if not boxed:
        images = images * 4 - 2
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    shape = (n, d // 3, 3) if d % 3 == 0 else (n, d)
    x = torch.tensor(images, dtype=dtype).view(shape)
    y = x + torch.tensor(moves, dtype=dtype).view(shape)
    norm: Norm = draw(st.sampled_from(NORMS))
    return Case(norm, x, y, torch.tensor(eps, dtype=dtype), boxed)


def exact_norm(delta: Tensor, norm: str) -> Array:
    rows = delta.double().flatten(1).numpy()
    return np.array([np.linalg.norm(row, ORDER[norm]) for row in rows])


@settings(deadline=None, max_examples=300)
@given(cases())
def test_never_outside_and_a_second_time_changes_nothing(case: Case) -> None:
    once = case.project(case.candidates)
    assert once.shape == case.images.shape and once.dtype == case.images.dtype
    length = exact_norm(once.double() - case.images.double(), case.norm)
    assert (length <= case.eps.double().numpy() * (1 + 1e-6)).all()
    if case.boxed:
        assert bool(((once >= 0) & (once <= 1)).all())
    assert torch.equal(case.project(once), once)


@settings(deadline=None, max_examples=200)
@given(cases())
def test_identity_inside(case: Case) -> None:
    y = case.candidates.clamp(0, 1) if case.boxed else case.candidates
    inside = norm_of(y - case.images, case.norm) <= case.eps
    assert torch.equal(case.project(y)[inside], y[inside])


def naive_ball(delta: Array, eps: float, norm: str) -> Array:
    """Euclidean projection of one vector in float64; L1 by bisection on the threshold."""
    if norm == "Linf":
        return np.clip(delta, -eps, eps)
    if np.linalg.norm(delta, ORDER[norm]) <= eps:
        return delta
    if norm == "L2":
        return delta * (eps / np.linalg.norm(delta))
    low, high = 0.0, float(np.abs(delta).max())
    for _ in range(200):
        level = (low + high) / 2
        kept = np.maximum(np.abs(delta) - level, 0).sum()
        low, high = (level, high) if kept > eps else (low, level)
    return np.sign(delta) * np.maximum(np.abs(delta) - high, 0)


@settings(deadline=None, max_examples=200)
@given(cases())
def test_results_equal_the_naive_twin(case: Case) -> None:
    found = case.project(case.candidates).double().flatten(1).numpy()
    x = case.images.double().flatten(1).numpy()
    moves = case.candidates.double().flatten(1).numpy() - x
    for i, eps in enumerate(case.eps.tolist()):
        wanted = x[i] + naive_ball(moves[i], eps, case.norm)
        wanted = np.clip(wanted, 0, 1) if case.boxed else wanted
        # A shortened step (radii near the resolution of the pixels) is short by that
        # resolution.
        unit = torch.finfo(case.images.dtype).eps
        rounding = unit * (4 + np.abs(moves[i]).max(initial=0)) * (1 + len(x[i]) ** 0.5)
        np.testing.assert_allclose(found[i], wanted, rtol=0, atol=rounding)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_in_the_ball_is_nearer(norm: Norm) -> None:
    """Variational inequality of the projection p of y: (y - p).(z - p) <= 0 for all z inside."""
    rng = np.random.default_rng(0)
    x = torch.zeros(20, 7, dtype=torch.float64)
    y = torch.from_numpy(rng.standard_normal((20, 7)))
    p = project(x, y, 0.7, norm, None)
    for _ in range(50):
        z = project(x, torch.from_numpy(rng.standard_normal((20, 7))), 0.7, norm, None)
        assert bool((((y - p) * (z - p)).sum(1) <= 1e-6).all())


def test_the_published_trap_of_l2_projection() -> None:
    """(3, 4) goes to length 3, not to (1, 1); a point inside stays."""
    y = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    found = project(torch.zeros(2, 2), y, torch.tensor([3.0, 1.0]), "L2", None)
    torch.testing.assert_close(found, torch.tensor([[1.8, 2.4], [0.3, 0.4]]))


def test_small_radii_beside_large_pixels() -> None:
    """1/255 beside 1 is 65793 units of float32: the plain sum leaves the ball by 7e-6."""
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + 0.5 * torch.rand(10, 3072, generator=generator)
    y = x + torch.randn(10, 3072, generator=generator)
    for eps in (1e-2, 1 / 255, 1e-4, 1e-6, 1e-9, 0.0):
        for norm in NORMS:
            delta = project(x, y, eps, norm, None).double() - x.double()
            assert (exact_norm(delta, norm) <= np.float32(eps) * (1 + 1e-6)).all()


def test_norms_of_known_vectors() -> None:
    delta = torch.tensor([[[3.0, -4.0]], [[0.0, 0.0]]])
    assert norm_of(delta, "Linf").tolist() == [4.0, 0.0]
    assert norm_of(delta, "L2").tolist() == [5.0, 0.0]
    assert norm_of(delta, "L1").tolist() == [7.0, 0.0]
    assert norm_of(delta.double(), "L1").dtype == torch.float64
    generator = torch.Generator().manual_seed(1)
    picture = torch.rand(2, 3, 224, 224, generator=generator)
    for norm in NORMS:
        np.testing.assert_allclose(
            norm_of(picture, norm), exact_norm(picture, norm), rtol=1e-7
        )


@pytest.mark.parametrize("norm", NORMS)
def test_nan_is_not_hidden(norm: Norm) -> None:
    x = torch.full((2, 3), 0.5)
    y = x + 0.2
    y[0, 1] = float("nan")
    found = project(x, y, 0.1, norm)
    assert bool(found[0].isnan().any()) and not bool(found[1].isnan().any())
    assert norm_of(y, norm).isnan().tolist() == [True, False]


def test_bounds_of_every_kind() -> None:
    images = torch.zeros(2, 3, 4, 4)
    low, high = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([1.0, 2.0, 3.0]).view(
        3, 1, 1
    )
    found = project(images, images + 9, 5.0, "Linf", (low, high))
    assert found.amax((0, 2, 3)).tolist() == [1.0, 2.0, 3.0]
    assert bounds_for((low, high), images.double())[0].dtype == torch.float64
    flat = torch.zeros(2, 3)
    assert clip_(flat - 9, (low, 1.0))[1].tolist() == [-1.0, -2.0, -3.0]
    assert clip_(flat, None) is flat
    with pytest.raises(
        InputError, match=r"\(4,\) does not fit images of shape \(2, 3, 4, 5\)"
    ):
        bounds_for((torch.zeros(4), 1.0), torch.zeros(2, 3, 4, 5))


def test_bad_arguments_are_named() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ConfigError, match="did you mean 'Linf'"):
        check_norm("linf")
    with pytest.raises(ConfigError, match="norm='L3' is not one of"):
        norm_of(x, "L3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="eps=-1 must be >= 0"):
        project(x, x, -1, "L2")
    with pytest.raises(ConfigError, match="eps=nan"):
        project(x, x, float("nan"), "L2")
    with pytest.raises(InputError, match="candidates.*must be like images"):
        project(x, x[:1], 1.0, "L2")
    with pytest.raises(InputError, match=r"eps must be a float or \(N,\)"):
        project(x, x, torch.ones(3), "L2")
    with pytest.raises(InputError, match="float16"):
        project(x.half(), x.half(), 1.0, "L2")
