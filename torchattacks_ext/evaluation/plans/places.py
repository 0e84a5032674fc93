"""In which line of a plan file does each key stand? A file as a dict that remembers it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError, MissingExtra

Steps = tuple[str | int, ...]
"""From the top to a key: ("stages", 1, "steps")."""


@dataclass(frozen=True)
class Places:
    """The lines of a file, counted from 1, by the steps to each key.

    >>> Places("plan.yaml", {("stages", 1): 4}).line(("stages", 1, "steps"))
    4
    """

    file: str
    lines: Mapping[Steps, int]

    def line(self, steps: Sequence[str | int]) -> int | None:
        """Where the key stands, or the nearest thing that holds it; None for the whole file."""
        for end in range(len(steps), 0, -1):
            found = self.lines.get(tuple(steps[:end]))
            if found is not None:
                return found
        return None

    def of_stage(self, number: int, said: str) -> int | None:
        """The line that a complaint about stage `number` means: that of the argument it names.

        said: the complaint, which names an argument as 'key' or key=.
        """
        stage: Steps = ("stages", number)
        if stage not in self.lines and ("budget",) in self.lines:
            stage = ("budget",)  # it stands behind the stages
        keys = [steps for steps in self.lines if steps[:-1] == stage]
        for steps in keys:
            key = str(steps[-1])
            if key != "name" and (f"'{key}'" in said or f"{key}=" in said):
                return self.lines[steps]
        return self.line(stage)


class PlanFile(dict[str, Any]):
    """The keys of a plan file as they stand there, and where: `places`."""

    def __init__(self, found: Mapping[str, Any], places: Places) -> None:
        super().__init__(found)
        self.places = places


def read_plan(path: str | Path) -> PlanFile:
    """A plan file (.json, .yaml, .yml). Nothing in it is executed.

    Raises InputError for a file that is none, that cannot be read, or that has a key twice (with
    the line of each); MissingExtra where PyYAML is not installed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"plan file {path} cannot be read: {error}") from error
    is_json = path.suffix.lower() == ".json"
    if is_json:
        try:
            found = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"plan file {path} is not JSON: {error}") from error
    try:
        whole, lines = _yaml(text, path)
    except InputError:
        if not is_json:
            raise
        whole, lines = found, {}
    if not isinstance(whole, dict):
        held = "nothing" if whole is None else f"a {type(whole).__name__}"
        raise InputError(
            f"plan file {path} holds {held}, expected keys like eps and stages"
        )
    return PlanFile(found if is_json else whole, Places(str(path), lines))


def _yaml(text: str, path: Path) -> tuple[Any, dict[Steps, int]]:
    """What the text says, and the line of each key."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(
            f"plan file {path} needs PyYAML; pip install pyyaml, or write it as JSON"
        ) from error
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            lines: dict[Steps, int] = {}
            for steps, line in _walk(node, (), ()):
                if steps in lines:
                    raise InputError(
                        f"plan file {path}: {steps[-1]!r} stands in line {lines[steps]} and again "
                        f"in line {line}; leave one"
                    )
                lines[steps] = line
            return loader.construct_document(node), lines
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"plan file {path} is not YAML: {error}") from error


def _walk(
    node: Any, steps: Steps, inside: tuple[int, ...]
) -> Iterator[tuple[Steps, int]]:
    """Every key below a node with its line; what holds itself is not followed."""
    if id(node) in inside:
        return
    held = (*inside, id(node))
    if node.id == "mapping":
        for key, value in node.value:
            here = (*steps, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _walk(value, here, held)
    elif node.id == "sequence":
        for number, item in enumerate(node.value):
            here = (*steps, number)
            yield here, item.start_mark.line + 1
            yield from _walk(item, here, held)
