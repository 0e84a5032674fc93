"""Does `data-audit` read, tell and end as it says?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchattacks_ext import DataAudit
from torchattacks_ext.reports.audit import render_audit

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MedMNIST's names; two test images are in train, one pair near, labels clash once."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (30, 8, 8)).astype(np.uint8)
    images = coarse.repeat(4, 1).repeat(4, 2)
    test = images[20:].copy()
    test[0], test[1], test[2] = images[1], images[2], images[3] // 2
    labels = np.arange(30)[:, None] % 2
    path = tmp_path_factory.mktemp("data") / "set.npz"
    np.savez(
        path,
        train_images=images[:20],
        train_labels=labels[:20],
        test_images=test,
        test_labels=labels[20:],
    )
    return path


def test_findings_are_told_and_written(run: Run, archive: Path, tmp_path: Path) -> None:
    done = run("data-audit", "--data", f"npz:{archive}", "--out", tmp_path / "out")
    assert (done.code, done.err) == (1, "")
    assert "2 images of one split are in another [leak]" in done.out
    assert (
        re.search("test 2 +train 3 +1.0000 +0, 1\\n", done.out)
        and "Read: train, test from" in done.out
    )
    audit = DataAudit.from_json(tmp_path / "out" / "data_audit.json")
    assert (audit.overlap("test", "train").exact, audit.label_clashes) == (2, 2)
    page = (tmp_path / "out" / "data_audit.md").read_text(encoding="utf-8")
    assert page == render_audit(audit, markdown=True)
    assert (
        page.startswith("# Data audit: findings") and "| test | train | 2 | 1 |" in page
    )


def test_sound_data_end_with_0(run: Run, archive: Path) -> None:
    done = run("data-audit", "--test", f"npz:{archive}", "--n", "10", "--json")
    facts = json.loads(done.out)
    assert done.code == 0 and facts["findings"] == []
    done = run("data-audit", "--test", f"npz:{archive}", "--near", "none")
    assert done.code == 0 and "near copies were not looked for" in done.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([], "give either --data"),
        (["--data", "npz:a.npz", "--test", "digits"], "give either --data"),
        (["--data", "digits"], "must be npz:PATH"),
        (["--data", "npz:none.npz"], "is not a file"),
        (["--test", "npz:{}", "--near", "2"], "near=2.0 is not in"),
        (["--test", "digits", "--n", "0"], "--n=0 must be"),
        (["--test", "digits", "--resize", "0"], "--resize=0 must be"),
        (["--test", "digits", "--resize", "8"], "no split is one of these"),
        (["--data", "npz:a.npz", "--download"], "are for splits by name"),
        (["--test", "torchvision:CIFAR10", "--data-root", "no"], "--download"),
        (["--data", "npz:a.npz", "--resize", "8"], "--resize is for"),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    run: Run, archive: Path, line: list[str], words: str
) -> None:
    done = run("data-audit", *(part.format(archive) for part in line))
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1
