"""Is lambda_max(F) the eigenvalue of the dense matrix, whatever the softmax does?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.fisher.factor import Action, Passes, softmax_factor
from torchattacks_ext.numerics.fisher.gram import exact_fisher, margin_radius
from torchattacks_ext.numerics.fisher.spectral import Ending
from torchattacks_ext.numerics.fisher.top import METHODS, Method, log_trace, top_fisher

DOUBLE = torch.float64


def dense_fisher(logits: Tensor, jacobian: Tensor) -> Tensor:
    """F = J^T (diag p - p p^T) J in float64, literally. (N, K), (N, K, D) -> (N, D, D)."""
    p, j = logits.double().softmax(1), jacobian.double()
    mean = torch.einsum("nk,nkd->nd", p, j)
    second = torch.einsum("nk,nkd,nke->nde", p, j, j)
    return second - torch.einsum("nd,ne->nde", mean, mean)


def dense_top(logits: Tensor, jacobian: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(dense_fisher(logits, jacobian))[:, -1]


def network(k: int, d: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and Jacobians of a random tanh net, d inputs, 32 hidden units, k classes, float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(d, 32), nn.Tanh(), nn.Linear(32, k)).double()
    source = torch.Generator().manual_seed(seed + 1)
    x = torch.rand(n, d, generator=source, dtype=DOUBLE)
    with torch.no_grad():
        net[2].weight *= 12
        hidden = torch.tanh(net[0](x))
        inner = (1 - hidden**2).unsqueeze(2) * net[0].weight
        return net(x), torch.einsum("kh,nhd->nkd", net[2].weight, inner)


def lam(action: Action, method: Method = "auto") -> Tensor:
    return top_fisher(action, method).log_lam.exp()


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("k", [1, 2, 3, 10, 100])
def test_truth_of_the_dense_matrix(k: int, dtype: torch.dtype) -> None:
    logits, jacobian = network(k, 40, 20)
    f = dense_fisher(logits, jacobian)
    if k == 1:  # p (1 - p) |grad z|^2 of a sigmoid
        weight = logits.sigmoid() * (1 - logits.sigmoid())
        f = weight.unsqueeze(2) * jacobian.mT @ jacobian
    right = torch.linalg.eigvalsh(f)[:, -1]
    action = Action.dense(logits.to(dtype), jacobian.to(dtype))
    exact = 5e-5 if dtype == torch.float32 else 1e-6
    tolerances: dict[Method, float] = {"gram": exact, "lanczos": 1e-3, "power": 1e-3}
    for method, tolerance in tolerances.items():
        found = top_fisher(action, method)
        torch.testing.assert_close(
            found.log_lam.exp(), right, rtol=tolerance, atol=0, msg=str(method)
        )
        assert bool((found.status == int(Ending.CONVERGED)).all())
        assert found.u1.dtype == dtype
        u1 = found.u1.double()
        along = torch.einsum("nde,nd,ne->n", f, u1, u1)
        torch.testing.assert_close(along, right, rtol=2e-3, atol=0)
    trace = f.diagonal(dim1=1, dim2=2).sum(1)
    for value in (top_fisher(action, "gram").log_trace, log_trace(action)[0]):
        assert value is not None
        torch.testing.assert_close(value.exp(), trace, rtol=1e-4, atol=0)


def test_truth_for_a_thousand_classes() -> None:
    logits, jacobian = network(1000, 48, 3)
    action = Action.dense(logits.float(), jacobian.float())
    found = top_fisher(action)
    assert found.method == "lanczos"
    right = dense_top(logits, jacobian)
    torch.testing.assert_close(found.log_lam.exp(), right, rtol=1e-3, atol=0)
    torch.testing.assert_close(lam(action, "gram"), right, rtol=5e-5, atol=0)
    assert found.n_iterations.max() <= 20


def test_the_price_is_as_told() -> None:
    logits, jacobian = network(10, 30, 8)
    passes = Passes()
    action = Action.dense(logits, jacobian, passes)
    top_fisher(action, "gram")
    assert (passes.forward, passes.vjp, passes.jvp) == (8, 72, 0)
    exact_fisher(action, max_bytes=3 * 9 * 30 * 8)  # three rows at a time
    assert (passes.forward, passes.vjp, passes.jvp) == (16, 144, 0)
    action.take = None
    n = int(top_fisher(action, "lanczos").n_iterations.max())
    assert (passes.vjp, passes.jvp) == (144 + 8 * n, 8 * n)
    two = Action.dense(*network(2, 5, 4))
    for method in ("gram", "auto"):
        before = two.passes.vjp
        top_fisher(two, method)
        assert two.passes.vjp == before + 4


def test_confidence_peak() -> None:
    """p = (.4, .3, .3), J = (0, v, -v): grad log p_c = 0, yet lambda = .6 |v|^2."""
    logits = torch.tensor([[0.4, 0.3, 0.3]]).log()
    v = torch.tensor([3.0, 4.0])
    jacobian = torch.stack([0 * v, v, -v])[None]
    for method in ("gram", "lanczos", "power"):
        found = lam(Action.dense(logits, jacobian), method)
        assert found.item() == pytest.approx(0.6 * 25, rel=1e-5), method


def test_symmetric_classes_are_not_overlooked() -> None:
    """J = (0, 0, v, -v): the runner-up's own start lies in the null space."""
    logits = torch.tensor([[0.4, 0.3, 0.15, 0.15]]).log()
    v = torch.tensor([3.0, 4.0])
    jacobian = torch.stack([0 * v, 0 * v, v, -v])[None]
    found = lam(Action.dense(logits, jacobian), "lanczos")
    assert found.item() == pytest.approx(0.3 * 25, rel=1e-5)


