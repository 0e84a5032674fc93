"""Is everything public documented, and are the documented defaults the real ones?"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Iterator
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

import torchattacks_ext

PACKAGE = torchattacks_ext.__name__
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(torchattacks_ext.__path__, PACKAGE + ".")
    if not info.name.endswith(".__main__")  # importing it would start the program
)


def public_members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Functions and classes that this very module defines for others."""
    for name, value in vars(module).items():
        ours = getattr(value, "__module__", None) == module.__name__
        if ours and not name.startswith("_"):
            if inspect.isclass(value) or inspect.isroutine(value):
                yield name, value


def has_own_text(cls: type) -> bool:
    """A written docstring; dataclass and NamedTuple put a signature in its place."""
    text = (vars(cls).get("__doc__") or "").strip()
    return bool(text) and not text.startswith(f"{cls.__name__}(")


def has_text(cls: type, name: str) -> bool:
    """A docstring on the method itself, or on what it overrides in this package."""
    return any(
        getattr(vars(base)[name], "__doc__", None)
        for base in cls.__mro__
        if base.__module__.startswith(PACKAGE) and name in vars(base)
    )


def public_methods(cls: type) -> Iterator[str]:
    """Methods and properties written in the class body."""
    kinds = (staticmethod, classmethod, property)
    for name, value in vars(cls).items():
        if not name.startswith("_"):
            if inspect.isfunction(value) or isinstance(value, kinds):
                yield name


def undocumented(module: ModuleType) -> Iterator[str]:
    """Public names without a docstring."""
    for name, value in public_members(module):
        if not inspect.isclass(value):
            if not value.__doc__:
                yield name
            continue
        if not has_own_text(value):
            yield name
        for method in public_methods(value):
            if not has_text(value, method):
                yield f"{name}.{method}"


def text_about(cls: type, name: str) -> str:
    """Docstring of the class; for a dataclass field also of the bases that have it."""
    fields = "__dataclass_fields__"
    owners = [base for base in cls.__mro__ if name in vars(base).get(fields, {})]
    return "\n".join(inspect.getdoc(owner) or "" for owner in owners or [cls])


def parameters(target: Any) -> dict[str, inspect.Parameter]:
    """Named arguments of a class or function; none where there is no signature."""
    if inspect.isclass(target) and issubclass(target, Enum):
        return {}
    try:
        found = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in found.items() if p.kind not in stars}


def documented_defaults(text: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs (argument, x) for each `name, name (...) ... (Default: x)` of a text."""
    one = "|".join(map(re.escape, names))
    entry = re.compile(rf"^[ \t]*((?:{one})(?:, (?:{one}))*)\s*[(:]", re.M)
    starts = [(m.start(), m.group(1).split(", ")) for m in entry.finditer(text)]
    ends = [start for start, _ in starts[1:]] + [len(text)]
    for (start, named), end in zip(starts, ends):
        paragraph = re.split(r"\n\s*\n", text[start:end])[0]
        for found in re.finditer(r"\(Default: ", paragraph):
            for name in named:
                yield name, upto_closing(paragraph[found.end() :])


def upto_closing(text: str) -> str:
    """The text before the parenthesis that closes one opened earlier."""
    depth = 1
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[:i].strip("` ")
    raise AssertionError(f"no closing parenthesis: {text!r}")


def value_of(text: str) -> Any:
    """A literal or a quotient of two, as torchattacks writes 8/255; else the text."""
    try:
        tree = ast.parse(text, mode="eval").body
        if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div):
            return ast.literal_eval(tree.left) / ast.literal_eval(tree.right)
        return ast.literal_eval(tree)
    except (SyntaxError, ValueError):
        return text


def same(told: str, real: Any) -> bool:
    """Does the documented text mean the real default? 1 is not True."""
    value = value_of(told)
    if isinstance(value, float) and isinstance(real, float):
        return math.isclose(value, real, rel_tol=1e-12)
    if isinstance(value, bool) or isinstance(real, bool):
        return value is real
    return bool(value == real) or told in (repr(real), str(real))


def wrong_defaults(target: Any) -> list[str]:
    """Every argument whose documented default differs from the signature."""
    found = parameters(target)
    if not found:
        return []
    return [
        f"{name}: documented {told}, really {found[name].default!r}"
        for name, told in documented_defaults(inspect.getdoc(target) or "", list(found))
        if not same(told, found[name].default)
    ]


def exported(kind: Any) -> list[Any]:
    """Top-level public objects of one kind."""
    values = [
        getattr(torchattacks_ext, name)
        for name in getattr(torchattacks_ext, "__all__", [])
    ]
    return [value for value in values if kind(value)]


@pytest.mark.parametrize("name", MODULES)
def test_module_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert list(undocumented(module)) == []
    if not hasattr(module, "__path__"):
        first = (module.__doc__ or "").strip().partition("\n")[0]
        assert "?" in first, f"line one of {name} is not a question: {first!r}"


@pytest.mark.parametrize("cls", exported(inspect.isclass), ids=lambda c: c.__name__)
def test_class_documents_every_argument(cls: type) -> None:
    missing = [
        name
        for name in parameters(cls)
        if not re.search(
            rf"\b{re.escape(name)}(?:, \w+)*\s*[(:]", text_about(cls, name)
        )
    ]
    assert missing == [], f"{cls.__name__}: undocumented arguments"


@pytest.mark.parametrize("target", exported(callable), ids=lambda t: t.__name__)
def test_documented_defaults_are_the_real_ones(target: Any) -> None:
    assert wrong_defaults(target) == []


class Sloppy:
    """A class whose text is wrong, so that the checks above have something to find.

    Arguments:
        eps (float): radius. (Default: 8/255)
        bounds (tuple): smallest and largest value,
            both included. (Default: (0, 1))
        steps, restarts (int): how many. (Default: 10)
        quiet (bool): say nothing. (Default: 1)

    Something else (Default: 3)
    """

    def __init__(
        self,
        eps: float = 8 / 255,
        bounds: tuple[int, int] = (0, 1),
        steps: int = 100,
        restarts: int = 10,
        quiet: bool = True,
        forgotten: int = 0,
    ) -> None:
        self.settings = (eps, bounds, steps, restarts, quiet, forgotten)

    def bare(self) -> None:
        """Documented."""

    bare.__doc__ = None


def test_the_checks_find_planted_mistakes() -> None:
    assert wrong_defaults(Sloppy) == [
        "steps: documented 10, really 100",
        "quiet: documented 1, really True",
    ]
    with pytest.raises(AssertionError, match="Sloppy: undocumented"):
        test_class_documents_every_argument(Sloppy)
    fake = ModuleType("fake")
    plain = type("Plain", (), {"__module__": "fake"})
    half = type("Half", (Sloppy,), {"__module__": "fake", "bare": Sloppy.bare})
    half.__doc__ = "Documented."
    vars(fake).update(Plain=plain, Half=half)
    assert list(undocumented(fake)) == ["Plain", "Half.bare"]
