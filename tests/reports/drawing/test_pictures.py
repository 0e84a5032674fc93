"""Do the pictures of the page show the pixels that were measured?"""

from __future__ import annotations

import base64
import io
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchattacks_ext.errors import MissingExtra
from torchattacks_ext.reports.drawing.pictures import Picture, amplified, exhibits


def pixels(picture: Picture) -> Any:
    head, data = picture.source.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_come_back_byte_for_byte(pictures: Any, channels: int) -> None:
    (item,) = pictures((channels,))
    (exhibit,) = exhibits([item])
    clean, worst, shift = exhibit.pictures
    for shown, kept in ((clean, item.clean), (worst, item.worst)):
        expected = kept[0] if channels == 1 else kept.permute(1, 2, 0)
        assert np.array_equal(pixels(shown), expected.numpy())
    factor = int(shift.label.rpartition("× ")[2])
    change = pixels(shift).astype(int) - 128
    real = pixels(worst).astype(int) - pixels(clean).astype(int)
    assert np.array_equal(change, factor * real) and factor > 1


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channel_counts_are_shown_as_their_mean(
    pictures: Any, channels: int
) -> None:
    (item,) = pictures((channels,))
    shown = pixels(exhibits([item])[0].pictures[0])
    assert np.abs(shown - item.clean.double().mean(0).numpy()).max() <= 0.5


def test_small_pictures_are_shown_large_and_large_ones_small(pictures: Any) -> None:
    (item,) = pictures((1,))
    widths = []
    for side in (1, 8, 28, 96, 224, 1000):
        image = torch.zeros(1, 2 * side, side, dtype=torch.uint8)
        shown = exhibits([replace(item, clean=image, worst=image)])[0].pictures[0]
        widths.append(shown.width)
        assert abs(shown.height - 2 * shown.width) <= 1
    assert widths == [96, 96, 112, 96, 224, 256]


def test_no_difference_is_grey(pictures: Any) -> None:
    same = np.full((2, 2), 77, np.uint8)
    shown, factor = amplified(same, same)
    assert factor == 1 and (shown == 128).all()
    shown, factor = amplified(
        np.zeros((1, 1), np.uint8), np.full((1, 1), 255, np.uint8)
    )
    assert factor == 1 and int(shown[0, 0]) == 255


@pytest.mark.parametrize("shape", [(5,), (0, 4, 4), (1, 2, 3, 4)])
def test_what_is_no_picture_has_words_only(
    pictures: Any, shape: tuple[int, ...]
) -> None:
    (item,) = pictures((1,))
    odd = torch.zeros(shape, dtype=torch.uint8)
    (exhibit,) = exhibits([replace(item, clean=odd, worst=odd)])
    assert exhibit.pictures == () and dict(exhibit.facts)["stage"] == "prtest"


def test_captions_tell_id_classes_rate_and_margin(pictures: Any) -> None:
    known, unknown = exhibits(pictures((1, 3)))
    assert known.title == "class 3 → 8"
    assert dict(known.facts)["failed draws"] == "42 %"
    assert dict(unknown.facts)["failed draws"] == "n/a"
    assert dict(known.facts)["margin"] == "-1.25"
    alts = [picture.alt for picture in known.pictures]
    assert len(set(alts)) == 3 and "true class 3" in alts[0] and "class 8" in alts[1]
    (same,) = exhibits([replace(pictures((1,))[0], prediction=3)])
    assert same.title == "class 3" and "predicted" not in same.pictures[1].alt


def test_without_pillow_the_remedy_is_named(
    pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert exhibits([]) == []
    with pytest.raises(MissingExtra, match="pip install pillow"):
        exhibits(pictures((1,)))
