"""What do all commands share? Reading numbers, writing files, a clean stdout."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InputError

if TYPE_CHECKING:
    from ..results.evaluation import EvaluationReport


def number(text: str, option: str) -> float:
    """A finite number written as 0.03, 1e-2 or 8/255. Raises ConfigError naming the
    option.

    >>> number("8/255", "--eps") == 8 / 255, number("0.5", "--eps")
    (True, 0.5)
    """
    try:
        value = float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(
            f"{option} {text!r} is not a finite number; write 0.03 or 8/255"
        )
    return value


def words(text: str, option: str) -> list[str]:
    """The parts of a list with commas. Raises ConfigError for an empty part.

    >>> words("PGD, FGSM", "--attacks")
    ['PGD', 'FGSM']
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConfigError(f"{option} {text!r} has an empty part; write A,B,C")
    return parts


def numbers(text: str, option: str) -> list[float]:
    """The numbers of a list with commas, fractions too.

    >>> numbers("0.5,1/4", "--mean")
    [0.5, 0.25]
    """
    return [number(part, option) for part in words(text, option)]


def one_line(error: BaseException) -> str:
    """What an exception says, in one line; its class where it is not one of ours.

    >>> one_line(InputError("no\\nimages")), one_line(KeyError("x"))
    ('no images', "KeyError: 'x'")
    """
    from ..errors import TorchattacksExtError

    said = " ".join(str(error).split())
    if said and isinstance(error, TorchattacksExtError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def folder(path: Path) -> Path:
    """`path` as a folder that exists. Raises InputError where it cannot be one."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if path.is_file() else (error.strerror or str(error))
        raise InputError(
            f"--out {path} cannot be a folder ({reason}); give another path"
        ) from error
    return path


def check_folder(path: Path | None) -> None:
    """Refuse what cannot become a folder, before the work and without creating it."""
    if path is None:
        return
    for place in (path, *path.parents):
        if place.exists():
            if place.is_dir():
                return
            raise InputError(
                f"--out {path} cannot be a folder: {place} is a file; give another"
            )


def write_files(out: Path, texts: Mapping[str, str]) -> None:
    """Write each text into the folder, each in one step; InputError where it fails."""
    from ..results.base.codec import write_text

    folder(out)
    for name, text in texts.items():
        try:
            write_text(out / name, text)
        except OSError as error:
            raise InputError(
                f"{out / name} cannot be written: {error.strerror or error}"
            ) from error


class ReaderGone(Exception):
    """Whoever read stdout (`| head`) has closed it before all was written."""


def show(text: str) -> None:
    """Print on stdout at once. Raises ReaderGone where nobody reads it."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGone() from error


def show_json(value: Any) -> None:
    """Print as JSON on stdout."""
    show(as_json(value))


def as_json(value: Any) -> str:
    """Value as indented JSON; there are no numbers that JSON does not know."""
    return json.dumps(value, indent=1, allow_nan=False)


def note(text: str) -> None:
    """Tell a person who waits what is being done; says nothing to a log file."""
    if sys.stderr.isatty():
        sys.stderr.write(text + "\n")


def warn(text: str) -> None:
    """One line on stderr, beside what stdout has; a closed stderr costs nothing."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(" ".join(text.split()) + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def clean_stdout() -> Iterator[None]:
    """What models and libraries print goes to stderr, so that stdout is ours alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def table(rows: Sequence[Sequence[str]], gap: str = "  ") -> str:
    """Rows of cells in columns that line up; the last column is not padded.

    >>> print(table([("a", "bcd"), ("ee", "f")]))
    a   bcd
    ee  f
    """
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = (
        gap.join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def write_report(report: EvaluationReport, out: Path | None, as_json: bool) -> str:
    """Write the files and return what is to be printed."""
    from ..reports import render_html, render_json, render_markdown, render_text

    if out is not None:
        files = {
            "report.html": render_html(report),
            "report.md": render_markdown(report),
            "report.json": render_json(report),
        }
        write_files(out, files)
    return render_json(report) if as_json else render_text(report)


def ending(report: EvaluationReport) -> int:
    """The exit code; doubts that nobody may overlook are repeated on stderr.

    2: the model raised on images that the report therefore lacks, or an attack broke a certificate,
    so that one of the two is wrong. 1: a stage failed.
    """
    from ..results.base.facts import LOUD

    loud = [flag for flag in report.flags if flag.code in LOUD]
    for flag in loud:
        warn(f"{flag.code}: {flag.message}")
    if any(flag.code in ("model_raised", "broken_certificate") for flag in loud):
        return 2
    raised = any(flag.code == "attack_raised" for flag in loud)
    return 1 if report.failed or raised else 0
