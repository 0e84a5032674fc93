"""Are shifted, lighter and noisy copies found, and nothing else? Blocks against a slow twin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchattacks_ext.numerics.likeness import pairs as module
from torchattacks_ext.numerics.likeness.features import (
    bands,
    copy_size,
    grey_copies,
    shifted_bands,
    spectra,
)
from torchattacks_ext.numerics.likeness.pairs import COARSE, Portraits, near_pairs

Found = set[tuple[int, int]]


def scenes(n: int, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth colour pictures (N, 3, side, side), as different as noise of low frequency is."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(
        0, 1
    )


def found(ours: Tensor, theirs: Tensor | None = None) -> Found:
    size = copy_size(*ours.shape[2:])
    other = None if theirs is None else Portraits.of(theirs, size)
    parts = near_pairs(Portraits.of(ours, size), other)
    return {pair for a, b, _ in parts for pair in zip(a.tolist(), b.tolist())}


def slow_pairs(ours: Tensor, theirs: Tensor) -> Found:
    """The definition, pair by pair: spectra above COARSE, bands above the threshold."""
    size, pairs = copy_size(*ours.shape[2:]), set()
    mine, other = grey_copies(ours, size), grey_copies(theirs, size)
    for i in range(len(mine)):
        for j in range(len(other)):
            coarse = float(spectra(mine[i : i + 1]) @ spectra(other[j : j + 1]).T)
            like = shifted_bands(mine[i : i + 1])[0] @ bands(other[j : j + 1])[0]
            if coarse >= COARSE and float(like.max()) >= module.THRESHOLD:
                pairs.add((i, j))
    return pairs


@pytest.mark.parametrize("change", ["shift", "light", "contrast", "noise", "larger"])
def test_a_changed_copy_is_found_and_no_other(change: str) -> None:
    images = scenes(40)
    copies = {
        "shift": images.roll((1, -1), (2, 3)),
        "light": (images + 0.05).clamp(max=1),
        "contrast": images * 0.8 + 0.1,
        "noise": images + 0.02 * torch.randn(images.shape, generator=_generator()),
        "larger": torch.nn.functional.interpolate(images, (64, 64), mode="bilinear"),
    }[change]
    if change == "shift":  # what comes in at the edge is what the edge was
        copies[:, :, 0], copies[:, :, :, -1] = copies[:, :, 1], copies[:, :, :, -2]
    same = found(copies, images)
    assert {pair for pair in same if pair[0] != pair[1]} == set()
    assert len(same) >= 38


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_blocks_give_what_the_slow_twin_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    images = scenes(12)
    copies = torch.cat([images[:5] * 0.9, images[4:6].roll(1, 3), scenes(3, seed=2)])
    wanted = slow_pairs(copies, images)
    assert len(wanted) >= 5
    assert found(copies, images) == wanted
    for name, size in (("_ROWS", 5), ("_OTHERS", 7), ("_PAIRS", 2)):
        monkeypatch.setattr(module, name, size)
    assert found(copies, images) == wanted


def test_within_a_set_each_pair_comes_once_and_the_later_row_first() -> None:
    images = scenes(20)
    images[17], images[6] = images[3] * 0.9, images[3]
    assert found(images) == {(6, 3), (17, 3), (17, 6)}


def test_flat_pictures_are_near_to_nothing() -> None:
    images = torch.full((3, 1, 28, 28), 0.5)
    images[1] = 0.7
    assert found(images) == set()
    assert Portraits.of(images, (28, 28)).spectra.abs().sum() == 0


def test_the_spectrum_does_not_see_a_cyclic_shift() -> None:
    copies = grey_copies(scenes(5), (32, 32))
    moved = spectra(copies.roll((3, -5), (1, 2)))
    assert torch.allclose(spectra(copies), moved, atol=1e-3)
    assert torch.allclose(spectra(copies).norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("sides", [(4, 4), (5, 28), (8, 8), (31, 6)])
def test_small_and_oblong_pictures_have_features(sides: tuple[int, int]) -> None:
    images = torch.rand(6, 1, *sides, generator=_generator())
    assert {(i, i) for i in range(6)} <= found(images, images.clone())
