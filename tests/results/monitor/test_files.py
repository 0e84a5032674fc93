"""A reference and an alert come back from disk equal, and damage is found."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from torchattacks_ext.errors import InputError
from torchattacks_ext.results.base.facts import Flag
from torchattacks_ext.results.monitor import Alert, DriftTest, MovedFeature, Reference


def make(m: int = 120, **parts: Any) -> Reference:
    rows = torch.arange(m, dtype=torch.float64)
    known: dict[str, Any] = {
        "features": torch.stack([rows.sin(), rows.cos()], 1).float(),
        "scores": rows.tan().atan(),
        "ids": torch.arange(m),
        "settings": {"score": "fim", "shape": [1, 8, 8], "place": "logits"},
        "model": {"class": "Net", "sha256": "ab", "tag": None},
        "flags": (Flag("odd", "something", 3),),
    }
    return Reference(**(known | parts))


def test_a_reference_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "ref.pt"
    found = make()
    found.save(path)
    again = Reference.load(path)
    assert again.digest == found.digest and again.facts() == found.facts()
    assert torch.equal(again.features, found.features) and again.flags == found.flags
    raw = torch.load(path, weights_only=True)
    assert set(raw) == {"about", "features", "scores", "ids"}
    assert list(tmp_path.iterdir()) == [path]


class Evil:
    """A pickle that would make a folder."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def test_nothing_in_a_file_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ref.pt"
    torch.save({"about": Evil()}, path)
    with pytest.raises(InputError, match="no reference of .monitor fit."):
        Reference.load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="no reference of .monitor fit."):
        Reference.load(path)
    assert not (tmp_path / "evil").exists()


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ref.pt"
    make().save(path)
    raw = torch.load(path, weights_only=True)
    about = json.loads(raw["about"])
    for change, words in [
        ({"scores": raw["scores"] + 1}, "not those that were written"),
        ({"scores": raw["scores"][:5]}, "do not belong together"),
        ({"scores": raw["scores"].float()}, "scores is torch.float32"),
        ({"scores": raw["scores"] / 0}, "NaN or infinite"),
        ({"features": 3}, "features is no plain tensor"),
        ({"about": json.dumps({**about, "schema": "monitor_reference/2"})}, "newer"),
        ({"about": json.dumps({**about, "model": {}})}, "not those that were written"),
        ({"about": "{}"}, "cannot be read as"),
        ({"about": "x"}, "is damaged"),
    ]:
        torch.save({**raw, **change}, path)
        with pytest.raises(InputError, match=words):
            Reference.load(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="is damaged"):
        Reference.load(path)
    with pytest.raises(InputError, match="is not a file"):
        Reference.load(tmp_path)


@pytest.mark.parametrize("m, words", [(60, "take more"), (4001, "take n=4000")])
def test_a_reference_has_a_size(m: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(m)


def test_an_alert_comes_back_equal_with_fields_of_a_newer_version() -> None:
    test = DriftTest(name="a", statistic=1.0, p_value=0.1, adjusted=0.2, alarm=True)
    moved = MovedFeature(feature=3, distance=0.3, adjusted=0.001)
    found = Alert(
        kind="batch",
        alarm=True,
        significance=0.01,
        guarantee="at most 1 %",
        n=50,
        n_reference=100,
        distance=0.3,
        tests=(test,),
        moved=(moved,),
        flags=(Flag("odd", "something", 3),),
    )
    assert (found.severity, found.alarms) == ("medium", ("a",))
    raw = json.loads(found.to_json()) | {"colour": "red"}
    again = Alert.from_dict(raw)
    assert again.to_dict() == raw and again.tests == (test,)
    with pytest.raises(InputError, match="is no list"):
        Alert.from_dict({**raw, "tests": 3})
    with pytest.raises(InputError, match="newer"):
        Alert.from_dict({**raw, "schema": "monitor_alert/9"})


@pytest.mark.parametrize("far, word", [(0.1, "low"), (0.2, "medium"), (0.4, "high")])
def test_severity_is_how_far(far: float, word: str) -> None:
    facts: Any = {"kind": "batch", "significance": 0.01, "guarantee": ""}
    facts |= {"n": 50, "n_reference": 100, "distance": far}
    assert Alert(alarm=True, **facts).severity == word
    assert Alert(alarm=False, **facts).severity == "none"
