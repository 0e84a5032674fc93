"""What do tests of the command line share? A runner, and a folder with a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from torchattacks_ext.cli.main import main

MODEL = """
import torch
from torch import nn

def build():
    print("a factory that prints")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():  # no draw: the same net in every test
        net[1].weight.copy_(torch.linspace(-1, 1, 640).sin().reshape(10, 64))
        net[1].bias.zero_()
    return net

def certifier():
    from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound

    means = torch.linspace(0, 40, 640).sin().reshape(10, 64)
    head = EllipsHead.from_parameters(means, 1.0)
    return Ellips(nn.Flatten(), head, LipschitzBound(1.0))

def three_channels():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 2))

def broken():
    raise ValueError("two\\nlines")

def leaves():
    raise SystemExit(0)

def number():
    return 3

net = build()
constant = 7
"""


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line in this process."""

    def call(*argv: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(arg) for arg in argv])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the module `shed`; imports are undone afterwards."""
    (tmp_path / "shed.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("shed", None)


@pytest.fixture
def weights(workshop: Path) -> Path:
    """weights.pt of a net as `shed:build` makes it, with other numbers."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        net[1].weight.fill_(0.5)
        net[1].bias.copy_(torch.arange(10.0))
    torch.save(net.state_dict(), workshop / "weights.pt")
    return workshop / "weights.pt"
