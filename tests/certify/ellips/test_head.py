"""Is the head the classifier that its numbers say, whatever is done to the module?"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.certify import EllipsHead
from torchattacks_ext.errors import ConfigError, InputError, StatusError
from torchattacks_ext.numerics.certificates.mixture import COVARIANCES, Covariance
from torchattacks_ext.numerics.certificates.radii import METHODS

DOUBLE = torch.float64


def latents(n: int, d: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(n, d) float64 latents of k classes and their labels."""
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    shift = 2 * torch.randn(k, d, generator=source, dtype=DOUBLE)
    mix = torch.randn(k, d, d, generator=source, dtype=DOUBLE) / d**0.5
    noise = torch.randn(n, 1, d, generator=source, dtype=DOUBLE)
    return shift[y] + (noise @ mix[y])[:, 0] + 0.3 * noise[:, 0], y


def head(covariance: Covariance = "full", seed: int = 0) -> EllipsHead:
    return EllipsHead.fit(*latents(300, 3, 3, seed), covariance)


# ---------------------------------------------------------------------- scikit-learn
def test_logits_are_those_of_quadratic_discriminant_analysis() -> None:
    da = pytest.importorskip("sklearn.discriminant_analysis")
    z, y = latents(400, 4, 3)
    model = da.QuadraticDiscriminantAnalysis(store_covariance=True).fit(z, y)
    found = EllipsHead.from_sklearn(model)
    # where sklearn divides by n, its covariances are those of `fit`
    logits = found(z).numpy()
    theirs = model.decision_function(z.numpy())
    assert np.abs(logits - theirs).max() < 1e-10 * np.abs(theirs).max()
    given = EllipsHead.from_parameters(
        model.means_, np.stack(model.covariance_), model.priors_
    )
    assert torch.equal(given(z), found(z))


