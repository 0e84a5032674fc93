"""Are all the switches that cost digits off inside, and exactly as before after it?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from torchattacks_ext.models.precision import full_precision

ROOT = Path(__file__).resolve().parents[2]


def attention_switches() -> list[bool]:
    cuda = torch.backends.cuda
    return [
        torch.backends.mha.get_fastpath_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
    ]


def test_attention_and_autocast() -> None:
    before = attention_switches()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(KeyError), full_precision():
            assert attention_switches() == [False, False, False, True]
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
            raise KeyError
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert attention_switches() == before


SETTINGS = [
    "",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "backends.cuda.matmul.allow_tf32 = True",
    "backends.cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('highest')",
]
NEW_SETTINGS = [
    "backends.cuda.matmul.fp32_precision = 'tf32'",
    "backends.cudnn.conv.fp32_precision = 'ieee'",
    "backends.fp32_precision = 'tf32'",
]
SCRIPT = """
import json, sys, warnings
warnings.simplefilter("error")
import torch
from torchattacks_ext.models.precision import _owners, full_precision
backends = torch.backends

def read(get):
    try:
        return get()
    except RuntimeError:  # torch refuses to read old switches in a mixed state
        return "refused"

def state():
    new = [owner.fp32_precision for owner in _owners()]
    old = (lambda: backends.cuda.matmul.allow_tf32, lambda: backends.cudnn.allow_tf32,
           torch.get_float32_matmul_precision)
    return new, [read(get) for get in old]

found = []
for setting in json.loads(sys.argv[1]):
    exec(setting)
    before = state()
    with full_precision():
        inside = state()
        with full_precision():
            pass
        nested = state()
    found.append([setting, before, inside, nested, state()])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_every_way_to_ask_for_tf32_is_undone_and_restored() -> None:
    """In a process of its own: torch cannot go back to the state that it starts in."""
    new = hasattr(torch.backends.cuda.matmul, "fp32_precision")
    settings = SETTINGS + (NEW_SETTINGS if new else [])
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(settings)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    results = json.loads(run.stdout)
    assert [setting for setting, *_ in results] == settings
    for setting, before, inside, nested, after in results:
        assert before == after and inside == nested, setting
        assert set(inside[0]) <= {"ieee"}, setting
        if "refused" not in before[1]:  # then a model may read the old ones inside
            assert inside[1] == [False, False, "highest"], setting
