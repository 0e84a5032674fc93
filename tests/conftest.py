"""What does every test share? The data folder, the guards and the count of skips."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
import torch
from filelock import FileLock

NO_DATA = "data test: "
MOST_WORKERS = 8  # each imports torch and collects every test: a ninth would not pay

# What several test files share beside fixtures: `any_model`. Last, so that it hides nothing.
gc.disable()  # until all is collected: nothing of that becomes garbage
sys.path.append(str(Path(__file__).resolve().parent))

# A fixed example sequence: a run that passes here passes elsewhere, and a slow
# neighbour on the same machine is not a failure.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def _why_no_data() -> str:
    """Why the data tests cannot run; empty when they can."""
    folder = os.environ.get("TAX_DATA", "")
    if not folder:
        return "TAX_DATA is not set"
    return "" if Path(folder).is_dir() else f"TAX_DATA={folder} is not a folder"


@pytest.fixture(scope="session")
def tax_data() -> Path:
    """The folder of real images and trained models; without it the test is skipped."""
    why = _why_no_data()
    if why:
        pytest.skip(NO_DATA + why)
    return Path(os.environ["TAX_DATA"])


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C reaches this process: a shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _benchmark(name: str) -> ModuleType:
    place = Path(__file__).resolve().parents[1] / "benchmarks"
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
    return importlib.import_module(name)


@pytest.fixture(scope="session")
def real(tax_data: Path) -> ModuleType:
    """`benchmarks/tax_data.py`: the real models and images of the data folder."""
    return _benchmark("tax_data")


@pytest.fixture(scope="session")
def verified(tax_data: Path) -> ModuleType:
    """`benchmarks/verified_rows.py`: PRTest on rows with a formal verdict."""
    return _benchmark("verified_rows")


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """`benchmarks/prtest_samples.py`: exact cost and errors of several tests (no data needed)."""
    return _benchmark("prtest_samples")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The demo's digits and its two nets: images, labels, standard, adversarial.

    They are trained by the first process that asks; the others read its weights.
    """
    from torchattacks_ext.data.digits import load_digits
    from torchattacks_ext.evaluation.demo import KINDS, demo_net, train_demo

    base = tmp_path_factory.getbasetemp()
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    place = (base if alone else base.parent) / "digits.pt"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            nets = {kind: train_demo(kind, *load_digits("train")) for kind in KINDS}
            torch.save({kind: net.state_dict() for kind, net in nets.items()}, place)
        weights = torch.load(place, weights_only=True)
    with torch.random.fork_rng([]):
        nets = {kind: demo_net() for kind in KINDS}
    for kind, net in nets.items():
        net.load_state_dict(weights[kind])
        net.eval()
    images, labels = load_digits("test")
    return {"images": images, "labels": labels, **nets}


@pytest.fixture(autouse=True)
def torch_state_is_given_back() -> Iterator[None]:
    """No test (so no code under test) may leave other defaults behind."""
    before = torch.get_default_dtype(), torch.is_grad_enabled()
    yield
    after = torch.get_default_dtype(), torch.is_grad_enabled()
    torch.set_default_dtype(before[0])
    torch.set_grad_enabled(before[1])
    assert after == before, f"(default dtype, grad mode) went from {before} to {after}"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Whole folders are shared out among the cores, as by `-n auto --dist worksteal`.

    A `-n` in setup.cfg would fail where xdist is not loaded (`-p no:xdist`). Files and single
    tests stay in this process, which is quicker than to start workers. `-n 0` says no to all.
    """
    folders = all(os.path.isdir(place) for place in config.getoption("file_or_dir"))
    # a worker that starts workers never ends
    nested = "PYTEST_XDIST_WORKER" in os.environ
    if folders and not nested and config.getoption("numprocesses", default=0) is None:
        config.option.numprocesses = "auto"  # 0 with --pdb
        config.option.maxprocesses = config.option.maxprocesses or MOST_WORKERS
        # neighbours stay together: they share fixtures
        config.option.dist = "worksteal"
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of numpy's, in each worker


def pytest_configure(config: pytest.Config) -> None:
    """One thread: the nets are small, more threads only wait for each other."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use `tax_data` are marked `data`; `gpu` tests need CUDA."""
    no_gpu = pytest.mark.skip(reason="gpu test: there is no CUDA device")
    for item in items:
        if "tax_data" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that nobody can overlook: how many data tests did not run, and why."""
    skipped = sum(
        isinstance(report.longrepr, tuple) and NO_DATA in report.longrepr[2]
        for report in terminalreporter.stats.get("skipped", [])
    )
    why = _why_no_data() or "TAX_DATA is set"
    terminalreporter.write_line(f"data tests skipped: {skipped} ({why})")


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: garbage is not looked for in it."""
    gc.collect()
    gc.freeze()
    gc.enable()
