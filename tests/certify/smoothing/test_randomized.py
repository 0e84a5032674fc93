"""Randomised smoothing on a half space, whose radius is known, and in every batch size."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import nn

from torchattacks_ext.certify import RandomizedSmoothing
from torchattacks_ext.errors import (
    ConfigError,
    InputError,
    ModelContractError,
    ReliabilityWarning,
    StateError,
    StatusError,
)
from torchattacks_ext.results import Certificates

SIGMA = 0.25


class HalfSpace(nn.Module):
    """Class 0 where the first pixel is above .5: the radius of smoothing is its distance."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, images):
        self.rows += len(images)
        side = images.flatten(1)[:, 0] - 0.5
        return torch.stack([side, -side], 1)


@pytest.fixture
def model():
    return HalfSpace().eval()


@pytest.fixture
def images():
    return torch.linspace(0.35, 1.0, 14).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)


def certifier(model, **changed):
    return RandomizedSmoothing(model, **{"sigma": SIGMA, "n": 2000, **changed})


def test_no_radius_of_a_half_space_is_beyond_its_boundary(model, images):
    found = certifier(model).certify(images, torch.zeros(14, dtype=torch.int64))
    truth = (images[:, 0, 0, 0].double() - 0.5).abs()
    # each radius is too large with probability .001: more than 3 of 14 are, with < 1e-6
    assert int((found.radius > truth).sum()) <= 3
    assert found.radius[-1] > 0.6 * truth[-1]
    assert found.tier == "certified with confidence" and found.norm == "L2"
    assert ((found.label >= 0) == (found.radius > 0)).all()
    assert (found.clean_correct == (found.label == 0)).all()


def test_counts_say_what_the_radius_is(model, images):
    found = certifier(model).certify(images)
    again = stats.beta.ppf(0.001, found.hits, found.n_samples - found.hits + 1)
    exact = SIGMA * special.ndtri(np.maximum(again, 0.5))
    assert found.radius.numpy() == pytest.approx(exact, rel=1e-9)
    assert (found.n_samples == 2000).all()
    assert found.latent_radius.numpy() == pytest.approx(exact / SIGMA, rel=1e-9)


def test_every_batch_size_and_order_gives_the_same(model, images):
    ids = list(range(14))
    whole = certifier(model, n=300).certify(images, ids=ids)
    small = certifier(model, n=300, batch_size=7).certify(images, ids=ids)
    order = torch.randperm(14, generator=torch.Generator().manual_seed(0))
    mixed = certifier(model, n=300).certify(images[order], ids=order)
    early = [
        certifier(model, n=1000, eps=0.2, batch_size=b).certify(images, ids=ids)
        for b in (29, 256)
    ]
    assert whole.digest() == small.digest() == mixed.digest()
    assert early[0].digest() == early[1].digest()
    alone = certifier(model, n=300).certify(images[3:4], ids=[3])
    assert alone.hits[0] == whole.hits[3]


def test_the_price_is_n0_plus_n_and_ties(model, images):
    found = certifier(model, n=300).certify(images[:4])
    assert found.cost.forward == model.rows == 4 * 400 + int(found.n_close.sum())


def test_early_stopping_gives_that_radius_or_none_for_far_less(model, images):
    asked = certifier(model, n=20_000, eps=0.2)
    found = asked.certify(images, torch.zeros(14, dtype=torch.int64))
    far = (images[:, 0, 0, 0] - 0.5).abs() > 0.3
    assert set(found.radius.tolist()) == {0.0, 0.2}
    assert (found.radius[far] == 0.2).all() and found.radius[3] == 0
    assert found.cost.forward < 14 * 20_100 / 5
    assert found.certified_accuracy(0.2).value == float(
        ((found.radius == 0.2) & (found.label == 0)).double().mean()
    )
    with pytest.raises(StatusError, match="0.2 or 0"):
        found.certified_accuracy(0.1)
    with pytest.raises(StatusError, match="0.2 or 0"):
        found.curve([0.1, 0.2])
    assert list(found.summary()["certified_accuracy"]) == ["0.2"]


def test_images_exactly_at_the_radius_get_it_no_more_often_than_the_level(model):
    # 400 images whose distance is eps: each radius given is false. False alarm: <= 1e-6
    eps, level, n = 0.2, 0.05, 400
    images = torch.full((n, 1, 1, 2), 0.5 + eps)
    asked = certifier(model, n=400, eps=eps, significance=level, batch_size=4096)
    found = asked.certify(images, ids=list(range(n)))
    given = int((found.radius > 0).sum())
    assert 0 < given <= stats.binom.ppf(1 - 1e-6, n, level)


