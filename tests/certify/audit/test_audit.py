"""Audits: sound certificates pass, planted wrong ones are caught, and foreign claims are held."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from torchattacks_ext.certify import (
    Ellips,
    EllipsHead,
    LipschitzBound,
    RandomizedSmoothing,
    audit,
    foreign_certificates,
    read_verdicts,
    verdict_certificates,
)
from torchattacks_ext.certify.audit.victims import EllipsVictim
from torchattacks_ext.errors import ConfigError, InputError, ReliabilityWarning


class Linear(nn.Module):
    """Two classes by a hyperplane: the distance of an image is known."""

    def __init__(self, spike=False):
        super().__init__()
        self.spike = spike
        self.w = nn.Parameter(torch.tensor([2.0, 1.0, -1.0, 0.5]))

    def forward(self, images):
        flat = images.flatten(1)
        side = (flat - 0.5) @ self.w
        if self.spike:
            near = (flat[:, 0] - 0.9).abs() < 1e-3
            side = torch.where(near, -side, side)
        return torch.stack([side, -side], 1)

    def distance(self, images):
        gap = (images.flatten(1).double() - 0.5) @ self.w.double()
        return gap.abs() / self.w.double().norm()


@pytest.fixture(scope="module")
def images():
    return (
        torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(3)) * 0.4 + 0.3
    )


@pytest.fixture(scope="module")
def net():
    return Linear().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def ellips():
    head = EllipsHead.from_parameters([[0.0] * 4, [0.6] * 4], 1.0)
    return Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()


@pytest.mark.parametrize(
    "attacks",
    [["DeepFool", "PGDL2"], pytest.param(None, marks=pytest.mark.slow)],
)
def test_a_sound_certificate_passes_and_is_tight(ellips, images, attacks):
    labels = ellips(images).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)  # 2 x 2 pixels, no Square
        found = audit(ellips, images, labels, attacks=attacks)
    assert found.sound and not found.flips and found.allowed == 0
    whole = found.table[-1]
    assert whole.attack == "all" and whole.inside == 0 and whole.changed == 6
    # of two spheres the boundary is a plane: attacks reach it
    assert 1 <= whole.least < 1.01
    if attacks is None:
        assert {line.attack for line in found.table} >= {"CW", "MSA"}
    assert (
        str(found).startswith("not contradicted: 6 ")
        and found.to_dict()["sound"] is True
    )


def test_a_radius_half_as_large_again_is_caught(ellips, images):
    labels = ellips(images).argmax(1)
    true = ellips.certify(images, labels)
    wrong = replace(true, radius=true.radius * 1.5)
    found = audit(ellips, images, labels, certificates=wrong, attacks=["DeepFool"])
    assert not found.sound and len({f.image for f in found.flips}) == 6
    assert all(f.length < f.radius for f in found.flips)
    assert "BROKEN" in str(found)


def test_flips_of_the_base_net_inside_a_smoothed_radius_are_not_reported():
    net = Linear(spike=True).eval().requires_grad_(False)
    image = torch.full((1, 1, 2, 2), 0.5)
    image[0, 0, 0, 0] = 0.89
    smoothed = RandomizedSmoothing(net, sigma=0.25, n=1000)
    label = smoothed.certify(image).prediction

    def to_spike(model, eps):
        def attack(images, labels):
            moved = images.clone()
            moved[:, 0, 0, 0] = 0.9
            return moved

        return attack

    radius = float(smoothed.certify(image).radius)
    flipped = image.clone()
    flipped[0, 0, 0, 0] = 0.9
    assert (
        radius > 0.01 and net(flipped).argmax(1) != label
    )  # the base net flips inside
    found = audit(
        smoothed, image, label, attacks={"spike": to_spike}, n_random=1, n_draws=500
    )
    assert found.sound and found.table[0].changed == 0 and "smoothed" in found.victim


def test_a_planted_smoothed_radius_is_caught(net, images):
    smoothed = RandomizedSmoothing(net, sigma=0.1, n=300)
    true = smoothed.certify(images)
    rows = (true.label >= 0).nonzero().flatten()[:2]
    part = true.select(true.ids[rows])
    wrong = replace(part, radius=part.radius * 3)
    found = audit(
        smoothed,
        images[rows],
        part.label,
        certificates=wrong,
        attacks=["PGDL2"],
        n_random=0,
        n_draws=300,
    )
    assert not found.sound


def test_a_wrong_foreign_claim_is_named_and_nan_claims_nothing(net, images):
    labels = net(images).argmax(1)
    far = net.distance(images) * torch.tensor([0.9, 1.5, 0.9, 0.9, 0.9, 0.9])
    far[3] = float("nan")
    claim = foreign_certificates(
        range(6), far, labels, norm="L2", verifier="someone 1.0"
    )
    assert claim.label[3] == -1
    found = audit(net, images, labels, certificates=claim, attacks=["DeepFool"])
    assert {f.image for f in found.flips} == {int(claim.ids[1])}
    assert found.claim == "someone 1.0" and found.n == 5


def test_verdicts_of_a_verifier_in_linf(net, images, tmp_path):
    labels = net(images).argmax(1)
    gap = ((images.flatten(1) - 0.5) @ net.w).abs() / net.w.abs().sum()
    eps = float(gap.median())
    lines = ["id,verdict,verifier,seconds"]
    lines += [
        f"{i},{'robust' if g > eps else 'unknown'},v,0.5" for i, g in enumerate(gap)
    ]
    path = tmp_path / "verdicts.csv"
    path.write_text("\n".join(lines))
    rows = read_verdicts(path)
    claim = verdict_certificates(rows, labels, eps, norm="Linf")
    found = audit(net, images, labels, certificates=claim, attacks=["PGD"])
    assert found.sound and found.n == int((gap > eps).sum()) and found.norm == "Linf"


def test_bad_input_is_named(net, images, tmp_path):
    labels = net(images).argmax(1)
    with pytest.raises(ConfigError, match="'Nothing'"):
        audit(
            RandomizedSmoothing(net, 0.25, n=100), images, labels, attacks=["Nothing"]
        )
    with pytest.raises(InputError, match="no file"):
        read_verdicts(tmp_path / "none.csv")
    with pytest.raises(InputError, match="1 ids, 2 radii"):
        foreign_certificates([1], [0.1, 0.2], [1, 2], norm="L2", verifier="v")


def test_rounding_of_the_encoder_at_the_edge_is_told_apart(images):
    """A change 1e-7 below the radius is float32's; with encoder_slack none is there."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 4)).requires_grad_(False)
    weight = torch.linalg.qr(torch.randn(4, 4))[0]
    encoder[1].weight.copy_(weight)
    encoder[1].bias.copy_(torch.tensor([300.0, 0, 0, 0]))  # coarse latents
    means = encoder(torch.stack([torch.zeros(4), torch.full((4,), 0.6)])).tolist()
    head = EllipsHead.from_parameters(means, 1.0)
    plain = Ellips(encoder, head, LipschitzBound(1.001)).eval()
    labels = plain(images).argmax(1)
    radius = plain.certify(images).radius
    edge = EllipsVictim(plain, 4).edge(images, torch.full((6,), 1.001))
    assert bool((edge > 1e-6).all()) and bool((edge < 0.01).all())

    def beyond(share):
        wrong = replace(plain.certify(images), radius=radius * 1.001 + share * edge)
        return audit(
            plain, images, labels, certificates=wrong, attacks=["DeepFool"], n_random=0
        )

    near, far = beyond(0.5), beyond(5)
    assert near.flips and near.sound and all(flip.rounding for flip in near.flips)
    assert "encoder's rounding" in str(near) and near.broken == ()
    assert not far.sound and "BROKEN" in str(far)
    covered = Ellips(encoder, head, LipschitzBound(1.001), encoder_slack=1e-3).eval()
    assert not EllipsVictim(covered, 4).edge(images, torch.ones(6)).any()