@pytest.mark.parametrize("gap", [20.0, 60.0, 110.0, 1000.0])
def test_saturation(gap: float) -> None:
    """Two classes count: lambda = p_1 p_2 |D|^2 with log p_2 = -gap; float32 sees p_1 = 1."""
    logits = torch.tensor([[gap, 0.0, -50.0]])
    jacobian = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]]])
    for method in ("gram", "lanczos", "power"):
        found = top_fisher(Action.dense(logits, jacobian), method)
        assert found.log_lam.item() == pytest.approx(math.log(25) - gap, rel=1e-6)
        assert found.status.item() == Ending.CONVERGED
        # the way to less confidence is towards class 1
        torch.testing.assert_close(found.u1, torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("method", ["gram", "lanczos"])
@pytest.mark.parametrize("k", [10, 100])
def test_logits_times_hundred_stay_finite(k: int, method: Method) -> None:
    """|log lam - log lam of float64| <= 1e-3, where the textbook form in float32 gives NaN or 0."""
    logits, jacobian = network(k, 40, 40)
    logits, jacobian = 100 * logits.float(), 100 * jacobian.float()
    found = top_fisher(Action.dense(logits, jacobian), method).log_lam
    right = top_fisher(Action.dense(logits.double(), jacobian.double()), "gram").log_lam
    assert bool(found.isfinite().all()) and float(right.min()) < -80
    assert float((found - right).abs().max()) <= 1e-3


def test_float64_alone_agrees_with_big_numbers() -> None:
    """The factorisation against rationals of 50 digits: log lambda of a saturated row."""
    from mpmath import matrix, mp, mpf

    with mp.workdps(60):
        logits, jacobian = network(4, 3, 5, seed=3)
        logits = 40 * logits
        found = top_fisher(Action.dense(logits, jacobian), "gram").log_lam
        for i in range(5):
            z = [mp.exp(mpf(v)) for v in logits[i].tolist()]
            p = [v / sum(z) for v in z]
            j = [[mpf(v) for v in row] for row in jacobian[i].tolist()]
            f = matrix(3, 3)
            for a in range(3):
                for b in range(3):
                    mean = [sum(p[k] * j[k][c] for k in range(4)) for c in (a, b)]
                    both = sum(p[k] * j[k][a] * j[k][b] for k in range(4))
                    f[a, b] = both - mean[0] * mean[1]
            top = max(mp.eigsy(f, eigvals_only=True))
            assert float(mp.log(top)) == pytest.approx(found[i].item(), abs=1e-9)


@pytest.mark.parametrize("method", ["gram", "lanczos", "power"])
def test_batch_order_and_shift_change_nothing(method: Method) -> None:
    for dtype, tolerance in ((torch.float32, 1e-4), (DOUBLE, 1e-9)):
        logits, jacobian = (part.to(dtype) for part in network(20, 30, 16))
        whole = lam(Action.dense(logits, jacobian), method)
        order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
        mixed = lam(Action.dense(logits[order], jacobian[order]), method)
        ones = [
            lam(Action.dense(logits[i : i + 1], jacobian[i : i + 1]), method)
            for i in range(16)
        ]
        # z -> z + c(x) leaves p, and F, as they are: J gains the gradient of c in every row
        common = jacobian[:, :1] * 0.5
        shifted = lam(Action.dense(logits + 3, jacobian + common), method)
        for other in (mixed[order.argsort()], torch.cat(ones)):
            torch.testing.assert_close(other, whole, rtol=tolerance, atol=0)
        torch.testing.assert_close(shifted, whole, rtol=max(tolerance, 1e-8), atol=0)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**31),
    k=st.integers(1, 9),
    d=st.integers(1, 9),
    spread=st.sampled_from([0.0, 1.0, 10.0, 1000.0]),
    power=st.integers(-30, 15),
    kill=st.floats(0, 1),
)
def test_any_logits_and_jacobian(
    seed: int, k: int, d: int, spread: float, power: int, kill: float
) -> None:
    """float32 Gram, Lanczos and float64 Gram agree in log; the trace and the radius fit.

    Only where the runner-up has a gradient: a class e^80 times less likely has no float32 weight.
    """
    source = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(3, k, generator=source)
    jacobian = torch.randn(3, k, d, generator=source) * 10.0**power
    if spread <= 10:
        jacobian *= torch.rand(3, k, 1, generator=source) >= kill
    action = Action.dense(logits, jacobian)
    wide = Action.dense(logits.double(), jacobian.double())
    right = exact_fisher(wide)
    exact = exact_fisher(action)
    zero = right.log_lam == -torch.inf
    for log_lam in (exact.log_lam, top_fisher(action, "lanczos").log_lam):
        assert bool(((log_lam == -torch.inf) == zero).all())
        error = (log_lam - right.log_lam)[~zero].abs()
        assert error.numel() == 0 or float(error.max()) < 1e-3
    assert bool((exact.log_lam <= exact.log_trace + 1e-5).all())
    bound = exact.log_lam + math.log(max(k - 1, 1)) + 1e-4
    assert bool((exact.log_trace <= bound).all())
    assert bool((exact.log_lam <= exact.log_cube + 1e-4).all())
    for norm, radius in (("L2", exact.radius_l2), ("Linf", exact.radius_linf)):
        alone = margin_radius(action, norm)  # type: ignore[arg-type]
        torch.testing.assert_close(alone, radius, rtol=1e-5, atol=0)
    assert bool((exact.radius_linf <= exact.radius_l2 * (1 + 1e-6)).all())


