"""What does `torchattacks-ext` run, and with which exit code does it end?

0 pass; 1 finding (a stage failed, a conflict was found, images have changed); 2 any error, with
one line on stderr (beside the report where the model raised on some images only, or an attack
broke a certificate);
130 Ctrl-C, 143 SIGTERM while a run keeps a state.
Nothing that goes wrong ends with 0 or 1, so that a script may trust both.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from .audit import data_audit
from .claims import audit
from .common import ReaderGone, one_line
from .demo import demo
from .doctor import doctor
from .evaluate import evaluate
from .merge import merge
from .methods import methods
from .monitor.command import monitor
from .plans.command import plan
from .runs.bracket import bracket
from .runs.card import card
from .runs.compare import compare
from .runs.gate import gate
from .runs.report import report

PROGRAM = "torchattacks-ext"
PASS, FINDING, ERROR, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "TORCHATTACKS_EXT_DEBUG"

app = typer.Typer(
    name=PROGRAM,
    help="How robust is a classifier, and how sure is that?",
    epilog="Exit codes: 0 pass, 1 finding, 2 error, 130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # The same text at any width of the terminal.
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": 80},
)
_RUNS = (report, compare, gate, bracket, card)
for _command in (demo, evaluate, merge, *_RUNS, audit, data_audit, methods, doctor):
    app.command()(_command)
app.add_typer(plan)
app.add_typer(monitor)


def _version(wanted: bool) -> None:
    if wanted:
        from .._version import __version__

        typer.echo(f"torchattacks_ext {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """How robust is a classifier, and how sure is that?"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process when None) and return its exit code;
    never raises.

    A traceback is shown with --debug, anywhere on the line, or
    TORCHATTACKS_EXT_DEBUG=1.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    args = [arg for arg in args if arg != "--debug"]
    try:
        with _log(debug):
            return _invoke(args)
    except ReaderGone:  # it did not get all of it, so this is no pass; it knows why
        _drop_stdout()
        return ERROR
    except (KeyboardInterrupt, typer.Abort) as stop:
        code = getattr(stop, "exit_code", INTERRUPTED)  # of a run that keeps its rows
        return _say(str(stop) or "interrupted", code, debug)
    except typer.Exit as end:
        return int(end.exit_code)
    except SystemExit as end:  # a model or library that ends the process is no pass
        return _say(f"error: something called sys.exit({end.code!r})", ERROR, debug)
    except BaseException as error:
        return _say(f"error: {_words(error)}", ERROR, debug)


def _invoke(args: list[str]) -> int:
    """Parse and run; every exception comes through (typer's own main exits 1)."""
    from ..errors import ReliabilityWarning

    command = typer.main.get_command(app)
    with warnings.catch_warnings():
        # Each doubt is a flag in the report that is printed.
        warnings.simplefilter("ignore", ReliabilityWarning)
        with command.make_context(PROGRAM, args) as context:
            code = command.invoke(context)
    return code if isinstance(code, int) else PASS


@contextlib.contextmanager
def _log(debug: bool) -> Iterator[None]:
    """The log on stderr when debugging; with no handler Python would show warnings."""
    logger = logging.getLogger("torchattacks_ext")
    handler = logging.StreamHandler() if debug else logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _words(error: BaseException) -> str:
    """One line; a mistake on the command line names the help that explains it."""
    explain: Any = getattr(error, "format_message", None)  # click's and typer's errors
    if explain is None:
        return one_line(error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    return f"{' '.join(explain().split()).rstrip('.')}; see `{path} --help`"


def _say(line: str, code: int, debug: bool) -> int:
    """One line on stderr, after the traceback where it is wanted."""
    with contextlib.suppress(OSError, ValueError):  # stderr may be closed as well
        if debug:
            traceback.print_exc()
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    return code


def _drop_stdout() -> None:
    """Python flushes stdout once more at its end; that must not fail again."""
    with contextlib.suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


def run() -> None:
    """The console script: :func:`main`, then the end of the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not know every sign
            stream.reconfigure(errors="replace")
    sys.exit(main())
