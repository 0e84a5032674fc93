"""Does the code stand where the house says? Rooms, floors, circles, and what is one's own."""

from __future__ import annotations

import ast
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "torchattacks_ext"
FILES = sorted(PACKAGE.rglob("*.py"))

MOST_FILES, MOST_LINES, MEDIAN_LINES, MOST_TEST_LINES = 15, 300, 150, 450

FOREIGN = {
    # (file, attribute): what belongs to another library and has no public name
    ("engines/fork.py", "torch.cuda._lazy_seed_tracker"): (
        "torch's seeds of devices that nobody has used yet"
    ),
    ("models/loans.py", "tensor._version"): "torch: how often a tensor was written",
    ("models/checks/traits.py", "tensor._version"): "likewise",
    ("models/adapters/shared_trunk.py", "tensor._version"): "likewise",
    ("models/adapters/shared_trunk.py", "module._parameters"): (
        "torch: a module's own, not those of its children"
    ),
    ("models/adapters/shared_trunk.py", "module._buffers"): "likewise",
    ("models/adapters/shared_trunk.py", "module._modules"): "likewise",
    ("testing/contract.py", "probe._normalization_applied"): (
        "torchattacks' own flag; the contract says what becomes of it"
    ),
}
"""Underscores of other objects that the package reads, each with its reason."""


# ---------------------------------------------------------------------- what is one's own
def underscores(path: Path) -> Iterator[str]:
    """`name._x` in a file, where the name is not self or cls and `_x` is no dunder."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        text = ast.unparse(node)
        own = text.startswith(("self.", "cls.", "super().")) and text.count(".") == 1
        if not own and not node.attr.endswith("__"):
            yield text


def test_nobody_reads_anothers_underscores() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in FILES
        for text in underscores(path)
    }
    assert found - set(FOREIGN) == set()
    assert set(FOREIGN) - found == set(), "reasons for what is no longer there"


def test_a_planted_underscore_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def f(probe):\n    probe._x |= 1\n    return self.a._b\n")
    assert list(underscores(planted)) == ["probe._x", "self.a._b"]


# ---------------------------------------------------------------------- rooms
def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_short() -> None:
    lengths = {path: lines_of(path) for path in FILES}
    assert {p: n for p, n in lengths.items() if n > MOST_LINES} == {}
    whole = [n for p, n in lengths.items() if p.name != "__init__.py"]
    assert statistics.median(whole) <= MEDIAN_LINES
    tests = {path: lines_of(path) for path in (ROOT / "tests").rglob("*.py")}
    assert {p: n for p, n in tests.items() if n > MOST_TEST_LINES} == {}


def test_a_room_holds_few_files_and_no_family_by_prefix() -> None:
    for top in (PACKAGE, ROOT / "tests"):
        folders = {path.parent for path in top.rglob("*.py")}
        for folder in folders:
            names = sorted(path.stem for path in folder.glob("*.py"))
            assert len(names) <= MOST_FILES, folder
            if top == PACKAGE:
                heads = {n for n in names if any(o.startswith(n + "_") for o in names)}
                assert heads == set(), f"{folder}: a family by prefix wants a folder"


def test_tests_stand_where_the_code_stands() -> None:
    # compat: other people's packages, which have no room of ours
    rooms = {p.parent.relative_to(PACKAGE) for p in FILES} | {Path("compat")}
    tests = {p.parent for p in (ROOT / "tests").rglob("test_*.py")}
    assert {t.relative_to(ROOT / "tests") for t in tests} <= rooms


# ---------------------------------------------------------------------- floors and circles
def modules_of(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module below a folder that holds the package."""
    found = {}
    for path in sorted((root / PACKAGE.name).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def containing(root: Path) -> list[tuple[str, str]]:
    """(module, package) for each import of a package, or of a name in it, from its inside."""
    modules, found = modules_of(root), []
    for name, path in modules.items():
        home = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            taken = []
            if isinstance(node, ast.Import):
                taken = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = home[: len(home) - node.level + 1] if node.level else []
                base = base + (node.module or "").split(".") * bool(node.module)
                whole = ".".join(base)
                inner = [f"{whole}.{alias.name}" for alias in node.names]
                taken = [one if one in modules else whole for one in inner]
            found += [
                (name, one)
                for one in taken
                if one in modules and name.startswith(one + ".")
            ]
    return found


def test_no_module_imports_a_package_that_contains_it() -> None:
    assert containing(ROOT) == []


def copy_of_the_house(folder: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=ignore)
    shutil.copy(ROOT / "setup.cfg", folder)
    return folder


def lint(folder: Path) -> tuple[int, str]:
    """Exit status and words of lint-imports, run on the copy in a folder."""
    command = "from importlinter.cli import lint_imports_command as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def plant(folder: Path, name: str, line: str) -> None:
    path = folder / PACKAGE.name / name
    text = path.read_text(encoding="utf-8")
    head = "from __future__ import annotations\n"
    assert head in text
    path.write_text(text.replace(head, f"{head}{line}\n", 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "line", "contract"),
    [
        ("attacks/prtest/rows.py", "from .walk import Walk", "No circles"),
        (
            "attacks/prtest/rows.py",
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from .prtest import PRTest",
            "No circles",
        ),
        ("numerics/incbeta.py", "from .rates import binomial", "No circles"),
        ("numerics/norms.py", "from ..models.meter import Meter", "down only"),
        ("attacks/prtest/rows.py", "import pyautoattack", "knows pyautoattack"),
    ],
    ids=["sibling", "type-checking", "folder", "upward", "door"],
)
def test_a_planted_import_breaks_a_contract(
    tmp_path: Path, name: str, line: str, contract: str
) -> None:
    folder = copy_of_the_house(tmp_path)
    plant(folder, name, line)
    status, words = lint(folder)
    broken = [row for row in words.splitlines() if row.endswith("BROKEN")]
    assert status == 1 and any(contract in row for row in broken), words


def test_a_circle_through_an_init_is_found(tmp_path: Path) -> None:
    folder = copy_of_the_house(tmp_path)
    assert containing(folder) == []
    plant(folder, "attacks/prtest/rows.py", "from . import PRTest")
    plant(folder, "attacks/msa/rows.py", "import torchattacks_ext.attacks")
    package = PACKAGE.name
    assert containing(folder) == [
        (f"{package}.attacks.msa.rows", f"{package}.attacks"),
        (f"{package}.attacks.prtest.rows", f"{package}.attacks.prtest"),
    ]


def test_the_copy_without_a_plant_breaks_nothing(tmp_path: Path) -> None:
    status, words = lint(copy_of_the_house(tmp_path))
    assert status == 0, words