def test_two_classes_differ_by_the_decision_function() -> None:
    da = pytest.importorskip("sklearn.discriminant_analysis")
    z, y = latents(200, 3, 2)
    model = da.QuadraticDiscriminantAnalysis(store_covariance=True).fit(z, y)
    logits = EllipsHead.from_sklearn(model)(z)
    theirs = torch.from_numpy(model.decision_function(z.numpy()))
    assert torch.allclose(logits[:, 1] - logits[:, 0], theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", ["svd", "lsqr"])
def test_linear_discriminant_analysis_becomes_a_shared_head(solver: str) -> None:
    da = pytest.importorskip("sklearn.discriminant_analysis")
    z, y = latents(300, 4, 3)
    options = {"store_covariance": True} if solver == "svd" else {"shrinkage": 0.1}
    model = da.LinearDiscriminantAnalysis(solver=solver, **options).fit(z, y)
    found = EllipsHead.from_sklearn(model)
    assert found.covariance == "shared"
    theirs = torch.from_numpy(model.predict_log_proba(z.numpy()))
    if solver == "lsqr":
        assert torch.allclose(found(z).log_softmax(1), theirs, atol=1e-8)
    assert float((found(z).argmax(1) == theirs.argmax(1)).double().mean()) > 0.97


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_a_mixture_a_class_answers_with_its_largest_component(kind: str) -> None:
    mixture = pytest.importorskip("sklearn.mixture")
    z, y = latents(400, 3, 2)
    models = [
        mixture.GaussianMixture(1 + k, covariance_type=kind, random_state=0).fit(
            z[y == k].numpy()
        )
        for k in range(2)
    ]
    found = EllipsHead.from_sklearn(models, priors=[0.3, 0.7])
    assert found.owners.tolist() == [0, 1, 1] and found.n_classes == 2
    logits = found(z)
    # one component: the log density itself, up to (d / 2) log 2 pi
    theirs = torch.from_numpy(models[0].score_samples(z.numpy()))
    constant = 1.5 * np.log(2 * np.pi) + np.log(0.3)
    assert torch.allclose(logits[:, 0], theirs + constant, rtol=1e-9, atol=1e-8)
    below = torch.from_numpy(models[1].score_samples(z.numpy()))
    whole = below + 1.5 * np.log(2 * np.pi) + np.log(0.7)
    assert bool((logits[:, 1] <= whole + 1e-9 * whole.abs()).all())
    assert bool((found.radius(z) >= 0).all())


def test_what_is_no_fitted_model_is_refused() -> None:
    da = pytest.importorskip("sklearn.discriminant_analysis")
    z, y = latents(200, 3, 2)
    with pytest.raises(StatusError, match="store_covariance=True"):
        EllipsHead.from_sklearn(da.QuadraticDiscriminantAnalysis().fit(z, y))
    for odd in (da.QuadraticDiscriminantAnalysis(), nn.Linear(2, 2), [], [3]):
        with pytest.raises(StatusError, match="fitted"):
            EllipsHead.from_sklearn(odd)
    model = da.QuadraticDiscriminantAnalysis(store_covariance=True)
    with pytest.raises(ConfigError, match="0 .. K-1"):
        EllipsHead.from_sklearn(model.fit(z, y + 1))


# ---------------------------------------------------------------------- one classifier
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_logits_are_half_the_scores(covariance: Covariance) -> None:
    z, y = latents(300, 3, 3)
    found = EllipsHead.fit(z, y, covariance)
    means = torch.stack([z[y == k].mean(0) for k in range(3)])
    spread = {
        "shared": lambda r: None,
        "full": lambda r: r.T @ r / len(r),
        "diag": lambda r: r.square().mean(0).diag(),
        "spherical": lambda r: r.square().mean() * torch.eye(3).double(),
    }[covariance]
    rows = [z[y == k] - means[k] for k in range(3)]
    pooled = sum(r.T @ r for r in rows) / (len(z) - 3)
    matrices = [pooled if covariance == "shared" else spread(r) for r in rows]
    scores = [
        -((z - m) @ torch.linalg.inv(s) * (z - m)).sum(1) - torch.logdet(s)
        for m, s in zip(means, matrices)
    ]
    truth = torch.stack(scores, 1) / 2 + np.log(1 / 3)
    assert torch.allclose(found(z), truth, rtol=1e-9, atol=1e-9)
    assert found(z).dtype == DOUBLE and found.covariance == covariance


def test_lists_are_read_in_double_precision() -> None:
    """torch would make float32 of them."""
    one = EllipsHead.from_parameters([[0.1], [0.3]], [0.7, 0.9], [0.1, 0.9])
    means = torch.tensor([[0.1], [0.3]], dtype=DOUBLE)
    assert torch.equal(one.means, means)
    assert one.biases[0].item() == pytest.approx(np.log(1 / 0.7) + 2 * np.log(0.1))


def test_a_gradient_flows_to_the_latents() -> None:
    z = latents(20, 3, 3)[0].float().requires_grad_()
    head("full")(z).logsumexp(1).sum().backward()
    assert z.grad is not None and z.grad.dtype == torch.float32
    assert bool(z.grad.abs().sum() > 0)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_head_comes_back_from_disk_with_equal_bits(
    covariance: Covariance, tmp_path: Path
) -> None:
    z, _ = latents(50, 3, 3, seed=1)
    one = head(covariance)
    one.save(tmp_path / "head.safetensors")
    two = EllipsHead.load(tmp_path / "head.safetensors")
    three = EllipsHead.from_state_dict(one.state_dict())
    four = head(covariance, seed=5)
    four.load_state_dict(one.state_dict())
    for other in (
        two,
        three,
        four,
        copy.deepcopy(one),
        pickle.loads(pickle.dumps(one)),
    ):
        assert torch.equal(other(z), one(z))
        assert torch.equal(other.radius(z), one.radius(z))
    assert two.fitted == one.fitted and two.fitted["covariance"] == covariance


def test_another_file_is_no_head(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"means": torch.zeros(2)}, tmp_path / "other")
    (tmp_path / "text").write_text("no")
    for name in ("other", "text", "absent"):
        with pytest.raises(InputError, match="no head written by EllipsHead.save"):
            EllipsHead.load(tmp_path / name)
    with pytest.raises(ConfigError, match="state_dict"):
        EllipsHead.from_state_dict({})


def test_moving_the_module_never_rounds_the_numbers() -> None:
    z, _ = latents(50, 3, 3, seed=1)
    one, two = head(), nn.Sequential(nn.Linear(3, 3), head())
    before = one(z), one.radius(z)
    for move in ("half", "bfloat16", "float", "double"):
        getattr(one, move)()
        getattr(two, move)()
    two.to(torch.float16)
    assert {b.dtype for b in one.buffers()} == {DOUBLE, torch.int64}
    assert {b.dtype for b in two[1].buffers()} == {DOUBLE, torch.int64}
    assert two[0].weight.dtype == torch.float16
    assert torch.equal(one(z), before[0]) and torch.equal(one.radius(z), before[1])


