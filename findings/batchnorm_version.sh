#!/usr/bin/env bash
# torch.nn.BatchNorm2d in training mode: does a write to its running statistics move their version?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.14.1" "numpy==2.4.6"
cat >"$folder/check.py" <<'PY'
"""Tensor._version counts writes in place; whoever watches buffers for changes might rely on it."""

import sys

import torch
from torch import nn

torch.manual_seed(0)
found = {}
for kind, norm in {
    "module": nn.BatchNorm2d(2).train(),
    "traced": torch.jit.trace(nn.BatchNorm2d(2).train(), torch.rand(4, 2, 5, 5), check_trace=False),
}.items():
    mean = norm.running_mean
    count = norm.num_batches_tracked
    before, versions = mean.clone(), (mean._version, count._version)
    with torch.no_grad():
        norm(torch.rand(4, 2, 5, 5))
    found[kind] = (
        not torch.equal(mean, before),
        mean._version - versions[0],
        count._version - versions[1],
    )
print("torch", torch.__version__)
print("one would guess: the running mean changes, and its _version moves as after any add_()")
print(
    "seen (running mean changed, its version moved by, that of num_batches_tracked moved by): "
    f"{found}"
)
same = all(changed and moved == 0 for changed, moved, _ in found.values())
sys.exit(0 if same and found["module"][2] > 0 else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
