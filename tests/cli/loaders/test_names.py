"""Are the outputs of a model called as its configuration, a file or ImageNet's list has them?"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from torchattacks_ext.cli.loaders.names import imagenet_names, read_names, synset_names
from torchattacks_ext.data.loaders.classes import match_classes
from torchattacks_ext.errors import InputError

THOUSAND = [
    "tench, Tinca tinca",
    *(f"thing {i}" for i in range(998)),
    "toilet tissue, paper",
]
SYNSETS = [f"n{i:08d}" for i in range(1000)]


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm.data with ImageNet's list."""
    info = SimpleNamespace(
        label_names=lambda: SYNSETS,
        label_name_to_description=lambda name: THOUSAND[int(name[1:])],
    )
    data: Any = ModuleType("timm.data")
    data.ImageNetInfo = lambda: info
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "timm.data", data)


@pytest.mark.usefixtures("timm")
def test_folders_of_synsets_meet_a_model_with_words() -> None:
    names = imagenet_names(THOUSAND)
    assert names[0] == ("tench, Tinca tinca", "tench", "Tinca tinca", "n00000000")
    assert match_classes(["n00000999", "n00000000", "Thing_4"], names) == [999, 0, 5]
    assert synset_names() is not None
    assert match_classes(["tench", "n00000999"], synset_names() or ()) == [0, 999]
    # other thousands are not ImageNet's
    assert len(imagenet_names(THOUSAND[::-1])[0]) == 3
    assert imagenet_names(["tench", "toilet tissue"]) == (
        ("tench",),
        ("toilet tissue",),
    )


def test_without_timm_there_are_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.data", None)
    assert imagenet_names(THOUSAND)[0][-1] == "Tinca tinca" and synset_names() is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no names"),
        ("cat\ndog\ncat", "holds 'cat' twice"),
        ("[1, 2]", "holds neither a list of names"),
        ('{"0": "cat", "2": "dog"}', "holds neither"),
        ("{", "is not JSON"),
    ],
)
def test_files_of_names_that_are_none(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        read_names(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_names(path)
