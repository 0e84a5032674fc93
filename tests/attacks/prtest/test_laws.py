"""Does PRTest keep its promises with every law and every test? The contract, and one digest."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import (
    Affine,
    Compose,
    Corruption,
    EightBit,
    Gaussian,
    L1Ball,
    L2Ball,
    LinfUniform,
    Photometric,
    PRTest,
    ReliabilityWarning,
    Sampler,
)
from torchattacks_ext.samplers.choose import SAMPLERS
from torchattacks_ext.testing import check_probe, check_sampler, small_net
from torchattacks_ext.testing.props import example_images

SHAPE = (3, 8, 8)
LAWS: dict[str, Sampler] = {
    "linf": LinfUniform(0.1),
    "l2": L2Ball(0.6),
    "l1": L1Ball(3.0),
    "gaussian": Gaussian(0.1, boundary="truncate"),
    "affine": Affine(rotation=15, translation=0.1, scale=0.1),
    "photometric": Photometric(brightness=0.2, contrast=0.3, blur=0.8),
    "compose": Compose([Affine(rotation=10), Gaussian(0.05)]),
    "eight_bit": EightBit(LinfUniform(8 / 255)),
    "corruption": Corruption("gaussian_noise", 3),
}


def make(law: Sampler, model: nn.Module, **options: Any) -> PRTest:
    ball = {"eps": law.eps, "norm": law.norm} if law.norm else {}
    settings = dict(tolerance=0.1, significance=0.05, n_max=400) | options
    return PRTest(model, sampler=law, **ball, **settings)


def test_every_law_of_the_registry_is_here() -> None:
    assert set(LAWS) == set(SAMPLERS)


@pytest.mark.parametrize("law", LAWS)
def test_a_law_keeps_the_contract_of_laws(law: str) -> None:
    assert len(check_sampler(LAWS[law], shape=SHAPE)) >= 8


@pytest.mark.parametrize(
    "law",
    [
        law if law in ("linf", "photometric", "compose") else slow
        for law, slow in (
            (law, pytest.param(law, marks=pytest.mark.slow)) for law in LAWS
        )
    ],
)
def test_one_digest_whatever_the_batches(law: str) -> None:
    images = example_images(14, SHAPE)
    net = small_net(SHAPE).eval()
    with torch.no_grad():
        labels = net(images).argmax(1)
    ids = [f"image {i}" for i in range(14)]

    def digest(rows: torch.Tensor, batch_size: int, **options: Any) -> str:
        test = make(LAWS[law], net, batch_size=batch_size, **options)
        chosen = [ids[i] for i in rows.tolist()]
        return str(test.measure(images[rows], labels[rows], ids=chosen).digest())

    rows, shuffled = torch.arange(14), torch.randperm(14, generator=torch.Generator())
    whole = digest(rows, 256, n_mean=4)
    assert {digest(rows, size, n_mean=4) for size in (1, 7, 128)} == {whole}
    assert digest(shuffled, 256, n_mean=4) == whole
    parts = [
        make(LAWS[law], net, n_mean=4).measure(
            images[part], labels[part], ids=ids[part]
        )
        for part in (slice(0, 6), slice(6, None))
    ]
    assert type(parts[0]).concat(parts).digest() == whole


@pytest.mark.parametrize(
    "law, test",
    [
        ("l2", "eprocess"),
        ("linf", "sprt"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                ("l1", "eprocess"),
                ("eight_bit", "eprocess"),
                ("linf", "fixed"),
                ("linf", "group"),
            )
        ),
    ],
)
def test_the_contract_of_a_probe_holds(law: str, test: Any) -> None:
    sampler = LAWS[law]
    checks = check_probe(
        lambda model: make(sampler, model, test=test, n_mean=3, clean_policy="sample"),
        shape=SHAPE,
        n=6,
    )
    assert len(checks) >= 12


def test_a_certified_law_may_be_named_as_in_a_plan() -> None:
    net = small_net(SHAPE).eval()
    images = example_images(4, SHAPE)
    with torch.no_grad():
        labels = net(images).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        named = PRTest(net, sampler={"name": "gaussian", "sigma": "0.1"}, n_max=900)
        given = PRTest(net, sampler=Gaussian(0.1), n_max=900)
        assert (
            named.measure(images, labels).digest()
            == given.measure(images, labels).digest()
        )
