"""Which form of a copy is kept, and is it said why the others are not?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext.models import accelerate
from torchattacks_ext.models.fast import processor, trial

Settle = Callable[..., nn.Module]
IMAGES = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 4),
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Times that a test sets; every call is made once."""
    times = {"original": 2.0, "fp32": 1.5, "channels_last": 1.0}

    def least(calls: Any, *rest: object) -> tuple[dict[str, float], int]:
        for call in calls.values():
            call()
        return {name: times[name] for name in calls}, 1

    monkeypatch.setattr(trial, "least", least)
    return times


def test_the_faster_layout_is_taken(settle: Settle, clock: dict[str, float]) -> None:
    facts = accelerate(settle(small()), IMAGES).facts()
    assert facts["layout"] == "channels_last" and facts["speed_up"] == 2
    clock["channels_last"] = 1.6
    facts = accelerate(settle(small()), IMAGES).facts()
    assert facts["layout"] == "contiguous" and facts["seconds"]["copy"] == 1.5


def test_a_cpu_without_instructions_keeps_float32(
    settle: Settle, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"avx2"}))
    facts = accelerate(settle(small()), IMAGES, precision="bf16").facts()
    assert facts["precision"] == "fp32" and "avx512_bf16" in facts["left_out"]["bf16"]
    assert facts["asked"] == {"precision": "bf16", "compile": False}
    assert "bf16" not in facts["seconds"]["tried"]


@pytest.mark.parametrize(("seconds", "kept"), [(0.5, "bf16"), (0.97, "fp32")])
def test_a_short_precision_is_kept_where_it_is_faster(
    settle: Settle,
    clock: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    kept: str,
) -> None:
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"amx_bf16"}))
    clock["bf16"] = seconds
    net = settle(small())
    fast = accelerate(net, IMAGES, precision="bf16")
    facts = fast.facts()
    assert facts["precision"] == kept and facts["changed_decisions"] == 0
    assert fast(IMAGES).dtype == torch.float32
    assert ("bf16" in facts["left_out"]) == (kept == "fp32")
    exact = torch.allclose(fast(IMAGES), net(IMAGES), atol=1e-5)
    assert exact == (kept == "fp32")


def test_a_double_model_stays_double(settle: Settle, clock: dict[str, float]) -> None:
    net = settle(small()).double()
    fast = accelerate(net, IMAGES, precision="fp16")
    assert "float64" in fast.facts()["left_out"]["fp16"]
    assert fast.facts()["precision"] == "fp64"
    assert fast(IMAGES).dtype == torch.float64


def test_compiling_is_kept_where_it_works_and_is_faster(
    settle: Settle, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(net: Any, **options: object) -> Any:
        raise RuntimeError("no working C++ compiler")

    net = settle(small())
    monkeypatch.setattr(torch, "compile", fails)
    facts = accelerate(net, IMAGES, compile=True).facts()
    assert not facts["compiled"] and "C++" in facts["left_out"]["compiled"]
    monkeypatch.setattr(torch, "compile", lambda net, **options: net)
    clock["compiled"] = 0.5
    facts = accelerate(net, IMAGES, compile=True).facts()
    assert facts["compiled"] and facts["layout"] == "channels_last"
    clock["compiled"] = 1.5
    facts = accelerate(net, IMAGES, compile=True).facts()
    assert not facts["compiled"] and "1.50" in facts["left_out"]["compiled"]


@pytest.mark.slow
def test_a_script_is_copied_without_folding(settle: Settle) -> None:
    net = settle(small())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(net, IMAGES)  # type: ignore[no-untyped-call]
        fast = accelerate(script, IMAGES)
        assert torch.allclose(fast(IMAGES), net(IMAGES), atol=1e-5)
    facts = fast.facts()
    assert facts["folded"] == 0 and "is a script" in facts["not_folded"]


@pytest.mark.slow
def test_a_compiled_copy_is_the_model(settle: Settle) -> None:
    net = settle(small())
    fast = accelerate(net, IMAGES, compile=True)
    facts = fast.facts()
    assert facts["compiled"] or "compiled" in facts["left_out"]
    assert torch.allclose(fast(IMAGES), net(IMAGES), atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_a_copy_on_a_gpu(settle: Settle, compile: bool) -> None:
    net = settle(small()).cuda()
    fast = accelerate(net, IMAGES, precision="bf16", compile=compile)
    found = fast(IMAGES.cuda()), fast(IMAGES.cuda() + 1)
    assert torch.equal(found[0].argmax(1), net(IMAGES.cuda()).argmax(1))
    assert not torch.equal(*found)
