"""What do tests of the certifier share? A small encoder with a head on its latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound


@dataclass(frozen=True, eq=False)
class Case:
    """An encoder in eval mode, a full head on its latents, 40 images (1, 4, 4) of 4 classes."""

    encoder: nn.Module
    head: EllipsHead
    images: Tensor
    labels: Tensor

    def certifier(
        self, lipschitz: Any = LipschitzBound.assume(2.0), **more: Any
    ) -> Ellips:
        """An Ellips on them, in eval mode."""
        return Ellips(self.encoder, self.head, lipschitz, **more).eval()


class Counted(nn.Module):
    """An encoder that counts its rows and remembers what it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.rows, self.seen = inner, 0, list[Any]()

    def forward(self, images: Tensor) -> Any:
        self.rows += len(images)
        self.seen.append(images.shape)
        return self.inner(images)


def made(seed: int = 0, covariance: Any = "full") -> Case:
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(40) % 4
    images = 0.35 * torch.rand(40, 1, 4, 4, generator=source)
    for k in range(4):
        images[labels == k, :, k] += 0.4
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)
        )
    with torch.no_grad():
        z = encoder.eval()(images)
    head = EllipsHead.fit(z, labels, covariance, shrinkage=0.1)
    return Case(encoder, head, images, labels)


@pytest.fixture
def case() -> Case:
    """:func:`made`."""
    return made()


@pytest.fixture
def counted() -> Callable[[nn.Module], Counted]:
    """:class:`Counted`."""
    return Counted
