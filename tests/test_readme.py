"""Does README.md work as written? Its examples run, its two commands are complete."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_block(code: str, names: dict[str, Any], line: int) -> None:
    """A block with prompts is a doctest, any other is a script; both share `names`."""
    where = f"README.md, line {line}"
    if ">>> " not in code:
        exec(compile("\n" * line + code, str(README), "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(code, names, where, str(README), line)
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_python_examples_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = list(FENCE.finditer(text))
    assert blocks, f"{page.name} shows no Python example"
    monkeypatch.syspath_prepend(str(ROOT))  # the examples write into tmp_path
    monkeypatch.chdir(tmp_path)
    module = ModuleType("a_page")  # a real one: classes of a page must be picklable
    monkeypatch.setitem(sys.modules, "a_page", module)
    names = vars(module)
    for block in blocks:
        run_block(block.group(1), names, text[: block.start(1)].count("\n"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("name", ["test", "demo"])
def test_command_is_complete_by_itself(name: str) -> None:
    """Read with the very function that CI runs it with."""
    run = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run"), "--block", name],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    commands = run.stdout
    assert "-m venv" in commands and "pip install" in commands
    assert ("pytest" if name == "test" else "torchattacks-ext demo") in commands


def test_a_wrong_example_is_found() -> None:
    names: dict[str, Any] = {}
    run_block(">>> x = 2\n>>> x\n2\n", names, 0)
    run_block("assert x == 2\n", names, 0)
    with pytest.raises(AssertionError, match="Expected"):
        run_block(">>> x\n3\n", names, 0)


def test_tables_say_what_the_committed_records_say() -> None:
    script = ROOT / "benchmarks" / "readme_tables.py"
    run = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
