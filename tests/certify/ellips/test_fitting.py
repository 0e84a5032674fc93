"""Do fitted Gaussians equal their definitions, and are too few latents refused with the remedy?"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.certify import EllipsHead
from torchattacks_ext.certify.ellips.fitting import fitted
from torchattacks_ext.errors import ConfigError, InputError, MissingExtra

DOUBLE = torch.float64


def latents(n: int, d: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    stretch = torch.linspace(0.5, 2, d, dtype=DOUBLE)
    z = torch.randn(n, d, generator=source, dtype=DOUBLE) * stretch
    return z + 3 * y.unsqueeze(1) * torch.eye(d, dtype=DOUBLE)[0], y


def test_moments_are_the_definitions() -> None:
    z, y = latents(90, 3, 3)
    y[:5] = 0  # unequal classes
    rows = [z[y == k].numpy() for k in range(3)]
    full = fitted(z, y, "full")
    for k, r in enumerate(rows):
        assert np.allclose(full.means[k], r.mean(0), rtol=1e-12)
        assert np.allclose(full.covariances[k], np.cov(r.T, bias=True), rtol=1e-10)
        diag = fitted(z, y, "diag").covariances[k]
        assert np.allclose(diag, r.var(0), rtol=1e-12)
        ball = fitted(z, y, "spherical").covariances[k]
        assert np.allclose(ball, r.var(0).mean(), rtol=1e-12)
    shared = fitted(z, y).covariances[0]
    pooled = sum(len(r) * np.cov(r.T, bias=True) for r in rows) / (90 - 3)
    assert np.allclose(shared, pooled, rtol=1e-10)
    sizes = [len(r) / 90 for r in rows]
    assert full.priors.tolist() == pytest.approx(sizes)
    assert fitted(z, y, priors="uniform").priors.tolist() == pytest.approx([1 / 3] * 3)
    assert fitted(z, y, priors=[0.2, 0.3, 0.5]).priors.tolist() == [0.2, 0.3, 0.5]


def test_float32_latents_are_fitted_in_double() -> None:
    z, y = latents(90, 3, 3)
    one, two = fitted(z.float(), y), fitted(z.float().double(), y)
    assert torch.equal(one.covariances, two.covariances)


@pytest.mark.parametrize("name", ["ledoit-wolf", "oas"])
def test_named_shrinkage_is_that_of_scikit_learn_on_centred_latents(name: Any) -> None:
    sk = pytest.importorskip("sklearn.covariance")
    z, y = latents(30, 8, 3)
    estimator = {"ledoit-wolf": sk.LedoitWolf, "oas": sk.OAS}[name]
    rows = [(z[y == k] - z[y == k].mean(0)).numpy() for k in range(3)]
    found = fitted(z, y, "full", name)
    for k, r in enumerate(rows):
        theirs = estimator(assume_centered=True).fit(r)
        assert np.allclose(found.covariances[k], theirs.covariance_, rtol=1e-10)
        assert found.facts["amounts"][k] == pytest.approx(theirs.shrinkage_)
    centred = np.concatenate([rows[k][i : i + 1] for i in range(10) for k in range(3)])
    pooled = estimator(assume_centered=True).fit(centred)
    assert np.allclose(fitted(z, y, "shared", name).covariances[0], pooled.covariance_)


def test_a_number_shrinks_towards_the_mean_variance() -> None:
    z, y = latents(120, 3, 2)
    for form in ("full", "shared"):
        plain, shrunk = fitted(z, y, form), fitted(z, y, form, 0.25)
        for one, two in zip(plain.covariances, shrunk.covariances):
            ball = one.diagonal().mean() * torch.eye(3, dtype=DOUBLE)
            assert torch.allclose(two, 0.75 * one + 0.25 * ball)
    plain, shrunk = fitted(z, y, "diag"), fitted(z, y, "diag", 0.25)
    mean = plain.covariances.mean(1, keepdim=True)
    assert torch.allclose(shrunk.covariances, 0.75 * plain.covariances + 0.25 * mean)
    assert fitted(z, y, "diag", 0.25).facts["amounts"] == [0.25, 0.25]


def test_without_scikit_learn_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    z, y = latents(60, 2, 2)
    real = builtins.__import__

    def none(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", lambda name: none(name))
    with pytest.raises(MissingExtra, match="torchattacks_ext\\[demo\\]"):
        fitted(z, y, "shared", "oas")
    assert fitted(z, y, "shared", 0.1).facts["amounts"] == [0.1]


@pytest.mark.parametrize(
    ("n", "d", "covariance", "words"),
    [
        (60, 7, "full", "class 0 has 30 latents.*>= 35.*shared.*ledoit-wolf"),
        (5, 4, "shared", "3 degrees of freedom.*ledoit-wolf"),
        (2, 1, "shared", "0 degrees of freedom"),
        (3, 2, "diag", "class 1 has 1 latent.*shared"),
        (3, 2, "spherical", "class 1 has 1 latent"),
        (3, 2, "full", "class 1 has 1 latent"),
    ],
)
def test_too_few_latents_are_refused_with_the_remedy(
    n: int, d: int, covariance: Any, words: str
) -> None:
    z, y = latents(n, d, 2)
    with pytest.raises(InputError, match=words):
        EllipsHead.fit(z, y, covariance)


def test_the_remedies_work() -> None:
    z, y = latents(60, 7, 2)
    EllipsHead.fit(z, y, "full", shrinkage=0.1)
    EllipsHead.fit(z, y, "shared")
    z, y = latents(3, 2, 2)
    found = EllipsHead.fit(z, y, "shared", shrinkage=0.5)
    assert found.n_classes == 2


@pytest.mark.parametrize("form", ["shared", "full", "diag", "spherical"])
def test_latents_without_variance_are_refused_and_never_jittered(form: Any) -> None:
    z, y = latents(100, 3, 2)
    z[:, 1] = z[:, 0] if form in ("shared", "full") else 0.0
    if form == "spherical":
        z[y == 0] = 1.0
    with pytest.raises(ConfigError, match="shrink"):
        EllipsHead.fit(z, y, form)
    if form in ("shared", "full"):
        EllipsHead.fit(z, y, form, shrinkage=0.05)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0] * 30, "K=1"),
        ([0, 2] * 15, "class 1 has no latents.*prior would be 0"),
        ([0, 1] * 14, "expected \\(30,\\)"),
        ([0.5, 1] * 15, "fractions"),
        ([-1, 0] * 15, "down to -1"),
    ],
)
def test_labels_that_name_no_classes_are_refused(labels: Any, words: str) -> None:
    z, _ = latents(30, 2, 2)
    with pytest.raises(InputError, match=words):
        EllipsHead.fit(z, torch.tensor(labels))


@pytest.mark.parametrize(
    "z",
    [
        torch.zeros(4),
        torch.zeros(4, 2, 2),
        torch.zeros(0, 2),
        torch.full((4, 2), torch.nan),
    ],
)
def test_latents_of_another_kind_are_refused(z: Tensor) -> None:
    with pytest.raises(InputError, match="latents"):
        EllipsHead.fit(z, torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(covariance="banded"), "covariance='banded'"),
        (dict(shrinkage="a lot"), "shrinkage='a lot'"),
        (dict(shrinkage=1.5), "shrinkage=1.5"),
        (dict(shrinkage=-0.1), "shrinkage=-0.1"),
        (dict(covariance="spherical", shrinkage=0.1), "leave it out"),
        (dict(covariance="diag", shrinkage="oas"), "takes a number"),
        (dict(priors="equal"), "priors='equal'"),
        (dict(priors=[1.0, 0.0]), "prior 0"),
        (dict(priors=[0.5, 0.25, 0.25]), "2 numbers > 0"),
    ],
)
def test_settings_outside_their_domains_are_refused(options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EllipsHead.fit(*latents(60, 2, 2), **options)
