"""What is wrong with a plan? One sentence a mistake, with the line of the file it stands in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from .places import Places


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean ...?', or nothing where no known word is near; case does not count.

    >>> did_you_mean("tolerence", ["tolerance", "n_max"])
    "; did you mean 'tolerance'?"
    """
    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=1)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""


def mistakes(
    error: ValidationError, known: Sequence[str], places: Places | None
) -> str:
    """Every mistake that pydantic found, joined; known: keys that a plan may have."""
    parts = []
    for problem in error.errors():
        steps = problem["loc"]
        where = ".".join(str(step) for step in steps) or "plan"
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(where, known)
            said = f"{where!r} is not a key of a plan{hint}; its keys are {', '.join(known)}"
        elif problem["type"] == "missing":
            said = f"{where!r} is missing" + _REMEDIES.get(where, "")
        else:
            said = plain_words(problem)
            if problem["type"] != "value_error":
                a_stage = len(steps) == 2 and steps[0] == "stages"
                said = _SAY.get("stages.0" if a_stage else where, said)
            got = repr(problem.get("input"))[:60]
            if steps and not said.startswith(where):
                said = f"{where}={got}: {said}"
        line = None if places is None else places.line(steps)
        parts.append(said if line is None else f"line {line}: {said}")
    return "; ".join(parts)


def plain_words(problem: Mapping[str, Any]) -> str:
    """What is expected, of one mistake as pydantic lists them.

    >>> plain_words({"type": "greater_than_equal", "ctx": {"ge": 1}, "msg": ""})
    'must be a number >= 1'
    """
    kind, limits = str(problem["type"]), problem.get("ctx") or {}
    for word, sign in _LIMITS.items():
        if word in limits and kind in _ORDERS:
            return f"must be a number {sign} {limits[word]}"
    for start, said in _KINDS.items():
        if kind.startswith(start):
            return said
    if kind == "literal_error":
        return f"must be {limits['expected']}"
    return str(problem["msg"]).removeprefix("Value error, ")


_ORDERS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_KINDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "bool": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "tuple": "must be a list",
    "list": "must be a list",
    "dict": "must be a mapping of keys to values",
    "model": "must be a mapping of keys to values",
}
_SAY = {
    "seed": "must be a whole number in 0 .. 2^63 - 1; leave it out for 0",
    "batch_size": "must be a whole number >= 1, the rows of one pass; leave it out for 256",
    "group_size": "must be a whole number >= 1, the rows an attack of torchattacks gets at once; "
    "leave it out for 100",
    "stages.0": "must be a name, say PGD, or keys with one: {name: PGD, steps: 20}",
    "bounds": "must be a list (low, high), say [0, 1], or null where the data have no range",
}
_REMEDIES = {"eps": "; give the radius, say 8/255, or a threat_model"}
