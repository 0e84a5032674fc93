"""Is each known conflict found, with a fix, and nothing else?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import torchattacks_ext.cli.doctor as module
from torchattacks_ext.cli.doctor import conflicts
from torchattacks_ext.cli.environment import CORE, Environment, inspect_environment

Run = Callable[..., Any]
SOUND = Environment(
    versions=dict.fromkeys(CORE, "9.9")
    | {"requests": "2.25.1", "torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"},
    requests_pin="2.25.1",
    devices={"cuda": [], "mps": False},
)
NMS = "RuntimeError: operator torchvision::nms does not exist"


def with_versions(**versions: str | None) -> Environment:
    return replace(SOUND, versions=SOUND.versions | versions)


def test_a_sound_environment_has_no_conflict() -> None:
    assert conflicts(SOUND) == []
    assert (
        conflicts(with_versions(requests=None, pyautoattack=None, autoattack="0.1"))
        == []
    )
    assert conflicts(with_versions(requests="2.25.9")) == []


@pytest.mark.parametrize(
    ("seen", "code", "fix"),
    [
        (with_versions(scipy=None), "missing", "pip install scipy"),
        (with_versions(torch="2.3.1"), "too-old", "pip install 'torch>=2.4'"),
        (with_versions(requests="2.32.5"), "requests-pin", "'requests~=2.25.1'"),
        (with_versions(requests="2.25.0"), "requests-pin", "'requests~=2.25.1'"),
        (with_versions(autoattack="0.1"), "autoattack-twice", "uninstall autoattack"),
        (
            replace(SOUND, failures={"robustbench": "ImportError: x"}),
            "robustbench",
            "pip uninstall robustbench",
        ),
        (
            replace(SOUND, bridge="Numpy is not available"),
            "numpy-torch",
            "pip install 'torch>=2.4' (or, to keep this torch, 'numpy<2')",
        ),
        (
            replace(with_versions(torchvision="0.28.0"), failures={"torchvision": NMS}),
            "torchvision",
            "--index-url https://download.pytorch.org/whl/cpu",
        ),
        (
            replace(SOUND, failures={"torchattacks": "ImportError: x"}),
            "import",
            "--force-reinstall torchattacks",
        ),
    ],
)
def test_a_conflict_is_found_with_its_fix(
    seen: Environment, code: str, fix: str
) -> None:
    (found,) = conflicts(seen)
    assert found.code == code and fix in found.fix


def test_a_torchvision_of_another_build_is_explained() -> None:
    seen = replace(with_versions(torchvision="0.28.0"), failures={"torchvision": NMS})
    (found,) = conflicts(seen)
    assert "torch is a cpu build, torchvision a default one" in found.problem


def test_the_exit_code_says_whether_there_is_a_conflict(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "inspect_environment", lambda: SOUND)
    done = run("doctor")
    assert (done.code, done.err) == (0, "") and "no known conflict" in done.out
    bad = with_versions(requests="2.32.5")
    monkeypatch.setattr(module, "inspect_environment", lambda: bad)
    done = run("doctor")
    assert (done.code, done.err) == (1, "")
    assert "conflict [requests-pin]" in done.out and "fix: " in done.out
    facts = json.loads(run("doctor", "--json").out)
    assert [item["code"] for item in facts["conflicts"]] == ["requests-pin"]
    assert facts["versions"]["requests"] == "2.32.5"


def test_what_is_really_here_is_seen() -> None:
    import torch

    seen = inspect_environment()
    assert torch.__version__.startswith(seen.versions["torch"] or "none")
    assert seen.requests_pin == "2.25.1"
    assert seen.bridge is None and "torch" not in seen.failures
    assert seen.devices["threads"] == torch.get_num_threads()


def test_a_broken_torchvision_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchattacks_ext.cli.environment as environment

    real = environment.import_module

    def broken(name: str) -> Any:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms\ndoes not exist")
        return real(name)

    monkeypatch.setattr(environment, "import_module", broken)
    assert inspect_environment().failures == {"torchvision": NMS}
