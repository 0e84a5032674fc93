"""Is what a transform really does found, whatever its fields say, and anything else refused?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.models.normalised import NormalizedModel
from torchattacks_ext.models.preprocessing import Preprocessing, on_pixels, probed
from torchattacks_ext.models.preprocessing.pixels import own_pixels
from torchattacks_ext.models.preprocessing.read import (
    of_processor,
    of_timm,
    of_torchvision,
)

image = pytest.importorskip("PIL.Image")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


def levels(picture: Any) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def normalised(picture: Any, mean: Any = MEAN, std: Any = STD) -> Tensor:
    m, s = (torch.tensor(side).reshape(-1, 1, 1) for side in (mean, std))
    return (levels(picture) - m) / s


def efficientnet(picture: Any) -> Tensor:
    """It divides by the std twice."""
    return normalised(picture) / torch.tensor(STD).reshape(-1, 1, 1)


def mobilevit(picture: Any) -> Tensor:
    """It reads a mean and a std and uses neither; blue comes first."""
    return levels(picture).flip(0)


def blue_and_normalised(picture: Any) -> Tensor:
    m, s = (torch.tensor(side).reshape(-1, 1, 1) for side in (MEAN, STD))
    return (levels(picture).flip(0) - m) / s


def known(mean: Any = MEAN, std: Any = STD) -> Preprocessing:
    return Preprocessing(tuple(mean), tuple(std), source="hf:owner/net")


@pytest.mark.parametrize(
    ("transform", "mean", "std", "reverse", "told"),
    [
        (normalised, MEAN, STD, False, 0),
        (efficientnet, MEAN, tuple(s * s for s in STD), False, 1),
        (mobilevit, (0.0,) * 3, (1.0,) * 3, True, 2),
        (blue_and_normalised, MEAN[::-1], STD[::-1], True, 2),
    ],
)
def test_what_the_transform_does_is_taken(
    transform: Callable[[Any], Tensor], mean: Any, std: Any, reverse: bool, told: int
) -> None:
    found = probed(known(), transform)
    assert found.probed and found.reverse == reverse and len(found.notes) == told
    assert np.allclose(found.mean, mean, atol=2e-6)
    assert np.allclose(found.std, std, atol=2e-6)
    if transform is efficientnet:
        assert "that is taken" in found.notes[0] and "std 0.229" in found.notes[0]
    # the model on pixels gets what the transform would have given it
    picture = image.fromarray(PICTURE)
    pixels = levels(picture)[None]
    given = on_pixels(nn.Identity(), found)(pixels)[0]
    assert torch.allclose(given, transform(picture), atol=2e-5)
    # and the pixels of the transform are the picture again
    assert torch.allclose(own_pixels(found)(picture), pixels[0], atol=1e-5)


def test_fields_that_are_right_are_kept_to_the_digit() -> None:
    found = probed(known(), normalised)
    assert (found.mean, found.std) == (MEAN, STD)
    assert (
        probed(known((0.5,), (0.5,)), lambda p: normalised(p, [0.5] * 3, [0.5] * 3)).std
        == (0.5,) * 3
    )


def test_nothing_done_is_no_wrapper() -> None:
    found = probed(known((0.0,) * 3, (1.0,) * 3), levels)
    model = nn.Flatten()
    assert on_pixels(model, found) is model and found.size is None
    assert isinstance(on_pixels(model, probed(known(), normalised)), NormalizedModel)


def test_sizes_and_borders_are_seen() -> None:
    def bordered(picture: Any) -> Tensor:
        return nn.functional.pad(levels(picture.resize((6, 4))), (1, 1, 1, 1))

    found = probed(known((0.0,) * 3, (1.0,) * 3), bordered)
    assert found.size == (6, 8) and "a border" in found.notes[0]


def test_a_grey_model_has_one_channel() -> None:
    found = probed(
        known((0.5,), (0.5,)),
        lambda p: (levels(p.convert("L").convert("RGB")) * 2 - 1)[:1],
    )
    assert (found.channels, found.mean, found.std) == (1, (0.5,), (0.5,))


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (lambda p: levels(p) ** 2, "grey does not lie between"),
        (lambda p: 1 - levels(p), "white is not brighter"),
        (lambda p: levels(p) * 0, "white is not brighter"),
        (lambda p: levels(p).mean(0, keepdim=True).expand(3, -1, -1), "red is"),
        (lambda p: levels(p)[None], "expected (C, H, W)"),
    ],
)
def test_what_is_no_line_a_channel_is_refused(transform: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        probed(known(), transform)
    assert said in str(caught.value)


# ------------------------------------------------------------------ the packages
@pytest.mark.parametrize(
    ("name", "mean", "std", "size", "how"),
    [
        (
            "ResNet50_Weights.IMAGENET1K_V2",
            MEAN,
            STD,
            224,
            "232, the middle 224, bilinear",
        ),
        (
            "EfficientNet_V2_L_Weights.IMAGENET1K_V1",
            (0.5,) * 3,
            (0.5,) * 3,
            480,
            "bicubic",
        ),
        ("Inception_V3_Weights.IMAGENET1K_V1", MEAN, STD, 299, "342, the middle 299"),
    ],
)
def test_torchvision(name: str, mean: Any, std: Any, size: int, how: str) -> None:
    models = pytest.importorskip("torchvision.models")
    kind, _, which = name.partition(".")
    found = of_torchvision(getattr(models, kind)[which], name)
    assert (found.mean, found.std, found.size) == (mean, std, (size, size))
    assert how in found.geometry and found.facts()["tried"].startswith("black")


class TimmNet(nn.Module):
    """As timm's: a first layer, and patches that were made for one size."""

    def __init__(self, channels: int = 3, size: int | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 2, 1)
        if size is not None:
            self.patch_embed = SimpleNamespace(img_size=(size, size))  # type: ignore[assignment]


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm.data as its interface has it."""
    config = {
        "input_size": (3, 224, 224),
        "mean": MEAN,
        "std": STD,
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
    }

    def create_transform(input_size: Any, mean: Any, std: Any, **_: Any) -> Any:
        return lambda p: normalised(p.resize(input_size[:0:-1]), mean, std)

    data: Any = ModuleType("timm.data")
    data.resolve_model_data_config = lambda model: dict(config)
    data.create_transform = create_transform
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "timm.data", data)


@pytest.mark.usefixtures("timm")
def test_of_timm_the_built_net_says_the_size_and_the_channels() -> None:
    found = of_timm(TimmNet(), "timm:net")
    assert (found.mean, found.size, found.notes) == (MEAN, (224, 224), ())
    small = of_timm(TimmNet(size=32), "timm:net")
    assert (
        small.size == (32, 32)
        and "(224, 224), the net takes (32, 32)" in small.notes[0]
    )
    with pytest.raises(
        ConfigError, match="takes 1 channels, its configuration normalises 3"
    ):
        of_timm(TimmNet(channels=1), "timm:net")


class Processor:
    """As an image processor of transformers; `does` is what it really does."""

    do_resize, size, resample = True, {"height": 8, "width": 8}, 2
    image_mean, image_std = MEAN, STD

    def __init__(
        self, does: Callable[[Any], Tensor], do_normalize: bool | None
    ) -> None:
        self.does, self.do_normalize = does, do_normalize

    def __call__(self, images: Any, return_tensors: str) -> dict[str, Tensor]:
        return {"pixel_values": self.does(images.resize((8, 8)))[None]}


def test_of_transformers_the_processor_is_believed_and_not_its_fields() -> None:
    twice = of_processor(Processor(efficientnet, True), "hf:x")
    assert np.allclose(twice.std, np.square(STD), atol=1e-6) and twice.size == (8, 8)
    none = of_processor(Processor(mobilevit, None), "hf:x")
    assert not none.normalises and none.reverse
    assert none.geometry == "resize to height 8 width 8, resample 2"


def test_without_a_transform_there_are_no_own_pixels() -> None:
    with pytest.raises(ConfigError, match="no transform of its own"):
        own_pixels(known())
