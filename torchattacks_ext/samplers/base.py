"""What is a random perturbation? One law around each image, driven by uniform numbers only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from .._typing import Norm
from ..errors import InputError
from ..numerics.norms import check_norm


class Uniforms(Protocol):
    """Source of uniform numbers, already keyed by seed, sample ids and draw.

    ``u(size, purpose="")`` gives (B, size) float32 in [0, 1), one row an image. It is a
    function, not a generator: the same call gives the same numbers again; another
    purpose gives others.
    """

    def __call__(self, size: int, purpose: str = "") -> Tensor:
        """Return (B, size) numbers in [0, 1)."""
        ...


class Sampler(ABC):
    """A perturbation law: what is drawn around an image, within which ball, from which numbers.

    A subclass sets the attributes and writes ``sample``; rows must not influence each
    other. All randomness comes from ``u``, so a draw can be repeated from its seed, id
    and draw number. A law may also offer ``from_latent(z, images)``, the same law as a
    map of standard normal numbers.

    >>> class Brighter(Sampler):
    ...     name = "brighter"
    ...     def sample(self, images, u):
    ...         return images + 0.1 * u(1)
    >>> Brighter().sample(torch.zeros(1, 3), lambda size, purpose="": torch.full((1, size), 0.5))
    tensor([[0.0500, 0.0500, 0.0500]])
    """

    name: str
    """Short name in results, the file name of our own laws."""
    norm: Norm | None = None
    """Norm of the ball that holds every draw; None when there is no such ball."""
    eps: float | None = None
    """Radius of that ball, in the units of the images."""
    replayable: bool = True
    """Whether the same numbers give the same draw, so that a failure can be shown again."""

    @abstractmethod
    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image: (B, ...) -> (B, ...), same dtype and device; input untouched."""

    def settings(self) -> dict[str, Any]:
        """Everything that defines the law, in JSON types, for results and hashes."""
        return {"name": self.name, "norm": self.norm, "eps": self.eps}

    def __repr__(self) -> str:
        """The class and its settings."""
        pairs = ", ".join(
            f"{k}={v!r}" for k, v in self.settings().items() if k != "name"
        )
        return f"{type(self).__name__}({pairs})"


class CallableSampler(Sampler):
    """The caller's own law: a function f(images, u) that returns the perturbed images.

    function (Callable): gets images (B, ...) and :class:`Uniforms`; must return the
        same shape, dtype and device.
    norm (str | None), eps (float | None): the ball that the caller claims for it.

    ``replayable`` is False until :meth:`check_replayable` has seen the function give
    one answer twice.

    >>> law = CallableSampler(lambda images, u: images * u(1))
    >>> law.sample(torch.ones(2, 3), lambda size, purpose="": torch.full((2, size), 0.5)).sum()
    tensor(3.)
    """

    replayable = False

    def __init__(
        self,
        function: Callable[[Tensor, Uniforms], Tensor],
        *,
        norm: Norm | None = None,
        eps: float | None = None,
    ) -> None:
        if norm is not None:
            check_norm(norm)
        self.function, self.norm, self.eps = function, norm, eps
        self.name = str(getattr(function, "__name__", type(function).__name__))

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """Call the function; InputError when it returns anything but a tensor like ``images``."""
        out = self.function(images, u)
        if not isinstance(out, Tensor):
            raise InputError(
                f"sampler {self.name!r} returned {type(out).__name__}, expected a tensor like the "
                f"images, {tuple(images.shape)} {images.dtype}"
            )
        found, wanted = (
            (tuple(t.shape), t.dtype, t.device.type, t.device.index)
            for t in (out, images)
        )
        if found != wanted:
            raise InputError(
                f"sampler {self.name!r} returned {found[0]} {found[1]} on {out.device}, expected "
                f"what it got, {wanted[0]} {wanted[1]} on {images.device}"
            )
        return out

    def check_replayable(self, images: Tensor, u: Uniforms) -> bool:
        """Call the function twice with equal numbers; set and return ``replayable``.

        Raises InputError if it writes into its input, which would perturb every later
        draw too.
        """
        before = images.clone()
        first, second = self.sample(before, u).clone(), self.sample(images.clone(), u)
        if not _same(before, images):
            raise InputError(
                f"sampler {self.name!r} writes into the images it is given; let it work on "
                "images.clone()"
            )
        self.replayable = _same(first, second)
        return self.replayable

    def settings(self) -> dict[str, Any]:
        """The base's settings and the qualified name of the function."""
        function = self.function
        label = getattr(function, "__qualname__", type(function).__qualname__)
        return {**super().settings(), "function": f"{function.__module__}.{label}"}


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
