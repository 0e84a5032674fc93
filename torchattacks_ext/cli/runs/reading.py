"""How does the path of a report become a report? Read, checked, named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ..common import one_line

if TYPE_CHECKING:
    from ...results.evaluation import EvaluationReport

MOST_BYTES = 1 << 30


def read_report(path: Path) -> EvaluationReport:
    """The report of a file that `evaluate --out` wrote, or of the folder it wrote it into.

    Raises InputError for a file that is none.
    """
    from ...results.evaluation import EvaluationReport

    file = path / "report.json" if path.is_dir() else path
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"{file} has more than {MOST_BYTES >> 30} GB")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the report {str(file)!r} cannot be read: {one_line(error)}"
        ) from error
    try:
        return EvaluationReport.from_json(text)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
