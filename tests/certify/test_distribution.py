"""The distribution report: exact shares, the closed form of two Gaussians, refuted assumptions."""

import json

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import nn

from torchattacks_ext.certify import (
    Ellips,
    EllipsHead,
    LipschitzBound,
    distribution_report,
)
from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.rates.binomial import lower_bound

COV = [[1.5, 0.3], [0.3, 0.7]]


@pytest.fixture(scope="module")
def head():
    return EllipsHead.from_parameters(
        [[0.0, 0.0], [3.0, 1.0]], COV, covariance="shared"
    )


@pytest.fixture(scope="module")
def held_out(head):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1500)
    z = rng.multivariate_normal([0, 0], COV, 1500) + y[:, None] * [3.0, 1.0]
    return torch.from_numpy(z), torch.from_numpy(y)


def certificates(head, z, y):
    model = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    inside = ((z - z.min()) / (z.max() - z.min())).float()
    low, size = float(z.min()), float(z.max() - z.min())
    model.encoder = nn.Sequential(nn.Flatten(), Affine(low, size)).eval()
    model.lipschitz = LipschitzBound(size)
    return model.certify(inside, y, ids=list(range(len(z))))


class Affine(nn.Module):
    def __init__(self, low, size):
        super().__init__()
        self.low, self.size = low, size

    def forward(self, x):
        return x * self.size + self.low


def test_845_of_1000_is_at_least_82492():
    assert float(lower_bound(845, 1000, 0.05)) == pytest.approx(0.82492, abs=5e-6)


def test_shares_under_the_fit_are_the_closed_form(head, held_out):
    z, y = held_out
    found = distribution_report(
        head,
        z,
        y,
        certificates(head, z, y),
        latent_eps=[0, 0.25, 0.5, 1],
        n_draws=40_000,
        confidence=1 - 1e-7,
    )
    truth = 0.894350226333, 0.853682253596, 0.803645608781, 0.677037505464
    gap = np.array([3.0, 1.0])
    inner = np.linalg.solve(COV, gap)
    m, q = np.sqrt(gap @ inner), np.linalg.norm(inner)
    assert (m, q) == pytest.approx((2.5, 1.976423537605237), abs=1e-9)
    for (eps, (share, low, high)), exact in zip(found.model_shares.items(), truth):
        assert special.ndtr(m / 2 - eps * q / m) == pytest.approx(exact, abs=1e-11)
        assert low <= exact <= high and low <= share <= high


def test_a_report_of_the_fitted_law_refutes_nothing(head, held_out):
    z, y = held_out
    found = distribution_report(
        head, z, y, certificates(head, z, y), kl_joint=0.05, n_draws=5000
    )
    assert not found.refuted and found.kl_at_least < 0.05
    assert 0 < found.transfer.inversion < found.model_shares[0.0][0]
    assert all(one.skewness_p > 1e-6 and one.distance_p > 1e-6 for one in found.classes)
    assert "unverified" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["n"] == 1500


def test_permuted_labels_have_the_same_latents_and_are_refuted(head, held_out):
    z, y = held_out
    found = distribution_report(
        head, z, 1 - y, certificates(head, z, 1 - y), kl_joint=0.05, n_draws=5000
    )
    assert found.refuted and found.shares[0.25][0] < 0.2


def test_the_lower_bound_of_the_divergence_covers(head):
    # the fitted law itself: any bound above 0 is false. False alarm of this test: <= 1e-6
    rng, wrong, runs = np.random.default_rng(1), 0, 60
    from torchattacks_ext.certify import distribution

    for run in range(runs):
        y = torch.from_numpy(rng.integers(0, 2, 200))
        z = rng.multivariate_normal([0, 0], COV, 200) + y.numpy()[:, None] * [3.0, 1.0]
        drawn = distribution._drawn(head, 2000, run)
        wrong += distribution._divergence(head, torch.from_numpy(z), y, drawn, 0.05) > 0
    assert wrong <= stats.binom.ppf(1 - 1e-6, runs, 0.05)


def test_other_images_are_refused(head, held_out):
    z, y = held_out
    table = certificates(head, z, y)
    with pytest.raises(InputError, match="3 latents"):
        distribution_report(head, z[:3], y[:3], table)
    with pytest.raises(InputError, match="expected"):
        distribution_report(head, z[:, :1], y, table)
