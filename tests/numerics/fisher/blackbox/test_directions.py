"""Are the directions orthonormal, uniform on the sphere, and functions of (seed, id, i) alone?"""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.fisher.blackbox import directions
from torchattacks_ext.numerics.fisher.blackbox.directions import (
    Directions,
    block_size,
    unseen_share,
)

RATE = 1e-7  # chance that one of the random tests below fails although all is well
IDS = torch.arange(5)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_full_block_is_an_orthogonal_basis(size: int) -> None:
    v = Directions(0, IDS, "test", size, torch.float64).orthonormal(0, size)
    found, expected = v @ v.mT / size, torch.eye(size).double().expand(5, -1, -1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_one_coordinate_of_a_direction_has_the_law_of_the_sphere() -> None:
    """v_1^2 / D ~ Beta(1/2, (D - 1)/2), for the first and for the last of a block."""
    size, m, ids = 9, 6, torch.arange(4000)
    v = Directions(0, ids, "test", size, torch.float64).orthonormal(0, m)
    for i, j in ((0, 0), (0, 8), (m - 1, 0), (m - 1, 8)):
        part = (v[:, i, j].square() / size).numpy()
        assert stats.kstest(part, stats.beta(0.5, 4).cdf).pvalue > RATE


def test_part_by_part_gives_the_same_directions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directions, "_BLOCK_NUMBERS", 12 * 20)
    assert block_size(20) == 12
    space = Directions(3, IDS, "test", 20, torch.float64)
    one = Directions(3, IDS[2:3], "test", 20, torch.float64)
    for kind in ("orthonormal", "signs", "unit_gaussian"):
        draw = getattr(space, kind)
        whole = draw(0, 30)
        parts = [draw(a, b) for a, b in ((0, 5), (5, 14), (14, 30))]
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
        alone = getattr(one, kind)(13, 14)
        torch.testing.assert_close(alone, whole[2:3, 13:14], rtol=0, atol=1e-12)


def test_blocks_are_orthogonal_inside_and_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directions, "_BLOCK_NUMBERS", 12 * 20)
    v = Directions(0, IDS, "test", 20, torch.float64).orthonormal(0, 24)
    gram = v @ v.mT / 20
    eye = torch.eye(12).double().expand(5, -1, -1)
    torch.testing.assert_close(gram[:, :12, :12], eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(gram[:, 12:, 12:], eye, rtol=0, atol=1e-12)
    assert float(gram[:, :12, 12:].abs().max()) > 0.3


def test_share_of_variance_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "_BLOCK_NUMBERS", 10 * 40)
    assert unseen_share(10, 40) == 0.75 == unseen_share(20, 40)
    assert unseen_share(15, 40) == pytest.approx(1 - (100 + 25) / (15 * 40))


def test_signs_are_fair_and_gaussians_have_unit_length() -> None:
    v = Directions(0, torch.arange(40), "test", 500).signs(0, 10)
    assert set(v.unique().tolist()) == {-1.0, 1.0}
    n_up = int((v > 0).sum())
    assert stats.binomtest(n_up, v.numel()).pvalue > RATE
    lengths = Directions(0, IDS, "test", 33).unit_gaussian(0, 4).norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones(5, 4), rtol=0, atol=1e-6)


def test_ids_seeds_and_purposes_give_other_directions() -> None:
    def one(seed: int, name: int, purpose: str) -> Tensor:
        ids = torch.tensor([name])
        return Directions(seed, ids, purpose, 50).orthonormal(0, 1)

    base = one(0, 0, "a")
    for other in (one(1, 0, "a"), one(0, 1, "a"), one(0, 0, "b")):
        assert float((base - other).norm()) > 1


@pytest.mark.parametrize("ends", [(-1, 2), (2, 2), (3, 2)])
def test_other_ranges_are_refused(ends: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="0 <= first < stop"):
        Directions(0, IDS, "test", 4).orthonormal(*ends)
