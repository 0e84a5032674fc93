"""Are weights found wherever frameworks put them, and whole programs refused in our words?"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.serialization import get_safe_globals

from torchattacks_ext.cli.loaders.checkpoints import read_weights
from torchattacks_ext.cli.loaders.filling import fitted
from torchattacks_ext.cli.loaders.loading import load_model
from torchattacks_ext.errors import ConfigError, InputError

from ..conftest import Run

pytestmark = pytest.mark.usefixtures("workshop")
ONES = torch.zeros(1, 1, 8, 8)


def state_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def loads(content: Any, key: str | None = None) -> str:
    """The name under which the weights of a file with this content are loaded."""
    torch.save(content, "box.ckpt")
    loaded = load_model("box.ckpt", "shed:build", key)
    model, name = loaded.model, loaded.name
    assert model(ONES).tolist() == [[float(i) for i in range(10)]]
    return name


@pytest.mark.parametrize(
    "place", ["state_dict", "model", "net", "model_state_dict", "weights", "mine"]
)
def test_containers_of_frameworks(place: str, weights: Path) -> None:
    content = {place: state_of(weights), "epoch": 3, "optimizer": {"state": {}}}
    assert loads(content) == "box.ckpt"
    assert loads({"model": {"state_dict": state_of(weights)}}) == "box.ckpt"


@pytest.mark.parametrize("place", ["model_ema", "state_dict_ema", "ema"])
def test_of_two_copies_the_one_that_is_taken_is_said(place: str, weights: Path) -> None:
    good = state_of(weights)
    bad = {key: value * 0 for key, value in good.items()}
    assert loads({"model": good, place: bad}) == f"box.ckpt: model (not {place})"
    assert loads({"model": bad, place: good}, place) == f"box.ckpt: {place} (not model)"
    with pytest.raises(
        InputError, match="no weights under 'ema2'; its keys of weights"
    ):
        loads({"model": bad, place: good}, "ema2")


def test_two_unknown_places_are_not_guessed(weights: Path) -> None:
    good = state_of(weights)
    with pytest.raises(ConfigError, match="under one, two; say which: --weights KEY"):
        loads({"one": good, "two": good})
    assert loads({"one": good, "two": good}, "two") == "box.ckpt: two (not one)"


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "_orig_mod.", "module.model.", "model._orig_mod.module."],
)
def test_prefixes_come_off_where_all_keys_then_fit(prefix: str, weights: Path) -> None:
    state = state_of(weights)
    loads({"state_dict": {prefix + key: value for key, value in state.items()}})
    averaged = {"module." + key: value for key, value in state.items()}
    loads(averaged | {"n_averaged": torch.tensor(4)})


def test_prefixes_stay_where_they_belong_to_the_model() -> None:
    state = {"model.a": 1, "model.b": 2}
    assert fitted(state, {"model.a": 0, "model.b": 0}) == state
    assert fitted(state, {"a": 0, "other": 0}) == state  # told as it is
    inner = {"0._orig_mod.w": 1, "1.w": 2}
    assert fitted(inner, {"0.w": 0, "1.w": 0}) == {"0.w": 1, "1.w": 2}


def test_settings_beside_the_weights_are_read_and_nothing_is_left_behind(
    weights: Path,
) -> None:
    before = set(get_safe_globals())
    beside = {
        "args": argparse.Namespace(lr=0.1, name="a", betas=(0.9, np.float64(0.99))),
        "best": np.float64(0.75),
        "epoch": np.int64(3),
        "small": np.float16(0.5),
        "yes": np.bool_(True),
    }
    loads({"state_dict": state_of(weights), **beside})
    assert set(get_safe_globals()) == before


def test_scalars_come_back_as_they_were() -> None:
    from torchattacks_ext.cli.loaders.harmless import harmless_classes

    values = [np.float64(0.75), np.int64(-3), np.uint8(7), np.complex64(1 + 2j)]
    values.append(np.array(2.5, dtype=">f8")[()])
    torch.save({"values": values}, "values.pt")
    with harmless_classes():
        found = torch.load("values.pt", weights_only=True)["values"]
    assert found == [value.item() for value in values]
    assert all(type(one) in (float, int, complex) for one in found)


class Spring:
    """Pickled, it creates a file when somebody unpickles it."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize(
    "content",
    [Spring(), {"args": argparse.Namespace(trap=Spring())}, np.array([Spring()])],
)
def test_nothing_else_is_unpickled(content: Any, workshop: Path) -> None:
    torch.save(content, "trap.pt")
    with pytest.raises(InputError, match="pickled objects.*could run code.*; save the"):
        load_model("trap.pt", "shed:build")
    assert not (workshop / "sprung").exists()


def test_whole_programs_are_refused_in_our_words() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net, ONES).save("script.pt")
    exported = torch.export.export(net, (ONES,))
    torch.export.save(exported, "program.pt2")
    torch.save(net, "whole.pt")
    words = {
        "script.pt": "is a TorchScript archive.*give a function.*torch.jit.load",
        "program.pt2": "is an exported program.*give a function.*torch.export.load",
    }
    for name, said in words.items():
        for arch in (None, "shed:build"):
            with pytest.raises(InputError, match=said):
                load_model(name, arch)
    with pytest.raises(
        InputError, match=r"pickled objects.*such as torch.nn.*weights only"
    ):
        load_model("whole.pt", "shed:build")
    for name in ("script.pt", "whole.pt"):
        with pytest.raises(InputError) as caught:
            load_model(name, "shed:build")
        assert "weights_only=False" not in str(caught.value)


def test_weights_belong_to_a_file() -> None:
    with pytest.raises(ConfigError, match="--weights ema belongs to a file of weights"):
        load_model("shed:build", None, "ema")


def test_more_than_tensors_and_empty_files(weights: Path) -> None:
    state = state_of(weights)
    torch.save({"state_dict": state | {"head._extra_state": None}}, "extra.pt")
    assert "head._extra_state" in read_weights(Path("extra.pt")).state
    torch.save({}, "none.pt")
    with pytest.raises(InputError, match="keys 2 missing: 1.weight, 1.bias"):
        load_model("none.pt", "shed:build")


def test_the_command_line_chooses_copies_and_outputs(run: Run, weights: Path) -> None:
    good = state_of(weights)
    torch.save({"model": good, "model_ema": good}, "two.pt")
    line = ["evaluate", "--model", "two.pt", "--arch", "shed:build", "--data", "digits"]
    line += ["--eps", "1/8", "--dry-run"]
    assert "two.pt: model (not model_ema)" in run(*line).out
    found = run(
        *line, "--weights", "model_ema", "--outputs", "probs", "--output-key", "0"
    )
    assert found.code == 0 and "two.pt: model_ema (not model)" in found.out
    found = run(*line, "--outputs", "scores")
    assert found.code == 2 and "outputs='scores'" in found.err
