"""Does a run say how far it is, and end with what is known when it is told to?"""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor, nn

from torchattacks_ext import MSA, AttackResult, PRTest, ReliabilityWarning, Status
from torchattacks_ext.attacks.base import measuring
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.testing.props import balanced_net, example_images

NET, IMAGES = balanced_net(), example_images(12)
LABELS = NET(IMAGES).argmax(1)
A = AttackSpec("apgd", loss="pm-t", steps=10)
LONG = AttackSpec("square", on="target", steps=100_000)
OWN: dict[str, Any] = {"version": "custom", "plan": [A, LONG], "engine": "own"}


class Calls(nn.Module):
    """The net, which does something in one of its calls."""

    def __init__(self, at: int, what: Any) -> None:
        super().__init__()
        self.n, self.at, self.what = 0, at, what

    def forward(self, images: Tensor) -> Any:
        self.n += 1
        if self.n == self.at:
            self.what()
        return NET(images)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    """A shell in the background starts with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        yield
    signal.signal(signal.SIGINT, before)


def ended(found: AttackResult, word: str) -> None:
    """Rows that fell stay fallen, the others were not finished, and it is said why."""
    fell = found.first_breaker >= 0
    assert fell.any() and not fell.all()
    assert (found.status[~fell] == int(Status.NOT_REACHED)).all()
    assert (found.status[fell] == int(Status.OK)).all()
    (flag,) = [flag for flag in found.flags if flag.code == "budget_spent"]
    assert word in flag.message and flag.count == int((~fell).sum())


def test_ctrl_c_ends_a_run_with_what_is_known() -> None:
    """In the middle of one line of 100,000 queries; later batches are not begun."""
    target = Calls(90, interrupt)
    attack = MSA(target, eps=0.008, batch_size=8, **OWN)
    found = attack.measure(IMAGES, LABELS)
    ended(found, "Ctrl-C")
    assert target.n < 120
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_is_raised() -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        MSA(Calls(60, twice), eps=0.01, **OWN).measure(IMAGES, LABELS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_ends_other_methods_too() -> None:
    """They ask the same budget."""
    found = PRTest(Calls(20, interrupt), eps=0.01, batch_size=4).measure(IMAGES, LABELS)
    (flag,) = [flag for flag in found.flags if flag.code == "budget_spent"]
    assert "Ctrl-C" in flag.message and flag.count


def test_a_handler_of_the_callers_own_is_left_alone() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    found = MSA(Calls(3, interrupt), eps=0.01, **OWN | {"plan": [A]}).measure(
        IMAGES, LABELS
    )
    assert heard == [signal.SIGINT] and not found.unknown.any()


def test_another_thread_measures_as_well() -> None:
    found: list[Any] = []
    attack = MSA(NET, eps=0.01, **OWN | {"plan": [A]})
    work = threading.Thread(target=lambda: found.append(attack.measure(IMAGES, LABELS)))
    work.start()
    work.join()
    assert len(found[0]) == 12


def test_seconds_end_a_line_in_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**9))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    target = Calls(0, interrupt)
    attack = MSA(target, eps=0.008, max_seconds=90, **OWN)
    ended(attack.measure(IMAGES, LABELS), "max_seconds")
    assert target.n < 150


def test_queries_end_a_run_with_what_is_known() -> None:
    attack = MSA(NET, eps=0.008, max_queries=400, **OWN)
    found = attack.measure(IMAGES, LABELS)
    ended(found, "max_queries")
    assert found.cost.forward <= 400


class Bar:
    """What tqdm is told."""

    disable, n, total = False, 0, 12

    def __init__(self) -> None:
        self.words: list[str] = []

    def update(self, n: int) -> None:
        self.n += n

    def set_postfix_str(self, words: str) -> None:
        self.words.append(words)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


@pytest.mark.parametrize("engine", ["own", "autoattack"])
def test_a_bar_says_rows_left_stage_and_time_to_go(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    shown = Bar()
    monkeypatch.setattr(measuring, "bar", lambda *_: shown)
    monkeypatch.setattr("torchattacks_ext.engines.judge.watch.OFTEN", 0.0)
    lines = [AttackSpec("apgd", steps=8), AttackSpec("square", on="target", steps=20)]
    mine: dict[str, Any] = {"version": "custom", "plan": lines, "engine": engine}
    attack = MSA(NET, eps=0.005, batch_size=6, **mine)
    attack.measure(IMAGES, LABELS, progress=True)
    assert shown.n == 12
    first, last = shown.words[0], shown.words[-1]
    assert first.startswith("target/apgd-ce-8: 6 rows left")
    assert last.startswith("target/square-20: ") and last.endswith("to go")
