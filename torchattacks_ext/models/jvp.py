"""How does a model become the products J^T w and J v, whatever its layers can and cannot do?

J^T w is one backward pass on a graph that is kept. J v has three back ends, tried in this order:

    forward_mode         torch.func.jvp, about two forwards;
    double_backward      d/dw (J^T w) . v, a second backward on a cached graph, about two forwards;
    finite_differences   (z(x + h v) - z(x - h v)) / 2h, two forwards, not exact.

The first one that runs and satisfies <w, J v> = <J^T w, v> for a random w is used and named. So a
back end that is silently wrong (a custom function without its derivative, a random forward, NaN
where J^T w is finite) is passed over. Compiled models run uncompiled, since a graph is kept.
torch.func.linearize is not among them: with in-place additions, which most residual nets have, its
second call is wrong without a word.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import torch
from torch import Tensor

from .._typing import LogitsFn
from ..errors import BackendError, ConfigError, InputError, ModelContractError
from ..numerics.fisher.factor import Action, Passes
from ..numerics.fisher.spectral import gaussians, row_norms, wide
from .gradients import backward_explained, uncompiled
from .precision import coarsest, full_precision

EXACT, COARSE = 1e-3, 2e-2
"""Largest relative error of the identity: of any row with exact back ends, of the median row with
finite differences, which a kink of a ReLU net may spoil for single rows."""
ROUNDINGS = 4
"""Units of rounding that the identity is allowed where a part of the model is half or bf16."""


@contextmanager
def _own_world() -> Iterator[None]:
    """Full precision and gradients, also when the caller is in inference mode or in no_grad.

    What a backward pass raises is a NoGradient.
    """
    with full_precision(), uncompiled(), backward_explained():
        with torch.inference_mode(False), torch.enable_grad():
            yield


class _Graph:
    """One forward of a batch, kept, and what can be asked of it."""

    def __init__(self, view: LogitsFn, images: Tensor, passes: Passes) -> None:
        self.view, self.passes = view, passes
        self.images = images.detach().clone().requires_grad_()
        self.logits = view(self.images)
        if self.logits.ndim != 2 or len(self.logits) != len(images):
            raise ModelContractError(
                f"the view returned shape {tuple(self.logits.shape)} for {len(images)} images, "
                "expected (N, K); wrap the model in LogitsView"
            )
        passes.forward += len(images)
        self._dual: tuple[Tensor, Tensor] | None = None

    def vjp(self, weights: Tensor) -> Tensor:
        """J^T w, (N, K) -> (N, D); zero where the graph does not reach the images."""
        self.passes.vjp += len(weights)
        return self._grad(self.logits, self.images, weights, False).flatten(1).detach()

    def forward_mode(self, directions: Tensor) -> Tensor:
        """J v by torch.func.jvp."""
        tangent = directions.to(self.images.dtype).view_as(self.images)
        with warnings.catch_warnings():
            # torch's own rules of differentiation are scripted at their first use
            warnings.filterwarnings("ignore", r".torch\.jit\..* is deprecated")
            primal = self.images.detach()
            change: Tensor = torch.func.jvp(self.view, (primal,), (tangent,))[1]
        return change

    def double_backward(self, directions: Tensor) -> Tensor:
        """J v as the derivative of the linear map w -> J^T w; its graph is made once."""
        if self._dual is None:
            w = torch.zeros_like(self.logits, requires_grad=True)
            self._dual = w, self._grad(self.logits, self.images, w, True)
        w, gradient = self._dual
        return self._grad(gradient, w, directions.view_as(self.images), False)

    def finite_differences(self, directions: Tensor) -> Tensor:
        """J v by a central difference over a step of root mean square 1e-3 (float64: 1e-5)."""
        self.passes.jvp += len(directions)  # twice as dear as it was counted
        rms = 1e-3 if self.logits.dtype == torch.float32 else 1e-5
        h = rms * directions.shape[1] ** 0.5
        size = row_norms(directions)
        scale = torch.where(size > 0, h / size, 0.0).unsqueeze(1)
        step = (directions * scale).to(self.images.dtype).view_as(self.images)
        with torch.no_grad():
            up, down = self.view(self.images + step), self.view(self.images - step)
        slope: Tensor = (up - down) * (size / (2 * h)).unsqueeze(1)
        return slope.to(self.logits.dtype)

    def _grad(
        self, outputs: Tensor, inputs: Tensor, weights: Tensor, again: bool
    ) -> Tensor:
        if not outputs.requires_grad:
            return torch.zeros_like(inputs)
        found: Tensor | None = torch.autograd.grad(
            outputs,
            inputs,
            weights.to(outputs.dtype),
            retain_graph=True,
            create_graph=again,
            allow_unused=True,
        )[0]
        return torch.zeros_like(inputs) if found is None else found


BACKENDS: dict[str, Callable[[_Graph, Tensor], Tensor]] = {
    "forward_mode": _Graph.forward_mode,
    "double_backward": _Graph.double_backward,
    "finite_differences": _Graph.finite_differences,
}
"""What `backend=` may name beside "auto", in the order in which they are tried."""


class _Chooser:
    """The jvp of a model: tries the back ends at the first call, then stays with one."""

    def __init__(self, backend: str) -> None:
        self.candidates = list(BACKENDS) if backend == "auto" else [backend]
        self.name = ""

    def __call__(self, graph: _Graph, directions: Tensor) -> Tensor:
        graph.passes.jvp += len(directions)
        if self.name:
            return BACKENDS[self.name](graph, directions).detach()
        if not bool((directions != 0).any()):
            return torch.zeros_like(graph.logits).detach()
        w = gaussians(graph.logits.detach(), "jvp", 0, None)
        pulled = graph.vjp(w)
        failed = []
        for name in self.candidates:
            try:
                change = BACKENDS[name](graph, directions).detach()
            except torch.cuda.OutOfMemoryError:
                raise
            except (
                Exception
            ) as error:  # whatever a layer says when it has no derivative
                failed.append(f"{name}: {type(error).__name__} {str(error)[:100]}")
                continue
            worst = _worst(name, _disagreement(w, change, pulled, directions))
            if worst <= _allowed(name, graph.logits, worst):
                self.name = name
                return change
            off = (
                f"is off by {worst:.1g} of its size" if worst < inf else "is not finite"
            )
            failed.append(f"{name}: <w, J v> {off}")
        raise BackendError(
            "no back end gives J v for this model: "
            + "; ".join(failed)
            + ". Use a method that "
            'needs vjps only ("gram"), or check that the forward is deterministic and its '
            "gradient is its own"
        )


def _worst(name: str, error_of: Tensor) -> float:
    """Of the errors of all rows the one that counts."""
    coarse = name == "finite_differences"
    return float(error_of.median() if coarse else error_of.max())


def _allowed(name: str, logits: Tensor, worst: float) -> float:
    """The largest error that is rounding; the graph is searched only where `worst` is above it."""
    limit = COARSE if name == "finite_differences" else EXACT
    if worst <= limit:
        return limit
    return max(limit, ROUNDINGS * torch.finfo(coarsest(logits)).eps)


def _disagreement(
    w: Tensor, change: Tensor, pulled: Tensor, directions: Tensor
) -> Tensor:
    """|<w, J v> - <J^T w, v>| / max(|w| |J v|, |J^T w| |v|) of every row that is finite, (n,)."""
    one = (wide(w) * wide(change)).sum(1)
    two = (wide(pulled) * wide(directions)).sum(1)
    sizes = [row_norms(part) for part in (w, change, pulled, directions)]
    scale = torch.maximum(sizes[0] * sizes[1], sizes[2] * sizes[3])
    error = torch.where(scale == 0, 0.0, (one - two).abs() / scale)
    # A row whose own gradient is not finite says nothing; one whose J v alone is, does.
    known = sizes[2].isfinite() & sizes[3].isfinite()
    error = torch.where(known & ~error.isfinite(), torch.inf, error)[known]
    return error if len(error) else one.new_zeros(1)


def model_action(view: LogitsFn, images: Tensor, backend: str = "auto") -> Action:
    """The action of a model at some images: its logits, J^T w and J v, J = d logits / d images.

    view: images (N, ...) -> logits (N, K), as a LogitsView does; rows must not depend on each
    other, and the forward must be deterministic. images: (N, ...), floating, in the units in which
    the answer is wanted (pixels). backend: "auto" or a key of BACKENDS. `Action.backend` is ""
    until the first jvp has chosen. Eval mode, frozen parameters and the lock are the caller's to
    see to (`session`); TF32, autocast and fused attention are off inside every product, and back
    after it. Works under no_grad and in inference mode. The graph lives as long as the action.

    A model without a gradient gives zero products. Errors: ConfigError for a backend, InputError
    for images that are not floating, ModelContractError for another shape of logits, NoGradient for
    a backward pass that raises; BackendError at the first jvp when no back end is right. Cost: one
    forward, and then as asked; the choice of the back end takes one vjp, and one jvp for each that
    was tried in vain.

    >>> action = model_action(lambda x: torch.stack([x[:, 0] ** 2, x[:, 1]], 1), torch.ones(1, 2))
    >>> action.vjp(torch.tensor([[1.0, 0.0]])).tolist(), action.jvp(torch.ones(1, 2)).tolist()
    ([[2.0, 0.0]], [[2.0, 1.0]])
    >>> action.backend
    'forward_mode'
    """
    if backend != "auto" and backend not in BACKENDS:
        raise ConfigError(f"backend={backend!r} is not one of {('auto', *BACKENDS)}")
    if not images.is_floating_point() or images.ndim < 2:
        raise InputError(
            f"images must be floating (N, ...), got {tuple(images.shape)} {images.dtype}; "
            "score embeddings in place of integer tokens"
        )
    return _action(view, images, _Chooser(backend), Passes())


def _action(
    view: LogitsFn, images: Tensor, chooser: _Chooser, passes: Passes
) -> Action:
    with _own_world():
        graph = _Graph(view, images, passes)

    def vjp(weights: Tensor) -> Tensor:
        with _own_world():
            return graph.vjp(weights.clone()).to(graph.logits.dtype)

    def jvp(directions: Tensor) -> Tensor:
        with _own_world():
            change = chooser(graph, directions.clone())
        action.backend = chooser.name
        return change

    def take(rows: Tensor) -> Action:
        return _action(view, graph.images[rows], chooser, passes)

    size = images[0].numel() if len(images) else images.flatten(1).shape[1]
    action = Action(graph.logits.detach(), size, vjp, jvp, take, chooser.name, passes)
    return action
