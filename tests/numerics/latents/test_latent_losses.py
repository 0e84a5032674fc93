"""Are the losses of latents what their definitions say?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.latents.losses import (
    isotropy_loss,
    mcr2_loss,
    mmd_gaussian,
    mmd_rbf,
)

Array = NDArray[np.float64]


def _latents(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.normal(size=(n, d)) * np.linspace(0.5, 2, d))
    return z, torch.from_numpy(rng.integers(0, 3, n))


def naive_isotropy(z: Array, y: Array) -> float:
    """By explicit sums."""
    total, d = 0.0, z.shape[1]
    for k in sorted(set(y.tolist())):
        own = [row for row, label in zip(z, y) if label == k]
        mean = sum(own) / len(own)
        covariance = np.zeros((d, d))
        for row in own:
            covariance += np.outer(row - mean, row - mean) / len(own)
        trace = sum(covariance[j, j] for j in range(d))
        for i in range(d):
            for j in range(d):
                wanted = trace / d if i == j else 0.0
                total += (covariance[i, j] - wanted) ** 2
    return total


def naive_mmd(z: Array, w: Array, h: float) -> float:
    """By loops over all pairs."""

    def mean(a: Array, b: Array) -> float:
        pairs = [math.exp(-((x - y) ** 2).sum() / (2 * h * h)) for x in a for y in b]
        return sum(pairs) / len(pairs)

    return mean(z, z) + mean(w, w) - 2 * mean(z, w)


def naive_mcr2(z: Array, y: Array, e: float) -> float:
    """From the eigenvalues of the d x d matrices, as the paper writes them (columns are rows)."""

    def rate(rows: Array) -> float:
        n, d = rows.shape
        values = np.linalg.eigvalsh(np.eye(d) + d / (n * e * e) * rows.T @ rows)
        return 0.5 * sum(math.log(v) for v in values)

    classes = sorted(set(y.tolist()))
    within = sum((y == k).mean() * rate(z[y == k]) for k in classes)
    return float(within - rate(z))


@pytest.mark.parametrize("n,d", [(30, 4), (7, 12), (3, 1)])
def test_the_losses_are_their_definitions(n: int, d: int) -> None:
    """Against loops in float64; more and fewer latents than dimensions."""
    z, y = _latents(n, d, seed=n)
    raw, labels = z.numpy(), y.numpy()
    assert float(isotropy_loss(z, y)) == pytest.approx(naive_isotropy(raw, labels))
    other = raw[: n // 2 + 1] + 0.3
    found = float(mmd_rbf(z, torch.from_numpy(other), 1.7))
    assert found == pytest.approx(naive_mmd(raw, other, 1.7), abs=1e-12)
    for e in (0.3, 2.0):
        assert float(mcr2_loss(z, y, e)) == pytest.approx(naive_mcr2(raw, labels, e))


def test_float32_agrees() -> None:
    """The precision in which they are used."""
    z, y = _latents(40, 6)
    pairs = (
        (isotropy_loss(z.float(), y), isotropy_loss(z, y)),
        (mcr2_loss(z.float(), y), mcr2_loss(z, y)),
        (mmd_gaussian(z.float(), z[0].float()), mmd_gaussian(z, z[0])),
    )
    for short, double in pairs:
        assert short.dtype == torch.float32
        assert float(short) == pytest.approx(float(double), rel=1e-4)


def test_gradients_are_derivatives() -> None:
    """Also between equal latents, where a distance has none."""
    z, y = _latents(8, 3)
    z[1] = z[0]
    z.requires_grad_(True)
    other = z.detach()[:4] + 0.5
    for loss in (
        lambda x: isotropy_loss(x, y),
        lambda x: mmd_rbf(x, other, 0.9),
        lambda x: mmd_gaussian(x, other[0], 0.9),
        lambda x: mcr2_loss(x, y),
    ):
        assert torch.autograd.gradcheck(loss, (z,))


def test_values_known_on_paper() -> None:
    """A sphere has no anisotropy; equal samples no discrepancy; one class no reduction."""
    z, y = _latents(50, 5)
    assert float(mmd_rbf(z, z.flip(0))) == pytest.approx(0.0, abs=1e-12)
    one = torch.zeros(50, dtype=torch.long)
    assert float(mcr2_loss(z, one)) == pytest.approx(0.0, abs=1e-12)
    assert float(mcr2_loss(z, y)) < 0
    cross = torch.cat([torch.eye(5), -torch.eye(5)]).double()
    assert float(isotropy_loss(cross * 3, torch.zeros(10).long())) == 0.0
    # C = diag(1, 0): |diag(1/2, -1/2)|^2 = 1/2
    line = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(isotropy_loss(line, torch.zeros(2).long())) == 0.5


def test_the_gaussian_is_the_limit_of_its_draws() -> None:
    """Within 6 standard errors of an unbiased mean over 200 samples of 50 draws (< 1e-8)."""
    rng = np.random.default_rng(4)
    z, mean, h = torch.from_numpy(rng.normal(size=(9, 3))), torch.ones(3).double(), 1.3
    exact = float(mmd_gaussian(z, mean, h))
    found = []
    for _ in range(200):
        w = torch.from_numpy(rng.normal(size=(50, 3))) + mean
        # a draw with itself has k = 1; the Gaussian has no such pairs
        own = (naive := float(mmd_rbf(w, w[:1] * 0 + 1e9, h))) - 1
        assert naive >= 1
        off = (own * 50 - 1) / 49
        found.append(float(mmd_rbf(z, w, h)) - own + off)
    error = np.std(found) / math.sqrt(200)
    assert abs(np.mean(found) - exact) < 6 * error
    assert error < 0.01 * exact + 0.003


def test_wrong_input_is_refused() -> None:
    """With the domain in the message."""
    z, y = _latents(6, 2)
    for call in (
        lambda: isotropy_loss(z[0], y),
        lambda: isotropy_loss(z, y[:3]),
        lambda: mcr2_loss(z, y.double()),
        lambda: mmd_rbf(z, z[:, :1]),
        lambda: mmd_gaussian(z, z),
    ):
        with pytest.raises(InputError, match="expected"):
            call()
    for wrong in (0, -1, math.nan, math.inf, "wide", True):
        with pytest.raises(ConfigError, match="bandwidth"):
            mmd_rbf(z, z, wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="distortion"):
            mcr2_loss(z, y, wrong)  # type: ignore[arg-type]
