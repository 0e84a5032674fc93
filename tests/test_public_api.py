"""Which names, versions and settings may a user rely on? Snapshots of each."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.metadata
import importlib.util
import inspect
from pathlib import Path

import pytest
import yaml

import torchattacks_ext

ROOT = Path(__file__).resolve().parents[1]
STUB = ROOT / "typings" / "torchattacks" / "attack.pyi"

# A name that leaves this list breaks users: deprecate it for one minor version first.
PUBLIC = [
    "Accuracy",
    "Affine",
    "AttackResult",
    "Audited",
    "BackendError",
    "BudgetedAccuracy",
    "Certificates",
    "Check",
    "Compose",
    "ConfigError",
    "Corruption",
    "DataAudit",
    "Diagnosis",
    "EightBit",
    "Ellips",
    "EllipsHead",
    "Estimate",
    "EvaluationReport",
    "FIMScore",
    "Flag",
    "Gaussian",
    "InputError",
    "L1Ball",
    "L2Ball",
    "LinfUniform",
    "LipschitzBound",
    "MSA",
    "MissingExtra",
    "ModelContractError",
    "NORMS",
    "Norm",
    "NormalizedModel",
    "OODScores",
    "PRTest",
    "Photometric",
    "ProbRobustness",
    "Probe",
    "ReliabilityWarning",
    "Result",
    "Sampler",
    "Sensitivity",
    "Shift",
    "SilBand",
    "StateError",
    "Status",
    "StatusError",
    "Stress",
    "TorchattacksExtError",
    "Verdict",
    "__version__",
    "budgeted_accuracy",
    "data_audit",
    "diagnose",
    "evaluate",
    "orthogonal_cnn",
    "orthogonal_mlp",
    "train_encoder",
]

DEFENSES = [
    "BatchReport",
    "HPMHead",
    "HPMModel",
    "HPMSettings",
    "batch_report",
    "finetune_hpm",
    "sensitivity_report",
]


def settings() -> configparser.ConfigParser:
    """setup.cfg as setuptools reads it."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def arguments(path: Path) -> dict[str, list[str]]:
    """Method of `Attack` in a source or stub file -> arguments, `=` with default."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (attack,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Attack"
    )
    found = {}
    for method in attack.body:
        if isinstance(method, ast.FunctionDef):
            spec = method.args
            plain = len(spec.args) - len(spec.defaults)
            found[method.name] = [
                arg.arg + "=" * (i >= plain) for i, arg in enumerate(spec.args)
            ]
    return found


def test_all_is_the_snapshot() -> None:
    assert sorted(getattr(torchattacks_ext, "__all__", [])) == PUBLIC
    assert PUBLIC == sorted(set(PUBLIC))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_exists(name: str) -> None:
    assert getattr(torchattacks_ext, name) is not None


def test_names_of_the_defenses() -> None:
    from torchattacks_ext import defenses

    names = {name for name, one in vars(defenses).items() if not inspect.ismodule(one)}
    assert sorted(name for name in names if not name.startswith("_")) == DEFENSES


def test_star_import_gives_exactly_all() -> None:
    names: dict[str, object] = {}
    exec("from torchattacks_ext import *", names)
    assert sorted(names.keys() - {"__builtins__"}) == PUBLIC


def test_version_is_said_once() -> None:
    from torchattacks_ext._version import __version__

    told = settings()["metadata"]["version"]
    assert told == "attr: torchattacks_ext._version.__version__"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{__version__}]" in changelog
    assert torchattacks_ext.__version__ == __version__


def test_installed_version_is_this_version() -> None:
    try:
        installed = importlib.metadata.version("torchattacks_ext")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("runs from a checkout: torchattacks_ext is not installed")
    assert installed == torchattacks_ext.__version__


def test_setup_cfg_lists_every_package() -> None:
    on_disk = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "torchattacks_ext").rglob("__init__.py")
    }
    listed = settings()["options"]["packages"].split()
    assert sorted(listed) == sorted(on_disk | {"torchattacks-stubs"})


def test_the_command_line_entry_point_exists() -> None:
    (line,) = settings()["options.entry_points"]["console_scripts"].strip().split("\n")
    module, _, function = line.partition(" = ")[2].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_package_is_typed() -> None:
    assert (ROOT / "torchattacks_ext" / "py.typed").is_file()
    assert (STUB.parent / "py.typed").read_text(encoding="utf-8") == "partial\n"


def test_the_stub_has_the_arguments_of_the_installed_attack() -> None:
    spec = importlib.util.find_spec("torchattacks.attack")
    assert spec is not None and spec.origin is not None
    real = arguments(Path(spec.origin))
    # object's own signatures, see the comment in the stub
    real = {k: v for k, v in real.items() if k not in {"__repr__", "__setattr__"}}
    assert arguments(STUB) == real
