"""What is wrong with a plan? One sentence a mistake, with the line of the file it stands in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

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
            said = problem["msg"].removeprefix("Value error, ")
            got = repr(problem.get("input"))[:60]
            if steps and not said.startswith(where):
                said = f"{where}={got}: {said}"
        line = None if places is None else places.line(steps)
        parts.append(said if line is None else f"line {line}: {said}")
    return "; ".join(parts)


_REMEDIES = {"eps": "; give the radius, say 8/255, or a threat_model"}
