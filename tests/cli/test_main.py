"""Does every way to end have its own exit code, and does an error say one line?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import torchattacks_ext.cli.demo as demo
import torchattacks_ext.cli.doctor as doctor
import torchattacks_ext.cli.evaluate as evaluate
import torchattacks_ext.cli.methods as methods
import torchattacks_ext.cli.plans.command as plans
from torchattacks_ext.cli import main as entry
from torchattacks_ext.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("demo", "evaluate", "methods", "doctor", "plan")
Run = Callable[..., Any]

# command -> what it calls once its arguments are read, and a line that gets there
INNER = {
    "demo": (demo, "demo_reports", ["demo"]),
    "evaluate": (
        evaluate,
        "run_task",
        ["evaluate", "--model", "shed:build", "--data", "digits", "--eps", "0.1"],
    ),
    "methods": (methods, "probe_facts", ["methods"]),
    "doctor": (doctor, "inspect_environment", ["doctor"]),
    "plan": (plans, "plan_facts", ["plan", "check", "plan.yaml"]),
}


def plant(
    monkeypatch: pytest.MonkeyPatch, command: str, error: BaseException
) -> list[str]:
    """Let the command fail in its middle; its command line."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    module, name, argv = INNER[command]
    monkeypatch.setattr(module, name, fail)
    return argv


def error_lines(err: str) -> list[str]:
    """Lines on stderr but for what the model of these tests prints."""
    return [x for x in err.splitlines() if x != "a factory that prints"]


@pytest.mark.usefixtures("workshop")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("planted\nin two lines"), "RuntimeError: planted in two lines"),
        (InputError("planted"), "planted"),
        (KeyError("key"), "KeyError: 'key'"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (MemoryError(), "MemoryError"),
        (SystemExit(0), "something called sys.exit(0)"),
        (RecursionError("deep"), "RecursionError: deep"),
        (BrokenPipeError(32, "of a worker"), "BrokenPipeError: [Errno 32] of a worker"),
    ],
)
def test_an_exception_ends_with_2_and_one_line(
    command: str,
    error: BaseException,
    said: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = run(*plant(monkeypatch, command, error))
    assert (done.code, error_lines(done.err)) == (2, [f"error: {said}"])
    assert done.out == ""


@pytest.mark.usefixtures("workshop")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_ends_with_130(
    command: str, error: BaseException, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(*plant(monkeypatch, command, error))
    assert (done.code, error_lines(done.err)) == (130, ["interrupted"])


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_debug_shows_the_traceback(
    place: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = plant(monkeypatch, "methods", RuntimeError("planted"))
    if place == "environment":
        monkeypatch.setenv(entry.DEBUG_VARIABLE, "1")
    else:
        argv = ["--debug", *argv] if place == "before" else [*argv, "--debug"]
    done = run(*argv)
    assert done.code == 2
    assert "Traceback" in done.err and "in fail" in done.err
    assert done.err.splitlines()[-1] == "error: RuntimeError: planted"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "Missing command; see `torchattacks-ext --help`"),
        (["dmeo"], "No such command 'dmeo'"),
        (["evaluate", "--data", "digits"], "Missing option '--model'"),
        (["demo", "--n", "many"], "valid integer"),
        (["doctor", "--jsno"], "see `torchattacks-ext doctor --help`"),
        (["methods", "extra"], "unexpected extra argument"),
    ],
)
def test_a_mistake_on_the_line_ends_with_2_and_one_line(
    argv: list[str], said: str, run: Run
) -> None:
    done = run(*argv)
    assert done.code == 2 and done.out == ""
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("error: ") and said in done.err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_the_same_at_any_width_and_has_no_colour(
    command: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = set()
    for columns in ("30", "80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
        done = run(*filter(None, [command, "--help"]))
        assert (done.code, done.err) == (0, "")
        texts.add(done.out)
    (text,) = texts
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "Usage: torchattacks-ext" in text and "--help" in text


def test_no_output_has_colour(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for argv in (["methods"], ["doctor"], ["nothing"]):
        done = run(*argv)
        assert "\x1b" not in done.out + done.err


def test_version(run: Run) -> None:
    from torchattacks_ext._version import __version__

    done = run("--version")
    assert (done.code, done.out) == (0, f"torchattacks_ext {__version__}\n")


def test_the_warning_filters_are_given_back(run: Run) -> None:
    import warnings

    before = list(warnings.filters)
    run("methods", "--bibtex")
    assert warnings.filters == before


def start(argv: list[str], folder: Path, **streams: Any) -> subprocess.Popen[str]:
    """The program itself, as `python -m torchattacks_ext`, in another folder."""
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join(filter(None, [str(ROOT), known]))
    return subprocess.Popen(
        [sys.executable, "-m", "torchattacks_ext", *argv],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        **streams,
    )


SLOW_MODEL = """
import pathlib, time
from torch import nn

class Slow(nn.Module):
    def forward(self, images):
        pathlib.Path("started").touch()
        time.sleep(60)

def build():
    return Slow()
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent there")
def test_a_real_ctrl_c_ends_with_130_and_one_word(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_MODEL, encoding="utf-8")
    argv = "evaluate --model slow:build --data digits --eps 0.1 --n 2 --json".split()
    # a shell starts background jobs with SIGINT ignored, and children inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        program = start(argv, tmp_path, stdout=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    with program:
        deadline = time.monotonic() + 120
        while not (tmp_path / "started").exists():
            assert program.poll() is None, program.stderr and program.stderr.read()
            assert time.monotonic() < deadline, "the model was never asked"
            time.sleep(0.05)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (130, "", "interrupted\n")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise there")
def test_a_reader_that_goes_away_is_no_pass_and_no_noise(tmp_path: Path) -> None:
    """As in `torchattacks-ext methods | true`."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with start(["methods"], tmp_path, stdout=writer) as program:
            _, err = program.communicate(timeout=120)
    finally:
        os.close(writer)
    assert (program.returncode, err) == (2, "")