def test_equal_probabilities_are_right_or_capped() -> None:
    """p_k = 1/K and independent gradients: the flat spectrum is the hard case."""
    for k, d in ((100, 300), (400, 150)):
        source = torch.Generator().manual_seed(k)
        jacobian = torch.randn(6, k, d, generator=source)
        logits = torch.zeros(6, k)
        right = dense_top(logits, jacobian)
        for n_max in (5, 60):
            found = top_fisher(Action.dense(logits, jacobian), "lanczos", n_max=n_max)
            done = found.status == int(Ending.CONVERGED)
            error = (found.log_lam.exp() - right).abs() / right
            assert bool((error[done] <= 1e-3).all())
            assert bool((found.status[~done] == int(Ending.CAP)).all())
            assert bool(done.all()) == (n_max == 60)


def test_theorem_3_of_the_paper_is_false() -> None:
    """It bounds ||F|| by max_k p_k (1 - p_k) ||J||^2; with p = (1/2, 1/2) that is half of ||F||."""
    jacobian = torch.tensor([[[1.0], [-1.0]]]) / math.sqrt(2)  # ||J|| = 1
    value = lam(Action.dense(torch.zeros(1, 2), jacobian))
    assert value.item() == pytest.approx(0.5)
    assert value.item() > 0.25 * 1.9
    # Table 1 has the right constant, 2 max p (1 - p)
    assert value.item() <= 2 * 0.25 + 1e-6


