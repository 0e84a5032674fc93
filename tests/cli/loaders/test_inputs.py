"""Do model and data meet on one command line: sizes, channels, classes, factories, one error?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchattacks_ext.results.evaluation import EvaluationReport

from ..conftest import Run
from . import stubs

pil = pytest.importorskip("PIL.Image")
pytest.importorskip("torchvision")
pytestmark = pytest.mark.usefixtures("workshop")
QUICK = "--eps 2/255 --attacks FGSM --n 6".split()
DATA = """
import numpy as np

class Maite:
    metadata = {"id": "pets", "index2label": {0: "cat", 1: "dog"}}

    def __len__(self):
        return 12

    def __getitem__(self, i):
        image = np.full((1, 8, 8), i * 20, np.uint8)
        return image, np.eye(2)[i % 2], {"id": i}

class Model:
    metadata = {"id": "two", "index2label": {0: "dog", 1: "cat"}}

    def __call__(self, batch):
        return [np.asarray([float(x.mean()), 0.4]) for x in batch]

def number():
    return 3
"""


@pytest.fixture
def pets(workshop: Path) -> Path:
    """A folder of three classes, images of 8 x 8."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    for i, name in enumerate(("cat", "dog", "owl") * 2):
        place = workshop / "pets" / name
        place.mkdir(parents=True, exist_ok=True)
        pil.fromarray(colours[i]).save(place / f"{i}.png")
    (workshop / "things.py").write_text(DATA, encoding="utf-8")
    return workshop / "pets"


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, workshop: Path) -> str:
    """A model of the hub whose classes are dog, cat, owl; for 8 x 8."""
    monkeypatch.setitem(sys.modules, "timm", stubs.timm())
    for name in ("models", "data"):
        monkeypatch.setitem(
            sys.modules, f"timm.{name}", getattr(sys.modules["timm"], name)
        )
    stubs.timm_folder(workshop / "net", label_names=["dog", "cat", "owl"])
    return "hf:./net"


def test_preprocessing_and_classes_are_in_the_report(
    run: Run, pets: Path, net: str
) -> None:
    done = run(
        "evaluate", "--model", net, "--data", f"imagefolder:{pets}", *QUICK, "--json"
    )
    assert done.code == 0, done.err
    report = EvaluationReport.from_dict(json.loads(done.out))
    said = report.model["preprocessing"]
    assert (said["mean"], said["std"]) == (stubs.MEAN, stubs.STD)
    assert said["source"] == "hf:./net" and "bicubic" in said["geometry"]
    assert report.model["class"] == "NormalizedModel"
    assert "2 have another number than in the data" in report.data["notes"][-1]
    # cat, dog, owl of the folder are 1, 0, 2 of the model
    assert report["clean"].result.reference.tolist() == [1, 0, 2] * 2  # type: ignore[union-attr]


def test_the_own_transform_resizes_when_it_is_asked(
    run: Run, pets: Path, net: str
) -> None:
    for file in pets.rglob("*.png"):
        pil.open(file).resize((20, 14)).save(file)
    line = [
        "evaluate",
        "--model",
        net,
        "--data",
        f"imagefolder:{pets}",
        *QUICK,
        "--json",
    ]
    plain = json.loads(run(*line).out)
    assert plain["data"]["shape"] == [3, 14, 20]
    assert [f["code"] for f in plain["flags"] if f["code"] == "other_size"] == [
        "other_size"
    ]
    done = run(*line, "--resize", "model")
    resized = json.loads(done.out)
    assert resized["data"]["shape"] == [3, 8, 8]
    assert "resized: as the model's" in resized["data"]["notes"]
    assert "other_size" not in str(resized["flags"]) and "other_size" not in done.err
    assert json.loads(run(*line, "--resize", 8).out)["data"]["shape"] == [3, 8, 8]


