"""Which class do latents belong to, and within which distance? A Gaussian mixture as a module."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError
from ...numerics.certificates.eigen import CACHE_BYTES, Pairs
from ...numerics.certificates.mixture import Covariance, Mixture
from ...numerics.certificates.radii import Method, Radii, latent_radii
from ...results.base.codec import replacing
from .converting import from_estimator
from .fitting import Shrinkage, fitted
from .parameters import mixture_of

NAMES = "means", "factors", "biases", "owners", "reject"
"""Buffers that define a head, in the order of :class:`Mixture`."""
FORMAT = "ellips-head/1"


class EllipsHead(nn.Module):
    r"""Quadratic discriminant analysis of latents, with a radius for every answer.

        s_k(z) = log det P_k + 2 log pi_k - (z - mu_k)^T P_k (z - mu_k),    P_k = A_k^T A_k

    (arXiv:2605.25352, eq. 4). Calling gives logits s / 2; :meth:`radius` the L2 distance within
    which the argmax cannot change. Several Gaussians a class answer with their largest. The float64
    buffers `means`, `factors` (A), `biases` (the terms without z), `owners` (class of a component)
    and `reject` *are* the classifier: they stay float64 whatever dtype the module is moved to.

    Arguments:
        mixture (Mixture): the numbers; made by `fit`, `from_parameters`, `from_sklearn`, `load`.
        fitted (dict): how they were found, in JSON types; kept for the reader. (Default: None)
        cache_bytes (int): of eigenvectors that `radius` keeps between calls, for full covariances.
            (Default: 201326592)

    Shape:
        - z: (N, d) or (N, ...) of d numbers, float32 or float64.
        - output: (N, K) logits, float64 for float64 latents, else float32.

    Examples::
        >>> means, variances = [[0.0, 0.0], [4.0, 0.0]], [[1.0, 1.0], [4.0, 1.0]]
        >>> head = EllipsHead.from_parameters(means, variances, covariance="diag")
        >>> z = torch.tensor([[0.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
        >>> head(z).argmax(1).tolist(), [round(r, 6) for r in head.radius(z).tolist()]
        ([0, 1], [1.65991, 2.34009])
    """

    means: Tensor
    factors: Tensor
    biases: Tensor
    owners: Tensor
    reject: Tensor

    def __init__(
        self,
        mixture: Mixture,
        fitted: dict[str, Any] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__()
        for name in NAMES:
            self.register_buffer(name, _kept(getattr(mixture, name)))
        self.fitted = dict(fitted or {})
        self.cache_bytes = cache_bytes
        self._pairs: Pairs | None = None

    # ------------------------------------------------------------------ ways to make one
    @classmethod
    def fit(
        cls,
        z: Any,
        y: Any,
        covariance: Covariance = "shared",
        shrinkage: Shrinkage = None,
        priors: Any = "empirical",
    ) -> EllipsHead:
        """The head of labelled latents z (N, d), y (N,) in 0 .. K-1.

        covariance: "shared" (pooled, n - K degrees of freedom), "spherical", "diag" or "full" (each
        class its own, divided by its n). shrinkage: "ledoit-wolf", "oas" (scikit-learn, on
        class-centred latents), or a in [0, 1] for (1 - a) S + a tr(S) / d I; None for none.
        priors: "empirical", "uniform" or (K,) numbers > 0.

        Raises InputError for latents that are not (N, d) and finite, an absent class, one class, a
        class too small for its covariance (full: 5 d latents unless shrunk); ConfigError for
        settings outside their domains, and a covariance that is singular or has a condition number
        beyond 1e12, naming the remedy: nothing is added to it silently. MissingExtra without
        scikit-learn.

        >>> z = torch.tensor([[0.0, 1.0], [1.0, 0.0], [4.0, 1.0], [5.0, 0.5]])
        >>> EllipsHead.fit(z, [0, 0, 1, 1], shrinkage=0.1).fitted["n_per_class"]
        [2, 2]
        """
        found = fitted(z, y, covariance, shrinkage, priors)
        mixture = mixture_of(
            found.means, found.covariances, found.priors, covariance=found.covariance
        )
        return cls(mixture, found.facts)

    @classmethod
    def from_parameters(
        cls,
        means: Any,
        covariances: Any,
        priors: Any = None,
        *,
        owners: Any = None,
        covariance: Covariance | None = None,
        reject: Any = None,
    ) -> EllipsHead:
        """The head of given Gaussians; shapes and errors as in :func:`.parameters.mixture_of`.

        owners: (C,) class of each component, for several a class; priors are then those of the
        components. reject: Mahalanobis radii beyond which nothing is answered.
        """
        mixture = mixture_of(means, covariances, priors, owners, covariance, reject)
        return cls(mixture, {"source": "given parameters"})

    @classmethod
    def from_sklearn(cls, model: Any, priors: Any = None) -> EllipsHead:
        """The head of a fitted LDA or QDA (store_covariance=True), or a list of GaussianMixture.

        The list has one mixture a class; its densities are then taken by their largest component,
        which is another classifier than their sum. priors: of the classes; None takes the model's,
        or equal ones for a list. Raises StatusError for anything else.
        """
        return cls(from_estimator(model, priors), {"source": type(model).__name__})

    # ------------------------------------------------------------------ answers
    @property
    def n_classes(self) -> int:
        """Number K of classes."""
        return int(self.owners.max()) + 1

    @property
    def dim(self) -> int:
        """Length d of a latent."""
        return self.means.shape[1]

    @property
    def covariance(self) -> Covariance:
        """The form of the covariances: "shared", "spherical", "diag" or "full"."""
        return self.pairs.mixture.kind

    def forward(self, z: Tensor) -> Tensor:
        """Logits (N, K): half the scores, which are log posteriors up to a constant an image.

        Computed in float64; given in it for float64 latents, else in float32, as attacks expect.
        """
        return self.half_scores(z).to(_answer_dtype(z))

    def half_scores(self, z: Tensor) -> Tensor:
        """The same, always in float64."""
        return self.pairs.mixture.scores(z.flatten(1).to(torch.float64)) / 2

    def radius(self, z: Tensor, method: Method = "exact") -> Tensor:
        """L2 distances (N,) float64 within which the answer cannot change; 0 where it abstains.

        method: "exact", "pairwise" or "paper" (see :mod:`.numerics.certificates.radii`). The ball
        is open. Rounding is taken off, so that it holds for the stored numbers. Raises InputError
        for float16, bfloat16 or integer latents, or others than (N, d).
        """
        return self.radii(z, method).radius

    def radii(
        self, z: Tensor, method: Method = "exact", *, prune: bool = True
    ) -> Radii:
        """Labels (-1: abstains), predictions and radii of latents z (N, d), as :meth:`radius`."""
        with torch.no_grad():
            return latent_radii(self.pairs, self._latents(z), method, prune=prune)

    def _latents(self, z: Tensor) -> Tensor:
        if not isinstance(z, Tensor) or z.dtype not in (torch.float32, torch.float64):
            kind = z.dtype if isinstance(z, Tensor) else type(z).__name__
            raise InputError(
                f"latents are {kind}; a certificate needs float32 or float64 latents: in a shorter "
                "type the answer flips within the radius. Run the encoder in float32"
            )
        if z.dim() != 2 or z.shape[1] != self.dim:
            raise InputError(
                f"latents have shape {tuple(z.shape)}, expected (N, {self.dim})"
            )
        return z.detach().to(self.means.device, torch.float64)

    @property
    def pairs(self) -> Pairs:
        """The buffers as checked numbers, with what was computed of them before.

        Made again where a buffer was changed since. Raises ConfigError for numbers that are no
        classifier.
        """
        held = self._pairs
        if held is None or any(
            not _same(getattr(held.mixture, name), getattr(self, name))
            for name in NAMES
        ):
            numbers = (_kept(getattr(self, name)) for name in NAMES)
            held = self._pairs = Pairs(Mixture(*numbers), self.cache_bytes)
        return held

    # ------------------------------------------------------------------ moving and keeping
    def _apply(
        self, fn: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> EllipsHead:
        """As every module moves, but for the dtype: what is certified is what is stored."""
        before = {name: getattr(self, name) for name in NAMES}
        move: Any = super()._apply
        move(fn, recurse)
        for name, old in before.items():
            moved = getattr(self, name)
            if moved.dtype != old.dtype:
                setattr(self, name, old.to(moved.device))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again."""
        return {**self.__dict__, "_pairs": None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head as safetensors, in one step. Raises InputError where that is refused."""
        from safetensors.torch import save_file

        tensors = {name: getattr(self, name).detach().cpu() for name in NAMES}
        told = {"format": FORMAT, "fitted": json.dumps(self.fitted)}
        with replacing(path) as part:
            part.touch()
            usual = part.stat().st_mode
            save_file({k: v.contiguous() for k, v in tensors.items()}, part, told)
            part.chmod(usual)  # safetensors' files are for their owner only

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EllipsHead:
        """The head that :meth:`save` wrote. Raises InputError for another file."""
        from safetensors import safe_open

        try:
            with safe_open(path, "pt") as handle:
                told = handle.metadata() or {}
                tensors = {name: handle.get_tensor(name) for name in NAMES}
            if told.get("format") != FORMAT:
                raise ValueError(f"its format is {told.get('format')!r}")
            facts = json.loads(told.get("fitted", "{}"))
        except Exception as error:  # whatever safetensors and the file system raise
            raise InputError(
                f"{str(path)!r} is no head written by EllipsHead.save: {error}"
            ) from error
        return cls(Mixture(**tensors), facts)

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> EllipsHead:
        """The head of a `state_dict`, whatever its sizes. Raises ConfigError for others."""
        try:
            return cls(Mixture(**{name: state[name] for name in NAMES}))
        except KeyError as error:
            raise ConfigError(
                f"a state_dict without {error}; expected {NAMES}"
            ) from None

    def extra_repr(self) -> str:
        """Sizes and form."""
        mixture = self.pairs.mixture
        return f"K={mixture.n_classes}, d={mixture.dim}, covariance={mixture.kind!r}"


def _answer_dtype(given: Tensor) -> torch.dtype:
    return torch.float64 if given.dtype == torch.float64 else torch.float32


def _kept(numbers: Tensor) -> Tensor:
    """A copy of its own, in one memory layout: another one may change a last digit."""
    return numbers.detach().clone(memory_format=torch.contiguous_format)


def _same(held: Tensor, now: Tensor) -> bool:
    return held.device == now.device and torch.equal(held, now)
