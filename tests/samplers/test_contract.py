"""Does every built-in law keep the whole contract of a sampler?"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.samplers import (
    SAMPLERS,
    Affine,
    Compose,
    Corruption,
    EightBit,
    Gaussian,
    L1Ball,
    L2Ball,
    LinfUniform,
    Photometric,
    Sampler,
)
from torchattacks_ext.testing import check_sampler

PICTURES = [(3, 8, 8), (2, 7, 5)]
ANY = [*PICTURES, (13,), (4, 5), (1,)]
WIDE = (torch.tensor([-1.0, 0.0, 0.2]), torch.tensor([0.0, 3.0, 0.8]))
CASES: list[tuple[Sampler, Any]] = [
    (LinfUniform(8 / 255), ANY),
    (LinfUniform(0.3, boundary="clamp"), ANY),
    (LinfUniform(0.3, bounds=WIDE), [(3, 8, 8)]),
    (L2Ball(0.5), ANY),
    (L2Ball(3.0, boundary="none"), ANY),
    (L2Ball(1.0, bounds=WIDE), [(3, 8, 8)]),
    (L1Ball(0.5), ANY),
    (L1Ball(12.0, boundary="none"), ANY),
    (Gaussian(0.1), ANY),
    (Gaussian(0.1, boundary="none"), ANY),
    (Gaussian(0.5, boundary="truncate"), ANY),
    (Gaussian(0.5, boundary="truncate", bounds=WIDE), [(3, 8, 8)]),
    (Affine(15, 0.1, 0.2), PICTURES),
    (Affine(180, padding="reflection"), PICTURES),
    (Affine(translation=0.5, padding="border"), PICTURES),
    (Photometric(0.1, 0.2), ANY),
    (Photometric(0.1, 0.2, 1.0), PICTURES),
    (Compose([Affine(10), Gaussian(0.1), Photometric(0.1)]), PICTURES),
    (Corruption("gaussian_noise", 3), [(3, 8, 8), (1, 9, 8)]),
    (EightBit(LinfUniform(8 / 255)), ANY),
    (EightBit(L2Ball(0.5)), ANY),
    (EightBit(Compose([Affine(10), Gaussian(0.1)])), PICTURES),
]
RUNS = [(law, shape) for law, shapes in CASES for shape in shapes]


@pytest.mark.parametrize("law, shape", RUNS, ids=repr)
def test_every_law_keeps_the_contract(law: Sampler, shape: tuple[int, ...]) -> None:
    assert len(check_sampler(law, shape=shape)) == 11


def test_every_law_is_among_them() -> None:
    assert {type(law) for law, _ in CASES} == set(SAMPLERS.values())


@pytest.mark.parametrize("law", [law for law, _ in CASES], ids=repr)
def test_copies_and_pickles_draw_the_same(law: Sampler) -> None:
    images, ids = torch.full((3, 3, 8, 8), 0.4), torch.arange(3)
    u = keyed(0, ids, 0, law.name)
    drawn = law.sample(images, u)
    for twin in (copy.deepcopy(law), pickle.loads(pickle.dumps(law))):
        assert torch.equal(twin.sample(images, u), drawn)
        assert twin.settings() == law.settings()
    with torch.inference_mode():
        assert law.sample(images.clone(), u).shape == images.shape


@pytest.mark.parametrize("law, shape", RUNS, ids=repr)
def test_memory_order_does_not_matter(law: Sampler, shape: Any) -> None:
    ids = torch.arange(4)
    u = keyed(1, ids, 0, law.name)
    images = u(torch.Size(shape).numel(), "images").reshape(4, *shape)
    if len(shape) == 3:
        other = images.to(memory_format=torch.channels_last)
        # Sums over an image may run in another order there.
        torch.testing.assert_close(
            law.sample(other, u), law.sample(images, u), rtol=0, atol=1e-6
        )
    part = images.repeat_interleave(2, 0)[::2]
    assert torch.equal(law.sample(part, u), law.sample(images, u))