def test_abstention_is_a_value(model):
    edge = torch.full((3, 1, 2, 2), 0.5)
    found = certifier(model, n=200).certify(edge, [0, 1, 0], ids=[1, 2, 3])
    assert (found.label == -1).all() and (found.radius == 0).all()
    assert (found.clean_correct == 0).all()
    said = certifier(model).predict(edge, n=100, ids=[1, 2, 3])
    assert (said.label[said.p_value > 0.001] == -1).all()
    assert said.abstained.any()


def test_predict_is_the_test_of_its_two_largest_classes(model, images):
    said = certifier(model).predict(images, n=400, significance=0.01)
    assert ((said.label >= 0) == (said.p_value <= 0.01)).all()
    right = images[:, 0, 0, 0] > 0.6
    assert (said.label[right] == 0).all() and (said.guess[right] == 0).all()


def test_a_budget_ends_early_and_resume_goes_on(model, images):
    whole = certifier(model, n=6400).certify(images)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        part = certifier(model, n=6400).certify(images, max_queries=4 * 6600)
    assert 0 < int((~part.answered).sum()) < 14
    assert "budget_spent" in [flag.code for flag in part.flags]
    more = certifier(model, n=6400).certify(images, resume=part)
    assert more.digest() == whole.digest()
    assert more.cost.forward == pytest.approx(whole.cost.forward, abs=20)
    with pytest.raises(StateError, match="other settings"):
        certifier(model, n=6401).certify(images, resume=part)


def test_a_budget_for_two_images_of_a_batch_does_two(model, images):
    whole = certifier(model, n=300).certify(images)
    found = None
    for done in (2, 4, 6):  # a run of many small budgets comes to its end
        with pytest.warns(ReliabilityWarning, match="budget_spent"):
            found = certifier(model, n=300).certify(
                images, resume=found, max_queries=2 * 400 + 20
            )
        assert int(found.answered.sum()) == done
    rest = certifier(model, n=300).certify(images, resume=found)
    assert rest.digest() == whole.digest()


def test_a_result_goes_to_disk_and_back(model, images):
    found = certifier(model, n=100, eps=0.1).certify(images)
    again = Certificates.from_dict(found.to_dict())
    assert again.digest() == found.digest() and again.fixed_radius == 0.1
    assert (again.hits == found.hits).all()


def test_answers_that_are_no_numbers_are_in_no_class(images):
    class Odd(HalfSpace):
        def forward(self, images):
            logits = super().forward(images)
            return torch.where(logits[:, :1] > 0.2, torch.nan, logits)

    found = certifier(Odd().eval(), n=200).certify(images[-1:])
    assert found.hits[0] < 120  # half of the draws had no answer


def test_a_model_that_raises_on_some_rows_costs_only_these(images):
    class Raises(HalfSpace):
        def forward(self, images):
            if (images.flatten(1)[:, 1].mean() > 0.9).any():
                raise RuntimeError("too bright")
            return super().forward(images)

    with pytest.warns(UserWarning, match="too bright"):
        found = certifier(Raises().eval(), n=12_800).certify(images)
    assert [s for s in found.status.tolist() if s] == [3] * int((~found.answered).sum())
    assert 0 < int((~found.answered).sum()) < 14
    with pytest.raises(ModelContractError, match="too bright"):
        certifier(Raises().eval(), n=100).certify(images[-1:])


def test_refusals(model, images):
    for bad, match in [
        ({"n": 5}, "n=5 draws prove no radius"),
        ({"sigma": 0}, "sigma=0"),
        ({"significance": 2}, "significance=2"),
        ({"eps": 9.0}, "eps=9 cannot be proved"),
        ({"seed": -1}, "seed=-1"),
        ({"n0": 0}, "n0=0"),
    ]:
        with pytest.raises(ConfigError, match=match):
            certifier(model, **bad)
    with pytest.raises(StateError, match="training mode"):
        certifier(nn.Sequential(nn.Flatten()).train()).certify(images)
    with pytest.raises(InputError, match="images lie in"):
        certifier(model).certify(images * 2)
    assert math.isclose(certifier(model).config.sigma, SIGMA)


def test_flips_of_the_model_inside_a_radius_contradict_nothing(images):
    class Thin(HalfSpace):
        """A spike of class 1 of width .002, which noise does not see."""

        def forward(self, images):
            logits = super().forward(images)
            spike = (images.flatten(1)[:, 0] - 0.9).abs() < 1e-3
            return torch.where(spike[:, None], -logits, logits)

    net = Thin().eval()
    start = torch.full((1, 1, 2, 2), 0.89)
    found = certifier(net).certify(start, [0])
    flipped = start.clone()
    flipped[0, 0, 0, 0] = 0.9
    assert found.radius[0] > 0.02 and net(flipped).argmax(1) == 1
    assert certifier(net).predict(flipped).label[0] == 0
