"""Are columns of the hub's tables found by their types, odd images read, no code or net used?"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from torchattacks_ext.data.named import NamedData, load_data
from torchattacks_ext.errors import ConfigError, InputError, MissingExtra

from . import stubs
from .stubs import ClassLabel, Image, Table, Value

pil = pytest.importorskip("PIL.Image")
pytest.importorskip("torchvision")
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)


def picture(row: int, mode: str = "RGB") -> Any:
    return pil.fromarray(COLOURS[row]).convert(mode)


def table(
    modes: str = "RGB RGB RGB", labels: Any = (2, 0, 1), **features: Any
) -> Table:
    pictures = [picture(i, mode) for i, mode in enumerate(modes.split())]
    found = features or {"img": Image(), "label": ClassLabel(["a", "b", "c"])}
    columns = {
        name: pictures if isinstance(one, Image) else list(labels)
        for name, one in found.items()
    }
    return Table(found, columns)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load "hf:FOLDER" where the folder holds this table, or these splits."""

    def call(found: Any, options: str = "", **more: Any) -> NamedData:
        monkeypatch.setitem(sys.modules, "datasets", stubs.datasets(found))
        return load_data(f"hf:{tmp_path}{options}", **more)

    return call


def test_the_picture_and_the_label_are_found_by_type(load: Any) -> None:
    features = {
        "id": Value("int64"),
        "scene": Image(),
        "kind": ClassLabel(["a", "b", "c"]),
    }
    data = load({"train": table(), "test": table(**features)}, n=2)
    assert data.dataset[0][0].shape == (3, 4, 4)
    expected = torch.from_numpy(COLOURS[0]).permute(2, 0, 1) / 255
    assert torch.equal(data.dataset[0][0], expected)
    assert [label for _, label in data.dataset] == [2, 0]
    assert (data.classes, data.n_total, data.licence) == (("a", "b", "c"), 3, "mit")
    assert "columns 'scene' and 'kind'" in data.notes and "split test" in data.notes


def test_odd_modes_become_eight_bits_of_red_green_blue(load: Any) -> None:
    data = load(table("RGB P CMYK", (0, 1, 2)))
    for i in range(3):
        pixels, _ = data.dataset[i]
        assert pixels.shape == (3, 4, 4) and pixels.dtype == torch.float32
        shown = torch.from_numpy(COLOURS[i]).permute(2, 0, 1) / 255
        assert 0 <= pixels.min() and pixels.max() <= 1
        assert (pixels - shown).abs().mean() < 0.15  # palettes and inks lose a little


def test_grey_sets_have_one_channel_unless_three_are_asked_for(load: Any) -> None:
    grey = table("L 1 LA")
    assert {tuple(x.shape) for x, _ in load(grey).dataset} == {(1, 4, 4)}
    assert {tuple(x.shape) for x, _ in load(grey, ",channels=3").dataset} == {(3, 4, 4)}
    mixed = load(table("L RGB L"))
    with pytest.raises(
        InputError, match="image 1 has colours, the first is grey; say channels=3"
    ):
        mixed.dataset[1]


def test_sixteen_bits_keep_their_range(load: Any) -> None:
    deep = pil.fromarray(np.full((4, 4), 32768, np.uint16))
    found = Table(
        {"image": Image(), "label": Value("int64")}, {"image": [deep], "label": [0]}
    )
    pixels, _ = load(found).dataset[0]
    assert torch.allclose(pixels, torch.tensor(32768 / 65535)) and pixels.shape == (
        1,
        4,
        4,
    )


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_bytes_that_pandas_wrote_are_decoded(form: str, load: Any) -> None:
    held = io.BytesIO()
    picture(0).save(held, "PNG")
    raw: Any = held.getvalue()
    if form == "struct":
        feature: Any = {"bytes": Value("binary"), "path": Value("string")}
        raw = {"bytes": raw, "path": None}
    else:
        feature = Value("binary")
    features = {"image": feature, "label": Value("int64")}
    data = load(Table(features, {"image": [raw], "label": [1]}))
    assert torch.equal(
        data.dataset[0][0], torch.from_numpy(COLOURS[0]).permute(2, 0, 1) / 255
    )