def test_a_buffer_that_is_written_changes_logits_and_radii_together() -> None:
    z, _ = latents(50, 3, 3, seed=1)
    one = head()
    one.radius(z)
    one.biases.data[0] += 3.0
    fresh = EllipsHead.from_state_dict(one.state_dict())
    assert torch.equal(one(z), fresh(z)) and torch.equal(one.radius(z), fresh.radius(z))
    one.means[0, 0] = torch.nan
    for use in (one, one.radius):
        with pytest.raises(ConfigError, match="means hold NaN"):
            use(z)


def test_eigenvectors_are_kept_for_the_next_call() -> None:
    z, _ = latents(50, 3, 3, seed=1)
    one = head()
    one.radius(z)
    kept = one.pairs
    one.radius(z + 1)
    assert one.pairs is kept and kept.n_decompositions == 3


# ---------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_short_latents_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="float32 or float64"):
        head().radius(torch.zeros(2, 3).to(dtype))


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 1)])
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected \\(N, 3\\)"):
        head().radius(torch.zeros(shape))


@pytest.mark.parametrize("method", METHODS)
def test_latents_without_numbers_abstain(method: Any) -> None:
    z = torch.full((3, 3), torch.nan)
    z[1], z[2] = torch.inf, 0.0
    found = head().radii(z, method)
    assert found.label.tolist()[:2] == [-1, -1] and found.radius.tolist()[:2] == [0, 0]
    assert found.label[2] >= 0


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="method='best'"):
        head().radius(torch.zeros(1, 3), "best")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("means", "covariances", "options", "words"),
    [
        ([[0.0, 1.0]], 1.0, {}, "K=1"),
        ([[0.0], [1.0]], [1.0, 0.0], {}, "not positive"),
        (
            [[0.0, 0.0], [1.0, 0.0]],
            [[1.0, 1.0], [1.0, 1.0]],
            dict(covariance="shared"),
            "singular",
        ),
        (
            [[0.0, 0.0], [1.0, 0.0]],
            [[1.0, 0.5], [0.0, 1.0]],
            dict(covariance="shared"),
            "symmetric",
        ),
        ([[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.5], [0.0, 1.0]], {}, "say covariance"),
        ([[0.0], [1.0]], [1.0, 1.0, 1.0], {}, "expected one of"),
        ([[0.0], [1.0]], [1.0, 1.0], dict(covariance="full"), "expected one of"),
        ([[0.0], [1.0]], [1.0, 1.0], dict(covariance="round"), "is not one of"),
        ([[0.0], [1.0]], 1.0, dict(priors=[1.0, 0.0]), "prior 0"),
        ([[0.0], [1.0]], 1.0, dict(priors=[0.7, 0.7]), "sum to 1.4"),
        ([[0.0], [1.0]], 1.0, dict(owners=[0, 2]), "without a gap"),
        ([[0.0], [1.0]], 1.0, dict(owners=[0, 0]), "K=1"),
        ([[0.0], [1.0]], 1.0, dict(reject=[1.0, 0.0]), "reject radii"),
        ([0.0, 1.0], 1.0, {}, "expected \\(C, d\\)"),
        ([[0.0], ["a"]], 1.0, {}, "expected numbers"),
        ([[0.0], [np.nan]], 1.0, {}, "NaN"),
    ],
)
def test_parameters_that_are_no_classifier_are_refused(
    means: Any, covariances: Any, options: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        EllipsHead.from_parameters(means, covariances, **options)


def test_an_ill_conditioned_covariance_is_refused_with_the_remedy() -> None:
    good = torch.tensor([[1.0, 1e-11], [1.0, 1.0]], dtype=DOUBLE)
    EllipsHead.from_parameters([[0.0, 0.0], [1.0, 0.0]], good, covariance="diag")
    bad = torch.tensor([[1.0, 1e-13], [1.0, 1.0]], dtype=DOUBLE)
    for values in (bad, bad.diag_embed()):
        form = "diag" if values.dim() == 2 else "full"
        with pytest.raises(ConfigError, match="condition number.*shrink"):
            EllipsHead.from_parameters(
                [[0.0, 0.0], [1.0, 0.0]], values, covariance=form
            )
