"""Does FIMScore say the truth about F, keep the promises of a probe, and name its limits?"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import (
    BackendError,
    ConfigError,
    FIMScore,
    InputError,
    NormalizedModel,
    ReliabilityWarning,
    StateError,
)
from torchattacks_ext.numerics.fisher.spectral import Ending
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.testing import check_probe, small_net
from torchattacks_ext.testing.props import balanced_net, example_images

IMAGES = example_images(9)


def answers(net: nn.Module, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        found: Tensor = net(images).argmax(1)
    return found


def measure(probe: FIMScore, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return probe.measure(*args, **options)


def dense(net: nn.Module, image: Tensor) -> tuple[float, float, Tensor]:
    """log lambda_max, log trace and u1 of the D x D matrix, by a float64 Jacobian."""
    twin = balanced_net_like(net)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: twin(x[None])[0], image.double()
    ).flatten(1)
    with torch.no_grad():
        p = twin(image.double()[None])[0].softmax(0)
    fisher = jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian
    values, vectors = torch.linalg.eigh(fisher)
    return float(values[-1].log()), float(fisher.trace().log()), vectors[:, -1]


def balanced_net_like(net: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(net).double().eval()


# ---------------------------------------------------------------- the truth
@pytest.mark.parametrize("n_classes", [2, 3, 10, 40])
def test_lambda_is_the_largest_eigenvalue_of_the_dense_matrix(n_classes: int) -> None:
    net = balanced_net(n_classes)
    exact = FIMScore(net, method="gram").measure(IMAGES)
    double = FIMScore(net, method="gram", dtype=torch.float64).measure(IMAGES)
    search = FIMScore(net, method="lanczos").measure(IMAGES)
    units = FIMScore(net, method="gram").directions(IMAGES).flatten(1)
    for i, image in enumerate(IMAGES):
        truth, trace, vector = dense(net, image)
        assert float(exact.log_lam[i]) == pytest.approx(truth, abs=5e-5)
        assert float(double.log_lam[i]) == pytest.approx(truth, abs=1e-6)
        assert float(search.log_lam[i]) == pytest.approx(truth, abs=1e-3)
        assert float(exact.log_trace[i]) == pytest.approx(trace, abs=5e-5)
        assert abs(float(units[i].double() @ vector)) > 0.999
    assert search.count(Ending.CONVERGED) == len(IMAGES)
    assert (exact.n_iterations == 0).all() and (exact.residual == 0).all()


def test_logits_times_a_hundred_keep_their_digits_in_log_lambda() -> None:
    net = balanced_net(10)

    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = 20_000 * self.net(images)
            return found

    found = measure(FIMScore(Loud()), IMAGES)
    truth = measure(FIMScore(Loud(), dtype=torch.float64), IMAGES)
    assert torch.isfinite(found.log_lam).all() and bool((truth.log_lam < -200).any())
    # float32 logits of this size are themselves rounded: 1e-7 of them moves log lambda
    scale = truth.log_lam.abs().clamp_min(1)
    assert float(((found.log_lam - truth.log_lam).abs() / scale).max()) < 1e-3
    assert bool(found.saturated.any())
    assert "saturated" in {flag.code for flag in found.flags}


def test_the_confidence_peak_is_not_taken_for_a_zero() -> None:
    """p = (.4, .3, .3), J = (0, v, -v): the gradient of log p_max is zero, lambda = .6 |v|^2."""

    class Peak(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            slope = 2.0 * (images.flatten(1).sum(1) - 2.0)
            base = torch.tensor([0.4, 0.3, 0.3], device=images.device).log()
            change = torch.stack([slope * 0, slope, -slope], 1)
            return base + change

    image = torch.full((1, 1, 2, 2), 0.5)
    for method in ("gram", "lanczos"):
        found = FIMScore(Peak(), method=method).measure(image)  # type: ignore[arg-type]
        assert float(found.lam[0]) == pytest.approx(0.6 * 4 * 4, rel=1e-5)


def test_the_quadratic_is_the_divergence_for_small_steps() -> None:
    net = balanced_net(10)
    score = FIMScore(net, method="gram")
    found, units = score.measure(IMAGES), score.directions(IMAGES)
    for eps in (1e-3, 1e-2):
        with torch.no_grad():
            p = net(IMAGES).double().log_softmax(1)
            q = net(IMAGES + eps * units).double().log_softmax(1)
        true = (p.exp() * (p - q)).sum(1)
        assert bool(found.believable(eps).all())
        # float32 logits lose the difference of a tiny step: an absolute floor beside 19 %
        assert ((found.kl_l2(eps) - true).abs() <= 0.19 * true + 1e-9).all()


# ---------------------------------------------------------------- the contract
def test_the_contract_of_a_probe_holds() -> None:
    assert len(check_probe(lambda model: FIMScore(model, eps=0.1), n=6)) >= 12


@pytest.mark.slow
def test_the_contract_holds_for_lanczos_in_l2() -> None:
    check_probe(lambda model: FIMScore(model, 0.5, "L2", method="lanczos"), n=5)


def test_batches_and_order_change_nothing() -> None:
    net, ids = balanced_net(10), list(range(9))
    labels = answers(net)
    whole = FIMScore(net).measure(IMAGES, labels, ids=ids)
    for size in (1, 4):
        parts = FIMScore(net, batch_size=size).measure(IMAGES, labels, ids=ids)
        assert parts.digest() == whole.digest()
        assert torch.allclose(parts.log_lam, whole.log_lam, atol=1e-4)
    order = torch.randperm(9)
    turned = FIMScore(net).measure(IMAGES[order], labels[order], ids=order.tolist())
    assert turned.digest() == whole.digest()
    assert torch.allclose(turned.log_lam, whole.log_lam[order], atol=1e-4)
    double = [
        FIMScore(net, dtype=torch.float64, batch_size=n).measure(IMAGES, ids=ids)
        for n in (2, 9)
    ]
    assert torch.allclose(double[0].log_lam, double[1].log_lam, atol=1e-9, rtol=0)


def test_the_score_is_that_of_pixels_whatever_the_input_scale() -> None:
    net = balanced_net(5)
    inside = NormalizedModel(net, [0.3], [0.2])
    found = FIMScore(inside).measure(IMAGES)
    outer = FIMScore(net)
    outer.set_normalization_used([0.3], [0.2])
    scaled = outer.measure((IMAGES - 0.3) / 0.2)
    assert torch.allclose(found.log_lam, scaled.log_lam, atol=1e-4)
    double = FIMScore(net, dtype=torch.float64)
    double.set_normalization_used([0.3], [0.2])
    again = double.measure((IMAGES - 0.3) / 0.2)
    assert torch.allclose(found.log_lam, again.log_lam, atol=1e-4)


def test_labels_make_strata_and_no_difference_to_the_score() -> None:
    net = balanced_net(5)
    labels = answers(net)
    labels[:3] = (labels[:3] + 1) % 5
    plain, told = FIMScore(net).measure(IMAGES), FIMScore(net).measure(IMAGES, labels)
    assert torch.equal(plain.log_lam, told.log_lam)
    assert (plain.clean_correct == -1).all() and (plain.reference == -1).all()
    assert told.clean_correct.tolist() == [0] * 3 + [1] * 6
    summary = told.summary()
    assert summary["correct"]["n"] == 6 and summary["incorrect"]["n"] == 3
    assert "correct" not in plain.summary()


# ---------------------------------------------------------------- a call
@pytest.mark.parametrize("norm, eps", [("Linf", 0.05), ("L2", 0.5), ("L1", 2.0)])
def test_a_step_fills_the_ball_with_the_better_sign(norm: Any, eps: float) -> None:
    net, images = balanced_net(5), 0.25 + IMAGES / 2  # far from the box
    labels = answers(net, images)
    shown = FIMScore(net, eps, norm)(images, labels)
    lengths = norm_of(shown - images, norm)
    assert float(lengths.max()) <= eps * (1 + 1e-5)
    assert float(lengths.min()) > 0.99 * min(eps, 0.25 if norm == "L1" else eps)
    from torchattacks_ext.numerics.losses import margins

    with torch.no_grad():
        ours = margins(net(shown), labels)
        other = margins(net((2 * images - shown).clamp(0, 1)), labels)
    assert (ours <= other + 1e-5).all()


def test_the_step_is_stronger_than_a_random_one() -> None:
    net = balanced_net(5)
    labels = answers(net)
    from torchattacks_ext.numerics.losses import margins

    shown = FIMScore(net, 0.1, "L2")(IMAGES, labels)
    noise = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(0))
    noise = 0.1 * noise / noise.flatten(1).norm(dim=1)[:, None, None, None]
    with torch.no_grad():
        ours = margins(net(shown), labels)
        theirs = margins(net((IMAGES + noise).clamp(0, 1)), labels)
    assert (ours < theirs).all()


def test_a_targeted_step_nears_its_target() -> None:
    net = balanced_net(5)
    labels = answers(net)
    attack = FIMScore(net, 0.02, "L2")
    attack.set_mode_targeted_by_function(lambda images, labels: (labels + 1) % 5)
    shown, wanted = attack(IMAGES, labels), (labels + 1) % 5
    with torch.no_grad():
        before = net(IMAGES).log_softmax(1).gather(1, wanted[:, None])
        after = net(shown).log_softmax(1).gather(1, wanted[:, None])
    assert int((after > before).sum()) >= 8


# ---------------------------------------------------------------- doubts
def test_a_dead_gradient_is_flagged_and_is_no_robustness() -> None:
    class Rounded(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return (images.flatten(1)[:, :4] * 4).round()

    found = measure(FIMScore(Rounded()), IMAGES)
    assert found.count(Ending.ZERO_GRADIENT) == len(IMAGES)
    assert (found.log_lam == -torch.inf).all() and found.r_spec == torch.inf
    assert "zero_gradient" in {flag.code for flag in found.flags}


def test_a_call_that_follows_no_gradient_says_so() -> None:
    net = small_net().eval()
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for dead in (lambda x: net(x).detach(), lambda x: net(x.round())):
        with pytest.warns(ReliabilityWarning, match="reaches 2 of 2 images") as said:
            FIMScore(dead)(images)
        assert said[0].filename == __file__
    FIMScore(net)(images)  # a warning would be an error here


def test_rows_without_numbers_have_a_status_and_leave_the_mean_alone() -> None:
    net = balanced_net(5)

    class Odd(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = net(images)
            mark = images.flatten(1)[:, :1] > 0.999
            return torch.where(mark, torch.nan, logits)

    images = IMAGES.clone()
    images[2, 0, 0, 0] = 1.0
    images[3:, 0, 0, 0] = 0.5
    found = measure(FIMScore(Odd()), images)
    assert found.status.tolist().count(1) == 1 and bool(found.log_lam[2].isnan())
    assert found.r_norm == pytest.approx(float(found.lam[found.usable].mean()))
    assert found.summary()["failed"] == 1


def test_the_papers_algorithm_two_lies_below_and_says_so() -> None:
    net = balanced_net(40)
    exact = FIMScore(net).measure(IMAGES)
    theirs = measure(FIMScore(net, method="srp_hutchinson"), IMAGES)
    assert (theirs.log_lam < exact.log_lam - 0.3).all()
    assert {"biased_estimator"} <= {flag.code for flag in theirs.flags}


def test_a_model_without_jvp_keeps_the_exact_score() -> None:
    class OnlyBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return 1e3 * (x - 0.5) ** 3

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            (x,) = ctx.saved_tensors
            # detached: no second derivative, and not what differences would say
            return (grads[0] * (x.detach() * 0 + 1.0)).detach()

    class Custom(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            found: Any = OnlyBackward.apply(images.flatten(1)[:, :5])
            return found * torch.arange(1.0, 6.0)

    found = measure(FIMScore(Custom(), method="gram"), IMAGES)
    assert torch.isfinite(found.log_lam).all() and found.log_linf.isnan().all()
    with pytest.raises(BackendError, match="no back end gives J v"):
        measure(FIMScore(Custom(), method="lanczos"), IMAGES)


def test_a_spent_budget_leaves_rows_unreached() -> None:
    probe = FIMScore(balanced_net(5), max_queries=122, batch_size=3)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        found = probe.measure(IMAGES)
    assert 0 < int((found.status == 2).sum()) < len(IMAGES)
    assert found.cost.forward <= 122
    assert found.summary()["failed"] == int((found.status == 2).sum())


# ---------------------------------------------------------------- temperature
def test_a_fitted_temperature_is_the_one_that_was_planted() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3000, 3, generator=generator)

    class Overconfident(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 5.0 * 3.0 * images

    honest = (3.0 * images).softmax(1)
    labels = torch.multinomial(honest, 1, generator=generator)[:, 0]
    score = FIMScore(Overconfident(), temperature="fit")
    found = score.fit_temperature(images, labels, ids=range(3000))
    # standard error about .1 for 3,000 labels: 6 of them
    assert abs(found - 5.0) < 0.7
    with pytest.raises(InputError, match="fit on images that you do not score"):
        score.measure(images[:5], ids=range(5))
    tempered = score.measure(images[:5], ids=range(5000, 5005))
    plain = FIMScore(Overconfident(), temperature=found).measure(
        images[:5], ids=range(5000, 5005)
    )
    assert torch.equal(tempered.log_lam, plain.log_lam)
    assert tempered.settings["temperature"] == found


def test_fit_without_a_fit_is_a_state_error_and_loses_nothing() -> None:
    net = balanced_net(5)
    score = FIMScore(net, temperature="fit")
    with pytest.raises(StateError, match="call fit_temperature"):
        score.measure(IMAGES)
    with pytest.raises(InputError, match="labels are needed|fitted to labels"):
        score.fit_temperature(IMAGES)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "best"},
        {"tol": 0.0},
        {"tol": 1.0},
        {"dtype": torch.float16},
        {"temperature": 0.0},
        {"temperature": "auto"},
        {"temperature": True},
        {"jvp": "linearize"},
    ],
)
def test_settings_that_mean_nothing_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError):
        FIMScore(balanced_net(5), **options)