def test_the_covariance_over_labels_is_meant() -> None:
    """F = E_y [g_y g_y^T] with g_y = J_y - sum p J, y ~ p: Theorem 2, at one input."""
    logits, jacobian = network(7, 6, 5)
    p = logits.softmax(1)
    g = jacobian - torch.einsum("nk,nkd->nd", p, jacobian).unsqueeze(1)
    mean_of_squares = torch.einsum("nk,nkd,nke->nde", p, g, g)
    torch.testing.assert_close(mean_of_squares, dense_fisher(logits, jacobian))
    pairs = jacobian.unsqueeze(1) - jacobian.unsqueeze(2)
    by_pairs = 0.5 * torch.einsum("ni,nj,nijd,nije->nde", p, p, pairs, pairs)
    torch.testing.assert_close(by_pairs, dense_fisher(logits, jacobian))


@pytest.mark.parametrize(("k", "low", "high"), [(4, 0.85, 1.0), (10, 0.48, 0.68)])
def test_algorithm_2_underestimates(k: int, low: float, high: float) -> None:
    """Rank-one M at p = 1/K: the mean ratio over 200 rows is .93 (K = 4), .58 (K = 10).

    Each row has its own 100 draws; the standard error of the mean is below .01 of it, and the
    margins are 8 of them or more.
    """
    jacobian = torch.zeros(200, k, 2)
    jacobian[:, 0, 0] = 1
    action = Action.dense(torch.zeros(200, k), jacobian)
    ids = torch.arange(200)
    found = top_fisher(action, "srp_hutchinson", ids=ids)
    ratio = (found.log_lam - top_fisher(action, "gram").log_lam).exp()
    assert low < ratio.mean().item() < high
    assert bool((ratio <= 1 + 1e-5).all())
    assert bool((found.status == int(Ending.CAP)).all())


def test_algorithm_2_at_100_classes_gives_a_fourteenth() -> None:
    jacobian = torch.zeros(30, 100, 2)
    jacobian[:, 0, 0] = 1
    action = Action.dense(torch.zeros(30, 100), jacobian)
    found = top_fisher(action, "srp_hutchinson", ids=torch.arange(30))
    ratio = (found.log_lam - top_fisher(action).log_lam).exp().mean().item()
    assert 0.05 < ratio < 0.1


def test_hutchinson_trace_is_near_and_says_how_near() -> None:
    """Within 6 standard errors of the exact one in all of 20 rows: 4e-8 by luck if normal."""
    action = Action.dense(*network(30, 20, 20))
    exact, none = log_trace(action)
    value, relative = log_trace(action, 200, torch.arange(20))
    assert bool((none == 0).all())
    assert bool(((value.exp() - exact.exp()).abs() <= 6 * relative * value.exp()).all())
    assert float(relative.max()) < 0.2


