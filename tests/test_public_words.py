"""Does a user find every public name, with an example that runs?"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import torchattacks_ext

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("name", torchattacks_ext.__all__)
def test_every_public_name_has_a_line_in_the_pages(name: str) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert re.search(rf"`[^`]*\b{re.escape(name)}\b[^`]*`", text), name


@pytest.mark.parametrize("name", torchattacks_ext.__all__)
def test_every_class_and_function_shows_an_example(name: str) -> None:
    """Exceptions are named in the errors that raise them; the doctests run with the suite."""
    found = getattr(torchattacks_ext, name)
    error = inspect.isclass(found) and issubclass(found, (Exception, Warning))
    if error or not (inspect.isclass(found) or inspect.isfunction(found)):
        return
    assert ">>> " in (inspect.getdoc(found) or ""), name
