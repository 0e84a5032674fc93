"""What does `import torchattacks_ext` cost beyond torch and torchattacks?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Each is slow to import or comes with an extra, so it is imported where it is used.
LAZY = {
    "autoattack",
    "filelock",
    "huggingface_hub",
    "jinja2",
    "joblib",
    "matplotlib",
    "pandas",
    "pyautoattack",
    "pydantic",
    "ray",
    "rich",
    "scipy.stats",
    "sklearn",
    "timm",
    "typer",
    "yaml",
}


def loaded_by(statement: str, after: str) -> set[str]:
    """Names that a statement adds to `sys.modules` of a fresh interpreter after another."""
    code = f"import json, sys; {after}; before = set(sys.modules); {statement}"
    code += "; print(json.dumps(sorted(set(sys.modules) - before)))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_import_loads_no_lazy_library() -> None:
    new = loaded_by("import torchattacks_ext", after="import torch, torchattacks")
    assert "torchattacks_ext" in new
    assert new & LAZY == set()


def test_import_prints_nothing_and_warns_of_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import torchattacks_ext"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
