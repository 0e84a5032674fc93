"""`monitor fit`, `check` and `stream` as commands: exit codes, files, one line an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchattacks_ext.results.monitor import Alert, Reference


@pytest.fixture
def images(workshop: Path) -> Path:
    """ref.npz, new.npz, dark.npz in the current folder; the net is shed:build."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, 8, 8)).astype(np.uint8)
    for name, part in [
        ("ref", pixels[:150]),
        ("new", pixels[150:230]),
        ("dark", pixels[230:] // 5),
        ("few", pixels[230:240]),
    ]:
        np.savez(
            workshop / f"{name}.npz", images=part, labels=np.zeros(len(part), np.int64)
        )
    return workshop


LINE = ["--model", "shed:build", "--data"]


@pytest.fixture
def fitted(images: Path, run: Any) -> Path:
    done = run("monitor", "fit", "ref.pt", *LINE, "npz:ref.npz")
    assert (done.code, set(done.err.splitlines())) == (0, {"a factory that prints"})
    assert done.out.startswith("Reference of 150 images: 64 features (penultimate:1)")
    return images / "ref.pt"


def test_check_ends_with_0_and_1(fitted: Path, run: Any) -> None:
    with np.load("new.npz") as data:
        np.savez("bare.npz", images=data["images"])
    bare = run("monitor", "check", "ref.pt", *LINE, "npz:bare.npz", "--json")
    done = run("monitor", "check", "ref.pt", *LINE, "npz:new.npz", "--json")
    assert json.loads(bare.out)["tests"] == json.loads(done.out)["tests"]
    done = run("monitor", "check", "ref.pt", *LINE, "npz:new.npz")
    assert done.code == 0 and done.out.startswith("no alarm: 80 images")
    line = ["monitor", "check", "ref.pt", *LINE, "npz:dark.npz", "--out", "out"]
    done = run(*line, "--json")
    assert done.code == 1
    alert = Alert.from_json(Path("out/alert.json"))
    assert json.loads(done.out) == alert.to_dict() and alert.severity == "high"
    assert Path("out/alert.md").read_text().startswith("# ALARM (high): 70 images")
    assert alert.reference["digest"] == Reference.load(fitted).digest


def test_a_stream_is_looked_at_again_and_again(fitted: Path, run: Any) -> None:
    line = ["monitor", "stream", "ref.pt", "stream.json", *LINE]
    done = run(*line, "npz:new.npz")
    assert done.code == 0 and "look 1 (80 images), 80 images so far" in done.out
    again = run(*line, "npz:new.npz")
    assert again.code == 2 and "were look 1 of the stream already" in again.err
    done = run(*line, "npz:dark.npz")
    assert done.code == 1 and "alarmed at image" in done.out
    done = run(*line, "npz:few.npz")
    assert done.code == 1 and "look 3 (10 images), 160 images so far" in done.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["fit", "ref.pt", *LINE, "npz:ref.npz"], "exists already"),
        (["fit", "no/ref.pt", *LINE, "npz:ref.npz"], "its folder is not there"),
        (["fit", "new.pt", *LINE, "npz:few.npz"], "100 to 4,000 images"),
        (["check", "none.pt", *LINE, "npz:new.npz"], "is not a file"),
        (["check", "shed.py", *LINE, "npz:new.npz"], "no reference of `monitor fit`"),
        (["check", "ref.pt", *LINE, "npz:few.npz"], "here are 10: so few"),
        (["check", "ref.pt", *LINE, "npz:ref.npz"], "150 of 150 images are in the ref"),
        (
            ["check", "ref.pt", *LINE, "npz:new.npz", "--mean", "0.5", "--std", "0.5"],
            "mean was None, is now [0.5]",
        ),
        (["check", "ref.pt", *LINE, "npz:new.npz", "--significance", "x"], "--sign"),
        (["stream", "ref.pt", "ref.pt", *LINE, "npz:new.npz"], "no state of a stream"),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    fitted: Path, run: Any, line: list[str], words: str
) -> None:
    before = fitted.read_bytes()
    done = run("monitor", *line)
    assert (done.code, done.out) == (2, "") and words in done.err
    assert done.err.replace("a factory that prints\n", "").count("\n") == 1
    assert fitted.read_bytes() == before


def test_another_model_ends_with_2(fitted: Path, weights: Path, run: Any) -> None:
    done = run(
        *("monitor", "check", "ref.pt", "--model", weights, "--arch", "shed:build"),
        *("--data", "npz:new.npz"),
    )
    assert done.code == 2 and "the reference is of another model (sha256" in done.err
