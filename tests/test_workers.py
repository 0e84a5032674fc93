"""When does a run share its tests out among workers, and does a worker never start others?"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def started(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """f(*places, n=None): the workers that a run in the main process asks for."""
    plugins = request.config.pluginmanager.get_plugins()
    (ours,) = [
        plugin
        for plugin in plugins
        if getattr(plugin, "__file__", None) == str(HERE / "conftest.py")
    ]
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")

    def started(*places: Path, n: int | None = None) -> Any:
        option = SimpleNamespace(
            file_or_dir=[str(place) for place in places],
            numprocesses=n,
            maxprocesses=None,
            dist="no",
        )
        ours.pytest_cmdline_main(
            SimpleNamespace(
                option=option,
                getoption=lambda name, default=None: getattr(option, name),
            )
        )
        return option.numprocesses

    return started


def test_whole_folders_are_shared_out(started: Any) -> None:
    assert started() == started(HERE) == started(HERE / "cli", HERE / "data") == "auto"


def test_files_and_single_tests_are_not(started: Any) -> None:
    assert started(Path(__file__)) is None
    assert started(HERE, Path(f"{__file__}::test_whole_folders_are_shared_out")) is None


@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_callers_number_is_kept(started: Any, n: int) -> None:
    assert started(n=n) == n


def test_a_worker_starts_no_workers(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one did, and its workers too, until the memory was full."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert started() is None
