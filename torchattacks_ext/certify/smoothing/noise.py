"""What does a model answer to noisy copies of images? Keyed noise, full batches, answers as sums.

The noise of an image is a function of (seed, id, purpose, draw), so that neither the other images
nor the batch size change it. Copies are not clipped: the theorems speak of x + N(0, sigma^2 I).
Networks do not give the same bits for other batch sizes: an answer whose two largest logits are
within 1e-4 of the largest one is asked again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...engines.judge.active import CLOSE
from ...numerics.gaussian import normals
from ...numerics.streams import uniform


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of standard deviation sigma (pixel units), by seed.

    >>> noise, images = Noise(0.5, 0), torch.zeros(2, 1, 2, 2)
    >>> both = noise.add(images, torch.tensor([3, 4]), "demo", torch.tensor([0, 1]))
    >>> torch.equal(both[1:], noise.add(images[1:], torch.tensor([4]), "demo", torch.tensor([1])))
    True
    """

    sigma: float
    seed: int

    def add(self, images: Tensor, ids: Tensor, purpose: str, draw: Tensor) -> Tensor:
        """images (M, ...) with the noise of draw (M,) of each id (M,), in the images' dtype."""
        size = images[0].numel()
        u = uniform(self.seed, ids, f"smoothing/{purpose}", draw, size + size % 2)
        z = normals(u)[:, :size].reshape(images.shape)
        return images + z.to(images.dtype) * self.sigma


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows whose copies are wanted: count (B,) draws each from draw number first (B,) on.

    images (B, ...) and ids (B,) on the device; first and count int64 on the CPU.
    """

    images: Tensor
    ids: Tensor
    first: Tensor
    count: Tensor
    purpose: str

    def copies(self, noise: Noise, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(row (M,), noisy images (M, ...)) in full batches, those of a row end to end."""
        ends = self.count.cumsum(0)
        total = int(ends[-1]) if len(ends) else 0
        for at in range(0, total, batch_size):
            place = torch.arange(at, min(at + batch_size, total))
            row = torch.searchsorted(ends, place, right=True)
            draw = self.first[row] + place - (ends - self.count)[row]
            there = row.to(self.images.device)
            draws = draw.to(self.ids.device)
            yield (
                row,
                noise.add(self.images[there], self.ids[there], self.purpose, draws),
            )


@dataclass(frozen=True, eq=False)
class Votes:
    """How often each class was answered: counts (B, K) int64; n_close (B,) answers asked twice.

    Answers with NaN or infinite logits are in no class: the rows of counts may miss some draws.
    """

    counts: Tensor
    n_close: Tensor


def votes(ask: LogitsFn, asked: Asked, noise: Noise, batch_size: int) -> Votes:
    """The classes that noisy copies got; `sum(count)` forward row-passes, and one a close answer.

    >>> images, ids = torch.full((1, 2), 0.5), torch.tensor([7])
    >>> asked = Asked(images, ids, torch.tensor([0]), torch.tensor([40]), "demo")
    >>> votes(lambda x: x - 0.5, asked, Noise(0.1, 0), 16).counts.sum(1).tolist()
    [40]
    """
    n = len(asked.ids)
    counts: Tensor | None = None
    n_close = torch.zeros(n, dtype=torch.int64)
    with torch.no_grad():
        for row, images in asked.copies(noise, batch_size):
            answer, close, n_classes = _answers(ask, images)
            if counts is None:
                counts = torch.zeros(n, n_classes + 1, dtype=torch.int64)
            # the last column takes what is no answer
            flat = row * (n_classes + 1) + answer
            counts += torch.bincount(flat, minlength=counts.numel()).view_as(counts)
            n_close += torch.bincount(row[close], minlength=n)
    if counts is None:
        raise ValueError("no draws were asked for")
    return Votes(counts[:, :-1], n_close)


def _answers(ask: LogitsFn, images: Tensor) -> tuple[Tensor, Tensor, int]:
    """Classes (M,), K for none; which were close (M,); K. On the CPU."""
    logits = ask(images)
    if len(images) == 1:
        return _classes(logits).cpu(), torch.zeros(1, dtype=torch.bool), logits.shape[1]
    best = logits.topk(min(2, logits.shape[1]), 1).values
    close = (best[:, 0] - best[:, -1]) < CLOSE * logits.abs().amax(1)
    found, close = _classes(logits).cpu(), close.cpu()
    for i in close.nonzero().flatten().tolist():
        found[i] = _classes(ask(images[i : i + 1]))[0].cpu()
    return found, close, logits.shape[1]


def _classes(logits: Tensor) -> Tensor:
    """argmax, and K where a row has no finite largest logit."""
    top, answer = logits.max(1)
    return torch.where(torch.isfinite(top), answer, logits.shape[1])


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of numbers (B, R) over the copies, and of their squares, float64 on the CPU."""

    total: Tensor
    squares: Tensor


def moments(
    project: Callable[[Tensor, Tensor], Tensor],
    asked: Asked,
    noise: Noise,
    batch_size: int,
) -> Moments:
    """Sums of `project(row (M,), noisy images (M, ...))`, float64 numbers (M, R), a row."""
    found: tuple[Tensor, Tensor] | None = None
    with torch.no_grad():
        for row, images in asked.copies(noise, batch_size):
            numbers = project(row, images).double().cpu()
            if found is None:
                shape = len(asked.ids), numbers.shape[1]
                found = (
                    torch.zeros(shape, dtype=torch.float64),
                    torch.zeros(shape, dtype=torch.float64),
                )
            found[0].index_add_(0, row, numbers)
            found[1].index_add_(0, row, numbers**2)
    if found is None:
        raise ValueError("no draws were asked for")
    return Moments(*found)
