"""Is the black-box sketch unbiased, as sure as it says, and finite? Models solved on paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.errors import ConfigError, InputError, ModelContractError
from torchattacks_ext.numerics.fisher.blackbox.judge import StepCheck, responses
from torchattacks_ext.numerics.fisher.blackbox.sketch import (
    n_directions_within,
    n_queries_of,
    sketch,
)
from torchattacks_ext.numerics.fisher.blackbox.srp import srp_blackbox
from torchattacks_ext.numerics.fisher.spectral import Ending

RATE = 1e-7  # chance that one of the random tests below fails although all is well
Model = Callable[[Tensor], Tensor]


def linear(
    size: int, k: int, seed: int = 0, scale: float = 1.0
) -> tuple[Model, Tensor]:
    """Logits (x - .5) W^T, and the Jacobian W (K, D)."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(k, size, generator=generator, dtype=torch.float64) * scale
    return lambda x: (x.flatten(1) - 0.5) @ w.to(x).mT, w


def net(size: int, k: int, seed: int, scale: float = 3.0) -> Model:
    """A random tanh net with 40 hidden units."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(size, 40, generator=generator, dtype=torch.float64) * 4 / size**0.5
    b = torch.randn(40, k, generator=generator, dtype=torch.float64) * scale / 40**0.5
    return lambda x: torch.tanh((x - 0.5) @ a.to(x)) @ b.to(x)


def point(size: int, seed: int = 0, n: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, size, generator=generator, dtype=torch.float64)


def exact(model: Model, x: Tensor) -> Tensor:
    """log lambda_max at one image (1, D), from the Jacobian and S in their textbook form."""
    jacobian = torch.func.jacrev(lambda row: model(row.unsqueeze(0))[0])(x[0])
    p = model(x)[0].softmax(0)
    root = p.sqrt().unsqueeze(1) * (jacobian - p @ jacobian)
    return torch.linalg.svdvals(root)[0].log() * 2


def copies(x: Tensor, n: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """The same image n times under n names: independent repetitions."""
    return x.expand(n, -1).contiguous(), torch.arange(first, first + n)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_responses_to_a_basis_give_the_eigenvalues_of_the_information(k: int) -> None:
    model, w = linear(12, k)
    x = point(12)
    log_pi, a = responses(model(x), w.mT.unsqueeze(0))
    p = model(x)[0].softmax(0)
    s = torch.diag(p) - torch.outer(p, p)
    expected = torch.linalg.eigvalsh(w.mT @ s @ w)
    found = torch.linalg.eigvalsh(log_pi.exp() * a[0] @ a[0].mT)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_the_sketched_gram_matrix_is_unbiased() -> None:
    """Every entry of the mean of 4000 Ghat (m = 5 of D = 9) lies where a z-test allows."""
    model, w = linear(9, 4)
    x, ids = copies(point(9), 4000)
    seen: list[Tensor] = []

    def spy(rows: Tensor) -> Tensor:
        seen.append(model(rows))
        return seen[-1]

    sketch(spy, x, ids, n_directions=5, check=False, max_rows=40000)
    up, down = seen[1].chunk(2)
    slopes = ((up - down) / 2e-3).view(4000, 5, 4)
    logits = model(x)
    log_pi, a = responses(logits, slopes)
    grams = log_pi.exp().view(-1, 1, 1) * (a.mT @ a) / 5
    log_pi, basis = responses(logits[:1], w.mT.unsqueeze(0))
    truth = log_pi.exp() * basis[0].mT @ basis[0]
    error = grams.std(0) / 4000**0.5
    z = (grams.mean(0) - truth)[error > 1e-12] / error[error > 1e-12]
    assert len(z) == 9
    assert float(z.abs().max()) < stats.norm.isf(RATE / 2 / 9)


def test_rank_one_has_the_law_of_a_projection() -> None:
    """K = 2: lam^ m / (lam D) ~ Beta(m/2, (D - m)/2), so sd = sqrt(2/m (1 - m/D) D/(D + 2))."""
    size, m = 40, 20
    model, _ = linear(size, 2)
    x, ids = copies(point(size), 3000)
    found = sketch(model, x, ids, n_directions=m, check=False, max_rows=20000)
    share = (found.log_lam - exact(model, x[:1])).exp() * m / size
    assert stats.kstest(share, stats.beta(m / 2, (size - m) / 2).cdf).pvalue > RATE
    # The error that each sketch states is that of the law, within a tenth of it.
    expected = math.sqrt(2 / m * (1 - m / size))
    assert float(found.error.mean()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("k", [2, 10, 100])
def test_a_full_basis_answers_exactly(k: int) -> None:
    model = net(30, k, seed=k)
    x = point(30)
    found = sketch(model, x, torch.tensor([5]), n_directions=10**6, h=1e-4)
    truth = exact(model, x)
    assert found.n_directions.item() == 30 and found.error.item() == 0
    assert found.log_lam.item() == pytest.approx(truth.item(), abs=1e-5)
    assert found.low.item() == found.log_lam.item() == found.high.item()
    coarse = sketch(model, x, torch.tensor([5]), n_directions=30, h=2e-3)
    fine = sketch(model, x, torch.tensor([5]), n_directions=30, h=1e-3)
    ratio = (coarse.log_lam - truth) / (fine.log_lam - truth)
    assert ratio.item() == pytest.approx(4, rel=0.05)  # the error is that of h^2


@pytest.mark.parametrize(
    ("size", "k", "scale", "m"),
    [(300, 10, 3.0, 100), (300, 2, 3.0, 100), (400, 100, 1.0, 100), (600, 10, 0.5, 50)],
)
def test_intervals_cover_the_truth(size: int, k: int, scale: float, m: int) -> None:
    """At least .9 of 95 % intervals, also where the eigenvalues are close (scale small)."""
    n_nets, n = (4, 60) if k < 100 else (2, 60)
    covered, ratios = 0, []
    for seed in range(n_nets):
        model = net(size, k, seed, scale)
        x, ids = copies(point(size, seed), n, 1000 * seed)
        found = sketch(model, x, ids, n_directions=m, check=False, max_rows=4096)
        truth = exact(model, x[:1])
        covered += int(((found.low <= truth) & (truth <= found.high)).sum())
        ratios.append((found.log_lam - truth).exp())
    total = n_nets * n
    assert covered >= stats.binom.ppf(RATE, total, 0.9) and covered >= 0.9 * total
    ratio = torch.cat(ratios)
    assert (
        0.95 < float(ratio.mean()) < 1.2 and float(ratio.std()) < 1.1 * (2 / m) ** 0.5
    )


def test_the_estimate_has_less_bias_than_the_sketch_of_it() -> None:
    model, m = net(600, 100, 0, 0.5), 50
    x, ids = copies(point(600), 40)
    found = sketch(model, x, ids, n_directions=m, check=False, max_rows=4096)
    off = found.log_lam - exact(model, x[:1])
    raw = float((off + found.bias).mean())
    assert raw > 0.1 and (found.bias >= 0).all()
    assert abs(float(off.mean())) < 0.6 * raw


@pytest.mark.parametrize("target", [None, 0.5])
def test_batches_and_order_change_nothing(target: float | None) -> None:
    model, x, ids = net(60, 5, 1), point(60, n=7), torch.arange(7) * 11
    settings = dict(n_directions=40, target=target, n_round=8, seed=3)
    whole = sketch(model, x, ids, **settings)  # type: ignore[arg-type]
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    turned = sketch(model, x[order], ids[order], max_rows=6, **settings)  # type: ignore[arg-type]
    alone = [
        sketch(model, x[i : i + 1], ids[i : i + 1], **settings)  # type: ignore[arg-type]
        for i in range(7)
    ]
    for name, column in vars(whole).items():
        singles = torch.cat([getattr(row, name) for row in alone])
        for other in (singles[order], getattr(turned, name)):
            torch.testing.assert_close(other, column[order], rtol=1e-8, atol=1e-8)
    other = sketch(model, x, ids, **{**settings, "seed": 4})  # type: ignore[arg-type]
    assert float((other.log_lam - whole.log_lam).abs().min()) > 1e-4


def test_global_random_numbers_are_left_alone() -> None:
    before = torch.random.get_rng_state()
    sketch(net(60, 5, 1), point(60), torch.tensor([0]), n_directions=4)
    assert torch.equal(before, torch.random.get_rng_state())


def test_shapes_dtypes_and_shifted_logits() -> None:
    """(N, C, H, W) in float32 is (N, D) in float64; log-probabilities are logits."""
    model, x, ids = net(48, 5, 2), point(48, n=3), torch.arange(3)
    flat = sketch(model, x, ids, n_directions=20)
    picture = sketch(
        lambda rows: model(rows.flatten(1)).log_softmax(1),
        x.float().view(3, 3, 4, 4),
        ids,
        n_directions=20,
    )
    torch.testing.assert_close(picture.log_lam, flat.log_lam, rtol=0, atol=5e-3)
    assert picture.log_lam.dtype == torch.float64


@pytest.mark.parametrize("k", [2, 3, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saturated_softmax_stays_finite(k: int, dtype: torch.dtype) -> None:
    """Logits x 100: p_max = 1, log lam down to -1000s, and the full basis is still exact."""
    model = net(30, k, seed=5)
    x = point(30, 1, n=4)
    found = sketch(
        lambda rows: model(rows) * 100, x.to(dtype), torch.arange(4), n_directions=30
    )
    for i in range(4):
        jacobian = torch.func.jacrev(lambda row: model(row.unsqueeze(0))[0] * 100)(x[i])
        log_pi, a = responses(model(x[i : i + 1]) * 100, jacobian.mT.unsqueeze(0))
        truth = log_pi.item() + 2 * torch.linalg.svdvals(a[0])[0].log().item()
        assert found.log_lam[i].item() == pytest.approx(truth, abs=0.02)
    assert (found.status == Ending.CONVERGED).all()


def test_the_peak_of_confidence_is_not_its_blind_spot() -> None:
    """p = (.4, .3, .3), J = (0, v, -v): grad log p_c = 0 but lam = .6 |v|^2."""
    v = torch.linspace(-1, 1, 8).double()
    log_p = torch.tensor([0.4, 0.3, 0.3]).double().log()
    rows = torch.stack([v * 0, v, -v])

    def model(x: Tensor) -> Tensor:
        return log_p + (x - 0.5) @ rows.mT

    found = sketch(model, torch.full((1, 8), 0.5).double(), torch.tensor([0]))
    assert found.log_lam.exp().item() == pytest.approx(0.6 * v.square().sum().item())


def smooth(x: Tensor) -> Tensor:
    return net(200, 4, 3)(x)


def rounded(x: Tensor) -> Tensor:
    """An interface that shows log-probabilities to two places."""
    return (smooth(x).log_softmax(1) * 100).round() / 100


def noisy(x: Tensor) -> Tensor:
    """Scores with noise of 1e-3 that is a function of the image, like that of low precision."""
    wave = (x * torch.linspace(3e8, 9e8, x.shape[1]).to(x)).sum(1, keepdim=True)
    return smooth(x) + 1e-3 * torch.sin(wave * torch.arange(1.0, 5.0).to(x))


def bent(x: Tensor) -> Tensor:
    """A logit that grows mostly within .001 around the middle: slopes fade with the step."""
    z = (x - 0.5).sum(1, keepdim=True) / x.shape[1] ** 0.5
    return torch.cat([z / (1 + 1e3 * z.abs()), torch.zeros_like(z)], 1)


def growing(x: Tensor) -> Tensor:
    """A cube: slopes grow as h^2."""
    z = (x - 0.5).sum(1, keepdim=True)
    return torch.cat([z**3, torch.zeros_like(z)], 1)


@pytest.mark.parametrize(
    ("model", "h", "code"),
    [
        (smooth, 1e-3, StepCheck.FINE),
        (rounded, 1e-4, StepCheck.NOISE),
        (rounded, 2e-4, StepCheck.NOISE),
        (noisy, 2e-5, StepCheck.NOISE),
        (noisy, 2e-3, StepCheck.FINE),
        (rounded, 2e-2, StepCheck.FINE),
        (bent, 1e-5, StepCheck.FINE),
        (bent, 1e-2, StepCheck.CURVATURE),
        (growing, 1e-3, StepCheck.CURVATURE),
    ],
)
def test_the_step_checks_itself(model: Model, h: float, code: StepCheck) -> None:
    x, ids = copies(torch.full((1, 200), 0.5).double(), 20)
    if model in (smooth, rounded, noisy):
        x = x + 0.1 * point(200)
    found = sketch(model, x, ids, n_directions=80, h=h)
    n_right = int((found.h_check == code).sum())
    assert n_right >= 19, (found.h_check.tolist(), found.h_ratio.tolist())
    if model in (noisy, bent, growing) and code != StepCheck.FINE:
        assert float((found.h_ratio.log().abs()).median()) > math.log(1.5)


def test_steps_below_all_rounding_change_nothing() -> None:
    x, ids = copies(0.5 + 0.1 * point(200), 3)
    found = sketch(rounded, x, ids, n_directions=8, h=1e-7)
    assert (found.status == Ending.ZERO_GRADIENT).all()


def test_the_check_is_left_out_when_not_asked_for() -> None:
    found = sketch(smooth, point(200), torch.tensor([0]), n_directions=8, check=False)
    assert found.h_ratio.isnan().all() and found.n_queries.item() == 17
    assert found.h_check.item() == StepCheck.NOT_CHECKED


def test_images_stop_one_by_one_at_the_target() -> None:
    x, ids = copies(point(400), 30)
    counted = 0

    def model(rows: Tensor) -> Tensor:
        nonlocal counted
        counted += len(rows)
        return net(400, 10, 0)(rows)

    found = sketch(model, x, ids, n_directions=200, target=0.35, n_round=20)
    half = (found.high - found.low) / 2
    ended = found.status == Ending.CONVERGED
    assert (half[ended] < 0.35).all() and (half[~ended] >= 0.35).all()
    assert (found.status[~ended] == Ending.CAP).all()
    assert (found.n_directions[~ended] == 200).all() and ended.sum() > 20
    assert found.n_directions.unique().numel() > 1
    assert int(found.n_queries.sum()) == counted
    for m, n in zip(found.n_directions.tolist(), found.n_queries.tolist()):
        assert n == n_queries_of(m, True, 20)
    never = sketch(model, x[:3], ids[:3], n_directions=40, target=1e-9)
    assert (never.status == Ending.CAP).all() and (never.n_directions == 40).all()


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("n_round", [0, 1, 7, 25])
def test_the_query_budget_is_used_but_kept(check: bool, n_round: int) -> None:
    for n in range(5, 300):
        m = n_directions_within(n, check, n_round)
        assert (
            n_queries_of(m, check, n_round) <= n < n_queries_of(m + 1, check, n_round)
        )


def test_grey_inputs_get_whole_steps_and_the_law_of_signs() -> None:
    """K = 2: lam^ is exactly the mean of (g . v)^2, even where every pixel is at the border."""
    size = 64
    model, w = linear(size, 2, scale=0.1)
    x = (point(size) > 0.5).double()
    seen: list[Tensor] = []

    def spy(rows: Tensor) -> Tensor:
        seen.append(rows)
        return model(rows)

    images, ids = copies(x, 400)
    found = sketch(spy, images, ids, grey=True, n_directions=100, check=False)
    asked = torch.cat(seen)
    assert torch.equal((asked * 255).round() / 255, asked)
    assert asked.min() == 0 and asked.max() == 1
    ratio = (found.log_lam - exact(model, x)).exp()
    spread = float(ratio.std()) / 20
    assert abs(float(ratio.mean()) - 1) < stats.norm.isf(RATE / 2) * spread
    g = (w[0] - w[1]) / (w[0] - w[1]).norm()
    sd = math.sqrt(2 * (1 - float(g.pow(4).sum())) / 100)
    assert float(ratio.std()) == pytest.approx(
        sd, rel=0.2
    )  # 5.6 of its standard errors


def test_the_published_number_is_a_maximum_over_chi_squares() -> None:
    """K = 2: its share of lam is the largest of m Beta(1/2, (D - 1)/2), about (2 ln m)/D."""
    size, m = 300, 50
    model, _ = linear(size, 2, scale=0.1)
    x, ids = copies(point(size), 500)
    found = srp_blackbox(model, x, ids, n_directions=m)
    share = found / exact(model, x[:1]).exp()
    one = stats.beta(0.5, (size - 1) / 2)
    assert stats.kstest(share, lambda s: one.cdf(s) ** m).pvalue > RATE
    assert 0.6 < float(share.mean()) * size / (2 * math.log(m)) < 1


def test_broken_rows_do_not_spoil_their_neighbours() -> None:
    model = net(50, 3, 0)

    def sick(rows: Tensor) -> Tensor:
        out = model(rows)
        out[rows[:, 0] > 0.9] = float("nan")
        return torch.where((rows[:, 1] == 0.25).unsqueeze(1), float("inf"), out)

    x = point(50, n=4) * 0.5 + 0.3
    x[1, 0] = 0.9  # NaN on one side of the step only
    x[2, 1] = 0.25  # infinite at the image itself
    found = sketch(sick, x, torch.arange(4), n_directions=20)
    bad = int(Ending.NON_FINITE)
    assert found.status.tolist() == [0, bad, bad, 0]
    assert found.n_queries.tolist() == [51, 51, 1, 51]
    assert found.log_lam.isnan().tolist() == [False, True, True, False]
    assert found.low[1] == -float("inf") and found.high[2] == float("inf")
    well = sketch(model, x, torch.arange(4), n_directions=20)
    torch.testing.assert_close(found.log_lam[[0, 3]], well.log_lam[[0, 3]])


def test_a_constant_model_has_zero_gradient() -> None:
    found = sketch(
        lambda rows: torch.zeros(len(rows), 3), point(50), torch.tensor([0]), target=0.1
    )
    assert found.status.item() == Ending.ZERO_GRADIENT
    assert found.log_lam.item() == -float("inf") and found.high.item() == float("inf")
    assert found.n_directions.item() == 25
    assert found.h_check.item() == StepCheck.NOT_CHECKED


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"n_directions": 0}, ConfigError, "n_directions=0"),
        ({"n_round": 0}, ConfigError, "n_round=0"),
        ({"confidence": 1.0}, ConfigError, r"must be in \(0, 1\)"),
        ({"target": 0.0}, ConfigError, "target=0.0"),
        ({"h": 0.1}, ConfigError, "1/24 of the box"),
        ({"h": -1.0}, ConfigError, "1/24 of the box"),
        ({"max_rows": 0}, ConfigError, "max_rows=0"),
        ({"grey": True}, InputError, "whole multiples of 1/255"),
        ({"ids": torch.arange(3)}, InputError, "one each"),
    ],
)
def test_wrong_arguments_are_refused(
    settings: dict[str, object], error: type[Exception], match: str
) -> None:
    given: dict[str, object] = {"ids": torch.tensor([0]), **settings}
    with pytest.raises(error, match=match):
        sketch(net(50, 3, 0), point(50), **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not enough"):
        n_directions_within(2)


def test_labels_only_are_refused() -> None:
    with pytest.raises(ModelContractError, match="labels alone"):
        sketch(
            lambda rows: net(50, 3, 0)(rows).round().long(),
            point(50),
            torch.tensor([0]),
        )