def test_unequal_sizes_are_said_when_they_are_met(load: Any) -> None:
    found = table()
    found.columns["img"][2] = picture(2).resize((5, 4))
    data = load(found)
    with pytest.raises(InputError, match="image 2 is 5x4, the first 4x4 .*--resize N"):
        data.dataset[2]
    assert load(found, resize=2).dataset[2][0].shape == (3, 2, 2)


TWO = {"img": Image(), "fine": ClassLabel(["a"]), "coarse": ClassLabel(["x"])}


@pytest.mark.parametrize(
    ("found", "options", "kind", "said"),
    [
        (
            table(**TWO),
            "",
            ConfigError,
            r"2 columns that could be the label \(fine, coarse\)",
        ),
        (
            table(**TWO),
            ",label=rough",
            ConfigError,
            "columns img, fine, coarse, not 'rough'",
        ),
        (
            table(a=Image(), b=Image(), label=Value("int64")),
            "",
            ConfigError,
            "image=COLUMN",
        ),
        (table(label=Value("int64")), "", ConfigError, "0 columns of pictures"),
        (
            table(labels=(0, -1, -1)),
            "",
            InputError,
            "2 of 3 labels in 'label' are below 0",
        ),
        (table("", ()), "", InputError, "has no rows"),
        (
            {"train": table(), "val": table()},
            "",
            ConfigError,
            "has the splits train, val; say",
        ),
        (
            {"train": table()},
            ",split=test",
            ConfigError,
            "has the splits train; say split=NAME",
        ),
        (table(), ",split=test", ConfigError, "has one split, only"),
        (
            ValueError("two\nlines"),
            "",
            InputError,
            r"cannot be read \(ValueError: two lines\)",
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(
    found: Any, options: str, kind: Any, said: str, load: Any
) -> None:
    with pytest.raises(kind, match=said) as caught:
        load(found, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["https://host/a.parquet", "../a.parquet", "/etc/passwd", "a/../../b"]
)
def test_a_card_that_leads_elsewhere_is_refused(
    path: str, load: Any, tmp_path: Path
) -> None:
    files = f"  data_files:\n  - split: test\n    path: {path}"
    card = f"---\nconfigs:\n- config_name: x\n{files}\n---\n"
    (tmp_path / "README.md").write_text(card)
    with pytest.raises(InputError, match="README.md names the file"):
        load(table())
    (tmp_path / "README.md").write_text(card.replace(path, "data/test-*.parquet"))
    assert load(table()).n == 3


# ------------------------------------------------------------------ the hub
def hub(found: Any) -> Any:
    package: Any = ModuleType("huggingface_hub")

    def snapshot_download(repo: str, **told: Any) -> str:
        package.told = told | {"repo": repo}
        if isinstance(found, Exception):
            raise found
        return str(found)

    package.snapshot_download = snapshot_download
    return package


def test_the_cache_is_asked_first_and_the_net_only_when_told(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(table())
    package = hub(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    data = load_data("hf:owner/set,revision=abc")
    assert (data.name, data.source) == ("owner/set", "hugging face hub, owner/set")
    assert (
        package.told["local_files_only"] is True and package.told["revision"] == "abc"
    )
    assert not any(
        name.endswith((".py", "*")) for name in package.told["allow_patterns"]
    )
    load_data("hf:owner/set", download=True)
    assert package.told["local_files_only"] is False
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(OSError("no\nnet")))
    with pytest.raises(
        InputError, match="not in the cache of the hub, .*--download only"
    ):
        load_data("hf:owner/set")
    with pytest.raises(InputError, match=r"could not be downloaded \(no net\)"):
        load_data("hf:owner/set", download=True)


def test_names_and_packages(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load(table())
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub("."))
    with pytest.raises(ConfigError, match="is no name"):
        load_data("hf:owner/../set")
    with pytest.raises(ConfigError, match="'../../x' is no revision"):
        load_data("hf:owner/set,revision=../../x")
    with pytest.raises(InputError, match="nowhere is not a folder"):
        load_data("hf:./nowhere")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match="pip install datasets"):
        load_data("hf:owner/set")