def test_a_dry_run_says_it_too(run: Run, pets: Path, net: str) -> None:
    line = ["evaluate", "--model", net, "--data", f"imagefolder:{pets}", *QUICK]
    facts = json.loads(run(*line, "--dry-run", "--json").out)
    assert facts["model"]["preprocessing"]["tried"].startswith("black")


def test_objects_of_the_form_of_maite(run: Run, pets: Path) -> None:
    line = [
        "evaluate",
        "--model",
        "things:Model",
        "--data",
        "things:Maite",
        *QUICK,
        "--attacks",
        "GN",
    ]
    done = run(*line, "--json")
    assert done.code == 0, done.err
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert report.model["class"] == "MaiteModel" and report.data["n_total"] == 12
    clean: Any = report["clean"].result
    assert clean.reference.tolist() == [
        1,
        0,
        1,
        0,
        1,
        0,
    ]  # by name: cat is the model's 1
    assert clean.prediction.tolist() == [1, 1, 1, 1, 1, 1]
    as_is = run(*line, "--json", "--classes", "as-is")
    clean = EvaluationReport.from_dict(json.loads(as_is.out))["clean"].result
    assert clean.reference.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("dog\ncat\nowl\n", [1, 0, 2]),
        ('["owl", "dog", "cat"]', [2, 1, 0]),
        ('{"0": "owl", "1": "dog", "2": "cat"}', [2, 1, 0]),
        ('{"owl": 0, "dog": 1, "cat": 2}', [2, 1, 0]),
    ],
)
def test_names_of_a_file(content: str, labels: list[int], run: Run, pets: Path) -> None:
    Path("names").write_text(content)
    (pets.parent / "mine.py").write_text(
        "from torch import nn\n"
        "def net(): return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))\n"
    )
    line = [
        "evaluate",
        "--model",
        "mine:net",
        "--data",
        f"imagefolder:{pets}",
        "--classes",
    ]
    done = run(*line, "names", *QUICK, "--json")
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert report["clean"].result.reference.tolist() == labels * 2  # type: ignore[union-attr]
    sys.modules.pop("mine", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--data", "imagefolder:pats"], "--data: pats is not a folder"),
        (
            ["--data", "things:number"],
            "--data: things:number returned int, expected a data set",
        ),
        (
            ["--data", "things:nothing"],
            "--data things:nothing: things has no 'nothing'",
        ),
        (["--data", "things:Maite"], "images have 1 channels, hf:./net takes 3"),
        (
            ["--data", "things:Maite", "--resize", "8"],
            "--resize does not reach into things:Maite",
        ),
        (
            ["--data", "digits"],
            "classes of the data are none of the model's: '0', '1', '2'",
        ),
        (
            ["--data", "digits", "--classes", "as-is"],
            "takes 3; say channels=3 after the name",
        ),
        (["--classes", "nowhere"], "--classes nowhere is neither a file nor 'as-is'"),
        (["--classes", "things.py"], "classes of the data are none of the model's"),
        (
            ["--resize", "big"],
            "--resize 'big' is neither a number of pixels nor 'model'",
        ),
        (
            ["--model", "shed:build", "--resize", "model"],
            "shed:build has no transform of its own",
        ),
        (["--model", "hf:./nowhere"], "hf:./nowhere is not a folder"),
        (
            ["--model", "hf:./net", "--arch", "shed:build"],
            "belongs to a file of weights",
        ),
        (["--data", "torchvision:MNIST", "--data-root", "x"], "it is looked for in x"),
        (["--data", "hf:a/../b"], "is no name"),
    ],
)
def test_each_mistake_is_one_line_and_exit_code_2(
    change: list[str], said: str, run: Run, pets: Path, net: str
) -> None:
    line = {"--model": net, "--data": f"imagefolder:{pets}"}
    line |= dict(zip(change[::2], change[1::2]))
    done = run("evaluate", *[part for pair in line.items() for part in pair], *QUICK)
    lines = [x for x in done.err.splitlines() if x.startswith("error")]
    assert (done.code, done.out, len(lines)) == (2, "", 1), done
    assert said in lines[0] and "Traceback" not in done.err
