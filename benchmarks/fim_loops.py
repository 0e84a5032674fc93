"""How does the reference code of arXiv 2606.04767 find lambda_max(F)? Its routines, said again.

All of them work on the rows g_k = grad_x log p_k of one image, F = sum_k p_k g_k g_k^T, and the
rows come from a batch of one image: one forward and one backward pass a class, each of which also
adds to the gradients of the parameters. Written anew from the paper and from what its code does;
nothing is copied. Left out, as no part of the method: emptying CUDA's cache K times an image.

`wide_net` is a net of many classes, and `Matrix` stands for such rows where there is no net.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import record  # noqa: F401 (the repository's root on the path)
import torch
from prtest_throughput import resnet18
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from torchattacks_ext.numerics.fisher.dense import log_lambda
from torchattacks_ext.numerics.fisher.factor import Action
from torchattacks_ext.numerics.fisher.spectral import Ending
from torchattacks_ext.numerics.fisher.top import Method, TopFisher, top_fisher

POWER_STEPS, POWER_STOP = 100, 1e-6
"""Their cap, and the change of lambda at which they stop; read as relative, which stops earlier."""
SIZES = {10: (100_000, 8), 100: (100_000, 8), 1000: (100_000, 8), 10_000: (10_000, 2)}
"""Rows K of a random matrix, its columns, and draws of p."""


class OneImage:
    """The gradient loop on one image (1, ...): a forward now, a backward for every class asked."""

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        self.image = image.detach().clone().requires_grad_()
        p = model(self.image).softmax(1)[0]
        self.p, self.log_p = p.detach(), p.log()
        self.found: dict[int, Tensor] = {}

    def rows(self, classes: Iterable[int]) -> None:
        """Gradients of log p_k for these k."""
        for k in classes:
            self.image.grad = None
            self.log_p[k].backward(retain_graph=True)  # type: ignore[no-untyped-call]
            assert self.image.grad is not None
            self.found[k] = self.image.grad.flatten().clone()

    def top(self) -> float:
        """lambda_max from all the rows."""
        return direct(torch.stack([self.found[k] for k in sorted(self.found)]), self.p)


def whole_loop(model: nn.Module, image: Tensor) -> float:
    """Their score of one image (1, ...) from beginning to end."""
    loop = OneImage(model, image)
    loop.rows(range(len(loop.p)))
    return loop.top()


def plain_gradients(model: nn.Module, images: Tensor) -> None:
    """One forward and K vjps of a batch, nothing else; parameters are frozen."""
    images = images.clone().requires_grad_()
    logits = model(images)
    for k in range(logits.shape[1]):
        torch.autograd.grad(logits[:, k].sum(), images, retain_graph=True)


def wide_net(images: Tensor, n_classes: int, device: str) -> nn.Module:
    """The body of the ResNet-18 with a random head; logits are about N(0, 1)."""
    model = resnet18()
    head, model.linear = model.linear, nn.Identity()
    with torch.no_grad():
        size = float(model(images).norm(dim=1).square().mean().sqrt())
    generator = torch.Generator().manual_seed(0)
    wide = nn.Linear(head.in_features, n_classes, bias=False)  # type: ignore[arg-type]
    weights = torch.randn(wide.weight.shape, generator=generator) / size
    wide.weight = nn.Parameter(weights)
    model.linear = wide
    return model.to(device)


def direct(rows: Tensor, p: Tensor) -> float:
    """All eigenvalues of the K x K matrix sqrt(p_i p_j) <g_i, g_j>, then the last. rows: (K, D)."""
    root = p.sqrt()
    matrix = (rows @ rows.T) * root * root[:, None]
    return float(torch.linalg.eigvalsh(matrix)[-1])


def power(rows: Tensor, p: Tensor) -> tuple[float, int]:
    """Algorithm 1: lambda and the number of steps, from the gradient of the likeliest class."""
    v = rows[p.argmax()]
    v = v / v.norm()
    before = float(p.max())
    for step in range(1, POWER_STEPS + 1):
        ahead = (p * (rows @ v)) @ rows
        now = float(v @ ahead)
        v = ahead / ahead.norm()
        if abs(now - before) <= POWER_STOP * abs(now):
            break
        before = now
    return now, step


def largest_of_draws(rows: Tensor, p: Tensor, n_draws: int = 100) -> float:
    """Algorithm 2, there called Hutchinson's: the largest Rayleigh quotient of z normal in R^K."""
    best, root = 0.0, p.sqrt()
    for _ in range(n_draws):
        z = torch.randn_like(p)
        image = (root * z) @ rows
        best = max(best, float(image @ image / (z @ z)))
    return best


def quotients(
    rows: Tensor, p: Tensor, n_draws: int, inputs: bool, part: int = 250
) -> Tensor:
    """The same quotients (n_draws,) many at a time, z in R^K, or in R^D with `inputs`."""
    found, root = [], p.sqrt()
    for first in range(0, n_draws, part):
        size = min(part, n_draws - first)
        z = torch.randn(size, rows.shape[int(inputs)], device=rows.device)
        image = (z @ rows.T) * root if inputs else (z * root) @ rows
        found.append(image.square().sum(1) / z.square().sum(1))
    return torch.cat(found)


