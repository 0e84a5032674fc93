"""A stream: one alarm for all looks, a state that survives its process, and what is refused."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchattacks_ext.errors import ConfigError, InputError, StateError
from torchattacks_ext.evaluation.monitor import fit_reference, kept, look_at_stream
from torchattacks_ext.numerics.drift.martingale import ConformalMartingale
from torchattacks_ext.results.monitor import Alert
from torchattacks_ext.testing.props import balanced_net


def test_looks_are_one_process_whatever_their_cut(scene: Any, tmp_path: Path) -> None:
    net, _, new, reference = scene
    for state, size in (("a", 10), ("b", 25)):
        for part in new[:100].split(size):
            found = look_at_stream(tmp_path / state, reference, net, part)
    one, other = (kept.read(tmp_path / name) for name in "ab")
    assert one is not None and other is not None
    assert one.last == pytest.approx(other.last)
    assert one.state is not None and other.state is not None
    assert one.state["seen"] == other.state["seen"]
    assert one.state["staked"] == pytest.approx(other.state["staked"])
    assert (one.looks, other.looks) == (10, 4)
    assert found.process is not None and found.process["n"] == 100
    scores = torch.tensor(one.last, dtype=torch.float64)
    alone = ConformalMartingale(reference.scores.numpy(), 0.01)
    alone.look(scores.numpy())
    assert found.process["log_capital"] == pytest.approx(alone.log_capital)
    assert (found.alarm, found.severity) == (False, "none")


@pytest.mark.parametrize("process", ["martingale", "bands"])
def test_an_alarm_stays(scene: Any, tmp_path: Path, process: Any) -> None:
    net, _, new, reference = scene
    state, level = tmp_path / "stream.json", 0.05
    assert not look_at_stream(
        state, reference, net, new[:40], process=process, significance=level
    ).alarm
    shifted = new / 6
    for part in (shifted[:100], shifted[100:], new[40:60]):
        found = look_at_stream(state, reference, net, part)
    assert found.alarm and found.process is not None
    assert 40 < found.process["alarm_at"] <= 240 and found.process["alarm_look"] in (
        2,
        3,
    )
    assert found.severity == "high" and found.runbook
    assert Alert.from_json(found.to_json()).to_dict() == found.to_dict()


def test_what_is_refused_counts_nothing(scene: Any, tmp_path: Path) -> None:
    net, known, new, reference = scene
    state = tmp_path / "stream.json"
    look_at_stream(state, reference, net, new[:30])
    before = state.read_bytes()
    other = fit_reference(net, known[:150])
    for error, words, args, how in [
        (
            StateError,
            "30 images were look 1 .*nothing was counted",
            new[:30].flip(0),
            {},
        ),
        (
            StateError,
            "significance=0.01, and 0.05 is",
            new[30:50],
            {"significance": 0.05},
        ),
        (StateError, "process='martingale'", new[30:50], {"process": "bands"}),
        (
            ConfigError,
            "process='cusum' is not one of",
            new[30:50],
            {"process": "cusum"},
        ),
        (InputError, "in the reference", known[:10], {}),
        (InputError, "0..255", new[30:50] * 255, {}),
    ]:
        with pytest.raises(error, match=words):
            look_at_stream(state, reference, net, args, **how)
    with pytest.raises(StateError, match="of another reference"):
        look_at_stream(state, other, net, new[30:50])
    with pytest.raises(StateError, match="of another model"):
        look_at_stream(state, reference, balanced_net(seed=2), new[30:50])
    assert state.read_bytes() == before


def test_a_damaged_state_is_refused(scene: Any, tmp_path: Path) -> None:
    net, _, new, reference = scene
    state = tmp_path / "stream.json"
    look_at_stream(state, reference, net, new[:30])
    raw = json.loads(state.read_text())
    for text, words in [
        (json.dumps({**raw, "looks": 0}), "not as it was written"),
        (json.dumps({**raw, "schema": "x/1"}), "expected 'monitor_stream/1'"),
        (state.read_text()[:-9], "no state of a stream"),
        ("[]", "no state of a stream"),
    ]:
        state.write_text(text)
        with pytest.raises(InputError, match=words):
            look_at_stream(state, reference, net, new[30:60])
        assert state.read_text() == text
    with pytest.raises(InputError, match="no state of a stream"):
        look_at_stream(tmp_path, reference, net, new[30:60])


def test_a_look_that_dies_was_no_look(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, _, new, reference = scene
    state = tmp_path / "stream.json"
    look_at_stream(state, reference, net, new[:30])
    before = state.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchattacks_ext.results.base.codec.os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        look_at_stream(state, reference, net, new[30:60])
    monkeypatch.undo()
    assert state.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir())[0] == "stream.json"
    assert not list(tmp_path.glob("*.part"))
    found = look_at_stream(state, reference, net, new[30:60])
    assert found.process is not None and found.process["looks"] == 2


def test_two_looks_at_once_are_one_after_the_other(scene: Any, tmp_path: Path) -> None:
    net, _, new, reference = scene
    state, failed = tmp_path / "stream.json", []

    def look(part: torch.Tensor) -> None:
        try:
            look_at_stream(state, reference, balanced_net(), part)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=look, args=(p,)) for p in new[:60].split(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = kept.read(state)
    assert failed == [] and found is not None and found.looks == 4
    assert found.state is not None and found.state["n"] == 60


def test_the_state_does_not_grow_with_looks(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "REMEMBERED", 40)
    rng, path, sizes = np.random.default_rng(0), tmp_path / "stream.json", []
    stream = kept.Kept(scene.reference.digest, "martingale", 0.01, 0)
    scores = scene.reference.scores.numpy()
    for look in range(80):
        running = stream.running(scene.reference)
        new = rng.choice(scores, 20)
        running.look(new)
        stream = stream.after(running, f"{look:064d}"[::-1], new.tolist())
        stream.write(path)
        sizes.append(path.stat().st_size)
    assert sizes[79] - sizes[39] < 1500  # of 800 further scores
    again = kept.read(path)
    assert again is not None and again.state == stream.state and again.looks == 80
    assert len(again.recent) == 40 and len(again.last) == kept.WINDOW
