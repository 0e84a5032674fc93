"""Does a command line go on where it was stopped, in parts, and with one exit code each?"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

LINE = "evaluate --model shed:build --data digits --n 40 --eps 0.05 --attacks FGSM --n-max 60"

STOPPED = """

import os, signal

class Stopping(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.calls = build(), 0

    def forward(self, images):
        self.calls += 1
        if self.calls == 30 and os.environ.get("STOP"):
            os.kill(os.getpid(), int(os.environ["STOP"]))
        return self.net(images)

def stopping():
    return Stopping()
"""


@pytest.fixture
def line(workshop: Path) -> list[str]:
    return [*LINE.split(), "--tolerance", "0.2", "--batch-size", "10"]


def digests(text: str) -> list[str]:
    return [stage["result"]["digest"] for stage in json.loads(text)["stages"]]


def test_shards_of_one_line_are_merged_into_its_report(
    run: Any, line: list[str], workshop: Path, tmp_path: Path
) -> None:
    whole, state = run(*line, "--json"), tmp_path / "state"
    plan = tmp_path / "plan.json"
    stages = [stage for stage in json.loads(whole.out)["plan"]["stages"]]
    plan.write_text(json.dumps({"eps": 0.05, "group_size": 9, "stages": stages}))
    own = ["evaluate", "--model", "shed:build", "--data", "digits", "--n", "40"]
    for i in (1, 2):
        part = [*own, "--plan", plan, "--shard", f"{i}/2", "--state", state]
        assert run(*part, "--out", tmp_path / "out", "--json").code == 0
    for source in ([state], [tmp_path / "out"]):
        joined = run("merge", *source, "-o", tmp_path / "whole", "--json")
        assert joined.code == 0
        assert digests(joined.out) == digests(whole.out)
    assert (tmp_path / "whole" / "report.html").is_file()
    lost = run("merge", state / "shard-2-of-2")
    assert lost.code == 2 and "missing: 1/2" in lost.err
    part = [*own, "--plan", plan, "--shard", "7/7", "--state", tmp_path / "seven"]
    none = run(*part, "--out", tmp_path / "none")
    assert none.code == 0 and "shard 7/7 has no row" in none.err
    assert (tmp_path / "none" / "shard-7-of-7" / "report.html").is_file()


@pytest.mark.usefixtures("interruptible")
def test_a_line_that_was_stopped_goes_on(
    run: Any, workshop: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    with open(workshop / "shed.py", "a", encoding="utf-8") as handle:
        handle.write(STOPPED)
    line = LINE.replace("shed:build", "shed:stopping").split()
    line += ["--batch-size", "10", "--tolerance", "0.2", "--json"]
    keep = ["--state", tmp_path / "state"]
    refused = run(*line, *keep, "--resume")
    assert refused.code == 2 and "is no state" in refused.err
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        monkeypatch.setenv("STOP", str(int(number)))
        stopped = run(*line, *keep)
        assert stopped.code == code and stopped.out == ""
        (said,) = [one for one in stopped.err.splitlines() if "stopped by" in one]
        assert number.name in said and "same state" in said
    monkeypatch.delenv("STOP")
    again = run(*line, *keep, "--resume")
    assert again.code == 0
    assert digests(again.out) == digests(run(*line).out)
    other = run(*line, *keep, "--seed", "3")
    assert other.code == 2 and "another plan: seed is 0 there, 3 now" in other.err


def test_a_limit_is_told_and_a_wrong_one_refused(
    run: Any, line: list[str], workshop: Path, tmp_path: Path
) -> None:
    part = run(*line, "--max-queries", "150", "--state", tmp_path / "state")
    assert part.code == 1 and "max_queries=150 ended the run" in part.err
    for wrong in (["--max-minutes", "0"], ["--shard", "3/2"], ["--resume"]):
        found = run(*line, *wrong)
        assert found.code == 2 and found.err.splitlines()[-1].startswith("error: ")
