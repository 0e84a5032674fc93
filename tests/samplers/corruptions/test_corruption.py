"""Does every corruption keep the contract of a law, get harder, and refuse what it cannot do?"""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError, InputError, MissingExtra
from torchattacks_ext.results import stress
from torchattacks_ext.samplers import choose_sampler
from torchattacks_ext.samplers.corruptions import (
    DEFINITIONS,
    PUBLISHED,
    SEVERITIES,
    Corruption,
)
from torchattacks_ext.samplers.photometric import blurred
from torchattacks_ext.testing import check_sampler
from torchattacks_ext.testing.props import example_images

NAMES = [name for name in DEFINITIONS if name != "frost"]
NOT_HARDER = {
    # (name, table): steps after which the published numbers distort less, or as much
    ("glass_blur", "cifar"): {1, 2, 4},  # more blur of the same swaps, then more swaps
    ("motion_blur", "cifar"): {
        3
    },  # radius 6 and 8: beyond 12 pixels sigma = 2 leaves 1e-8
    ("elastic_transform", "cifar"): {1, 2, 3, 4},  # the affine part shrinks
    ("elastic_transform", "imagenet"): {2},  # likewise
    ("glass_blur", "imagenet"): {1, 3},  # likewise
    ("snow", "imagenet"): {2},
    ("frost_procedural", "cifar"): {3, 4},
    ("frost_procedural", "imagenet"): {3},
    ("saturate", "cifar"): {2},  # grey, then colourful
    ("saturate", "imagenet"): {2},
}


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Eight smooth colour pictures of 32 x 32 in 8 bits."""
    rough = example_images(8, (3, 32, 32))
    smooth = blurred(rough, torch.full((8,), 2.5), 8)
    low, high = smooth.amin((1, 2, 3), True), smooth.amax((1, 2, 3), True)
    return ((smooth - low) / (high - low) * 255).round() / 255


def drawn(name: str, severity: int, images: Tensor, ids: Tensor, **more: Any) -> Tensor:
    law = Corruption(name, severity, **more)
    return law.sample(images, keyed(0, ids, 0, law.name))


def test_names_of_laws_and_results_agree() -> None:
    assert PUBLISHED == stress.PUBLISHED and len(PUBLISHED) == 15
    columns = {s.name for s in stress.Stress.columns() if s.missing is not None}
    assert columns == set(DEFINITIONS) | {"spatter"}  # spatter is only read


@pytest.mark.parametrize("name", NAMES)
def test_a_row_keeps_its_pixels_in_any_batch(name: str, photos: Tensor) -> None:
    ids = torch.arange(10, 18)
    whole = drawn(name, 5, photos, ids)
    cut = [drawn(name, 5, photos[i : i + 3], ids[i : i + 3]) for i in (0, 3, 6)]
    back = drawn(name, 5, photos.flip(0), ids.flip(0)).flip(0)
    assert torch.equal(torch.cat(cut), whole) and torch.equal(back, whole)
    assert whole.shape == photos.shape and whole.dtype == photos.dtype
    assert 0 <= float(whole.min()) and float(whole.max()) <= 1
    if name not in ("rotation", "translation"):
        assert float((whole * 255 - (whole * 255).round()).abs().max()) < 1e-3


@pytest.mark.parametrize("table", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", NAMES)
def test_severities_distort_more_and_more(
    name: str, table: str, photos: Tensor
) -> None:
    ids = torch.arange(8)
    far = [
        float((drawn(name, s, photos, ids, parameters=table) - photos).square().mean())
        for s in SEVERITIES
    ]
    less = {s for s, (a, b) in enumerate(zip(far, far[1:]), 1) if not b > a}
    assert less == NOT_HARDER.get((name, table), set()), far


def test_motion_blur_3_and_4_of_cifar_are_one_law(photos: Tensor) -> None:
    three, four = (drawn("motion_blur", s, photos, torch.arange(8)) for s in (3, 4))
    assert torch.equal(three, four)


@pytest.mark.parametrize("name", ["glass_blur", "snow"])
def test_the_contract_of_a_law(name: str) -> None:
    assert len(check_sampler(Corruption(name, 5), n=3)) == 11


def test_the_table_goes_by_the_size() -> None:
    small, large = torch.full((1, 1, 8, 127), 0.5), torch.full((1, 1, 128, 128), 0.5)
    for images, more in ((small, 0.05), (large, 0.1)):
        found = drawn("brightness", 1, images, torch.tensor([1]))
        wanted = int((round(0.5 * 255, 6) / 255 + more) * 255 + 1e-3)
        assert torch.equal((found * 255).round(), torch.full_like(images, wanted))


def test_settings_make_the_law_again() -> None:
    law = Corruption("fog", 2, parameters="imagenet")
    again = choose_sampler(law.settings(), 0.1, "Linf", (0, 1))
    assert again.settings() == law.settings() and law.settings()["severity"] == 2


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("fogg", 1), "did you mean 'fog'"),
        (("fog", 0), "severity=0 is not one of"),
        (("fog", 2.0), "severity=2.0"),
        (("fog", True), "severity=True"),
        (("frost", 1), "textures='FOLDER'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Corruption(*arguments)


def test_further_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="for 'frost' alone"):
        Corruption("fog", 1, textures="x")
    with pytest.raises(ConfigError, match="parameters='tiny'"):
        Corruption("fog", 1, parameters="tiny")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name, images, words",
    [
        ("fog", torch.zeros(2, 64), r"expected \(B, C, H, W\)"),
        ("fog", torch.zeros(2, 2, 8, 8), "C = 1 or 3"),
        ("fog", torch.zeros(2, 3, 3, 8), "at least 4 pixels"),
        ("fog", torch.full((2, 3, 8, 8), 1.5), r"not in \[0, 1\]"),
        ("fog", torch.full((2, 3, 8, 8), torch.nan), r"not in \[0, 1\]"),
        ("saturate", torch.zeros(2, 1, 8, 8), "needs three channels"),
    ],
)
def test_other_images_are_refused(name: str, images: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        drawn(name, 1, images, torch.arange(2))


def test_black_and_white_pictures_stay_finite() -> None:
    for level in (0.0, 1.0):
        images = torch.full((1, 1, 9, 8), level)
        for name in NAMES:
            if name != "saturate":
                assert drawn(name, 5, images, torch.tensor([1])).isfinite().all(), name


def test_frost_needs_large_photographs(tmp_path: Path) -> None:
    images, ids = torch.full((1, 3, 16, 16), 0.5), torch.tensor([1])
    with pytest.raises(InputError, match="no folder with pictures"):
        drawn("frost", 1, images, ids, textures=tmp_path)
    Image.new("RGB", (79, 200)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="40 x 16 pixels"):
        drawn("frost", 1, images, ids, textures=str(tmp_path))
    other = tmp_path / "damaged"
    other.mkdir()
    (other / "frost.png").write_text("no picture")
    with pytest.raises(InputError, match="is no picture"):
        drawn("frost", 1, images, ids, textures=other)


def test_without_pillow_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = builtins.__import__

    def blocked(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", blocked)
    images, ids = torch.full((1, 3, 16, 16), 0.5), torch.tensor([1])
    with pytest.raises(MissingExtra, match="pip install pillow"):
        drawn("jpeg_compression", 1, images, ids)
    with pytest.raises(MissingExtra, match="frost_procedural"):
        drawn("frost", 1, images, ids, textures=tmp_path)
    assert drawn("fog", 1, images, ids).shape == images.shape
