"""Does a run that ended anywhere go on to the report of an undisturbed one?"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport, InputError, StateError, evaluate
from torchattacks_ext.evaluation.state import journal
from torchattacks_ext.evaluation.state.signals import Stopped

Finished = tuple[Path, EvaluationReport]


def lines_of(finished: Finished) -> list[bytes]:
    return (finished[0] / "rows.jsonl").read_bytes().splitlines(keepends=True)


def test_a_state_changes_nothing_in_the_report(
    finished: Finished, net: nn.Module, images: Tensor, labels: Tensor,
    plan: Any, bytes_of: Any,
) -> None:  # fmt: skip
    report = finished[1]
    assert not report.failed and len(report.gallery) > 0
    assert bytes_of(evaluate(net, (images, labels), plan)) == bytes_of(report)
    written = EvaluationReport.from_json(finished[0] / "report.json")
    assert bytes_of(written) == bytes_of(report)


def test_whatever_line_was_the_last_the_report_is_the_same(
    finished: Finished, waves: Any, images: Tensor, labels: Tensor,
    plan: Any, bytes_of: Any, part_of: Any,
) -> None:  # fmt: skip
    lines, whole = lines_of(finished), bytes_of(finished[1])
    for end in range(0, len(lines), 4):
        folder = part_of(b"".join(lines[:end]))
        report = evaluate(waves(), (images, labels), plan, state=folder)
        assert bytes_of(report) == whole, end
        assert report.provenance["state"]["pieces_before"] == max(end - 1, 0)
        again = (folder / "rows.jsonl").read_bytes().splitlines()
        assert len(again) == len(lines)


def test_a_whole_state_costs_no_pass_of_the_model(
    finished: Finished, waves: Any, images: Tensor, labels: Tensor, plan: Any,
    bytes_of: Any, part_of: Any,
) -> None:  # fmt: skip

    class Asleep(waves):
        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError("asked")

    Asleep.__name__ = Asleep.__qualname__ = "Waves"
    folder = part_of(b"".join(lines_of(finished)))
    report = evaluate(Asleep(), (images, labels), plan, state=folder)
    assert not report.failed
    for stage in finished[1].stages:
        assert report[stage.name].result.digest() == stage.result.digest()


@pytest.mark.parametrize("place", [1, 8])
def test_half_and_changed_lines_are_skipped_counted_and_measured_again(
    place: int, finished: Finished, net: nn.Module, images: Tensor, labels: Tensor,
    plan: Any, bytes_of: Any, part_of: Any, caplog: Any,
) -> None:  # fmt: skip
    lines = lines_of(finished)
    lines[place] = lines[place].replace(b"tally", b"talli", 1)
    lines[place + 3] = b"\x00\xff not JSON\n"
    folder = part_of(b"".join(lines)[:-40])
    report = evaluate(net, (images, labels), plan, state=folder)
    assert bytes_of(report) == bytes_of(finished[1])
    assert report.provenance["state"]["bad_lines"] == 3
    assert "3 lines" in caplog.text and "measured again" in caplog.text


def test_other_batches_go_on_as_well(
    finished: Finished, net: nn.Module, images: Tensor, labels: Tensor,
    plan: Any, part_of: Any,
) -> None:  # fmt: skip
    folder = part_of(b"".join(lines_of(finished)[:9]))
    report = evaluate(net, (images, labels), plan | {"batch_size": 7}, state=folder)
    for stage in finished[1].stages:
        assert report[stage.name].result.digest() == stage.result.digest(), stage.name


# ---------------------------------------------------------------- what is refused
def test_another_plan_model_or_data_is_refused_by_name_and_nothing_is_lost(
    finished: Finished, waves: Any, wave_net: nn.Module, images: Tensor, labels: Tensor,
    plan: Any, part_of: Any,
) -> None:  # fmt: skip
    before = b"".join(lines_of(finished)[:6])
    folder, other = part_of(before), waves()
    with torch.no_grad():
        other.weight[0, 0] += 1e-3
    moved = images.clone()
    moved[3, 0, 0, 0] = 1 - moved[3, 0, 0, 0].round()
    data, flipped = (images, labels), labels.flip(0)
    for words, model, given, asked in (
        ("another plan: eps is 0.03 there, 0.04 now", wave_net, data, {"eps": 0.04}),
        ("another plan: stages", wave_net, data, {"stages": ["FGSM"]}),
        ("another model: sha256", other, data, {}),
        (
            "another data: images is 30 there, 29",
            wave_net,
            (images[1:], labels[1:]),
            {},
        ),
        ("of other data: rows 0 to 9", wave_net, (moved, labels), {}),
        ("of other data: rows 0 to 9", wave_net, (images, flipped), {}),
    ):
        with pytest.raises(StateError, match=words):
            evaluate(model, given, plan | asked, state=folder)
        assert (folder / "rows.jsonl").read_bytes() == before


def test_a_model_without_weights_needs_a_name(
    tmp_path: Path, wave_net: nn.Module, images: Tensor, labels: Tensor
) -> None:
    def plain(x: Tensor) -> Tensor:
        return wave_net(x)

    data, plan = (images, labels), {"eps": 0.1, "stages": ["clean"]}
    with pytest.raises(ValueError, match="tag="):
        evaluate(plain, data, plan, state=tmp_path)
    evaluate(plain, data, plan, state=tmp_path, tag="v1")
    evaluate(plain, data, plan, state=tmp_path, tag="v1")
    with pytest.raises(StateError, match="another model: tag"):
        evaluate(plain, data, plan, state=tmp_path, tag="v2")


def test_a_second_run_on_one_state_is_refused(
    tmp_path: Path, waves: Any, images: Tensor, labels: Tensor
) -> None:
    inside, done = threading.Event(), threading.Event()

    class Waiting(waves):
        def forward(self, images: Tensor) -> Tensor:
            inside.set()
            assert done.wait(60)
            return super().forward(images)

    plan, found = {"eps": 0.1, "stages": ["clean"]}, []
    run = threading.Thread(
        target=lambda: found.append(
            evaluate(Waiting(), (images, labels), plan, state=tmp_path)
        )
    )
    run.start()
    assert inside.wait(60)
    try:
        with pytest.raises(StateError, match="another run is writing"):
            evaluate(Waiting(), (images, labels), plan, state=tmp_path)
    finally:
        done.set()
        run.join()
    assert found  # the first one ended well


def test_a_file_is_no_state(
    tmp_path: Path, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot be used"):
            evaluate(
                wave_net, (images, labels), {"eps": 0.1, "stages": []}, state=place
            )


# ---------------------------------------------------------------- ends
def test_a_full_disk_keeps_what_was_finished(
    monkeypatch: Any, finished: Finished, waves: Any, images: Tensor,
    labels: Tensor, plan: Any, bytes_of: Any, tmp_path: Path,
) -> None:  # fmt: skip
    written: list[int] = []

    def full(number: int) -> None:
        written.append(number)
        if len(written) == 6:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "fsync", full)
        patch.setattr(journal, "_SYNC_SECONDS", 0.0)
        with pytest.raises(StateError, match="No space left.*5 finished lines"):
            evaluate(waves(), (images, labels), plan, state=tmp_path)
    assert len((tmp_path / "rows.jsonl").read_bytes().splitlines()) == 5
    report = evaluate(waves(), (images, labels), plan, state=tmp_path)
    assert bytes_of(report) == bytes_of(finished[1])
    assert report.provenance["state"] == {
        "folder": str(tmp_path), "pieces_before": 4, "bad_lines": 0,
    }  # fmt: skip


def test_the_disk_is_waited_for_once_a_second_and_at_the_end_not_after_each_line(
    monkeypatch: Any, tmp_path: Path
) -> None:
    now, synced = [100.0], list[int]()
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    with journal.opened(tmp_path) as lines:
        rows = tmp_path / "rows.jsonl"
        monkeypatch.setattr(
            journal.os, "fsync", lambda _: synced.append(rows.stat().st_size)
        )
        for place in range(5):
            lines.append({"place": place})
            assert len(rows.read_bytes().splitlines()) == place + 1  # a kill keeps it
            now[0] += 0.4
        assert len(synced) == 2
    assert len(synced) == 3 and synced[-1] == rows.stat().st_size


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_with_one_sentence(
    number: signal.Signals, waves: Any, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    class Killing(waves):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 30:
                os.kill(os.getpid(), number)
            return super().forward(images)

    plan = {"eps": 0.03, "batch_size": 5, "stages": [{"name": "PGD", "steps": 5}]}
    plan["group_size"] = 5
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match=f"stopped by {number.name}") as stopped:
        evaluate(Killing(), (images, labels), plan, state=tmp_path)
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(signal.SIGTERM) == before
    kept = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    assert 2 < len(kept) < 13
    report = evaluate(
        waves_named(waves, "Killing"), (images, labels), plan, state=tmp_path
    )
    assert report.provenance["state"]["pieces_before"] == len(kept) - 1


def waves_named(waves: Any, name: str) -> nn.Module:
    return type(name, (waves,), {})()


@pytest.mark.slow
def test_a_disk_that_is_really_full_keeps_what_was_finished(
    waves: Any, images: Tensor, labels: Tensor, plan: Any, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(small)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no right to mount")
    except FileNotFoundError:
        pytest.skip("there is no mount")
    try:
        with pytest.raises(StateError, match="No space left"):
            evaluate(waves(), (images, labels), plan, state=small)
        whole = [line for line in (small / "rows.jsonl").read_bytes().splitlines(True)]
        assert whole and all(line.endswith(b"\n") for line in whole)
        other = tmp_path / "roomy"
        shutil.copytree(small, other)
        report = evaluate(waves(), (images, labels), plan, state=other)
        assert report.provenance["state"]["pieces_before"] == len(whole) - 1
        assert report.provenance["state"]["bad_lines"] == 0
    finally:
        subprocess.run(["umount", str(small)], check=False)


NURSERY = """
import os, sys, warnings
import torch
torch.set_num_threads(1)
warnings.simplefilter("ignore")
from torchattacks_ext import evaluate
from torchattacks_ext.data.digits import load_digits