class Matrix:
    """G (K, D), centred under the p of the last draw, and the truth there."""

    def __init__(self, k: int, device: str) -> None:
        self.generator = torch.Generator().manual_seed(k)
        self.rows = torch.randn(k, SIZES[k][0], generator=self.generator).to(device)
        self.logits = torch.zeros(k)
        self.p = torch.zeros(k)

    def draw(self, equal: bool = False) -> None:
        """A new p; F does not change by what is taken from all rows alike."""
        k, device = len(self.rows), self.rows.device
        z = torch.randn(k, generator=self.generator) * (not equal)
        self.logits, self.p = z.to(device), z.softmax(0).to(device)
        self.rows -= self.p @ self.rows

    def truth(self) -> float:
        """lambda_max in float64, by another code than any that is timed."""
        rows, root = self.rows.double(), self.p.double().sqrt()
        k = len(rows)
        if k <= 1000:
            matrix = (rows @ rows.T) * root * root[:, None]
            return float(torch.linalg.eigvalsh(matrix)[-1])

        def product(w: Any) -> Any:
            w = torch.as_tensor(w, device=rows.device).flatten()
            return (root * (rows @ ((root * w) @ rows))).cpu().numpy()

        operator = LinearOperator((k, k), matvec=product, dtype="float64")
        start = root.cpu().numpy() * 0 + 1
        top = eigsh(
            operator, 1, which="LA", tol=1e-5, v0=start, return_eigenvectors=False
        )
        return float(top[0])

    def ours(self) -> float:
        """What the package has for matrices in memory."""
        return float(log_lambda(self.logits[None], self.rows[None])[0].exp())

    def search(self, method: Method, miss: float = 1e-3) -> TopFisher:
        """Our searches on the two products of G, the same that the power iteration takes."""
        action = Action(
            self.logits[None],
            self.rows.shape[1],
            lambda w: (w[0] @ self.rows)[None],
            lambda v: (self.rows @ v[0])[None],
        )
        return top_fisher(action, method, miss=miss)


def values(matrix: Matrix, truth: float) -> dict[str, Any]:
    """Error of every method on one draw of p, and how the iterations ended."""
    found, (lam, steps) = matrix.search("lanczos"), power(matrix.rows, matrix.p)
    loose = matrix.search("lanczos", float("inf"))
    answers = {
        "ours": matrix.ours(),
        "power": lam,
        "quotients": float(quotients(matrix.rows, matrix.p, 100, False).max()),
        "lanczos": float(found.log_lam.exp()),
        "loose": float(loose.log_lam.exp()),
    }
    if len(matrix.rows) <= 1000:
        answers["direct"] = direct(matrix.rows, matrix.p)
    if len(matrix.rows) <= 16:
        answers["gram"] = float(matrix.search("gram").log_lam.exp())
    return {
        "errors": {name: abs(value / truth - 1) for name, value in answers.items()},
        "iterations": [int(x.n_iterations) for x in (found, loose)],
        "status": [Ending(int(x.status)).name.lower() for x in (found, loose)],
        "power_steps": steps,
    }


def largest_quotients(device: str, quick: bool) -> dict[str, Any]:
    """Tables 18 and 19: error of the largest of M quotients; means over draws, in percent."""
    table18: dict[str, float] = {}
    table19: dict[str, dict[str, float]] = {}
    for k in (10, 100) if quick else (10, 100, 1000):
        matrix = Matrix(k, device)
        spaces: dict[str, list[float]] = {"classes": [], "inputs": []}
        kept: dict[str, list[float]] = {}
        for _ in range(1 if quick or k == 1000 else 8):
            matrix.draw()
            truth = matrix.truth()
            for space, found in spaces.items():
                theta = quotients(matrix.rows, matrix.p, 1000, space == "inputs")
                found.append(100 * (1 - float(theta.max()) / truth))
            for m in (10, 100, 1000, 10_000) if k == 10 else ():
                theta = quotients(matrix.rows, matrix.p, m, False)
                kept.setdefault(str(m), []).append(
                    100 * (1 - float(theta.max()) / truth)
                )
        table18 |= {m: round(sum(x) / len(x), 1) for m, x in kept.items()}
        table19[str(k)] = {s: round(sum(x) / len(x), 1) for s, x in spaces.items()}
    return {"by_draws": table18, "by_rows": table19}


def seconds(call: Callable[[], object], device: str) -> float:
    """Wall time of one call, with what it left running on the device."""
    if device != "cpu":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


Times = dict[str, list[float]]


def alternate(
    calls: dict[str, Callable[[], object]],
    n: int,
    device: str,
    fewer: dict[str, int] | None = None,
) -> tuple[Times, Times]:
    """Times of every call, n of each (or as `fewer` says), in turn; each turn begins one later.

    So no call follows itself and finds its caches warm. Wall times, and the process's own: on a
    shared machine the second are the fairer ones.
    """
    wall: Times = {name: [] for name in calls}
    own: Times = {name: [] for name in calls}
    for i in range(n):
        first = i % len(calls)
        for name in [*list(calls)[first:], *list(calls)[:first]]:
            if i < (fewer or {}).get(name, n):
                begin = time.process_time()
                wall[name].append(seconds(calls[name], device))
                own[name].append(time.process_time() - begin)
    return wall, own
