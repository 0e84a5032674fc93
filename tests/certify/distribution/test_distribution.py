"""The distribution report: exact shares, the closed form of two Gaussians, refuted assumptions."""

import json
from dataclasses import replace

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
from torchattacks_ext.certify.distribution.divergence import divergence_at_least
from torchattacks_ext.certify.distribution.fitted import fitted_law
from torchattacks_ext.errors import ConfigError, InputError, StatusError
from torchattacks_ext.numerics.populations.transfer import kl_transfer
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
    y = rng.integers(0, 2, 800)
    z = rng.multivariate_normal([0, 0], COV, 800) + y[:, None] * [3.0, 1.0]
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
    assert 0 < found.transfers[0.0].inversion < found.model_shares[0.0][0]
    for (
        one
    ) in found.classes:  # false alarm: about 4e-6 (p of the MMD is 1 / 200 at least)
        assert min(one.skewness_p, one.kurtosis_p, one.distance_p) > 1e-6
        assert one.mmd < 0.05 and one.mmd_p >= 1 / 200
    said = "conditional on KL(joint) <= 0.05 nats (unverified)"
    assert said in str(found) and found.calibration < 0.1
    told = json.loads(json.dumps(found.to_dict()))
    assert told["n"] == 800 and told["transfers"]["0"]["status"] == said
    assert told["overfit_gap"] is None and not told["refuted"]


def test_the_whole_curve_is_transferred_and_only_under_an_assumption(head, held_out):
    z, y = held_out
    table = certificates(head, z, y)
    found = distribution_report(
        head, z, y, table, latent_eps=[0, 0.5, 9], kl_joint=0.1, n_draws=2000
    )
    for eps, (_, low, _) in found.model_shares.items():
        assert found.transfers[eps] == kl_transfer(low, 0.1)
    assert found.transfers[9.0].inversion == 0
    free = distribution_report(head, z, y, table, n_draws=2000)
    assert free.transfers == {} and free.status_of_transfers == ""
    assert not free.refuted and "conditional" not in str(free)


def test_other_laws_show_in_the_diagnostics(head, held_out):
    z, y = held_out
    heavy = (z - head.means[y]).sign() * (z - head.means[y]).square() * 2 + head.means[
        y
    ]
    table = certificates(head, heavy, y)
    found = distribution_report(head, heavy, y, table, n_draws=2000)
    for one in found.classes:
        assert one.kurtosis_p < 1e-20 and one.distance_p < 1e-10
        assert one.mmd_p == 1 / 200 and one.mmd > 0.02
    assert found.calibration > 0.05


def test_a_fit_of_few_rows_knows_these_better(head, held_out):
    z, y = held_out
    own = z[:20], y[:20]
    small = EllipsHead.fit(*own, "full", 0.05)
    table = certificates(small, z[20:], y[20:])
    found = distribution_report(
        small, z[20:], y[20:], table, n_draws=500, fitted_on=own
    )

    def density(pairs):
        law = fitted_law(small)
        each = [
            stats.multivariate_normal(law.means[k], law.covariances[k]).logpdf(one)
            + np.log(law.priors[k])
            for one, k in zip(pairs[0].numpy(), pairs[1].tolist())
        ]
        return float(np.mean(each))

    exact = density(own) - density((z[20:], y[20:]))
    assert found.overfit_gap == pytest.approx(exact, abs=1e-9) and exact > 0.1
    assert "more likely than held-out" in str(found)


def test_radii_with_confidence_tell_what_share_may_be_wrong(head, held_out):
    z, y = held_out
    table = certificates(head, z, y)
    settings = {**table.settings, "tier": "certified with confidence"}
    smoothed = replace(table, settings={**settings, "significance": 0.01})
    found = distribution_report(head, z, y, smoothed, n_draws=500)
    assert found.false_share == 0.01 and "at most 0.01 of all images" in str(found)
    assert distribution_report(head, z, y, table, n_draws=500).false_share == 0


def test_permuted_labels_have_the_same_latents_and_are_refuted(head, held_out):
    z, y = held_out
    found = distribution_report(
        head, z, 1 - y, certificates(head, z, 1 - y), kl_joint=0.05, n_draws=5000
    )
    assert found.refuted and found.shares[0.25][0] < 0.2


def test_the_lower_bound_of_the_divergence_covers(head):
    # the fitted law itself: any bound above 0 is false. False alarm of this test: <= 1e-6
    rng, wrong, runs = np.random.default_rng(1), 0, 60
    for run in range(runs):
        y = torch.from_numpy(rng.integers(0, 2, 200))
        z = rng.multivariate_normal([0, 0], COV, 200) + y.numpy()[:, None] * [3.0, 1.0]
        drawn = fitted_law(head).draws(2000, run)
        wrong += divergence_at_least(head, (torch.from_numpy(z), y), drawn, 0.05) > 0
    assert wrong <= stats.binom.ppf(1 - 1e-6, runs, 0.05)


def test_the_lower_bound_covers_a_law_of_known_divergence(head):
    # labels of the fitted law are flipped with probability .15: KL(joint) = E kl(p(y|z) | q(y|z))
    # false alarm of this test: <= 1e-6
    rng, runs, share = np.random.default_rng(2), 60, 0.15
    wrong = known = 0
    z, y = fitted_law(head).draws(50_000, 9)
    post = torch.softmax(head.half_scores(z), 1).gather(1, y[:, None])[:, 0]
    mixed = (1 - share) * post + share * (1 - post)  # p(y | z) of the source
    truth = float(
        (
            mixed * (mixed / post).log()
            + (1 - mixed) * ((1 - mixed) / (1 - post)).log()
        ).mean()
    )
    for run in range(runs):
        z, y = fitted_law(head).draws(400, 1000 + run)
        y = torch.where(torch.from_numpy(rng.random(400) < share), 1 - y, y)
        found = divergence_at_least(
            head, (z, y), fitted_law(head).draws(2000, run), 0.05
        )
        wrong, known = wrong + (found > truth), known + (found > 0)
    assert known > runs / 4  # it is no bound of 0
    assert wrong <= stats.binom.ppf(1 - 1e-6, runs, 0.05)


def test_other_images_are_refused(head, held_out):
    z, y = held_out
    table = certificates(head, z, y)
    with pytest.raises(InputError, match="3 latents"):
        distribution_report(head, z[:3], y[:3], table)
    with pytest.raises(InputError, match="expected"):
        distribution_report(head, z[:, :1], y, table)
    several = EllipsHead.from_parameters(
        [[0.0, 0.0], [3.0, 1.0], [5.0, 1.0]], 1.0, owners=[0, 1, 1]
    )
    with pytest.raises(ConfigError, match="several Gaussians"):
        distribution_report(several, z, y, table)


def test_what_is_not_of_these_images_is_no_traceback_and_no_share(head, held_out):
    z, y = held_out
    table = certificates(head, z, y)
    for turned in (table.select(table.ids.flip(0)), certificates(head, z.flip(0), y)):
        with pytest.raises(InputError, match="in another order"):
            distribution_report(head, z, y, turned, n_draws=100)
    with pytest.raises(InputError, match="labels run from 0 to 2"):
        distribution_report(head, z, 2 * y, table, n_draws=100)
    with pytest.raises(StatusError, match="certificates is list"):
        distribution_report(head, z, y, [], n_draws=100)
    few = distribution_report(
        head, z[:2], y[:2], table.select(table.ids[:2]), n_draws=100
    )
    assert "nan" not in str(few)