def test_the_sign_of_u1_lowers_the_confidence() -> None:
    logits, jacobian = network(12, 20, 30)
    p = logits.softmax(1)
    top = logits.argmax(1)
    gradient = jacobian[torch.arange(30), top] - torch.einsum("nk,nkd->nd", p, jacobian)
    directions = []
    for method in ("gram", "lanczos", "power", "srp_hutchinson"):
        u1 = top_fisher(Action.dense(logits, jacobian), method).u1
        assert bool(((u1 * gradient).sum(1) <= 1e-12).all()), method
        torch.testing.assert_close(u1.norm(dim=1), torch.ones(30, dtype=DOUBLE))
        directions.append(u1)
    torch.testing.assert_close(
        (directions[0] * directions[1]).sum(1).min(),
        torch.tensor(1.0).double(),
        atol=1e-4,
        rtol=0,
    )


def test_zero_gradient_and_non_finite_rows() -> None:
    logits, jacobian = (part.float() for part in network(20, 10, 4))
    jacobian[1] = 0
    logits[2, 3] = float("inf")
    jacobian[3, 4, 5] = float("nan")
    good = lam(Action.dense(logits[:1], jacobian[:1]), "gram")
    for method in METHODS:
        found = top_fisher(Action.dense(logits, jacobian), method)
        assert found.status.tolist()[1:] == [2, 3, 3], method
        assert found.log_lam[1] == -torch.inf, method
        assert bool(found.log_lam[2:].isnan().all()), method
        if method != "srp_hutchinson":
            torch.testing.assert_close(found.log_lam[:1].exp(), good, rtol=1e-3, atol=0)
    radius = margin_radius(Action.dense(logits, jacobian))
    assert radius[1] == torch.inf and bool(radius[2:].isnan().all())


def test_margin_radius_is_exact_for_affine_logits() -> None:
    """Walking the radius along -D / |D| ties the two logits; a longer list only lowers it."""
    source = torch.Generator().manual_seed(5)
    weight = torch.randn(6, 4, generator=source, dtype=DOUBLE)
    x = torch.randn(9, 4, generator=source, dtype=DOUBLE)
    logits = x @ weight.T
    action = Action.dense(logits, weight.expand(9, -1, -1))
    radius = margin_radius(action)
    top = logits.argmax(1)
    best = torch.full((9,), torch.inf, dtype=DOUBLE)
    for k in range(6):
        d = weight[k] - weight[top]
        gap = logits.gather(1, top[:, None])[:, 0] - logits[:, k]
        best = torch.where(top == k, best, torch.minimum(best, gap / d.norm(dim=1)))
    torch.testing.assert_close(radius, best)
    few = [margin_radius(action, "L2", n) for n in (1, 2, 5)]
    assert bool((few[0] >= few[1]).all()) and bool((few[1] >= few[2]).all())
    torch.testing.assert_close(few[2], radius)
    assert bool((margin_radius(action, "L1") >= radius - 1e-12).all())


def test_no_rows() -> None:
    empty = Action.dense(torch.zeros(0, 20), torch.zeros(0, 20, 5))
    for method in ("gram", "lanczos"):
        found = top_fisher(empty, method)
        assert found.log_lam.shape == (0,) and found.u1.shape == (0, 5)


def test_bad_arguments_are_named() -> None:
    action = Action.dense(torch.zeros(1, 3), torch.ones(1, 3, 2))
    with pytest.raises(ConfigError, match="method='qr' is not one of"):
        top_fisher(action, "qr")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tol=0"):
        top_fisher(action, "lanczos", tol=0)
    with pytest.raises(ConfigError, match="n_classes=0"):
        margin_radius(action, "L2", 0)
    with pytest.raises(ConfigError, match="norm='l2'"):
        margin_radius(action, "l2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="K >= 2"):
        softmax_factor(torch.zeros(2, 1))
    with pytest.raises(InputError, match="K >= 1"):
        Action(torch.zeros(2), 3, lambda w: w, lambda v: v).with_two_logits()
    with pytest.raises(InputError, match=r"jacobian \(N, K, D\)"):
        Action.dense(torch.zeros(2, 3), torch.zeros(2, 4, 5))
