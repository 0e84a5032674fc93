"""Does the name of a model become this very model, and nothing else run?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext.cli.loaders.checkpoints import read_weights
from torchattacks_ext.cli.loaders.factories import call_factory
from torchattacks_ext.cli.loaders.filling import fitted
from torchattacks_ext.cli.loaders.loading import in_eval_mode, load_model
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.models.normalised import NormalizedModel

pytestmark = pytest.mark.usefixtures("workshop")


class Trap:
    """Pickled, it creates a file when somebody unpickles it."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


def test_a_factory_gives_its_model_in_eval_mode() -> None:
    loaded = load_model("shed:build")
    model, name = loaded.model, loaded.name
    assert (
        name == "shed:build" and isinstance(model, nn.Sequential) and not model.training
    )


class Graph(nn.Module):
    """As torch.export's modules: it refuses train() and eval()."""

    def train(self, mode: bool = True) -> nn.Module:
        raise NotImplementedError("Calling train() is not supported yet.")

    def eval(self) -> nn.Module:
        raise NotImplementedError("Calling eval() is not supported yet.")


def test_a_graph_without_modes_is_loaded_as_it_is() -> None:
    for model in (Graph(), NormalizedModel(Graph(), [0.5], [0.5])):
        assert in_eval_mode(model) is model
    inside = nn.Sequential(Graph(), nn.Dropout())
    assert not in_eval_mode(inside)[1].training


def test_the_current_folder_is_searched_first_and_only_for_a_while() -> None:
    here = str(Path.cwd())
    assert sys.path[0] != here
    call_factory("shed:build", "--model")
    assert sys.path[0] != here and sys.path[-1] == here
    call_factory("shed:build", "--model")
    assert sys.path.count(here) == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("shed:broken", "failed with ValueError: two lines"),
        ("shed:leaves", "failed with SystemExit: 0"),
        ("shed:number", "returned int, expected a torch.nn.Module"),
        ("shed:net", "is a Sequential, expected a function without arguments"),
        ("shed:constant", "is a int, expected a function"),
        (
            "shed:biuld",
            "shed has no 'biuld'; its callables: build, certifier, three_channels",
        ),
        ("no_such_module:f", "no module 'no_such_module', neither installed nor in"),
        ("shed.inner:f", "failed with ModuleNotFoundError|no module 'shed.inner'"),
    ],
)
def test_a_wrong_factory_is_named(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_model(spec)


@pytest.mark.parametrize("spec", ["shed", "shed:", ":build", ""])
def test_a_wrong_spec_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="neither package.module:factory nor a file"):
        load_model(spec)


def test_a_module_that_misses_another_says_which(workshop: Path) -> None:
    (workshop / "needy.py").write_text("import no_such_dependency")
    with pytest.raises(InputError, match="No module named 'no_such_dependency'"):
        load_model("needy:build")


def test_a_module_that_ends_the_process_is_an_error(workshop: Path) -> None:
    (workshop / "script.py").write_text("import sys\nsys.exit(0)")
    with pytest.raises(InputError, match="failed with SystemExit: 0"):
        load_model("script:build")


def test_weights_are_loaded(weights: Path) -> None:
    loaded = load_model(str(weights), "shed:build")
    model, name = loaded.model, loaded.name
    assert name == weights.name
    assert model(torch.zeros(1, 1, 8, 8)).tolist() == [[float(i) for i in range(10)]]
    assert not model.training


@pytest.mark.parametrize(
    "form", ["nested", "module.", "_orig_mod.", "module._orig_mod."]
)
def test_other_forms_of_a_state_dict(form: str, weights: Path) -> None:
    state: Any = torch.load(weights, weights_only=True)
    if form == "nested":
        torch.save({"state_dict": state, "epoch": 3}, weights)
    else:
        torch.save({form + key: value for key, value in state.items()}, weights)
    found = read_weights(weights).state
    assert fitted(found, state).keys() == fitted(found, {}).keys() == state.keys()


def test_nothing_pickled_is_run(workshop: Path) -> None:
    for name, content in (("trap", Trap()), ("trap in dict", {"state_dict": Trap()})):
        path = workshop / f"{name}.pt"
        torch.save(content, path)
        with pytest.raises(InputError, match="pickled objects, which could run code"):
            load_model(str(path), "shed:build")
    torch.save(nn.Linear(2, 2), workshop / "whole.pt")
    with pytest.raises(InputError, match="save the weights only"):
        load_model("whole.pt", "shed:build")
    assert not (workshop / "sprung").exists()


def test_weights_that_do_not_fit_are_named(workshop: Path) -> None:
    state = {f"layer{i}.weight": torch.zeros(1) for i in range(5)}
    torch.save(state | {"1.bias": torch.zeros(3)}, workshop / "other.pt")
    with pytest.raises(InputError) as caught:
        load_model("other.pt", "shed:build")
    assert str(caught.value) == (
        "other.pt does not fit --arch shed:build; keys 1 missing: 1.weight; "
        "5 unexpected: layer0.weight, layer1.weight, layer2.weight, and 2 more; "
        "1 of another shape: "
        "1.bias (3,) in the file, (10,) in the model"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds a list, expected a state_dict"),
        ({"model": {"w": 1}}, "with the keys model, expected a state_dict"),
        (torch.zeros(2), "holds a Tensor"),
        ({1: torch.zeros(1)}, "holds a dict with the keys 1"),
    ],
)
def test_a_file_without_a_state_dict_is_refused(
    content: Any, said: str, workshop: Path
) -> None:
    torch.save(content, workshop / "odd.pt")
    with pytest.raises(InputError, match=said):
        load_model("odd.pt", "shed:build")


def test_a_missing_file_without_arch_is_said_to_be_missing() -> None:
    with pytest.raises(InputError, match="nowhere.pt is not a file"):
        load_model("nowhere.pt")


def test_files_that_are_no_weights_are_refused(weights: Path) -> None:
    whole = weights.read_bytes()
    for name, content in (
        ("cut.pt", whole[:300]),
        ("empty.pt", b""),
        ("text.pt", b"x"),
        ("junk.pt", b"junk"),
    ):
        Path(name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is not a file of torch.save"):
            load_model(name, "shed:build")
    with pytest.raises(InputError, match="nowhere.pt is not a file"):
        load_model("nowhere.pt", "shed:build")


def test_arch_and_file_belong_together(weights: Path) -> None:
    with pytest.raises(ConfigError, match="holds weights only; say which model"):
        load_model(str(weights))
    with pytest.raises(ConfigError, match="--arch shed:build belongs to a file"):
        load_model("shed:build", "shed:build")