images, labels = load_digits("test")
weights = torch.randn(10, 64, generator=torch.Generator().manual_seed(1))
stages = ["clean", "FGSM", {"name": "PGD", "steps": 10}, {"name": "prtest", "n_max": 400}, "fim"]
stages += [{"name": "stress", "corruptions": ["contrast"], "severities": [3]}]
plan = {"eps": 0.02, "batch_size": 20, "group_size": 25, "stages": stages}

def run(state):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    with torch.no_grad():
        net[1].weight.copy_(weights)
        net[1].bias.zero_()
        wanted = net(images).argmax(1)
    evaluate(net, (images[:200], wanted[:200]), plan, state=state).to_json(state + ".json")

for line in sys.stdin:  # each in a process of its own, which need not import anything
    child = os.fork()
    if not child:
        run(line.strip())
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_killed_at_ten_moments_the_report_is_the_same(
    tmp_path: Path, bytes_of: Any
) -> None:
    chance, killed = random.Random(3), tmp_path / "killed"
    rows = killed / "rows.jsonl"

    def length() -> int:
        return len(rows.read_bytes().splitlines()) if rows.is_file() else 0

    call = [sys.executable, "-c", NURSERY]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pipes["env"] = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(call, **pipes) as nursery:
        into, out = nursery.stdin, nursery.stdout
        assert into is not None and out is not None

        def start(state: Path) -> int:
            into.write(f"{state}\n")
            into.flush()
            return ended()  # the child's number comes first

        def ended() -> int:
            return int(out.readline())

        start(tmp_path / "whole")
        assert ended() == 0
        for _ in range(10):
            least, child = length() + chance.randint(0, 5), start(killed)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and length() < least:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            assert ended() == -signal.SIGKILL  # it was not through before
        assert 10 < length() < 57  # lines of a whole run
        start(killed)
        assert ended() == 0
    whole, other = (
        EvaluationReport.from_json(tmp_path / f"{name}.json")
        for name in ("whole", "killed")
    )
    assert other.provenance["state"]["pieces_before"] > 0
    assert bytes_of(whole) == bytes_of(other)
    for stage in whole.stages:
        same = stage.result.digest() == other[stage.name].result.digest()
        assert same, stage.name
