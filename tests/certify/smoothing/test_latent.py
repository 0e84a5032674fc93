"""A smoothed encoder with a Gaussian head: its closed form, bounded latents, refusals."""

import pytest
import torch
from scipy import special
from torch import nn

from torchattacks_ext.certify import EllipsHead, SmoothedEllips
from torchattacks_ext.certify.smoothing.latent import BoundedLatents, rival_directions
from torchattacks_ext.errors import ConfigError, ModelContractError

SIGMA = 0.25


class Sign(nn.Module):
    """One latent, +-1 by the side of the first pixel: its mean is 2 Phi(distance / sigma) - 1."""

    def forward(self, images):
        return torch.where(images.flatten(1)[:, :1] > 0.5, 1.0, -1.0)


@pytest.fixture(scope="module")
def head():
    return EllipsHead.from_parameters([[-0.5], [0.5]], [[0.1]], covariance="shared")


@pytest.fixture
def images():
    return torch.linspace(0.4, 1.0, 12).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)


@pytest.mark.parametrize("interval", ["hoeffding", "bernstein"])
def test_no_radius_is_beyond_the_distance_of_a_half_space(head, images, interval):
    model = SmoothedEllips(Sign().eval(), head, SIGMA, n=4000, interval=interval)
    found = model.certify(images)
    truth = (images[:, 0, 0, 0].double() - 0.5).abs()
    # each is too large with probability .001: more than 3 of 12 with < 1e-6
    assert int((found.radius > truth).sum()) <= 3
    assert found.radius[-1] > 0.5 * truth[-1]
    assert found.tier == "certified with confidence"


def test_every_batch_size_gives_the_same_labels(head, images):
    ids = list(range(12))
    a, b = (
        SmoothedEllips(Sign().eval(), head, SIGMA, n=500, batch_size=size).certify(
            images, ids=ids
        )
        for size in (13, 256)
    )
    assert a.digest() == b.digest()
    assert a.radius.numpy() == pytest.approx(b.radius.numpy(), rel=1e-9)


def test_rival_directions_are_the_differences_of_scores():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    root = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    cov = root @ root.T + 0.1 * torch.eye(3, dtype=torch.float64)
    head = EllipsHead.from_parameters(
        means, cov, [0.1, 0.2, 0.3, 0.2, 0.2], covariance="shared"
    )
    z = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    unit, tau = rival_directions(head)
    half = head.half_scores(z)
    for k in range(5):
        rivals = [i for i in range(5) if i != k]
        side = z @ unit[k].T - tau[k]
        for j, i in enumerate(rivals):
            ratio = (half[:, k] - half[:, i]) / side[:, j]
            assert ratio.min() > 0 and ratio.max() / ratio.min() < 1 + 1e-6
    assert unit.norm(dim=2).allclose(torch.ones(5, 4, dtype=torch.float64))


def test_latents_are_moved_into_the_ball():
    z = BoundedLatents(nn.Flatten(), 1.0)(torch.randn(200, 1, 3, 3) * 3)
    assert (z.norm(dim=1) <= 1).all() and z.dtype == torch.float64


def test_the_mean_is_the_closed_form(head, images):
    model = SmoothedEllips(Sign().eval(), head, SIGMA, n=20_000)
    said = model.predict(images, n=4000)
    distance = images[:, 0, 0, 0].double().numpy() - 0.5
    mean = torch.from_numpy(2 * special.ndtr(distance / SIGMA) - 1)
    sure = mean.abs() > 0.2
    assert (said.label[sure] == (mean[sure] > 0).long()).all()


def test_refusals(head):
    free = EllipsHead.from_parameters(
        [[-0.5], [0.5]], [[0.1], [0.2]], covariance="diag"
    )
    with pytest.raises(ConfigError, match="covariance='shared'"):
        SmoothedEllips(Sign(), free, SIGMA)
    with pytest.raises(ConfigError, match="interval='t'"):
        SmoothedEllips(Sign(), head, SIGMA, interval="t")
    with pytest.raises(ConfigError, match="bound=0"):
        SmoothedEllips(Sign(), head, SIGMA, bound=0)
    with pytest.raises(ModelContractError, match="latents of 4 numbers"):
        SmoothedEllips(nn.Flatten().eval(), head, SIGMA).certify(torch.rand(1, 1, 2, 2))
