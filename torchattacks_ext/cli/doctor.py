"""Is this Python environment sound, and if not, which command repairs it?"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from .common import show, show_json, table
from .environment import CORE, EXTRAS, OTHERS, Environment, inspect_environment

FLOORS = {"torch": "2.4", "torchattacks": "3.5.1", "numpy": "1.24", "scipy": "1.11"}


@dataclass(frozen=True)
class Conflict:
    """Something known not to work here. problem: what. fix: the way out."""

    code: str
    problem: str
    fix: str


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Show versions and known conflicts. Exit 1 if there is one."""
    seen = inspect_environment()
    found = conflicts(seen)
    if json_:
        show_json(asdict(seen) | {"conflicts": [asdict(item) for item in found]})
    else:
        show(_text(seen, found))
    return 1 if found else 0


def conflicts(seen: Environment) -> list[Conflict]:
    """The known conflicts of an environment, each with its fix.

    >>> conflicts(Environment({"requests": "2.32.0"}, requests_pin="2.25.1"))[-1].code
    'requests-pin'
    """
    rules: tuple[Callable[[Environment], list[Conflict]], ...] = (
        *(
            _missing,
            _too_old,
            _numpy,
            _torchvision,
            _imports,
            _autoattack,
            _robustbench,
        ),
        _requests,
    )
    return [conflict for rule in rules for conflict in rule(seen)]


def _missing(seen: Environment) -> list[Conflict]:
    names = [n for n in CORE if n in seen.versions and seen.versions[n] is None]
    if seen.versions.get("autoattack"):  # the same code, installed from its repository
        names = [n for n in names if n != "pyautoattack"]
    return [
        Conflict("missing", f"{name} is not installed", f"pip install {name.lower()}")
        for name in names
    ]


def _too_old(seen: Environment) -> list[Conflict]:
    found = []
    for name, floor in FLOORS.items():
        have = seen.versions.get(name)
        if have is not None and _parts(have) < _parts(floor):
            found.append(
                Conflict(
                    "too-old",
                    f"{name} {have} is older than {floor}",
                    f"pip install '{name}>={floor}'",
                )
            )
    return found


def _numpy(seen: Environment) -> list[Conflict]:
    if seen.bridge is None:
        return []
    have = f"torch {seen.versions.get('torch')} and numpy {seen.versions.get('numpy')}"
    return [
        Conflict(
            "numpy-torch",
            f"{have} cannot exchange arrays ({seen.bridge}): torch was built for "
            "another major version of numpy",
            "pip install 'torch>=2.4' (or, to keep this torch, 'numpy<2')",
        )
    ]


def _torchvision(seen: Environment) -> list[Conflict]:
    if "torchvision" not in seen.failures:
        return []
    torch, vision = (seen.versions.get(n) or "?" for n in ("torch", "torchvision"))
    builds = [(v.partition("+")[2] or "default") for v in (torch, vision)]
    channel = builds[0] if builds[0] != "default" else ""
    index = (
        f" --index-url https://download.pytorch.org/whl/{channel}" if channel else ""
    )
    why = (
        f"; torch is a {builds[0]} build, torchvision a {builds[1]} one"
        if builds[0] != builds[1]
        else ""
    )
    return [
        Conflict(
            "torchvision",
            f"torchvision {vision} cannot be imported beside torch {torch} "
            f"({seen.failures['torchvision']}){why}",
            f"pip install --force-reinstall --no-deps torchvision{index} "
            "(both from the same index)",
        )
    ]


def _imports(seen: Environment) -> list[Conflict]:
    return [
        Conflict(
            "import",
            f"{name} {seen.versions.get(name)} cannot be imported "
            f"({seen.failures[name]})",
            f"pip install --force-reinstall {name}",
        )
        for name in ("torch", "numpy", "torchattacks")
        if name in seen.failures
    ]


def _autoattack(seen: Environment) -> list[Conflict]:
    both = [seen.versions.get(name) for name in ("pyautoattack", "autoattack")]
    if not all(both):
        return []
    return [
        Conflict(
            "autoattack-twice",
            f"AutoAttack is installed twice: pyautoattack {both[0]} (package index) "
            f"and autoattack {both[1]} (repository); numbers could come from either",
            "pip uninstall autoattack",
        )
    ]


def _robustbench(seen: Environment) -> list[Conflict]:
    if "robustbench" not in seen.failures:
        return []
    return [
        Conflict(
            "robustbench",
            f"robustbench {seen.versions.get('robustbench')} cannot be imported "
            f"({seen.failures['robustbench']}), as is known of 1.1.1",
            "pip uninstall robustbench (torchattacks_ext does not use it), or give it "
            "an environment of its own",
        )
    ]


def _requests(seen: Environment) -> list[Conflict]:
    pin, have = seen.requests_pin, seen.versions.get("requests")
    if pin is None or have is None:
        return []
    low, got = _parts(pin), _parts(have)
    if got >= low and got[:2] == low[:2]:
        return []
    return [
        Conflict(
            "requests-pin",
            f"requests {have} is installed, torchattacks asks for ~={pin}: pip reports "
            "a conflict, although torchattacks never imports requests",
            f"pip install 'requests~={pin}'; to keep {have}, use uv with "
            f'override-dependencies = ["requests>={have}"]',
        )
    ]


def _parts(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.13.0+cpu" -> (2, 13, 0)."""
    return tuple(
        int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]
    )


def _text(seen: Environment, found: list[Conflict]) -> str:
    extras = {name: extra for extra, names in EXTRAS.items() for name in names}
    rows = []
    for name, have in seen.versions.items():
        if have is None and name in OTHERS:
            continue
        hint = (
            f"pip install 'torchattacks_ext[{extras[name]}]'" if name in extras else ""
        )
        rows.append((name, have or "not installed", "" if have else hint))
    devices = ", ".join(f"{key}: {value}" for key, value in seen.devices.items())
    lines = [
        table(rows),
        "",
        f"platform: {platform.platform()}",
        f"python: {sys.executable}",
    ]
    lines += [f"devices: {devices or 'unknown, torch cannot be imported'}", ""]
    for item in found:
        lines += [f"conflict [{item.code}]: {item.problem}", f"  fix: {item.fix}"]
    lines.append(f"{len(found)} conflicts" if found else "no known conflict")
    return "\n".join(lines)
