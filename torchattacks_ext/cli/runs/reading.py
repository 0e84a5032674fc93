"""How does the path of a report become a report? Read, checked, named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ...evaluation.state.journal import REPORT, ROWS
from ..common import one_line

if TYPE_CHECKING:
    from ...results.evaluation import EvaluationReport

MOST_BYTES = 1 << 30


def read_report(path: Path) -> EvaluationReport:
    """The report of a file that `evaluate --out` wrote, of its folder, or of a finished state.

    Raises InputError for a file that is none, for a state whose run is not finished, and for the
    folder of several shards.
    """
    from ...results.evaluation import EvaluationReport

    file = path / REPORT if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise InputError(_missing(path))
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"{file} has more than {MOST_BYTES >> 30} GB")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the report {str(file)!r} cannot be read: {one_line(error)}"
        ) from error
    if not text.lstrip().startswith("{"):  # which from_json would take for a path
        raise InputError(f"{file} is no report: it does not start with {{")
    try:
        return EvaluationReport.from_json(text)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _missing(folder: Path) -> str:
    """Why a folder has no report, and what to do."""
    said = f"{str(folder)!r} holds no {REPORT}"
    if (folder / ROWS).is_file():
        return f"{said}: its run is not finished; run it again with the same --state"
    if any(folder.glob("shard-*-of-*")):
        return f"{said}, but shards; join them first: torchattacks-ext merge {folder} -o OUT"
    return f"{said}; give the file, or the folder that `evaluate --out` wrote"
