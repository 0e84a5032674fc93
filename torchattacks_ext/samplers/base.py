"""What is a random perturbation? One law around each image, driven by uniform numbers only."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from .._typing import Norm
from ..errors import ConfigError, InputError
from ..numerics.arguments import as_number
from ..numerics.generators import Watch
from ..numerics.norms import Bounds, check_norm, clip_


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
    map of standard normal numbers; :func:`torchattacks_ext.testing.check_sampler` checks
    all of these promises.

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
    rowwise: bool = True
    """Whether a draw depends on its own image and numbers only, not on the other rows."""

    @abstractmethod
    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image: (B, ...) -> (B, ...), same dtype and device; input untouched."""

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law as a map of standard normal numbers, for methods that move them.

        z (B, latent_size) independent N(0, 1), images (B, ...) -> (B, ...). Optional: the
        base raises ConfigError; :attr:`has_latent` says whether a law has it.
        """
        raise ConfigError(
            f"sampler {self.name!r} has no from_latent(z, images), its law as a map of normal "
            "numbers; write that method, or use a built-in law such as LinfUniform"
        )

    @property
    def has_latent(self) -> bool:
        """Whether ``from_latent`` may be called: a subclass has written it."""
        return type(self).from_latent is not Sampler.from_latent

    def latent_size(self, shape: tuple[int, ...]) -> int:
        """How many normal numbers ``from_latent`` takes for one image of ``shape``: one a feature.

        >>> CallableSampler(lambda images, u: images).latent_size((3, 8, 8))
        192
        """
        return math.prod(shape)

    def check_latent(self, z: Tensor, images: Tensor) -> None:
        """InputError unless z is (B, latent_size) for these images."""
        wanted = len(images), self.latent_size(tuple(images.shape[1:]))
        if tuple(z.shape) != wanted:
            raise InputError(
                f"z has shape {tuple(z.shape)}, expected {wanted}: sampler {self.name!r} takes "
                f"{wanted[1]} normal numbers for each of {wanted[0]} images"
            )

    def check_replayable(self, images: Tensor, u: Uniforms) -> bool:
        """Draw twice from equal numbers; set and return ``replayable``. Sets ``rowwise`` too.

        A law that moves a generator of random numbers is not replayable, even if the two draws are
        equal. Raises InputError if the law writes into its input, which would perturb every
        later draw too. Cost: two draws, and one of each image by itself.
        """
        before, watch = images.clone(), Watch(self)
        first, second = self.sample(before, u).clone(), self.sample(images.clone(), u)
        if not _same(before, images):
            raise InputError(
                f"sampler {self.name!r} writes into the images it is given; let it work on "
                "images.clone()"
            )
        self.replayable = _same(first, second) and not watch.moved()
        if self.replayable and len(images) > 1:
            self.rowwise = all(
                _close(first[i : i + 1], self.sample(images[i : i + 1], _row_of(u, i)))
                for i in range(len(images))
            )
        return self.replayable

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

    def settings(self) -> dict[str, Any]:
        """The base's settings and the qualified name of the function."""
        function = self.function
        label = getattr(function, "__qualname__", type(function).__qualname__)
        return {**super().settings(), "function": f"{function.__module__}.{label}"}


def _row_of(u: Uniforms, row: int) -> Uniforms:
    def numbers(size: int, purpose: str = "") -> Tensor:
        return u(size, purpose)[row : row + 1]

    return numbers


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal but for the rounding of kernels that know the size of the batch."""
    size = float(b.abs().nan_to_num().amax()) if b.numel() else 0.0
    slack = 64 * torch.finfo(a.dtype).eps * max(1.0, size)
    return torch.allclose(a, b, rtol=0.0, atol=slack, equal_nan=True)


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)


def widened(images: Tensor) -> Tensor:
    """The images in the dtype that a law works in: float64 stays, all else becomes float32.

    A law that casts back at its end rounds half images once.

    >>> widened(torch.zeros(1, dtype=torch.float16)).dtype
    torch.float32
    """
    return images if images.dtype == torch.float64 else images.float()


def add_noise(images: Tensor, noise: Tensor, bounds: Bounds | None) -> Tensor:
    """images (B, ...) + noise (B, D), clipped to the bounds, in the dtype of the images.

    Two or three passes.

    >>> add_noise(torch.ones(1, 1, 2), torch.tensor([[0.5, -0.5]]), (0.0, 1.0))
    tensor([[[1.0000, 0.5000]]])
    """
    exact = widened(images)
    moved = exact + noise.to(exact.dtype).reshape(images.shape)
    return clip_(moved, bounds).to(images.dtype)


def check_real(
    name: str, value: Any, low: float, high: float, remedy: str, *, above: bool = False
) -> float:
    """``value`` as a finite float in [low, high] (``above``: in (low, high]); else ConfigError.

    >>> check_real("sigma", 1, 0, math.inf, "say 0.1", above=True)
    1.0
    """
    number = as_number(value)
    fits = low < number <= high if above else low <= number <= high
    if not fits or math.isinf(number):
        domain = f"a number {'>' if above else '>='} {low:g}"
        if above and low == 0:
            domain = "a positive number"
        top = f" and <= {high:g}" if math.isfinite(high) else ""
        raise ConfigError(f"{name}={value!r} must be {domain}{top}; {remedy}")
    return number


def check_word(name: str, value: Any, words: tuple[str, ...]) -> None:
    """ConfigError unless ``value`` is one of the words.

    >>> check_word("boundary", "clamp", ("truncate", "clamp"))
    """
    if value not in words:
        raise ConfigError(f"{name}={value!r} is not one of {words}")


def check_range(bounds: Bounds | None) -> None:
    """ConfigError unless bounds are None or (lo, hi) with lo < hi, floats or one value a channel.

    >>> check_range((0.0, torch.ones(3)))
    """
    if bounds is None:
        return
    try:
        low, high = (torch.as_tensor(bound) for bound in bounds)
        fits = bool((low < high).all())
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise ConfigError(f"bounds={bounds!r} must be (lo, hi) with lo < hi")


def kept_bounds(
    bounds: Bounds | None, boundary: str, words: tuple[str, ...]
) -> Bounds | None:
    """The bounds that draws stay in: none where the boundary is "none".

    ConfigError for a boundary that is not one of the words, and as :func:`check_range`.

    >>> kept_bounds((0.0, 1.0), "none", ("clamp", "none")) is None
    True
    """
    check_word("boundary", boundary, words)
    check_range(bounds)
    return None if boundary == "none" else bounds


def bounds_setting(bounds: Bounds | None) -> list[Any] | None:
    """Bounds in JSON types, as they stand in the settings of a law.

    >>> bounds_setting((0, torch.tensor([1.0, 2.0])))
    [0.0, [1.0, 2.0]]
    """
    if bounds is None:
        return None
    return [b.tolist() if isinstance(b, Tensor) else float(b) for b in bounds]
